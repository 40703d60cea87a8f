"""Budgets of time: candidates timed once a shape, whole models timed at the end."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from compress_models import MODELS, made
from torch import nn
from torch.testing import assert_close

from pointwise.compression.allocation import choosing
from pointwise.compression.allocation.candidates import LayerCandidates, list_candidates
from pointwise.compression.allocation.choosing import choose
from pointwise.compression.allocation.latency import (
    Laid,
    blank_model,
    lay_fastest,
    time_candidates,
    time_share,
)
from pointwise.compression.budget import Budget, count_costs
from pointwise.compression.compress import Compressed, compress
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.layers import find_layers
from pointwise.compression.plans.files import load, save
from pointwise.compression.statistics.measure import measure
from pointwise.surgery.equivalence import Example
from pointwise.surgery.spelling.orders import lies_last


class CountedTimer:
    """Says that every call takes as long as it has parameters, and counts what it is given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, calls: Mapping[str, Any], *, seconds: float) -> dict[str, list[float]]:
        assert seconds > 0
        self.calls.append(len(calls))
        for call in calls.values():
            call()
        return {name: [1.0 + place, 2.0] for place, name in enumerate(calls)}


def laid(model: nn.Module) -> Laid:
    return Laid(model, 1.0, 1.0)


def test_equal_shapes_are_timed_once() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Linear(32, 16))
    known = measure(model, torch.ones(3, 32))
    timer = CountedTimer()
    first, second, third = time_candidates(laid(model), known.layers, timer=timer)
    assert timer.calls == [len(first.candidates), len(third.candidates)]
    assert [one.seconds for one in first.candidates] == [one.seconds for one in second.candidates]
    assert first.candidates[0].seconds == 1.0
    assert {one.form for one in first.candidates} == {None, "output"}


def test_calls_of_a_layer_add_up() -> None:
    model, example, _ = made(MODELS["twice"])
    known = measure(model, example)
    timed = time_candidates(laid(model), known.layers, timer=CountedTimer())
    (inner,) = (layer for layer in timed if layer.layer.path == "inner")
    assert inner.candidates[0].seconds == 2.0


def test_blank_models_cost_what_the_choice_costs() -> None:
    model, example, _ = made(MODELS["residual"])
    known = measure(model, example)
    chosen = choose(known, Budget(params=0.6))
    blank = blank_model(model, known.layers, chosen)
    params = sum(p.numel() for p in blank.parameters())
    asked = known.whole.params + sum(
        one.params - layer.candidates[0].params
        for one, layer in zip(chosen, known.layers, strict=True)
    )
    offsets = sum(layer.layer.stage.c_out for layer in known.layers)
    assert asked <= params <= asked + offsets
    assert blank(example).shape == model(example).shape


def wide() -> nn.Module:
    return nn.Sequential(nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 768), nn.ReLU())


@pytest.fixture
def timed_by_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates take as long as they have multiply-adds, however busy the machine is."""
    home = sys.modules[measure.__module__]

    def candidates(laid: Laid, layers: Sequence[LayerCandidates]) -> tuple[LayerCandidates, ...]:
        each = laid.seconds / laid.given_s
        return tuple(
            replace(
                layer,
                candidates=tuple(replace(one, seconds=one.macs * each) for one in layer.candidates),
            )
            for layer in layers
        )

    monkeypatch.setattr(home, "time_candidates", candidates)

    def lay(model: nn.Module, example: Example, *, exclude: Sequence[str]) -> Laid:
        seconds = float(count_costs(model, example).macs)
        return Laid(model, seconds, seconds)

    monkeypatch.setattr(home, "lay_fastest", lay)


@pytest.mark.usefixtures("timed_by_macs")
def test_a_budget_of_time_is_measured() -> None:
    model = wide()
    x = torch.randn(256, 768)
    done = compress(model, Budget(latency=0.7), x, data=x)
    (target,) = done.report.targets
    assert target.name == "latency"
    assert done.report.before.latency is not None
    assert done.report.after.latency is not None
    if target.met:  # whatever else the machine does
        assert done.plan.layers
        assert target.reached <= 0.7
        assert done.report.after.macs < done.report.before.macs


@pytest.mark.usefixtures("timed_by_macs")
def test_what_is_not_faster_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    slower = ([1.0, 1.1, 1.0], [2.0, 2.0, 2.2])
    monkeypatch.setattr(sys.modules[compress.__module__], "time_models", lambda *_: slower)
    monkeypatch.setattr(choosing, "time_models", lambda *_, timer: slower)
    model, example, batches = made(MODELS["cnn"])
    done = compress(model, Budget(latency=0.5), example, data=batches)
    assert done.plan.layers == ()
    assert_close(done.model(example), model(example), rtol=0, atol=0)
    (target,) = done.report.targets
    assert (target.reached, target.met) == (1.0, False)
    assert done.report.after.macs == done.report.before.macs


@pytest.mark.usefixtures("timed_by_macs")
def test_time_and_parameters_at_once() -> None:
    model, example, batches = made(MODELS["residual"])
    done = compress(model, Budget(latency=0.9, params=0.7), example, data=batches)
    names = {target.name: target for target in done.report.targets}
    assert set(names) == {"latency", "params"}
    assert names["params"].met or done.plan.layers == ()
    message = "budget must be within reach: params=0.01 is not, the smallest share of the params is"
    with pytest.raises(ValueError, match=re.escape(message)):
        compress(model, Budget(latency=0.9, params=0.01), example)


def test_time_needs_timed_candidates() -> None:
    known = measure(wide(), torch.ones(1, 768))
    message = "a budget of latency needs what measure(timed=True) found out"
    with pytest.raises(ValueError, match=re.escape(message)):
        choose(known, Budget(latency=0.5))


def test_ranks_that_hardware_likes_are_timed_first() -> None:
    model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 12, 3))
    found = find_layers(model, torch.ones(1, 64, 5, 5)).layers
    layers = [list_candidates(one, model.get_submodule(one.path), beaten=True) for one in found]
    wide, narrow = time_candidates(laid(model), layers, timer=CountedTimer())
    ranks: dict[str | None, list[tuple[int, ...]]] = {}
    for one in wide.candidates:
        ranks.setdefault(one.form, []).append(one.rank)
    assert {(16,), (32,), (48,)} <= set(ranks["output"])
    assert all(len(some) <= 8 for some in ranks.values())
    assert {(16, 16), (32, 32)} & set(ranks["tucker"])
    assert {one.rank for one in narrow.candidates if one.form == "output"} >= {(8,), (4,)}


def test_quickest_runs_are_compared() -> None:
    busy = ([2.0, 2.0, 8.0], [9.0, 9.0, 1.0])
    assert time_share(*busy) == 0.5


def test_blank_layers_give_no_zeros() -> None:
    """Where all is the same, what follows may be faster."""
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    x = torch.randn(2, 8, 9, 9)
    known = measure(model.eval(), x)
    chosen = choose(known, Budget(macs=0.7))
    blank = blank_model(model, known.layers, chosen)
    with torch.no_grad():
        y = blank[0](x)
    assert 0.1 < y.std() < 10
    again = blank_model(model, known.layers, chosen)
    for name, value in blank.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


class LastTimer:
    """Says that whole models take half as long once a weight lies channels-last."""

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor

    def __call__(self, calls: Mapping[str, Any], *, seconds: float) -> dict[str, list[float]]:
        return {name: [self.factor if name == "after" else 1.0] for name in calls}


class Viewing(nn.Module):
    """Reads its map as one row, which needs planar memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).view(len(x), -1)


def kernels(model: nn.Module) -> list[torch.Tensor]:
    """Weights whose order in memory can be told."""
    return [p for p in model.parameters() if p.ndim == 4 and p[0, 0].numel() > 1 < p.shape[1]]


def test_the_faster_memory_order_is_taken() -> None:
    model, example, _ = made(MODELS["cnn"])
    found = lay_fastest(model, example, timer=LastTimer())
    assert (found.given_s, found.seconds) == (1.0, 0.5)
    assert kernels(found.model)
    assert all(map(lies_last, kernels(found.model)))
    assert not any(map(lies_last, kernels(model)))
    assert found.last
    assert_close(found.model(example), model(example))


def test_the_given_order_stays_if_no_other_is_faster() -> None:
    model, example, _ = made(MODELS["cnn"])
    found = lay_fastest(model, example, timer=LastTimer(0.99))
    assert found.model is model
    assert found.last == frozenset()
    last = lay_fastest(model, example.to(memory_format=torch.channels_last), timer=LastTimer(0.99))
    assert last.last  # the input lies so, and the maps follow


def test_a_model_that_needs_its_memory_order_keeps_it() -> None:
    model = Viewing().eval()
    assert lay_fastest(model, torch.randn(2, 4, 9, 9), timer=LastTimer(0.1)).model is model


@pytest.fixture
def channels_last_wins(timed_by_macs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laying weights channels-last takes a third off, and the final timing says the same."""

    def lay(model: nn.Module, example: Example, *, exclude: Sequence[str]) -> Laid:
        seconds = float(count_costs(model, example).macs)
        found = lay_fastest(model, example, timer=LastTimer())
        return replace(found, given_s=seconds, seconds=seconds * 2 / 3)

    monkeypatch.setattr(sys.modules[measure.__module__], "lay_fastest", lay)
    taken = ([3.0], [2.0])
    monkeypatch.setattr(sys.modules[compress.__module__], "time_models", lambda *_: taken)
    monkeypatch.setattr(choosing, "time_models", lambda *_, timer: taken)


@pytest.mark.usefixtures("channels_last_wins")
def test_a_memory_order_may_be_all_that_it_takes(tmp_path: Path) -> None:
    model, example, batches = made(MODELS["cnn"])
    done: Compressed = compress(model, Budget(latency=0.9), example, data=batches)
    assert done.plan.layers == ()
    assert done.plan.channels_last
    assert all(map(lies_last, kernels(done.model)))
    assert_close(done.model(example), model(example))
    note = done.report.notes[-1]
    assert note == (
        "The weights of convolutions lie channels-last and 2 batch norms are folded into the "
        "layers beside them: that alone made it 1.50 times as fast, and costs no accuracy."
    )
    (target,) = done.report.targets
    assert target.met
    save(done, tmp_path / "small")
    again = load(tmp_path / "small", made(MODELS["cnn"])[0])
    assert all(map(lies_last, kernels(again)))
    assert_close(again(example), done.model(example), rtol=0, atol=0)


@pytest.mark.usefixtures("timed_by_macs")
def test_what_is_quicker_than_need_be_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def quicker(
        model: nn.Module, other: nn.Module, example: Example, *, timer: Any
    ) -> tuple[list[float], list[float]]:
        share = count_costs(other, example).macs / count_costs(model, example).macs
        return [1.0], [0.7 * share]

    monkeypatch.setattr(choosing, "time_models", quicker)
    model, x = wide(), torch.randn(256, 768)
    known = measure(model, x, data=x, timed=True)
    chosen = choose(known, Budget(latency=0.5))
    share = sum(one.macs for one in chosen) / known.whole.macs
    assert 0.95 * 0.5 / 0.7 <= share <= 0.5 / 0.7


@pytest.mark.usefixtures("timed_by_macs")
def test_out_of_reach_is_no_reason_to_lose_more_than_time_is_won(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight tenths of the time are not the layers'."""

    def mostly_fixed(
        model: nn.Module, other: nn.Module, example: Example, *, timer: Any
    ) -> tuple[list[float], list[float]]:
        share = count_costs(other, example).macs / count_costs(model, example).macs
        return [1.0], [0.8 + 0.2 * share]

    monkeypatch.setattr(choosing, "time_models", mostly_fixed)
    model, x = wide(), torch.randn(256, 768)
    known = measure(model, x, data=x, timed=True)
    chosen = choose(known, Budget(latency=0.5))
    share = sum(one.macs for one in chosen) / known.whole.macs
    least = sum(min(one.macs for one in layer.candidates) for layer in known.layers)
    reached = (0.8 + 0.2 * least / known.whole.macs) / choosing.ABOUT
    assert 0.98 * reached <= 0.8 + 0.2 * share <= reached


@pytest.mark.usefixtures("timed_by_macs")
def test_where_nothing_is_to_be_chosen_the_whole_is_timed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[nn.Module] = []

    def as_given(
        model: nn.Module, other: nn.Module, example: Example, *, timer: Any
    ) -> tuple[list[float], list[float]]:
        timed.append(other)
        return [1.0], [1.0]

    monkeypatch.setattr(choosing, "time_models", as_given)
    model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(64, 64)
    known = measure(model, x, data=x, exclude=["0"], timed=True)
    assert choose(known, Budget(latency=0.5)) == ()
    assert len(timed) == 1


class FoldedTimer:
    """Says that a model without norms takes half as long, in any memory order."""

    def __init__(self) -> None:
        self.share = 1.0

    def __call__(self, calls: Mapping[str, Any], *, seconds: float) -> dict[str, list[float]]:
        shares = {"before": 1.0, "after": self.share}
        self.share = 0.5  # the memory order is timed first
        return {name: [shares.get(name, 1.0)] for name in calls}


@pytest.fixture
def folding_wins(timed_by_macs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding norms takes a tenth off, and the rest of the time is that of multiply-adds."""

    def lay(model: nn.Module, example: Example, *, exclude: Sequence[str]) -> Laid:
        seconds = float(count_costs(model, example).macs)
        found = lay_fastest(model, example, exclude=exclude, timer=FoldedTimer())
        return replace(found, given_s=seconds, seconds=seconds * 0.9)

    def times(
        model: nn.Module, other: nn.Module, example: Example, **_: Any
    ) -> tuple[list[float], list[float]]:
        share = count_costs(other, example).macs / count_costs(model, example).macs
        return [1.0], [0.9 * share]

    monkeypatch.setattr(sys.modules[measure.__module__], "lay_fastest", lay)
    monkeypatch.setattr(sys.modules[compress.__module__], "time_models", times)
    monkeypatch.setattr(choosing, "time_models", times)


@pytest.mark.usefixtures("folding_wins")
@pytest.mark.parametrize("recover", [None, Recovery(epochs=1, batch_size=16)])
def test_norms_are_folded_when_all_else_is_done(tmp_path: Path, recover: Recovery | None) -> None:
    model, example, batches = made(MODELS["residual"])
    done = compress(model, Budget(latency=0.6), example, data=batches, recover=recover)
    assert done.plan.folded == ("stem.1", "body.1", "body.4")
    assert done.plan.layers
    assert not any(isinstance(part, nn.BatchNorm2d) for part in done.model.modules())
    assert done.report.after.params == sum(p.numel() for p in done.model.parameters())
    (target,) = done.report.targets
    assert target.met
    assert any(note.startswith("3 batch norms are folded") for note in done.report.notes)
    save(done, tmp_path / "small")
    again = load(tmp_path / "small", made(MODELS["residual"])[0])
    assert_close(again(example), done.model(example), rtol=0, atol=0)


@pytest.mark.usefixtures("folding_wins")
def test_what_is_excluded_keeps_its_norms() -> None:
    model, example, batches = made(MODELS["residual"])
    done = compress(model, Budget(latency=0.8), example, data=batches, exclude=["body"])
    assert done.plan.folded == ("stem.1",)
    assert done.model.body[1].running_mean is not None


def test_norms_stay_where_that_is_no_slower() -> None:
    model, example, _ = made(MODELS["residual"])
    assert lay_fastest(model, example, timer=LastTimer(0.99)).folded is None
