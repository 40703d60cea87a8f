"""DepthwiseSeparableConv: torch's depthwise and 1x1 convolutions in a row."""

import re

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn import LayerNorm
from pointwise.nn.separable import DepthwiseSeparableConv

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}


def reference(block: nn.Module, rank: int, layers: nn.Sequential) -> nn.Module:
    """Torch's layers with the weights of a block."""
    pairs = zip(layers.state_dict().items(), block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("stride", "dilation", "kernel"), [(1, 1, 3), (2, 1, 5), (1, 2, 3)])
def test_it_is_torchs_layers(rank: int, stride: int, dilation: int, kernel: int) -> None:
    make, norm = CONVS[rank], NORMS[rank]
    options = {"stride": stride, "dilation": dilation}
    block = DepthwiseSeparableConv(4, 6, kernel=kernel, rank=rank, activation=nn.SiLU, **options)
    layers = nn.Sequential(
        make(4, 4, kernel, padding=dilation * (kernel // 2), groups=4, bias=False, **options),
        norm(4),
        nn.SiLU(),
        make(4, 6, 1, bias=False),
        norm(6),
        nn.SiLU(),
    )
    x = torch.randn(2, 4, *SPACE[rank])
    expected = reference(settled(block), rank, layers)(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [None, LayerNorm], ids=["no norm", "norm"])
def test_nothing_between_is_two_convolutions(norm: type | None) -> None:
    block = DepthwiseSeparableConv(4, 6, between=False, norm=norm, activation=nn.Identity)
    pair = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 6, 1, bias=norm is None)
    )
    if norm:
        pair.append(norm(6))
    x = torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(block(x), reference(block, 2, pair)(x), rtol=1e-4, atol=1e-5)


def test_left_out_norms_leave_biases() -> None:
    names = [name for name, _ in DepthwiseSeparableConv(4, 6, norm=None).named_parameters()]
    parts = ("depthwise", "pointwise")
    assert names == [f"{part}.conv.{kind}" for part in parts for kind in ("weight", "bias")]


def test_its_weights_are_a_sum_and_not_a_product() -> None:
    block = DepthwiseSeparableConv(8, 16, kernel=5, between=False, norm=nn.Identity)
    assert sum(p.numel() for p in block.parameters()) == 8 * (5 * 5 + 16)


BLOCKS = {
    "tokens": (lambda: DepthwiseSeparableConv(3, 4, rank=1, norm=LayerNorm), (2, 3, 7)),
    "image": (lambda: DepthwiseSeparableConv(3, 4, stride=2, activation=nn.SiLU), (2, 3, 5, 4)),
    "plain": (lambda: DepthwiseSeparableConv(3, 4, between=False, norm=None), (2, 3, 5, 4)),
    "volume": (
        lambda: DepthwiseSeparableConv(2, 3, rank=3, activation=nn.SiLU),
        (2, 2, 3, 4, 3),
    ),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: type, shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_device_and_type_reach_every_parameter() -> None:
    block = DepthwiseSeparableConv(3, 4, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


REFUSALS = {
    "size": (
        lambda: DepthwiseSeparableConv(4, 0),
        "c_in, c_out and groups must be at least 1: got 4, 0 and 1",
    ),
    "rank": (lambda: DepthwiseSeparableConv(4, 6, rank=0), "rank must be 1, 2 or 3, got 0"),
    "even kernel": (
        lambda: DepthwiseSeparableConv(4, 6, kernel=4),
        "kernel must be odd where no padding is given, got 4",
    ),
    "channels": (
        lambda: DepthwiseSeparableConv(4, 6)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: DepthwiseSeparableConv(4, 6, rank=1)(torch.ones(1, 4, 5, 5)),
        "x must have shape (N, 4, L), got (1, 4, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
