"""Norms and scalings into their neighbours: against plain torch, and what is refused why."""

import copy
import re

import pytest
import torch
from calibrated import check_folded, kinds, randomised, reasons
from torch import Tensor, nn

from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.equivalence import DifferenceError
from pointwise.surgery.fold import fold

ROWS, TOKENS = torch.randn(5, 4), torch.randn(3, 4, 7)
IMAGE, VOLUME = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 5, 5, 5)


class FrozenBatchNorm2d(nn.Module):
    """As in torchvision, without importing it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        offset = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + offset.reshape(1, -1, 1, 1)


FrozenBatchNorm2d.__module__ = "torchvision.ops.misc"


class BatchNormAct2d(nn.BatchNorm2d):
    """As in timm: an activation in the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


BatchNormAct2d.__module__ = "timm.layers.norm_act"


class LayerScale(nn.Module):
    """As in timm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


LayerScale.__module__ = "timm.layers.layer_scale"


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


class Fork(nn.Module):
    """The convolution's output goes two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y).relu() * y


class Twice(nn.Module):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.conv(self.one(self.conv(x)).relu())).relu()


class Looking(Fork):
    """Its way depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) if y.sum() > 0 else y


class Odd(nn.BatchNorm2d):
    """Another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class OddLayerNorm(nn.LayerNorm):
    """Another forward."""


class OddConv(nn.Conv2d):
    """Another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, out: out * 2)
    return net


def parent_hooked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()))
    net[1].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    return net


def tied() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    net[3].weight = net[0].weight
    return net


FIRST = "before it: it reads an input of the model, not a linear layer alone"
RELU = "after it: 'relu' in '2' reads it"
REFUSED = {
    "zero padding": (
        nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)),
        f"0: {FIRST}; after it: '1' is padded with zeros, which the offset is not added to",
    ),
    "same padding": (
        nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding="same")),
        f"0: {FIRST}; after it: '1' is padded with zeros, which the offset is not added to",
    ),
    "transposed after": (
        nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3)),
        f"0: {FIRST}; after it: '1' is a transposed convolution, whose outputs at the border see "
        "fewer taps",
    ),
    "activation between": (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        "2: before it: it reads what '1' (ReLU) gives, not a linear layer alone; after it: it is "
        "an output of the model, or stored",
    ),
    "no statistics": (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        "1: normalises by the statistics of its input, as it keeps none",
    ),
    "subclass of the norm": (
        nn.Sequential(nn.Conv2d(4, 4, 1), Odd(4)),
        "1: Odd is a subclass of BatchNorm2d: its forward may differ",
    ),
    "subclass of a layer norm": (
        nn.Sequential(OddLayerNorm(8), nn.Linear(8, 2)),
        "0: OddLayerNorm is a subclass of torch's LayerNorm: its forward may differ",
    ),
    "subclass of the layer": (
        nn.Sequential(OddConv(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()),
        "1: before it: '0' OddConv is a subclass of Conv2d: its forward may differ; " + RELU,
    ),
    "hooks": (
        hooked(),
        "1: before it: it reads what a module's hooks leave, not a linear layer alone; " + RELU,
    ),
    "hook of a parent between": (
        parent_hooked(),
        "1.0: before it: it reads what a module's hooks leave, not a linear layer alone; "
        "after it: 'relu' in '1.1' reads it",
    ),
    "weight norm": (
        nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 1)),
            nn.BatchNorm2d(6),
            nn.ReLU(),
        ),
        "1: before it: '0' has parametrizations: call "
        "torch.nn.utils.parametrize.remove_parametrizations first; " + RELU,
    ),
    "tied": (
        tied(),
        "1: before it: '0' shares its weight with '3': the two would no longer be tied; " + RELU,
    ),
    "two readers": (
        Fork(),
        "norm: before it: what 'conv' gives goes elsewhere too: 'mul' in the model's forward reads "
        "it; after it: 'relu' in the model's forward reads it",
    ),
    "another axis": (
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm2d(4), nn.ReLU()),
        "1: before it: '0' has its channels on another axis; " + RELU,
    ),
    "two norms": (
        Twice(),
        "one: before it: 'conv' is called at other places too; "
        "after it: 'relu' in the model's forward reads it",
    ),
    "data-dependent": (
        Looking(),
        "norm: the flow of data is not known: the forward looks at values in the model (Looking) "
        "(aten._local_scalar_dense.default): its way depends on them",
    ),
    "not called": (
        nn.ModuleDict({"a": nn.BatchNorm2d(4)}),
        "a: the flow of data is not known: the run without values failed in the model "
        '(ModuleDict): Module [ModuleDict] is missing the required "forward" function',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_left_alone_says_why(case: str):
    model, message = REFUSED[case]
    model = randomised(copy.deepcopy(model))
    before = copy.deepcopy(model.state_dict())
    folded, swaps = fold(model, IMAGE)
    path, _, reason = message.partition(": ")
    assert reasons(swaps)[path] == reason
    torch.testing.assert_close(folded.state_dict(), before, rtol=0, atol=0)


def test_a_meta_model_is_left_alone():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()).eval()
    _, swaps = fold(net, torch.empty(2, 4, 8, 8, device="meta"))
    assert reasons(swaps) == {"1": "is on the meta device: there are no values to fold"}


def test_training_mode_is_refused():
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)).eval()
    net[1].train()
    message = (
        "model must be in evaluation mode, got training mode in '1' (BatchNorm2d): "
        "call model.eval() first"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fold(net, IMAGE)


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


def test_too_large_a_difference_is_an_error():
    net = randomised(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    with pytest.raises(DifferenceError):
        fold(net, IMAGE, rtol=-1.0)
