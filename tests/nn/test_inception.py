"""InceptionBlock: six of torch's convolutions and a max pool."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn.inception import InceptionBlock
from pointwise.nn.norm import BatchNorm, LayerNorm

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
SIZES = (5, 2, (3, 4), (2, 3), 2)


def reference(block: nn.Module, rank: int, wide: int, norm: bool) -> list[nn.Sequential]:
    """The branches of ``SIZES`` of torch's layers, with the weights of a block."""

    def convolve(c_in: int, c_out: int, kernel: int) -> list[nn.Module]:
        conv = CONVS[rank](c_in, c_out, kernel, padding=kernel // 2, bias=not norm)
        return [conv, *([NORMS[rank](c_out)] if norm else []), nn.ReLU()]

    branches = [
        nn.Sequential(*convolve(5, 2, 1)),
        nn.Sequential(*convolve(5, 3, 1), *convolve(3, 4, 3)),
        nn.Sequential(*convolve(5, 2, 1), *convolve(2, 3, wide)),
        nn.Sequential(POOLS[rank](3, stride=1, padding=1), *convolve(5, 2, 1)),
    ]
    parts = (block.direct, block.middle, block.wide, block.pooled)
    for branch, part in zip(branches, parts, strict=True):
        pairs = zip(branch.state_dict().items(), part.state_dict().values(), strict=True)
        branch.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
        branch.eval()
    return branches


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("wide", [3, 5])
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
def test_it_is_torchs_branches(rank: int, wide: int, norm: type[BatchNorm] | None) -> None:
    block = settled(InceptionBlock(*SIZES, wide_kernel=wide, rank=rank, norm=norm))
    x = torch.randn(2, 5, *SPACE[rank])
    branches = reference(block, rank, wide, norm is not None)
    expected = torch.cat([branch(x) for branch in branches], 1)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert block.c_out == expected.shape[1] == 11


def test_parameters_of_the_papers_3a() -> None:
    """Table 1 says 159K, of the weights alone."""
    block = InceptionBlock(192, 64, (96, 128), (16, 32), 32, norm=None)
    weights = 192 * (64 + 96 + 16 + 32) + 96 * 128 * 9 + 16 * 32 * 25
    biases = 64 + 96 + 128 + 16 + 32 + 32
    assert sum(p.numel() for p in block.parameters()) == weights + biases


BLOCKS = {
    "tokens": (lambda: InceptionBlock(*SIZES, rank=1), (2, 5, 6)),
    "image": (lambda: InceptionBlock(*SIZES, norm=None), (2, 5, 4, 5)),
    "volume": (lambda: InceptionBlock(*SIZES, rank=3, norm=LayerNorm), (1, 5, 3, 2, 4)),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_device_and_type_reach_every_parameter() -> None:
    block = InceptionBlock(*SIZES, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def test_half_precision_and_empty_batches() -> None:
    block = InceptionBlock(*SIZES, norm=None, dtype=torch.bfloat16)
    assert block(torch.ones(2, 5, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert block(torch.ones(0, 5, 4, 4, dtype=torch.bfloat16)).shape == (0, 11, 4, 4)


REFUSALS = {
    "one size for two": (
        lambda: InceptionBlock(5, 2, (3,), (2, 3), 2),
        "c_middle must be two: channels of its 1x1 and of its KxK, got (3,)",
    ),
    "size": (
        lambda: InceptionBlock(5, 2, (3, 4), (2, 3), 0),
        "c_in, c_out and groups must be at least 1: got 5, 0 and 1",
    ),
    "even kernel": (
        lambda: InceptionBlock(*SIZES, wide_kernel=4),
        "kernel must be odd where no padding is given, got 4",
    ),
    "rank": (lambda: InceptionBlock(*SIZES, rank=4), "rank must be 1, 2 or 3, got 4"),
    "channels": (
        lambda: InceptionBlock(*SIZES)(torch.ones(1, 4, 5, 5)),
        "x must have shape (N, 5, H, W), got (1, 4, 5, 5)",
    ),
    "axes": (
        lambda: InceptionBlock(*SIZES, rank=3)(torch.ones(1, 5, 5, 5)),
        "x must have shape (N, 5, D, H, W), got (1, 5, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
