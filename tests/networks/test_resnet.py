"""ResNet: torchvision's network with its weights, the published counts, and the paper's strides."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from blocks import check_channels_last, check_export, settled
from pointwise.networks._weights import rename
from pointwise.networks.resnet import TORCHVISION_NAMES, ResNet, resnet50, resnet101
from pointwise.nn import BatchNorm, Projection
from pointwise.nn.pointwise import PointwiseConv
from torchvision_models import torchvision

models = torchvision.models

small = partial(ResNet, 5, depths=(1, 2, 1, 1), width=8)


def theirs_of(make: type, **options: int) -> nn.Module:
    """A network of torchvision's whose values neither vanish nor grow from block to block."""
    network = settled(make(**options))
    for name, parameter in network.named_parameters():
        if name.endswith(("bn3.weight", "bn3.bias")):
            parameter.data.mul_(0.2)
    return network


def assert_agree(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected = theirs(x)
        found = ours.eval()(x)
    assert 0.1 < expected.std() < 100  # so that the tolerance says something
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


NETWORKS = {
    "resnet50": (models.resnet50, {}),
    "resnet101": (models.resnet101, {}),
    "resnext50": (models.resnext50_32x4d, {}),
    "wide_resnet50": (models.wide_resnet50_2, {}),
    "other classes": (models.resnet50, {"num_classes": 7}),
}


@pytest.mark.parametrize(("make", "options"), NETWORKS.values(), ids=NETWORKS.keys())
def test_torchvisions_weights_give_its_outputs(make: type, options: dict[str, int]) -> None:
    theirs = theirs_of(make, **options)
    ours = ResNet.from_torchvision(theirs.state_dict())
    assert_agree(ours, theirs, torch.randn(2, 3, 64, 75))


def test_input_channels_are_read_from_the_weights() -> None:
    theirs = models.ResNet(models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=5)
    theirs.conv1 = nn.Conv2d(4, 64, 7, 2, 3, bias=False)
    ours = ResNet.from_torchvision(theirs_of(lambda: theirs).state_dict())
    assert_agree(ours, theirs, torch.randn(2, 4, 64, 75))


def on_the_first_1x1(theirs: nn.Module) -> nn.Module:
    """A network of torchvision's with its strides where the paper has them."""
    for block in (theirs.layer2[0], theirs.layer3[0], theirs.layer4[0]):
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    return theirs


def test_the_papers_variant_strides_on_the_first_1x1() -> None:
    theirs = on_the_first_1x1(theirs_of(models.resnet50, num_classes=5))
    ours = resnet50(5, variant="paper")
    ours.load_state_dict(rename(theirs.state_dict(), TORCHVISION_NAMES))
    assert_agree(ours, theirs, torch.randn(2, 3, 64, 75))


@pytest.mark.parametrize(
    ("make", "options", "count"),
    [
        (resnet50, {}, 25_557_032),
        (resnet50, {"variant": "paper"}, 25_557_032),
        (resnet101, {}, 44_549_160),
        (ResNet, {"depths": (3, 4, 6, 3), "groups": 32, "width": 4}, 25_028_904),
        (ResNet, {"depths": (3, 4, 6, 3), "width": 128}, 68_883_240),
        (resnet50, {"channels": 1}, 25_557_032 - 2 * 64 * 7 * 7),
        (resnet50, {"classes": 10}, 25_557_032 - 990 * 2049),
    ],
)
def test_parameter_counts_are_the_published(
    make: type, options: dict[str, int], count: int
) -> None:
    with torch.device("meta"):
        network = make(**options)
    assert sum(p.numel() for p in network.parameters()) == count


def multiplications(network: nn.Module) -> tuple[float, float]:
    """Those at 224x224 in all, and those in 1x1 convolutions, by torch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    counts, name = counter.get_flop_counts(), type(network).__name__
    in_1x1s = [
        sum(counts[f"{name}.{part}"].values())
        for part, module in network.named_modules()
        if isinstance(module, PointwiseConv) or getattr(module, "kernel_size", None) == (1, 1)
    ]
    return counter.get_total_flops() / 2, sum(in_1x1s) / 2


def test_multiplications_are_the_published() -> None:
    with torch.device("meta"):
        total, in_1x1s = multiplications(resnet50())
    assert total / 1e6 == pytest.approx(4089.2, abs=0.05)
    assert 100 * in_1x1s / total == pytest.approx(51.83, abs=0.005)


def test_multiplications_are_torchvisions() -> None:
    with torch.device("meta"):
        assert multiplications(resnet101()) == multiplications(models.resnet101())
        theirs = on_the_first_1x1(models.resnet50())
        assert multiplications(resnet50(variant="paper")) == multiplications(theirs)


def test_maps_are_the_stages_outputs() -> None:
    network = small()
    maps = network.maps(torch.randn(2, 3, 70, 33))
    sizes = [(2, 256, 18, 9), (2, 512, 9, 5), (2, 1024, 5, 3), (2, 2048, 3, 2)]
    assert [tuple(y.shape) for y in maps] == sizes
    assert [y.requires_grad for y in maps] == [True] * 4


def test_maps_in_both_memory_orders() -> None:
    network = settled(small())
    network.forward = network.maps
    check_channels_last(network, torch.randn(2, 3, 40, 50))


def test_the_papers_variant_exports() -> None:
    check_export(settled(small(variant="paper")), torch.randn(1, 3, 40, 33))


class Frozen(BatchNorm):
    """A norm that learns nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)


@pytest.mark.parametrize("make", [resnet50, resnet101, partial(ResNet, depths=(1, 1, 1, 1))])
def test_the_norm_is_passed_in(make: type) -> None:
    with torch.device("meta"):
        network = make(norm=Frozen)
    norms = [m for m in network.modules() if isinstance(m, BatchNorm)]
    assert {type(norm) for norm in norms} == {Frozen}
    learned = [name for name, p in network.named_parameters() if p.requires_grad]
    assert not any("norm" in name for name in learned)


def test_strided_1x1s_are_projections() -> None:
    with torch.device("meta"):
        network = resnet50()
    assert all(m.kernel_size != (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))
    strided = [m for m in network.modules() if isinstance(m, Projection) and m.stride == 2]
    assert len(strided) == 3


def test_weights_start_as_torchvisions_do() -> None:
    torch.manual_seed(0)
    ours, theirs = resnet50(10), models.resnet50(num_classes=10)
    renamed = rename(theirs.state_dict(), TORCHVISION_NAMES)
    for name, own in ours.state_dict().items():
        given = renamed[name].float()
        if own.ndim > 1:
            torch.testing.assert_close(own.std(), given.std(), rtol=0.05, atol=0)
        elif name != "head.bias":
            torch.testing.assert_close(own.float(), given, rtol=0, atol=0)


def without(key: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        state_dict = models.resnet50().state_dict()
    return {name: value for name, value in state_dict.items() if not name.startswith(key)}


REFUSALS = {
    "depths": (lambda: ResNet(depths=(3, 4, 6)), "depths must be four positive counts, got (3, 4"),
    "no block": (
        lambda: ResNet(depths=(3, 0, 6, 3)),
        "depths must be four positive counts, got (3, 0, 6, 3)",
    ),
    "variant": (
        lambda: resnet50(variant="caffe"),
        "variant must be 'torchvision' or 'paper', got 'caffe'",
    ),
    "classes": (lambda: resnet50(0), "classes must be at least 1, got 0"),
    "no channels": (
        lambda: resnet50(channels=0),
        "c_in, c_out and groups must be at least 1: got 0, 64 and 1",
    ),
    "no groups": (
        lambda: small(groups=0),
        "c_in, c_out and groups must be at least 1: got 64, 0 and 1",
    ),
    "channels": (
        lambda: small()(torch.ones(1, 4, 64, 64)),
        "x must have shape (N, 3, H, W), got (1, 4, 64, 64)",
    ),
    "axes": (
        lambda: small().maps(torch.ones(1, 3, 64)),
        "x must have shape (N, 3, H, W), got (1, 3, 64)",
    ),
    "size": (
        lambda: small().maps(torch.ones(1, 3, 64, 31)),
        "x must have at least 32 positions along every axis, got (64, 31)",
    ),
    "basic blocks": (
        lambda: ResNet.from_torchvision(models.resnet18().state_dict()),
        "state_dict must be that of torchvision's ResNet of bottlenecks: it lacks layer1.0.conv3",
    ),
    "missing weights": (
        lambda: ResNet.from_torchvision(without("layer3.2.bn1.")),
        "state_dict must fit ResNet: it lacks stages.2.2.reduce.norm.",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
