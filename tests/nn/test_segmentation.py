"""Segmentation heads: torch's own layers in a row, and torchvision's FCN."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn.norm import BatchNorm
from pointwise.nn.segmentation import FCNHead, PyramidHead
from torchvision_models import torchvision

FCN = torchvision.models.segmentation.FCN
TorchvisionHead = torchvision.models.segmentation.fcn.FCNHead

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
LARGER = {1: (20,), 2: (13, 10), 3: (8, 9, 7)}

each_rank = pytest.mark.parametrize("rank", SPACE)


def with_values(layers: nn.Module, block: nn.Module) -> nn.Module:
    """Torch's layers with the block's values: both have them in the same order."""
    pairs = zip(layers.state_dict().items(), block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


def conv(rank: int, c_in: int, c_out: int) -> nn.Sequential:
    layers = CONVS[rank](c_in, c_out, 3, padding=1, bias=False), NORMS[rank](c_out), nn.ReLU()
    return nn.Sequential(*layers)


# --- FCNHead ---


@each_rank
def test_an_fcn_head_is_torchs_layers_in_a_row(rank: int) -> None:
    head = settled(FCNHead(12, 5, rank=rank))
    layers = with_values(nn.Sequential(conv(rank, 12, 3), CONVS[rank](3, 5, 1)), head)
    x = torch.randn(2, 12, *SPACE[rank])
    torch.testing.assert_close(head(x), layers(x), rtol=1e-4, atol=1e-5)
    expected = F.interpolate(layers(x), size=LARGER[rank], mode=MODES[rank])
    torch.testing.assert_close(head(x, LARGER[rank]), expected, rtol=1e-4, atol=1e-5)


class Backbone(nn.Module):
    """A convolution whose map is called as torchvision's backbones call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        return {"out": y, "aux": y}


def test_an_fcn_head_works_in_torchvisions_fcn() -> None:
    backbone, theirs = Backbone(), TorchvisionHead(16, 6)
    for module in theirs:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    ours = FCNHead.from_torchvision(theirs.state_dict())
    x = torch.randn(2, 3, 33, 41)
    expected = FCN(backbone, theirs, theirs).eval()(x)
    found = FCN(backbone, ours, ours).eval()(x)
    assert found["out"].shape == (2, 6, 33, 41)
    torch.testing.assert_close(found, expected)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_what_is_loaded_is_a_copy_of_the_same_type() -> None:
    theirs = TorchvisionHead(8, 3).double()
    ours = FCNHead.from_torchvision(theirs.state_dict())
    assert {p.dtype for p in ours.parameters()} == {torch.float64}
    theirs[0].weight.data.zero_()
    assert ours.conv.conv.weight.abs().min() > 0


def test_an_fcn_head_drops_values_in_training_only() -> None:
    head, x = FCNHead(40, 2, dropout=0.5, norm=None), torch.randn(1, 40, 9, 9)
    assert head.dropout.p == 0.5
    assert not torch.equal(head(x), head(x))
    head.eval()
    torch.testing.assert_close(head(x), head(x))


def test_a_narrow_map_keeps_one_channel() -> None:
    assert FCNHead(3, 2).conv.conv.weight.shape == (1, 3, 3, 3)
    assert FCNHead(3, 2, c_mid=7).conv.conv.weight.shape == (7, 3, 3, 3)


# --- PyramidHead ---


def levels(rank: int, count: int, channels: int = 4) -> list[Tensor]:
    """Maps of odd sizes, each about half as large as the one before."""
    return [
        torch.randn(2, channels, *(-(-positions // 2**level) for positions in LARGER[rank]))
        for level in range(count)
    ]


@each_rank
def test_a_pyramid_head_is_torchs_layers(rank: int) -> None:
    head, maps = settled(PyramidHead(4, 5, levels=3, c_mid=6, rank=rank)), levels(rank, 3)
    parts = [conv(rank, 4, 6), conv(rank, 4, 6), conv(rank, 4, 6), conv(rank, 6, 6)]
    layers = nn.ModuleList([*parts, CONVS[rank](6, 5, 1)])
    finest, middle, coarse, coarse_again, classifier = with_values(layers, head)
    sizes = [x.shape[2:] for x in maps]
    enlarge = partial(F.interpolate, mode=MODES[rank])
    coarsest = enlarge(coarse_again(enlarge(coarse(maps[2]), sizes[1])), sizes[0])
    total = finest(maps[0]) + enlarge(middle(maps[1]), sizes[0]) + coarsest
    torch.testing.assert_close(head(maps), classifier(total), rtol=1e-4, atol=1e-5)
    size = tuple(4 * positions for positions in sizes[0])
    expected = enlarge(classifier(total), size)
    torch.testing.assert_close(head(maps, size), expected, rtol=1e-4, atol=1e-5)


def test_even_sizes_double_as_in_the_paper() -> None:
    head, maps = PyramidHead(4, 5, c_mid=8), [torch.randn(1, 4, s, s) for s in (32, 16, 8, 4)]
    assert [len(level.stages) for level in head.levels] == [1, 1, 2, 3]
    y = maps[3]
    for stage in head.eval().levels[3].stages:
        y = F.interpolate(stage(y), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(head.levels[3](maps[3], [(8, 8), (16, 16), (32, 32)]), y)


def test_the_papers_norm_is_passed_in() -> None:
    head = PyramidHead(256, 19, norm=partial(nn.GroupNorm, 32), device="meta")
    first = 256 * 128 * 9 + 2 * 128
    assert sum(p.numel() for p in head.parameters()) == (
        4 * first + 3 * (128 * 128 * 9 + 2 * 128) + 128 * 19 + 19
    )


# --- Both ---


class OnLevels(nn.Module):
    """A head that takes its levels one by one, as ``check_block`` gives them."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *maps: Tensor) -> Tensor:
        return self.head(maps, tuple(p + 1 for p in maps[0].shape[2:]))


@each_rank
def test_the_block_contract_of_an_fcn_head(rank: int) -> None:
    check_block(FCNHead(4, 2, c_mid=3, rank=rank), torch.randn(2, 4, *SPACE[rank]))


@each_rank
def test_the_block_contract_of_a_pyramid_head(rank: int) -> None:
    head = PyramidHead(2, 3, levels=3, c_mid=2, rank=rank)
    check_block(OnLevels(head), *levels(rank, 3, 2))


def test_device_and_type_reach_every_parameter() -> None:
    norm = partial(BatchNorm, eps=1e-3)
    for head in (
        FCNHead(8, 4, norm=norm, device="meta", dtype=torch.float64),
        PyramidHead(3, 4, norm=norm, device="meta", dtype=torch.float64),
    ):
        assert {(p.device.type, p.dtype) for p in head.parameters()} == {("meta", torch.float64)}


def test_bfloat16() -> None:
    head = FCNHead(8, 4, dtype=torch.bfloat16).eval()
    assert head(torch.ones(1, 8, 5, 5, dtype=torch.bfloat16), (9, 9)).dtype == torch.bfloat16
    head = PyramidHead(4, 3, levels=2, c_mid=2, rank=3, dtype=torch.bfloat16).eval()
    maps = [x.bfloat16() for x in levels(3, 2)]
    assert head(maps).dtype == torch.bfloat16


def renamed(old: str, new: str) -> dict[str, Tensor]:
    items = TorchvisionHead(8, 3).state_dict().items()
    return {key.replace(old, new): tensor for key, tensor in items}


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "rank": (lambda: FCNHead(8, 2, rank=4), "rank must be 1, 2 or 3, got 4"),
    "dropout": (
        lambda: FCNHead(8, 2, dropout=1.0),
        "p must be a share from 0 to below 1, got 1.0",
    ),
    "no classes": (
        lambda: FCNHead(8, 0),
        "c_in, c_out and groups must be at least 1: got 2, 0 and 1",
    ),
    "no width": (
        lambda: FCNHead(8, 2, c_mid=0),
        "c_in, c_out and groups must be at least 1: got 8, 0 and 1",
    ),
    "channels": (
        lambda: FCNHead(8, 2)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 8, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: FCNHead(8, 2, rank=3)(torch.ones(1, 8, 5, 5)),
        "x must have shape (N, 8, D, H, W), got (1, 8, 5, 5)",
    ),
    "size": (
        lambda: FCNHead(8, 2).eval()(torch.ones(1, 8, 5, 5), (9,)),
        "size must have 2 entries (H, W), got (9,)",
    ),
    "other state dict": (
        lambda: FCNHead.from_torchvision(renamed("4.", "5.")),
        "state_dict must be that of torchvision's FCNHead: it lacks or has also 5.bias, 5.weight, "
        "classifier.bias, classifier.weight",
    ),
    "no levels": (lambda: PyramidHead(8, 2, levels=0), "levels must be at least 1, got 0"),
    "pyramid rank": (lambda: PyramidHead(8, 2, rank=0), "rank must be 1, 2 or 3, got 0"),
    "number of maps": (
        lambda: PyramidHead(8, 2)([torch.ones(1, 8, 5, 5)]),
        "maps must be 4, one per level, got 1",
    ),
    "channels of a map": (
        lambda: PyramidHead(8, 2, levels=2)([torch.ones(1, 8, 5, 5), torch.ones(1, 4, 3, 3)]),
        "x must have shape (N, 8, H, W), got (1, 4, 3, 3)",
    ),
    "batches": (
        lambda: PyramidHead(8, 2, levels=2)([torch.ones(2, 8, 5, 5), torch.ones(1, 8, 3, 3)]),
        "maps must have equally many samples, got [2, 1]",
    ),
    "coarsest first": (
        lambda: PyramidHead(8, 2, levels=2)([torch.ones(1, 8, 3, 3), torch.ones(1, 8, 5, 5)]),
        "maps must stand with the finest first, got sizes (3, 3), (5, 5)",
    ),
    "axes of a map": (
        lambda: PyramidHead(8, 2, levels=1)([torch.ones(1, 8, 5)]),
        "x must have shape (N, 8, H, W), got (1, 8, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        call()
