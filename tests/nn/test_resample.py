"""Resampling and the two blocks that double the size: torch's own functions, at any rank."""

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks import check_block
from cases import CONVS, MEMORY, channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.nn.resample import UpConvolution, UpProjection, resample

SPACE = {1: (5,), 2: (4, 3), 3: (2, 3, 2)}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

each_rank = pytest.mark.parametrize("rank", SPACE)


@each_rank
@pytest.mark.parametrize("step", [-1, 1, 4])
def test_resampling_is_linear_interpolation(rank: int, step: int) -> None:
    x = torch.randn(2, 3, *SPACE[rank])
    size = tuple(positions + step for positions in SPACE[rank])
    expected = F.interpolate(x, size=size, mode=MODES[rank], align_corners=False)
    torch.testing.assert_close(resample(x, size), expected, rtol=0, atol=0)
    found = resample(channels_last(x), torch.Size(size))
    torch.testing.assert_close(found, expected)
    assert is_channels_last(found)


def test_a_map_of_the_right_size_is_left_alone() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert resample(x, [4, 5]) is x


@each_rank
def test_an_up_convolution_is_torchs(rank: int) -> None:
    block = UpConvolution(4, 3, rank=rank)
    layer = TRANSPOSED[rank](4, 3, 2, stride=2)
    layer.load_state_dict(block.conv.state_dict())
    x = torch.randn(2, 4, *SPACE[rank])
    torch.testing.assert_close(block(x), layer(x))


@each_rank
def test_an_up_convolution_cuts_off_or_adds_zeros_at_the_end(rank: int) -> None:
    block, x = UpConvolution(4, 3, rank=rank), torch.randn(2, 4, *SPACE[rank])
    twice = tuple(2 * positions for positions in SPACE[rank])
    whole = block(x)
    smaller = tuple(slice(positions - 1) for positions in twice)
    for size in (tuple(positions - 1 for positions in twice), (*twice[:-1], twice[-1] + 1)):
        found = block(x, size)
        assert found.shape[2:] == size
        inside = (slice(None), slice(None), *smaller)
        torch.testing.assert_close(found[inside], whole[inside])
    assert not found[..., -1].any()


@each_rank
def test_an_up_projection_is_interpolation_and_a_1x1(rank: int) -> None:
    block = UpProjection(4, 3, rank=rank)
    layer = CONVS[rank](4, 3, 1)
    layer.weight.data.copy_(block.conv.weight.reshape(layer.weight.shape))
    layer.bias.data.copy_(block.conv.bias)
    x = torch.randn(2, 4, *SPACE[rank])
    twice = tuple(2 * positions for positions in SPACE[rank])
    for given, size in ((None, twice), (tuple(p + 3 for p in twice),) * 2):
        larger = F.interpolate(x, size=size, mode=MODES[rank])
        torch.testing.assert_close(block(x, given), layer(larger), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [UpConvolution, UpProjection])
@each_rank
def test_the_block_contract(make: type[nn.Module], rank: int) -> None:
    check_block(make(2, 3, rank=rank), torch.randn(2, 2, *SPACE[rank]))


@pytest.mark.parametrize("make", [UpConvolution, UpProjection])
@pytest.mark.parametrize("memory", MEMORY)
def test_any_memory_order(make: type[nn.Module], memory: str) -> None:
    block, x = make(4, 3, rank=1), MEMORY[memory](torch.randn(3, 4, 6))
    torch.testing.assert_close(block(x, (11,)), block(x.contiguous(), (11,)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [UpConvolution, UpProjection])
def test_device_and_type_reach_every_parameter(make: type[nn.Module]) -> None:
    block = make(3, 4, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


@pytest.mark.parametrize("make", [UpConvolution, UpProjection])
def test_an_empty_batch_stays_empty(make: type[nn.Module]) -> None:
    assert make(3, 4)(torch.ones(0, 3, 5, 4)).shape == (0, 4, 10, 8)


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "rows": (
        lambda: resample(torch.ones(2, 3), ()),
        "x must have 1 to 3 position axes, got shape (2, 3)",
    ),
    "size": (
        lambda: resample(torch.ones(2, 3, 4, 4), (8,)),
        "size must have 2 entries (H, W), got (8,)",
    ),
    "rank": (lambda: UpConvolution(2, 3, rank=0), "rank must be 1, 2 or 3, got 0"),
    "projection rank": (lambda: UpProjection(2, 3, rank=4), "rank must be 1, 2 or 3, got 4"),
    "no channels": (
        lambda: UpConvolution(0, 3),
        "c_in and c_out must be at least 1: got 0 and 3",
    ),
    "channels": (
        lambda: UpConvolution(2, 3)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 2, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: UpProjection(2, 3)(torch.ones(1, 2, 5)),
        "x must have shape (N, 2, H, W), got (1, 2, 5)",
    ),
    "far too large": (
        lambda: UpConvolution(2, 3)(torch.ones(1, 2, 5, 5), (10, 20)),
        "size must be that of the enlarged map, (10, 10), give or take 1 along every axis, "
        "got (10, 20)",
    ),
    "far too small": (
        lambda: UpConvolution(2, 3)(torch.ones(1, 2, 5, 5), (8, 10)),
        "size must be that of the enlarged map, (10, 10), give or take 1 along every axis, "
        "got (8, 10)",
    ),
    "axes of the size": (
        lambda: UpConvolution(2, 3)(torch.ones(1, 2, 5, 5), (10,)),
        "size must have 2 entries (H, W), got (10,)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        call()
