"""Spellings of pointwise layers: each computes the layer, and what must keep its own."""

import copy
import itertools
import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.conversion import to_conv
from pointwise.surgery.restoring import restore
from pointwise.surgery.spelling.spellings import (
    SPELLINGS,
    Spelled,
    is_pointwise,
    pointwise_layers,
    spellings_for,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


LAYERS = {
    "linear": (nn.Linear(6, 4), (5, 6)),
    "linear_alone": (nn.Linear(6, 4), (6,)),
    "linear_tokens": (nn.Linear(6, 4), (2, 5, 6)),
    "linear_windows": (nn.Linear(6, 4, bias=False), (2, 3, 5, 6)),
    "conv1d": (nn.Conv1d(6, 4, 1), (2, 6, 5)),
    "conv1d_alone": (nn.Conv1d(6, 4, 1), (6, 5)),
    "conv2d": (nn.Conv2d(6, 4, 1), (2, 6, 3, 5)),
    "conv2d_one": (nn.Conv2d(6, 4, 1), (1, 6, 3, 5)),
    "conv2d_one_without_bias": (nn.Conv2d(6, 4, 1, bias=False), (1, 6, 3, 5)),
    "conv2d_alone": (nn.Conv2d(6, 4, 1, padding="same"), (6, 3, 5)),
    "conv2d_one_position": (nn.Conv2d(6, 4, 1), (2, 6, 1, 1)),
    "conv2d_empty": (nn.Conv2d(6, 4, 1), (0, 6, 3, 5)),
    "conv3d": (nn.Conv3d(6, 4, 1, bias=False), (2, 6, 2, 3, 5)),
    "pointwise_rows": (PointwiseConv(6, 4), (5, 6)),
    "pointwise": (PointwiseConv(6, 4), (2, 6, 3, 5)),
}
each_layer = pytest.mark.parametrize("case", LAYERS)
each_spelling = pytest.mark.parametrize("spelling", SPELLINGS)


def layouts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The same values in every order of the axes in memory."""
    for order in itertools.permutations(range(x.ndim)):
        back = [order.index(axis) for axis in range(x.ndim)]
        yield x.permute(order).contiguous().permute(back)


@each_layer
@each_spelling
def test_every_spelling_computes_the_layer_in_any_memory(case, spelling):
    layer, shape = copy.deepcopy(LAYERS[case])
    layer, x = layer.double(), torch.randn(shape, dtype=torch.float64)
    spelled, expected = Spelled(layer, spelling), layer(x)
    for laid in layouts(x):
        torch.testing.assert_close(spelled(laid), expected, rtol=0, atol=1e-12)


@each_spelling
def test_gradients_are_those_of_the_layer(spelling):
    layer, x = nn.Conv2d(6, 4, 1).double(), torch.randn(2, 6, 3, 5, dtype=torch.float64)
    spelled = Spelled(layer, spelling)
    assert spelled.weight is layer.weight
    given = torch.autograd.grad(spelled(x).sin().sum(), [spelled.weight, spelled.bias])
    expected = torch.autograd.grad(layer(x).sin().sum(), [layer.weight, layer.bias])
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-12)


@each_layer
def test_state_dicts_go_both_ways(case):
    layer = copy.deepcopy(LAYERS[case][0])
    spelled = Spelled(copy.deepcopy(layer), "rows")
    assert [(k, v.shape) for k, v in spelled.state_dict().items()] == [
        (k, v.shape) for k, v in layer.state_dict().items()
    ]
    spelled.load_state_dict(layer.state_dict(), strict=True)
    layer.load_state_dict(spelled.state_dict(), strict=True)


@each_layer
def test_restore_brings_the_layer_back(case):
    layer, shape = LAYERS[case]
    network = nn.Sequential(Spelled(copy.deepcopy(layer), "columns"), nn.ReLU()).eval()
    back, swaps = restore(network)
    assert type(back[0]) is type(layer)
    assert [swap.path for swap in swaps] == ["0"]
    assert not back[0].training
    torch.testing.assert_close(back[0].state_dict(), layer.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(back(torch.ones(shape)), layer(torch.ones(shape)).relu())


WRONG = {
    "channels": (nn.Conv2d(6, 4, 1), (2, 5, 3, 3), r"Conv2d(6, 4, 1x1) cannot take x of shape"),
    "rank": (nn.Conv2d(6, 4, 1), (2, 6, 3, 3, 3), r"cannot take x of shape (2, 6, 3, 3, 3)"),
    "features": (nn.Linear(6, 4), (2, 5), r"Linear(6, 4) cannot take x of shape (2, 5)"),
    "axes": (PointwiseConv(6, 4), (6,), r"PointwiseConv(6, 4) cannot take x of shape (6,)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_spelled_layer_refuses_what_the_layer_refused(case):
    layer, shape, message = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        Spelled(layer, "rows")(torch.ones(shape))


def test_only_a_known_spelling_of_a_pointwise_layer_is_made():
    with pytest.raises(ValueError, match=r"^spelling must be one of rows, columns, image, poi"):
        Spelled(nn.Linear(3, 2), "einsum")
    with pytest.raises(ValueError, match=r"pointwise map, got Conv2d\(3, 2, 3x3\)$"):
        Spelled(nn.Conv2d(3, 2, 3), "rows")
    with pytest.raises(ValueError, match=r"got Conv2d\(3, 2, 1x1, stride 2\): its stride is"):
        Spelled(nn.Conv2d(3, 2, 1, stride=2), "rows")


def test_the_spellings_tried_are_those_that_differ():
    assert spellings_for(nn.Linear(3, 2), torch.ones(5, 3)) == []
    assert spellings_for(nn.Linear(3, 2), torch.ones(5, 7, 3)) == ["columns", "image", "pointwise"]
    assert spellings_for(nn.Conv1d(3, 2, 1), torch.ones(5, 3, 7)) == list(SPELLINGS)
    assert spellings_for(nn.Conv2d(3, 2, 1), torch.ones(5, 3, 7, 7)) == [
        "rows",
        "columns",
        "pointwise",
    ]
    assert spellings_for(PointwiseConv(3, 2), torch.ones(5, 3, 7)) == ["rows", "columns", "image"]
    assert spellings_for(nn.Conv2d(3, 2, 1), torch.ones(0, 3, 7, 7)) == []


def hooked() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


REFUSED = {
    "stride": (nn.Conv2d(3, 2, 1, stride=2), "its stride is (2, 2): it drops positions"),
    "padding": (nn.Conv2d(3, 2, 1, padding=1), "its padding is (1, 1): it adds positions"),
    "groups": (nn.Conv1d(4, 2, 1, groups=2), "has 2 groups: PointwiseConv has a spelling"),
    "lazy": (nn.LazyLinear(2), "is lazy: run it once first"),
    "hook": (hooked(), "has forward hooks: remove them first"),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "parametrizations"),
    "subclass": (nn.MultiheadAttention(4, 1).out_proj, "is a subclass of Linear"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layers_that_must_be_left_alone_say_why(case):
    layer, reason = REFUSED[case]
    found = is_pointwise(layer)
    assert isinstance(found, str)
    assert reason in found


def test_layers_in_place_of_others_are_left_alone():
    model, _ = to_conv(nn.Sequential(nn.Linear(3, 2)))
    assert pointwise_layers(model) == {
        "0.layer": "stands in place of another layer: respell before you convert"
    }
