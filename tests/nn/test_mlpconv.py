"""MLPConv: torch's convolutions and activations in a row."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn.conv import ConvNormActivation
from pointwise.nn.mlpconv import MLPConv
from pointwise.nn.norm import BatchNorm

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (11,), 2: (7, 6), 3: (5, 4, 6)}


def reference(block: nn.Module, c_in: int, widths: tuple[int, ...], norm: bool, **conv: int):
    """The same block of torch's layers, with its weights."""
    layers, kernel, rank = nn.Sequential(), conv.pop("kernel_size"), block.rank
    for i, width in enumerate(widths):
        first = {"kernel_size": kernel, **conv} if i == 0 else {"kernel_size": 1}
        layers.append(CONVS[rank](c_in, width, bias=not norm, **first))
        if norm:
            layers.append(NORMS[rank](width))
        layers.append(nn.ReLU())
        c_in = width
    targets = layers.state_dict().items()
    pairs = zip(targets, block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
@pytest.mark.parametrize("widths", [(5,), (6, 4), (6, 5, 4, 3)], ids=str)
def test_it_is_torchs_convolutions(
    rank: int, norm: type[BatchNorm] | None, widths: tuple[int, ...]
) -> None:
    block = settled(MLPConv(3, widths, kernel=5, rank=rank, norm=norm))
    x = torch.randn(2, 3, *SPACE[rank])
    expected = reference(block, 3, widths, norm is not None, kernel_size=5, padding=2)(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 1, 0), (2, 2, 1)])
def test_stride_and_padding_are_those_of_the_convolution(
    kernel: int, stride: int, padding: int
) -> None:
    block = settled(MLPConv(3, (6, 4), kernel=kernel, stride=stride, padding=padding))
    x = torch.randn(2, 3, 7, 6)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    torch.testing.assert_close(block(x), reference(block, 3, (6, 4), False, **options)(x))


def test_a_kernel_may_differ_by_axis() -> None:
    block = MLPConv(2, (3, 4), kernel=(1, 5))
    assert block(torch.ones(1, 2, 4, 6)).shape == (1, 4, 4, 6)
    assert block.conv.conv.weight.shape == (3, 2, 1, 5)


def test_a_single_width_is_a_plain_convolution() -> None:
    block = MLPConv(3, [4], kernel=3)
    plain = ConvNormActivation(3, 4, 3, norm=None)
    plain.load_state_dict(block.conv.state_dict())
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(block(x), plain(x))
    assert block.c_out == 4


BLOCKS = {
    "tokens": (lambda: MLPConv(2, (4, 3), kernel=3, rank=1), (2, 2, 7)),
    "image": (lambda: MLPConv(3, (4, 3, 2), kernel=3, stride=2, norm=BatchNorm), (2, 3, 6, 5)),
    "volume": (lambda: MLPConv(2, (3, 4), kernel=3, rank=3, activation=nn.SiLU), (2, 2, 3, 4, 3)),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_device_and_type_reach_every_parameter() -> None:
    block = MLPConv(3, (4, 5), kernel=3, norm=BatchNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def test_half_precision_and_empty_batches() -> None:
    block = MLPConv(3, (4, 5), kernel=3, dtype=torch.bfloat16)
    assert block(torch.ones(2, 3, 5, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert block(torch.ones(0, 3, 5, 5, dtype=torch.bfloat16)).shape == (0, 5, 5, 5)


REFUSALS = {
    "no widths": (
        lambda: MLPConv(3, (), kernel=3),
        "widths must name the KxK convolution's at least, got ()",
    ),
    "width": (
        lambda: MLPConv(3, (4, 0), kernel=3),
        "c_in, c_out and groups must be at least 1: got 4, 0 and 1",
    ),
    "rank": (lambda: MLPConv(3, (4,), kernel=3, rank=4), "rank must be 1, 2 or 3, got 4"),
    "even kernel": (
        lambda: MLPConv(3, (4,), kernel=2),
        "kernel must be odd where no padding is given, got 2",
    ),
    "channels": (
        lambda: MLPConv(3, (4,), kernel=3)(torch.ones(1, 2, 5, 5)),
        "x must have shape (N, 3, H, W), got (1, 2, 5, 5)",
    ),
    "axes": (
        lambda: MLPConv(3, (4,), kernel=3, rank=3)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 3, D, H, W), got (1, 3, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
