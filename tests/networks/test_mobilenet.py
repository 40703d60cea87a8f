"""MobileNet V1 and V2: published counts, a reference of torch's layers, torchvision's weights."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from blocks import settled
from pointwise.networks._weights import rename
from pointwise.networks.mobilenet_v1 import MobileNetV1, mobilenet_v1, scaled_channels
from pointwise.networks.mobilenet_v2 import TORCHVISION_NAMES, MobileNetV2, mobilenet_v2
from pointwise.nn.pointwise import PointwiseConv
from torchvision_models import torchvision

make_theirs = torchvision.models.mobilenet_v2


def size_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "options", "count"),
    [
        (mobilenet_v1, {}, 4_231_976),
        (mobilenet_v1, {"classes": 10}, 4_231_976 - 990 * 1025),
        (mobilenet_v1, {"channels": 1}, 4_231_976 - 2 * 32 * 3 * 3),
        (mobilenet_v2, {}, 3_504_872),
        (mobilenet_v2, {"classes": 10}, 3_504_872 - 990 * 1281),
        (mobilenet_v2, {"channels": 12}, 3_504_872 + 9 * 32 * 3 * 3),
    ],
)
def test_parameter_counts_are_the_published(
    make: type, options: dict[str, int], count: int
) -> None:
    with torch.device("meta"):
        assert size_of(make(**options)) == count


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
def test_thinner_and_wider_v2_have_torchvisions_counts(width: float) -> None:
    with torch.device("meta"):
        ours, theirs = mobilenet_v2(width=width), make_theirs(width_mult=width)
    assert size_of(ours) == size_of(theirs)


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


def test_multiplications_of_v1_are_the_published() -> None:
    with torch.device("meta"):
        total, in_1x1s = multiplications(mobilenet_v1())
    assert total / 1e6 == pytest.approx(568.7, abs=0.05)
    assert 100 * in_1x1s / total == pytest.approx(94.86, abs=0.005)


def test_multiplications_of_v2_are_torchvisions() -> None:
    with torch.device("meta"):
        assert multiplications(mobilenet_v2()) == multiplications(make_theirs())


@pytest.mark.parametrize(
    ("width", "parameters", "millions"),
    [(1.0, 4.2, 569), (0.75, 2.6, 325), (0.5, 1.3, 149), (0.25, 0.5, 41)],
)
def test_thinner_v1_is_table_6_of_the_paper(width: float, parameters: float, millions: int) -> None:
    with torch.device("meta"):
        network = mobilenet_v1(width=width)
    assert size_of(network) / 1e6 == pytest.approx(parameters, abs=0.05)
    assert multiplications(network)[0] / 1e6 == pytest.approx(millions, abs=1)


def reference_v1(classes: int, channels: int) -> nn.Sequential:
    """Table 1 of the paper, of torch's layers."""

    def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list:
        layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [layer, nn.BatchNorm2d(c_out), nn.ReLU()]

    layers, c_in = conv(channels, 32, 3, 2), 32
    for c_out in (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024):
        stride = 2 if c_out > c_in and c_in > 32 else 1
        layers += conv(c_in, c_in, 3, stride, c_in) + conv(c_in, c_out, 1)
        c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes))


def test_v1_is_torchs_layers() -> None:
    ours, reference = settled(mobilenet_v1(7, channels=2)), reference_v1(7, 2).eval()
    pairs = zip(reference.state_dict().items(), ours.state_dict().values(), strict=True)
    reference.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    x = torch.randn(2, 2, 64, 75)
    with torch.no_grad():
        expected = reference(x)
        assert 0.01 < expected.std() < 100
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "channels"),
    [({}, 3), ({"num_classes": 7}, 3), ({"width_mult": 0.35}, 3), ({"width_mult": 1.4}, 4)],
)
def test_torchvisions_weights_give_its_outputs(options: dict[str, float], channels: int) -> None:
    theirs = make_theirs(**options)
    stem = theirs.features[0][0]
    theirs.features[0][0] = nn.Conv2d(channels, stem.out_channels, 3, 2, 1, bias=False)
    theirs.classifier[1].weight.data.mul_(10)
    ours = MobileNetV2.from_torchvision(settled(theirs).state_dict()).eval()
    x = torch.randn(2, channels, 64, 75)
    with torch.no_grad():
        expected = theirs(x)
        assert 0.1 < expected.std() < 100  # so that the tolerance says something
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)


def test_v2_starts_as_torchvisions_does() -> None:
    ours, theirs = mobilenet_v2(), make_theirs()
    renamed = rename(theirs.state_dict(), TORCHVISION_NAMES)
    for name, own in ours.state_dict().items():
        given = renamed[name].float()
        if own.ndim > 1:
            torch.testing.assert_close(own.std(), given.std(), rtol=0.15, atol=0)
        else:
            torch.testing.assert_close(own.float(), given, rtol=0, atol=0)


def test_v1_starts_from_the_fan_out() -> None:
    network = mobilenet_v1(10)
    for module in network.modules():
        if isinstance(module, PointwiseConv):
            expected = (2 / module.c_out) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_v2_drops_features_in_training_only() -> None:
    assert mobilenet_v2(5).dropout.p == 0.2
    network = settled(MobileNetV2(5, width=0.35, dropout=1.0))
    network.head.bias.data.uniform_()
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(network(x), network.head.bias.expand(2, 5))
    torch.testing.assert_close(network.train()(x), network.head.bias.expand(2, 5))


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 1, 32), (32, 0.75, 24), (16, 0.35, 8), (24, 0.5, 16), (16, 0.1, 8), (18, 1, 24)],
)
def test_channels_are_multiples_of_eight(channels: int, width: float, expected: int) -> None:
    assert scaled_channels(channels, width) == expected  # 18 to 16 would be 11 % less


REFUSALS = {
    "v1 classes": (lambda: mobilenet_v1(0), "classes must be at least 1, got 0"),
    "v2 classes": (lambda: mobilenet_v2(0), "classes must be at least 1, got 0"),
    "v1 width": (lambda: mobilenet_v1(width=0), "width must be positive, got 0"),
    "v2 width": (lambda: mobilenet_v2(width=-1), "width must be positive, got -1"),
    "no channels": (
        lambda: mobilenet_v1(channels=0),
        "c_in, c_out and groups must be at least 1: got 0, 32 and 1",
    ),
    "v1 channels": (
        lambda: MobileNetV1(width=0.25)(torch.ones(1, 4, 64, 64)),
        "x must have shape (N, 3, H, W), got (1, 4, 64, 64)",
    ),
    "v2 axes": (
        lambda: MobileNetV2(width=0.35)(torch.ones(3, 64, 64)),
        "x must have shape (N, 3, H, W), got (3, 64, 64)",
    ),
    "v1 size": (
        lambda: MobileNetV1(width=0.25)(torch.ones(1, 3, 31, 64)),
        "x must have at least 32 positions along every axis, got (31, 64)",
    ),
    "v2 size": (
        lambda: MobileNetV2(width=0.35)(torch.ones(1, 3, 64, 31)),
        "x must have at least 32 positions along every axis, got (64, 31)",
    ),
    "other weights": (
        lambda: MobileNetV2.from_torchvision(MobileNetV1(width=0.25).state_dict()),
        "state_dict must be that of torchvision's mobilenet_v2: it lacks classifier.1.weight",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
