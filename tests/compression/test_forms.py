"""Every form of every layer: exact at full rank, and as wrong as it says below that."""

import re
from itertools import product

import pytest
import torch
from layer_cases import LAYERS, make
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from pointwise.compression.forms.form import Problem, factor_layer, price
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.statistics.moments import Moments, gather_moments
from pointwise.compression.statistics.patches import output_rows

PAIRS = [
    pytest.param(layer, form, id=f"{layer}-{form}".replace(" ", "_"))
    for layer, form in product(LAYERS, FORMS)
    if FORMS[form].refusal(Stage.of(LAYERS[layer][0]())) is None
]
each_pair = pytest.mark.parametrize(("layer_name", "form_name"), PAIRS)


def moments_of(layer: nn.Module, x: Tensor, *, largest_patch: int = 2304) -> Moments:
    model = nn.Sequential(layer)
    return gather_moments(model, ["0"], [x], largest_patch=largest_patch)["0"]


def middle(rank: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(1, n // 2) for n in rank)


def metric_of(stage: Stage) -> Tensor:
    root = torch.randn(stage.groups, stage.outputs, stage.outputs + 2, dtype=torch.float64)
    return root @ root.mT


def test_the_table_has_every_layer_in_some_form() -> None:
    alone = {
        name
        for name, (build, _) in LAYERS.items()
        if all(form.refusal(Stage.of(build())) for form in FORMS.values())
    }
    assert alone == set()
    assert len(PAIRS) > 90


@each_pair
@pytest.mark.parametrize("known", ["nothing", "moments", "metric", "channels"])
def test_full_rank_is_exact(layer_name: str, form_name: str, known: str) -> None:
    layer, x = make(LAYERS[layer_name])
    stage, form = Stage.of(layer), FORMS[form_name]
    moments = None if known == "nothing" else moments_of(layer, x)
    if known == "channels":
        moments = moments_of(layer, x, largest_patch=0)
    metric = metric_of(stage) if known == "metric" else None
    rank = form.full_rank(stage)
    new = factor_layer(layer, form, rank, moments=moments, metric=metric)
    other = torch.randn_like(x)
    for given in (x, other):
        exact = layer(given)
        assert (new(given) - exact).abs().max() <= 1e-12 * exact.abs().max()


@each_pair
def test_full_rank_is_exact_in_float32(layer_name: str, form_name: str) -> None:
    layer, x = make(LAYERS[layer_name], dtype=torch.float32)
    form = FORMS[form_name]
    new = factor_layer(layer, form, form.full_rank(Stage.of(layer)), moments=moments_of(layer, x))
    exact = layer(x)
    assert (new(x) - exact).abs().max() <= 1e-5 * exact.abs().max()


@each_pair
@pytest.mark.parametrize("with_metric", [False, True], ids=["energy", "metric"])
def test_the_error_is_the_measured_one(layer_name: str, form_name: str, with_metric: bool) -> None:
    layer, x = make(LAYERS[layer_name])
    stage, form = Stage.of(layer), FORMS[form_name]
    moments = moments_of(layer, x)
    metric = metric_of(stage) if with_metric else None
    rank = middle(form.full_rank(stage))
    solution = form.solve(Problem(stage, stage.read(layer)[0], moments, metric))
    new = factor_layer(layer, form, rank, moments=moments, metric=metric)
    with torch.no_grad():
        apart = output_rows(stage, new(x) - layer(x))  # (G, P, O)
    weighted = apart if metric is None else apart @ metric
    measured = (weighted * apart).sum((0, 2)).mean()
    assert_close(apart.mean(1), torch.zeros_like(apart.mean(1)), rtol=0, atol=1e-10)
    assert_close(
        solution.error(rank), measured.item(), rtol=1e-6, atol=1e-9 * moments.energy + 1e-25
    )
    assert_close(solution.fit(rank).error, solution.error(rank))


@each_pair
def test_stages_are_what_is_built(layer_name: str, form_name: str) -> None:
    layer, x = make(LAYERS[layer_name])
    stage, form = Stage.of(layer), FORMS[form_name]
    rank = middle(form.full_rank(stage))
    new = factor_layer(layer, form, rank)
    stages = form.stages(stage, rank)
    assert tuple(Stage.of(part) for part in new) == stages
    has_bias = layer.bias is not None
    found = price(stages, (tuple(x.shape),), bias=has_bias)
    assert found.params == sum(p.numel() for p in new.parameters())
    assert [part.bias is not None for part in new] == [False] * (len(new) - 1) + [has_bias]
    if x.ndim > 1:  # F.linear of a vector is not counted
        with FlopCounterMode(display=False) as counter:
            new(x)
        assert found.macs == counter.get_total_flops() // 2


@each_pair
def test_low_rank_layers_are_found(layer_name: str, form_name: str) -> None:
    """A layer that is of such a form becomes it again, from data or without."""
    layer, x = make(LAYERS[layer_name])
    stage, form = Stage.of(layer), FORMS[form_name]
    rank = middle(form.full_rank(stage))
    weight = stage.read(layer)[0]
    solution = form.solve(Problem(stage, weight, Moments.of_weights(stage, weight)))
    low = stage.build(solution.fit(rank).matrix, stage.read(layer)[1], layer)
    for moments in (None, moments_of(low, x)):
        new = factor_layer(low, form, rank, moments=moments)
        exact = low(x)
        assert (new(x) - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_the_mean_is_kept_without_a_bias_too() -> None:
    layer, x = make(LAYERS["no_bias"])
    new = factor_layer(layer, FORMS["output"], (2,), moments=moments_of(layer, x))
    assert new[1].bias is not None
    assert_close(new(x).mean((0, 2, 3)), layer(x).mean((0, 2, 3)))
    assert factor_layer(layer, FORMS["output"], (2,))[1].bias is None


def test_the_old_layer_stays_and_its_flags_are_kept() -> None:
    layer = nn.Conv2d(4, 6, 3).requires_grad_(False).half()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    new = factor_layer(layer, FORMS["input"], (2,))
    assert all(part.training for part in new.modules())
    for parameter in new.parameters():
        assert (parameter.dtype, parameter.requires_grad) == (torch.float16, False)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


REFUSALS = {
    "output_of_one": (nn.Conv2d(4, 1, 3), "output", "a group has one output only"),
    "output_of_depthwise": (nn.Conv2d(4, 4, 3, groups=4), "output", "a group has one output only"),
    "input_of_linear": (
        nn.Linear(4, 3),
        "input",
        "its kernel has one tap: the form 'output' is the same or better",
    ),
    "input_of_stem": (nn.Conv2d(1, 4, 3), "input", "a group has one input only"),
    "axis_of_linear": (nn.Linear(4, 3), "axis 0", "its kernel has no taps along axis 0"),
    "axis_of_conv1d": (nn.Conv1d(4, 3, 5), "axis 0", "its kernel has taps along axis 0 only"),
    "axis_beyond": (nn.Conv2d(4, 3, 5), "axis 2", "its kernel has no taps along axis 2"),
    "axis_of_1xk": (nn.Conv2d(4, 3, (1, 5)), "axis 0", "its kernel has no taps along axis 0"),
    "tucker_of_1x1": (
        nn.Conv2d(4, 3, 1),
        "tucker",
        "its kernel has one tap: the form 'output' is the same or better",
    ),
    "tucker_of_stem": (nn.Conv2d(1, 4, 3), "tucker", "a group has one input or one output only"),
}


@pytest.mark.parametrize(("layer", "name", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(layer: nn.Module, name: str, reason: str) -> None:
    message = f"form must suit the layer, '{name}' does not: {reason}"
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        factor_layer(layer, FORMS[name], (1,))


RANKS = {
    "zero": ("output", (0,), "rank must be from (1,) to (6,), got (0,)"),
    "too_many": ("input", (5,), "rank must be from (1,) to (4,), got (5,)"),
    "too_long": ("input", (2, 2), "rank must be from (1,) to (4,), got (2, 2)"),
    "too_short": ("tucker", (2,), "rank must be from (1, 1) to (4, 6), got (2,)"),
    "out_of_reach": ("tucker", (1, 6), "rank must be at most (1, 3), got (1, 6)"),
}


@pytest.mark.parametrize(("name", "rank", "message"), RANKS.values(), ids=RANKS.keys())
def test_ranks_must_be_possible(name: str, rank: tuple[int, ...], message: str) -> None:
    layer = nn.Conv2d(4, 6, (3, 1))
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        factor_layer(layer, FORMS[name], rank)
