"""Fire: three of torch's convolutions."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn.fire import Fire
from pointwise.nn.norm import BatchNorm

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}


def layers_of(part: nn.Module, c_in: int, kernel: int, rank: int, norm: bool) -> nn.Sequential:
    """Convolution, norm and ReLU of torch's, with the weights of a part of a block."""
    c_out = len(part.conv.weight)
    conv = CONVS[rank](c_in, c_out, kernel, padding=kernel // 2, bias=not norm)
    layers = nn.Sequential(conv, *([NORMS[rank](c_out)] if norm else []), nn.ReLU())
    pairs = zip(layers.state_dict().items(), part.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
def test_it_is_torchs_convolutions(rank: int, norm: type[BatchNorm] | None) -> None:
    block = settled(Fire(6, 3, 4, 5, rank=rank, norm=norm))
    x = torch.randn(2, 6, *SPACE[rank])
    squeezed = layers_of(block.squeeze, 6, 1, rank, norm is not None)(x)
    narrow = layers_of(block.expand1x1, 3, 1, rank, norm is not None)(squeezed)
    wide = layers_of(block.expand3x3, 3, 3, rank, norm is not None)(squeezed)
    expected = torch.cat([narrow, wide], 1)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert block.c_out == expected.shape[1] == 9


def test_parameters_of_the_papers_fire2() -> None:
    count = sum(p.numel() for p in Fire(96, 16, 64, 64).parameters())
    assert count == (96 * 16 + 16) + (16 * 64 + 64) + (16 * 64 * 9 + 64)


BLOCKS = {
    "tokens": (lambda: Fire(3, 2, 3, 4, rank=1, norm=BatchNorm), (2, 3, 6)),
    "image": (lambda: Fire(4, 2, 3, 3), (2, 4, 5, 4)),
    "volume": (lambda: Fire(3, 2, 2, 3, rank=3, activation=nn.SiLU), (2, 3, 3, 2, 4)),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_device_and_type_reach_every_parameter() -> None:
    block = Fire(3, 2, 4, 5, norm=BatchNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def test_half_precision_and_empty_batches() -> None:
    block = Fire(3, 2, 4, 5, dtype=torch.bfloat16)
    assert block(torch.ones(2, 3, 5, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert block(torch.ones(0, 3, 5, 5, dtype=torch.bfloat16)).shape == (0, 9, 5, 5)


REFUSALS = {
    "size": (
        lambda: Fire(3, 0, 4, 4),
        "c_in, c_out and groups must be at least 1: got 3, 0 and 1",
    ),
    "rank": (lambda: Fire(3, 2, 4, 4, rank=0), "rank must be 1, 2 or 3, got 0"),
    "channels": (
        lambda: Fire(3, 2, 4, 4)(torch.ones(1, 4, 5, 5)),
        "x must have shape (N, 3, H, W), got (1, 4, 5, 5)",
    ),
    "axes": (
        lambda: Fire(3, 2, 4, 4, rank=1)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 3, L), got (1, 3, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
