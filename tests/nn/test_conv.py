"""Projection and ConvNormActivation: torch's own layers in a row."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn import BatchNorm, ConvNormActivation, LayerNorm, Projection

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}


def reference(block: nn.Module, rank: int, **conv: int) -> nn.Module:
    """The same block of torch's layers, with its weights."""
    weight = block.conv.weight
    c_in = weight.shape[1] * conv.get("groups", 1)
    kernel = weight.shape[2:] or 1
    conv_layer = CONVS[rank](c_in, len(weight), kernel, bias=False, **conv)
    layers = nn.Sequential(conv_layer, NORMS[rank](len(weight)), nn.SiLU())
    targets = layers.state_dict().items()
    pairs = zip(targets, block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_a_projection_is_a_1x1_convolution(rank: int, stride: int, groups: int) -> None:
    block = settled(Projection(6, 4, stride=stride, groups=groups, activation=nn.SiLU))
    x = torch.randn(2, 6, *SPACE[rank])
    expected = reference(block, rank, stride=stride, groups=groups)(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), (1, 2, 1)])
def test_a_convolution_is_torchs(rank: int, stride: int, dilation: int, groups: int) -> None:
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    block = settled(ConvNormActivation(6, 4, 3, rank=rank, activation=nn.SiLU, **options))
    x = torch.randn(2, 6, *SPACE[rank])
    expected = reference(block, rank, padding=dilation, **options)(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


BLOCKS = {
    "projection rows": (lambda: Projection(3, 4), (5, 3)),
    "projection tokens": (lambda: Projection(3, 4, stride=2, activation=nn.GELU), (2, 3, 7)),
    "projection image": (lambda: Projection(4, 6, groups=2), (2, 4, 5, 3)),
    "projection volume": (lambda: Projection(3, 4, norm=None), (2, 3, 2, 3, 2)),
    "tokens": (lambda: ConvNormActivation(3, 4, 3, rank=1, norm=LayerNorm), (2, 3, 7)),
    "image": (lambda: ConvNormActivation(4, 6, (3, 1), groups=2, stride=2), (2, 4, 5, 6)),
    "volume": (lambda: ConvNormActivation(2, 3, 3, rank=3, norm=None), (2, 2, 3, 4, 3)),
    "projection with torch's norm": (
        lambda: Projection(3, 4, norm=partial(nn.GroupNorm, 2)),
        (2, 3, 7),
    ),
    "image with torch's norm": (
        lambda: ConvNormActivation(3, 4, 3, norm=partial(nn.InstanceNorm2d, affine=True)),
        (2, 3, 5, 6),
    ),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: type, shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_a_norm_takes_the_place_of_the_bias() -> None:
    assert Projection(3, 4).conv.bias is None
    assert Projection(3, 4, norm=None).conv.bias is not None
    assert ConvNormActivation(3, 4, 3).conv.bias is None
    assert ConvNormActivation(3, 4, 3, norm=None).conv.bias is not None


def test_device_and_type_reach_every_parameter() -> None:
    norm = partial(BatchNorm, eps=1e-3)
    for block in (
        Projection(3, 4, norm=norm, device="meta", dtype=torch.float64),
        ConvNormActivation(3, 4, 3, norm=norm, device="meta", dtype=torch.float64),
    ):
        assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


REFUSALS = {
    "stride": (lambda: Projection(3, 4, stride=0), "stride must be at least 1, got 0"),
    "conv stride": (
        lambda: ConvNormActivation(3, 4, 3, stride=0),
        "stride must be at least 1, got 0",
    ),
    "groups": (
        lambda: Projection(4, 6, groups=3),
        "groups must divide c_in and c_out: got 3, 4 and 6",
    ),
    "conv groups": (
        lambda: ConvNormActivation(4, 6, 3, groups=3),
        "groups must divide c_in and c_out: got 3, 4 and 6",
    ),
    "rank": (lambda: ConvNormActivation(4, 6, 3, rank=4), "rank must be 1, 2 or 3, got 4"),
    "negative kernel": (
        lambda: ConvNormActivation(4, 6, -1),
        "kernel must be at least 1 along each of 2 axes, got -1",
    ),
    "kernel of another rank": (
        lambda: ConvNormActivation(4, 6, (3, 3), rank=1),
        "kernel must be at least 1 along 1 axis, got (3, 3)",
    ),
    "even kernel": (
        lambda: ConvNormActivation(4, 6, (3, 2)),
        "kernel must be odd where no padding is given, got (3, 2)",
    ),
    "channels": (
        lambda: ConvNormActivation(4, 6, 3)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: ConvNormActivation(4, 6, 3, rank=1)(torch.ones(1, 4, 5, 5)),
        "x must have shape (N, 4, L), got (1, 4, 5, 5)",
    ),
    "projection channels": (
        lambda: Projection(4, 6)(torch.ones(1, 3, 5)),
        "x must have shape (N, 4, *S), got (1, 3, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
