"""FeaturePyramid: torchvision's with the same weights, and plain torch layers at every rank."""

import re
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchvision_models  # noqa: F401  (before torchvision: it may lack operators)
from blocks import check_block, settled
from cases import CONVS, channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pyramid import FeaturePyramid

WIDTHS = (3, 4, 6)
SIZES = {
    1: ((13,), (7,), (4,)),
    2: ((12, 9), (6, 5), (3, 3)),
    3: ((4, 5, 6), (2, 3, 3), (1, 2, 2)),
}


def maps(rank: int, samples: int = 2) -> list[Tensor]:
    return [torch.randn(samples, c, *s) for c, s in zip(WIDTHS, SIZES[rank], strict=True)]


class OfTensors(nn.Module):
    """The block as a function of tensors, not of a list of them."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return self.block([x, y, z])


@pytest.mark.parametrize("coarser", [False, True])
def test_it_is_torchvisions(coarser: bool) -> None:
    from torchvision.ops import FeaturePyramidNetwork
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    block = FeaturePyramid(WIDTHS, 5, coarser=coarser)
    extra = LastLevelMaxPool() if coarser else None
    reference = FeaturePyramidNetwork(list(WIDTHS), 5, extra)
    pairs = zip(reference.state_dict().items(), block.state_dict().values(), strict=True)
    reference.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    xs = maps(2)
    expected = reference(OrderedDict((str(i), x) for i, x in enumerate(xs)))
    found = block(xs)
    assert len(found) == len(WIDTHS) + coarser
    torch.testing.assert_close(found, list(expected.values()), rtol=1e-4, atol=1e-5)


def convolve(block: nn.Module, x: Tensor, rank: int) -> Tensor:
    """What torch's own convolution gives with a block's weights."""
    weight = block.conv.weight
    size = weight.shape[2] if weight.ndim > 2 else 1
    conv = CONVS[rank](weight.shape[1], weight.shape[0], size, padding=size // 2)
    conv.load_state_dict(
        {"weight": weight.reshape(conv.weight.shape), "bias": block.conv.bias}, strict=True
    )
    return conv(x)


@pytest.mark.parametrize("rank", SIZES)
def test_it_is_laterals_sums_and_3x3s(rank: int) -> None:
    block, xs = FeaturePyramid(WIDTHS, 5, rank=rank), maps(rank)
    above: Tensor | None = None
    expected = []
    for i in (2, 1, 0):
        y = convolve(block.laterals[i], xs[i], rank)
        y = y if above is None else y + F.interpolate(above, xs[i].shape[2:], mode="nearest")
        expected.insert(0, convolve(block.smooths[i], y, rank))
        above = y
    torch.testing.assert_close(block(xs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", SIZES)
def test_the_added_map_is_max_pooling(rank: int) -> None:
    *_, coarsest, added = FeaturePyramid(WIDTHS, 5, rank=rank, coarser=True)(maps(rank))
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    torch.testing.assert_close(added, pool(coarsest, 1, 2), rtol=0, atol=0)


BLOCKS = {
    "tokens": (1, lambda: FeaturePyramid(WIDTHS, 2, rank=1, coarser=True)),
    "image": (2, lambda: FeaturePyramid(WIDTHS, 2, coarser=True)),
    "image with norms": (
        2,
        lambda: FeaturePyramid(WIDTHS, 2, norm=BatchNorm, activation=nn.SiLU),
    ),
    "volume": (3, lambda: FeaturePyramid(WIDTHS, 2, rank=3)),
}


@pytest.mark.parametrize(("rank", "make"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(rank: int, make: type) -> None:
    check_block(OfTensors(make()), *maps(rank, samples=1))


@pytest.mark.parametrize("rank", SIZES)
def test_every_map_keeps_its_own_memory_order(rank: int) -> None:
    xs = maps(rank)
    xs[1] = channels_last(xs[1])
    with torch.no_grad():
        block = FeaturePyramid(WIDTHS, 5, rank=rank)
        found, expected = block(xs), block([x.contiguous() for x in xs])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert [is_channels_last(y) for y in found] == [False, True, False]


def test_one_map_and_an_empty_batch() -> None:
    assert [y.shape for y in FeaturePyramid((4,), 3)([torch.ones(0, 4, 5, 5)])] == [(0, 3, 5, 5)]


def test_bfloat16() -> None:
    block = settled(FeaturePyramid(WIDTHS, 5, coarser=True))
    expected = block(maps(2))
    found = block.bfloat16()([x.bfloat16() for x in maps(2)])
    assert {y.dtype for y in found} == {torch.bfloat16}
    assert [y.shape for y in found] == [y.shape for y in expected]


def test_it_starts_with_the_variance_kept_and_offsets_of_zero() -> None:
    block = FeaturePyramid((64, 128), 64)
    offsets = [p for name, p in block.named_parameters() if name.endswith("bias")]
    assert len(offsets) == 4
    assert not any(p.any() for p in offsets)
    y = block([torch.randn(4, 64, 8, 8), torch.randn(4, 128, 4, 4)])[1][:, :, 1:-1, 1:-1]
    assert y.var().item() == pytest.approx(1, abs=0.2)


def test_device_and_type_reach_every_parameter() -> None:
    block = FeaturePyramid(WIDTHS, 5, norm=BatchNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def pyramid(*shapes: tuple[int, ...]) -> list[Tensor]:
    return FeaturePyramid((3, 4), 5)([torch.ones(shape) for shape in shapes])


REFUSALS = {
    "no maps": (lambda: FeaturePyramid((), 5), "c_ins must name at least one map, got none"),
    "rank": (lambda: FeaturePyramid((3, 4), 5, rank=4), "rank must be 1, 2 or 3, got 4"),
    "size": (
        lambda: FeaturePyramid((3, 0), 5),
        "c_in, c_out and groups must be at least 1: got 0, 5 and 1",
    ),
    "batches": (
        lambda: pyramid((2, 3, 8, 8), (1, 4, 4, 4)),
        "maps must have equally many samples, got [2, 1]",
    ),
    "too few": (lambda: pyramid((1, 3, 8, 8)), "maps must be 2, one per size, got 1"),
    "channels": (
        lambda: pyramid((1, 3, 8, 8), (1, 3, 4, 4)),
        "x must have shape (N, 4, H, W), got (1, 3, 4, 4)",
    ),
    "coarsest first": (
        lambda: pyramid((1, 3, 4, 4), (1, 4, 8, 8)),
        "maps must stand with the finest first, got sizes (4, 4), (8, 8)",
    ),
    "axes": (
        lambda: pyramid((1, 3, 8), (1, 4, 4)),
        "x must have shape (N, 3, H, W), got (1, 3, 8)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
