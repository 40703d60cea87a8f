"""What can become of a layer: costs, errors in one unit, and nothing that makes no sense."""

import re
import sys
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from layer_cases import LAYERS, Case, make
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from pointwise.compression.allocation.candidates import (
    Candidate,
    build,
    damped,
    list_candidates,
    metric_of,
)
from pointwise.compression.allocation.hull import lower_hull
from pointwise.compression.forms.form import Problem
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import find_layers
from pointwise.compression.statistics.fisher import LabelLoss
from pointwise.compression.statistics.moments import Moments, gather_moments
from pointwise.compression.statistics.patches import output_rows
from pointwise.functional.factor import split_factors

each_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())


class Alone(nn.Module):
    """A model of one layer, whose outputs are class scores at many positions."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@each_layer
def test_candidates_cost_and_err_as_they_say(case: Case) -> None:
    layer, x = make(case)
    model = Alone(layer)
    (found,) = find_layers(model, x).layers
    moments = gather_moments(model, ["layer"], [x])["layer"]
    listed = list_candidates(found, layer, moments)
    keep, *others = listed.candidates
    assert keep == Candidate("layer", None, (), found.stage.macs(tuple(x.shape)), keep.params, 0.0)
    assert keep.params == sum(p.numel() for p in layer.parameters())
    assert build(keep, layer) is layer
    assert bool(others) != bool(listed.reason)
    for one in others:
        assert one.macs <= keep.macs
        assert one.params <= keep.params
        assert one.macs < keep.macs or one.params < keep.params
    for one in others[:: max(1, len(others) // 5)]:
        new = build(one, layer, moments)
        assert sum(p.numel() for p in new.parameters()) == one.params
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            apart = output_rows(found.stage, new(x) - layer(x))
        if x.ndim > 1:
            assert counter.get_total_flops() // 2 == one.macs + keep.macs
        measured = apart.square().sum((0, 2)).mean() / max(moments.energy, 1e-9)
        assert_close(one.harm, measured.item(), rtol=1e-6, atol=1e-9)


@each_layer
def test_no_candidate_beats_another(case: Case) -> None:
    layer, x = make(case)
    (found,) = find_layers(Alone(layer), x).layers
    candidates = list_candidates(found, layer).candidates
    for one, other in product(candidates, candidates):
        beaten = other.macs <= one.macs and other.params <= one.params and other.harm < one.harm
        assert not beaten


@pytest.mark.parametrize("calls", [1, 2], ids=["once", "twice"])
def test_calls_count(calls: int) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(*[layer] * calls)
    (found,) = find_layers(model, torch.ones(1, 4, 5, 5)).layers
    keep = list_candidates(found, layer).candidates[0]
    assert (keep.macs, keep.params) == (calls * 25 * 4 * 4 * 9, 4 * 4 * 9 + 4)


def test_the_unit_is_the_loss() -> None:
    """Half the positions of a sample times tr(G D S D^T), with the damped metric."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(96, 3))
    model.double()
    x = torch.randn(20, 2, 4, 4, dtype=torch.float64)
    moments = gather_moments(model, ["0"], [x], loss=LabelLoss(lambda y: y))["0"]
    (found, _) = find_layers(model, x).layers
    one = list_candidates(found, model[0], moments, unit="loss").candidates[-1]
    new = build(one, model[0], moments, unit="loss")
    with torch.no_grad():
        apart = output_rows(found.stage, new(x) - model[0](x))[0]
    assert moments.gradient is not None
    metric = damped(moments.gradient)[0]
    measured = ((apart @ metric) * apart).sum() / len(x) / 2
    assert_close(one.error, measured.item(), rtol=1e-6, atol=0)
    assert_close(metric_of(moments, "loss")[1], 16 / 2)


def test_a_layer_without_gradient_stays() -> None:
    layer = nn.Linear(8, 8)
    (found,) = find_layers(nn.Sequential(layer), torch.ones(1, 8)).layers
    listed = list_candidates(found, layer, unit="loss")
    assert [one.form for one in listed.candidates] == [None]
    assert listed.reason == "no gradient of the loss reaches it"
    moments = Moments.of_weights(found.stage, found.stage.read(layer)[0])
    message = "moments must hold gradients for the unit 'loss', they hold none"
    with pytest.raises(ValueError, match=re.escape(message)):
        metric_of(moments, "loss")


def test_reasons() -> None:
    layer = nn.Conv2d(2, 2, 1)
    (found,) = find_layers(nn.Sequential(layer), torch.ones(1, 2, 3, 3)).layers
    one_tap = "its kernel has one tap: the form 'output' is the same or better"
    assert list_candidates(found, layer).reason == (
        f"output: no rank makes it smaller; input: {one_tap}; "
        "axis 0: its kernel has no taps along axis 0; "
        "axis 1: its kernel has no taps along axis 1; "
        f"axis 2: its kernel has no taps along axis 2; tucker: {one_tap}"
    )


def test_depthwise_layers_split_along_axes_only() -> None:
    layer = nn.Conv2d(8, 8, 5, groups=8, padding=2)
    (found,) = find_layers(nn.Sequential(layer), torch.ones(1, 8, 9, 9)).layers
    forms = {one.form for one in list_candidates(found, layer).candidates}
    assert forms <= {None, "axis 0", "axis 1"}
    assert len(forms) > 1


def test_many_ranks_are_thinned() -> None:
    layer = nn.Linear(300, 300)
    (found,) = find_layers(nn.Sequential(layer), torch.ones(1, 300)).layers
    listed = list_candidates(found, layer).candidates
    ranks = [one.rank[0] for one in listed[1:]]
    assert 15 < len(ranks) <= 64
    assert max(ranks) < 150
    assert {a - b for a, b in pairwise(ranks)} == {8}
    assert ranks[-1] == 8


def test_some_forms_only() -> None:
    layer = nn.Conv2d(8, 8, 3)
    (found,) = find_layers(nn.Sequential(layer), torch.ones(1, 8, 9, 9)).layers
    listed = list_candidates(found, layer, forms=[FORMS["tucker"]]).candidates
    assert {one.form for one in listed} == {None, "tucker"}


def test_a_damped_metric_is_positive() -> None:
    gradient = torch.zeros(2, 4, 4).double()
    gradient[0, 0, 0] = 8
    values = torch.linalg.eigvalsh(damped(gradient))
    assert values.min() > 0


def test_stages_of_dead_layers() -> None:
    """Inputs that are always zero: nothing can go wrong, so the cheapest is best."""
    layer = nn.Conv2d(4, 4, 3, bias=False)
    model = nn.Sequential(layer)
    x = torch.zeros(2, 4, 6, 6)
    (found,) = find_layers(model, x).layers
    moments = gather_moments(model, ["0"], [x])["0"]
    listed = list_candidates(found, layer, moments).candidates
    assert [one.error for one in listed] == [0.0] * len(listed)
    assert Stage.of(build(listed[-1], layer, moments)[0]).kind == "conv"


def test_the_hull_is_what_prices_choose() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        points = [tuple(pair) for pair in torch.rand(12, 2, generator=generator).tolist()]
        hull = lower_hull(points)
        chosen = set()
        for step in range(-400, 401):
            price = 10 ** (step / 80)
            chosen.add(min(range(12), key=lambda i: points[i][1] + price * points[i][0]))
        assert chosen <= set(hull)
        costs, errors = zip(*(points[i] for i in hull), strict=True)
        assert list(costs) == sorted(costs, reverse=True)
        assert list(errors) == sorted(errors)
        slopes = [(b[1] - a[1]) / (a[0] - b[0]) for a, b in pairwise([points[i] for i in hull])]
        assert slopes == sorted(slopes)


def test_what_took_long_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(12, 16, 3), torch.randn(9, 12, 8, 8)
    (found,) = find_layers(Alone(layer), x).layers
    moments = gather_moments(Alone(layer), ["layer"], [x])["layer"]
    calls = []
    home = sys.modules[Problem.__module__]

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return split_factors(*args, **options)

    monkeypatch.setattr(home, "split_factors", counted)
    listed = list_candidates(found, layer, moments)
    assert len(calls) == 3  # channels for two forms, and each axis
    assert set(listed.mixtures) == {"channels", "axis 0", "axis 1"}
    for form in ("input", "tucker", "axis 0", "axis 1", "output"):
        one = next(one for one in listed.candidates if one.form == form)
        calls.clear()
        quick = build(one, layer, moments, mixtures=listed.mixtures)
        assert not calls
        slow = build(one, layer, moments)
        assert len(calls) == (form != "output")
        for a, b in zip(quick.parameters(), slow.parameters(), strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-6)
