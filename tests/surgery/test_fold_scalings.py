"""Norms and scalings into their neighbours: against plain torch."""

import copy

import pytest
import torch
from calibrated import check_folded, kinds, randomised, reasons
from lookalikes import BatchNormAct2d, FrozenBatchNorm2d, LayerScale
from torch import Tensor, nn

from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.fold import fold, fold_norms

ROWS, TOKENS = torch.randn(5, 4), torch.randn(3, 4, 7)
IMAGE, VOLUME = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 5, 5, 5)


class Last(nn.Module):
    """Channels to the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1)


class Pool(nn.Module):
    """The mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


BEFORE = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), TOKENS),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), IMAGE),
    "conv2d without bias": (nn.Conv2d(4, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), IMAGE),
    "conv3d": (nn.Conv3d(4, 6, 2, dilation=2), nn.BatchNorm3d(6), VOLUME),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), IMAGE),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8), IMAGE),
    "reflected": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), BatchNorm(6), IMAGE),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), nn.BatchNorm1d(6), TOKENS),
    "transposed 2d": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(6),
        IMAGE,
    ),
    "transposed 3d": (nn.ConvTranspose3d(4, 6, 2, bias=False), nn.BatchNorm3d(6), VOLUME),
    "transposed grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), IMAGE),
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d(6), ROWS),
    "pointwise": (PointwiseConv(4, 6, groups=2, bias=False), BatchNorm(6), VOLUME),
    "not affine": (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False), IMAGE),
    "large eps": (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, eps=0.5), IMAGE),
    "frozen": (nn.Conv2d(4, 6, 3), FrozenBatchNorm(6), IMAGE),
    "torchvision's": (nn.Conv2d(4, 6, 3), FrozenBatchNorm2d(6), IMAGE),
    "layer scale": (nn.Sequential(Last(), nn.Linear(4, 6), nn.Dropout()), LayerScale(6), IMAGE),
}

AFTER = {
    "conv1d": (BatchNorm(4), nn.Conv1d(4, 6, 3), TOKENS),
    "conv2d": (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1, stride=2), IMAGE),
    "grouped": (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2), IMAGE),
    "reflected": (
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
        IMAGE,
    ),
    "linear": (nn.BatchNorm1d(4), nn.Linear(4, 6, bias=False), ROWS),
    "axes moved": (nn.BatchNorm2d(4), nn.Sequential(Last(), nn.Linear(4, 6)), IMAGE),
    "pooled": (nn.BatchNorm2d(4), nn.Sequential(Pool(), nn.Linear(4, 6)), IMAGE),
    "pooled and flat": (
        nn.BatchNorm2d(4),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)),
        IMAGE,
    ),
    "image scale": (ImageScale([0.4] * 4, [0.2] * 4), nn.Conv2d(4, 6, 3), IMAGE),
    "layer norm": (nn.LayerNorm(4), nn.Linear(4, 6), ROWS),
    "layer norm and dropout": (
        nn.LayerNorm(7),
        nn.Sequential(nn.Dropout(), nn.Linear(7, 3)),
        TOKENS,
    ),
    "group norm": (nn.GroupNorm(2, 4), nn.Conv2d(4, 6, 3), IMAGE),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", BEFORE)
def test_into_the_layer_before(case: str, dtype: torch.dtype):
    layer, norm, x = BEFORE[case]
    net = randomised(nn.Sequential(copy.deepcopy(layer), copy.deepcopy(norm), nn.ReLU()))
    folded, swaps = check_folded(net, x, dtype=dtype)
    assert type(folded[1]) is nn.Identity
    assert [swap.path for swap in swaps[-3:] if swap.after][-2:] == ["1", ""]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", AFTER)
def test_into_the_layer_after(case: str, dtype: torch.dtype):
    norm, layer, x = AFTER[case]
    net = randomised(nn.Sequential(copy.deepcopy(norm), copy.deepcopy(layer)))
    folded, swaps = check_folded(net, x, dtype=dtype)
    assert not list(folded[0].parameters())
    assert not reasons(swaps)


def test_the_activation_in_a_norm_stays():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 3), BatchNormAct2d(6)))
    folded, _ = check_folded(net, IMAGE, dtype=torch.float64)
    assert kinds(folded) == ["Conv2d", "SiLU"]


def test_our_blocks():
    net = randomised(nn.Sequential(ConvNormActivation(4, 6, 3), Projection(6, 4, stride=2)))
    folded, _ = check_folded(net, IMAGE, dtype=torch.float64)
    assert {type(block.norm) for block in folded} == {nn.Identity}


def test_pixels_of_bytes_keep_their_scale():
    net = ImageNetwork(ImageScale([0.4], [0.2]), nn.Conv2d(1, 2, 3)).eval()
    _, swaps = fold(net, torch.zeros(1, 1, 5, 5, dtype=torch.uint8))
    assert reasons(swaps) == {"scale": "also changes the type of its input"}


def test_a_layer_norm_before_three_layers():
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            return (self.q(x) * self.k(x)).softmax(-1) * self.v(x)

    folded, swaps = check_folded(randomised(Heads()), torch.randn(2, 5, 6), dtype=torch.float64)
    assert folded.norm.weight is None
    assert swaps[-2].reason == "folded into 'k' and 'q' and 'v'"


def test_shared_layers_with_one_norm_fold_once():
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    net = randomised(nn.Sequential(block, block))
    folded, swaps = check_folded(net, IMAGE, dtype=torch.float64)
    assert folded[0] is folded[1]
    assert [swap.path for swap in swaps] == ["0.0", "0.1", ""]


def test_flags_and_types_are_kept():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6)))
    net[0].weight.requires_grad_(False)
    net = net.to(torch.bfloat16)
    net[0].to(memory_format=torch.channels_last)
    folded, _ = fold(net, IMAGE.bfloat16())
    assert folded[0].weight.dtype == folded[0].bias.dtype == torch.bfloat16
    assert not folded[0].weight.requires_grad
    assert not folded[0].bias.requires_grad
    assert not folded[0].training
    assert folded[0].weight.stride() == net[0].weight.stride()


def test_in_place_changes_the_model_itself():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)))
    with torch.no_grad():
        expected = net(IMAGE)
    same, _ = fold(net, IMAGE, in_place=True)
    assert same is net
    with torch.no_grad():
        torch.testing.assert_close(net(IMAGE), expected, rtol=1e-5, atol=1e-5)
    assert kinds(net) == ["Conv2d", "Identity"]


def test_folding_twice_changes_nothing_more():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.Dropout()))
    folded, _ = fold(net, IMAGE)
    again, swaps = fold(folded, IMAGE)
    assert swaps == []
    torch.testing.assert_close(again.state_dict(), folded.state_dict(), rtol=0, atol=0)


def test_the_difference_stands_last():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)))
    *changes, whole = fold(net, IMAGE)[1]
    assert [str(swap) for swap in changes] == [
        "0: Conv2d(4, 6, 1x1) -> Conv2d(4, 6, 1x1) (with '1' in it)",
        "1: BatchNorm2d(6) -> Identity (folded into '0')",
    ]
    assert (whole.path, whole.before, whole.after) == ("", "Sequential", "Sequential")
    assert whole.reason.startswith("equal to ")


def test_a_scale_without_offset_goes_through_padding():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.conv = LayerScale(4), nn.Conv2d(4, 6, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.scale(x).permute(0, 3, 1, 2))

    x = torch.randn(2, 8, 8, 4)
    folded, _ = check_folded(randomised(Scaled()), x, dtype=torch.float64)
    assert type(folded.scale) is nn.Identity


def test_norms_alone_leave_every_other_layer():
    layers = [nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1), nn.Dropout(), nn.ReLU()]
    net = randomised(nn.Sequential(ImageScale([0.4] * 4, [0.2] * 4), *layers))
    folded, _ = fold_norms(net, IMAGE)
    assert kinds(folded) == [*kinds(net)[:2], "Identity", *kinds(net)[3:]]
    torch.testing.assert_close(folded(IMAGE), net(IMAGE))


def test_excluded_modules_keep_their_norms():
    net = randomised(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()))
    folded, swaps = fold_norms(net, IMAGE, exclude=["0"])
    assert kinds(folded) == kinds(net)
    assert "'0' is excluded" in swaps[0].reason
    with pytest.raises(ValueError, match="the model has no '7'"):
        fold_norms(net, IMAGE, exclude=["7"])
