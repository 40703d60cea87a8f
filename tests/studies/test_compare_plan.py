"""The plan of a comparison: its options, and what becomes of its time limit."""

import itertools
import math
from dataclasses import replace

import pytest
from comparing import NARROW

import pointwise.studies.compare_plan as plan_module
from pointwise.errors import DataError
from pointwise.studies.cells import CellCache
from pointwise.studies.compare import compare
from pointwise.studies.compare_plan import CompareOptions


def test_the_time_limit_is_shared_as_epochs(data, even_clock, monkeypatch):
    generous = compare(data, replace(NARROW, time_limit_s=600.0, seeds=1, epochs=2))
    assert generous.epochs == 2
    steps = math.ceil(len(data.learn) / NARROW.batch_size)
    each = sum({(e.kind, e.widths): 1e-6 * e.params for e in generous.entries}.values()) * steps
    short = replace(NARROW, time_limit_s=each * 3.5 / 0.8, seeds=1, epochs=9)
    planner = plan_module.Planner(data, short, CellCache(), lambda *_: None)
    monkeypatch.setattr(planner, "left", lambda: short.time_limit_s)  # matching took no time
    assert planner._epochs(generous.entries) == 3


def test_a_time_limit_that_does_not_suffice_is_refused(data, even_clock):
    with pytest.raises(
        DataError,
        match=r"^the time limit of 0.001 s does not suffice: matching took \d+ s, and one epoch of "
        r"each of the \d+ trainings takes about \d+ s$",
    ):
        compare(data, replace(NARROW, time_limit_s=0.001))


def test_a_short_time_makes_the_networks_narrower(data, monkeypatch):
    def seconds(networks, *_, **__):
        return [1e-4 * sum(p.numel() for p in net.parameters()) for net in networks]

    monkeypatch.setattr(plan_module, "step_seconds", seconds)
    for limit, width in ((None, 32), (1e9, 32), (1.0, 8)):
        options = replace(NARROW, width=None, time_limit_s=limit)
        planner = plan_module.Planner(data, options, CellCache(), lambda *_: None)
        assert planner._width() == width


@pytest.mark.parametrize("first_overrun", [3, 11])
def test_seeds_that_the_time_limit_cut_off_do_not_count(
    first_overrun, data, even_clock, monkeypatch
):
    options = replace(NARROW, matchings=("macs",), seeds=3, epochs=2, time_limit_s=1000.0)
    asked = itertools.count(1)
    left = plan_module.Planner.left

    def running_out(self):
        return -1.0 if self.trained and next(asked) >= first_overrun else left(self)

    monkeypatch.setattr(plan_module.Planner, "left", running_out)
    monkeypatch.setattr(plan_module.Planner, "trained", False, raising=False)
    plan = plan_module.Planner.plan

    def then_train(self):
        made = plan(self)
        self.trained = True
        return made

    monkeypatch.setattr(plan_module.Planner, "plan", then_train)
    told = []
    if first_overrun == 3:
        with pytest.raises(
            DataError, match=r"^the time limit ran out before every network was tra"
        ):
            compare(data, options)
        return
    found = compare(data, options, say=told.append)
    assert found.seeds == 1
    assert told[-1] == "the time limit left 1 of 3 seeds: the others do not count"


BAD_OPTIONS = {
    "seeds": ({"seeds": 0}, "seeds must be at least 1, got 0"),
    "epochs": ({"epochs": -1}, "epochs must be at least 1, got -1"),
    "width": ({"width": 0}, "width must be at least 1, got 0"),
    "batch_size": ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    "no_matching": (
        {"matchings": ()},
        "matchings must be some of ('parameters', 'macs', 'time'), got ()",
    ),
    "matching": (
        {"matchings": ("flops",)},
        "matchings must be some of ('parameters', 'macs', 'time'), got ('flops',)",
    ),
}


@pytest.mark.parametrize(("given", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_options_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match="must be") as error:
        CompareOptions(**given)
    assert str(error.value) == message
