"""Layers on paper against the layers themselves."""

import re

import pytest
import torch
from layer_cases import LAYERS, Case, make
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from pointwise.compression.forms.stages import Stage
from pointwise.compression.statistics.patches import input_rows, output_rows, patch_rows, patch_sum

each_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())


@each_layer
def test_sizes_and_costs(case: Case) -> None:
    layer, x = make(case)
    stage = Stage.of(layer)
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    assert stage.output_shape(tuple(x.shape)) == tuple(y.shape)
    counted = counter.get_total_flops() // 2
    assert stage.macs(tuple(x.shape)) == (counted or x.numel() * 5)  # F.linear of a vector
    assert stage.weights == layer.weight.numel()


@each_layer
def test_a_layer_is_built_as_it_was(case: Case) -> None:
    layer, x = make(case)
    stage = Stage.of(layer)
    weight, bias = stage.read(layer)
    assert weight.shape == (stage.groups, stage.outputs, stage.inputs, *stage.kernel)
    new = stage.build(weight, bias, layer)
    assert type(new) is type(layer)
    assert repr(new) == repr(layer)
    for name, value in layer.state_dict().items():
        assert torch.equal(new.state_dict()[name], value)
    assert torch.equal(new(x), layer(x))


@each_layer
def test_patches_are_what_the_weight_meets(case: Case) -> None:
    layer, x = make(case)
    stage = Stage.of(layer)
    weight, bias = stage.read(layer)
    rows = torch.cat(list(patch_rows(stage, x)), 1)
    y = rows @ weight.flatten(2).mT
    if bias is not None:
        y = y + bias[:, None]
    assert_close(y, output_rows(stage, layer(x)).detach())
    total, count = patch_sum(stage, x)
    assert_close(total, rows.sum(1))
    assert count == rows.shape[1]
    assert input_rows(stage, x).shape[::2] == (stage.groups, stage.inputs)


def test_patches_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = make(LAYERS["stride"])
    stage = Stage.of(layer)
    whole = torch.cat(list(patch_rows(stage, x)), 1)
    monkeypatch.setattr("pointwise.compression.statistics.patches.LARGEST", 1)
    pieces = list(patch_rows(stage, x))
    assert len(pieces) == len(x)
    assert_close(torch.cat(pieces, 1), whole)


def test_what_a_layer_was_is_kept() -> None:
    layer = nn.Conv2d(4, 8, 3).half().to(memory_format=torch.channels_last).eval()
    layer.weight.requires_grad_(False)
    stage = Stage.of(layer)
    new = stage.build(*stage.read(layer), layer)
    assert new.weight.dtype == torch.float16
    assert new.weight.stride() == layer.weight.stride()
    assert not new.weight.requires_grad
    assert not new.training


def test_an_unknown_layer() -> None:
    message = (
        "layer must be one of Linear, PointwiseConv, Conv1d, Conv2d, Conv3d, ConvTranspose1d, "
        "ConvTranspose2d, ConvTranspose3d, got ReLU"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        Stage.of(nn.ReLU())
