"""SqueezeNet against torchvision's."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchvision_models  # noqa: F401  (lends torchvision its operators)
from blocks import check_channels_last, check_export, check_onnx
from pointwise.networks.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1

VERSIONS = {
    "1.0": (squeezenet1_0, "squeezenet1_0", 1_248_424, 21),
    "1.1": (squeezenet1_1, "squeezenet1_1", 1_235_496, 17),
}
"""Builder, name in torchvision, parameters, and the smallest image."""

each_version = pytest.mark.parametrize("version", VERSIONS)


def theirs(version: str, classes: int = 1000, channels: int = 3) -> nn.Module:
    """Torchvision's network, with biases that are not 0."""
    from torchvision import models

    network = getattr(models, VERSIONS[version][1])(num_classes=classes).eval()
    if channels != 3:
        stem = network.features[0]
        network.features[0] = nn.Conv2d(channels, stem.out_channels, stem.kernel_size, stem.stride)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, 0, 0.5)
    return network


@each_version
def test_parameters(version: str) -> None:
    build, _, params, _ = VERSIONS[version]
    assert sum(p.numel() for p in build().parameters()) == params
    assert sum(p.numel() for p in theirs(version).parameters()) == params


@each_version
@pytest.mark.parametrize(("classes", "channels"), [(1000, 3), (7, 1)])
@pytest.mark.parametrize("size", [(21, 21), (64, 97)], ids=str)
def test_outputs_are_torchvisions(
    version: str, classes: int, channels: int, size: tuple[int, int]
) -> None:
    reference = theirs(version, classes, channels)
    network = SqueezeNet.from_torchvision(reference.state_dict()).eval()
    x = torch.randn(2, channels, *size)
    with torch.no_grad():
        expected = reference(x)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.maps(x).mean((2, 3)), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.01


@each_version
@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_channels_size_and_classes(version: str, channels: int, dtype: torch.dtype) -> None:
    build, _, _, smallest = VERSIONS[version]
    network = build(5, channels=channels).to(dtype).eval()
    for size in ((smallest, smallest), (30, 51), (64, 40)):
        with torch.no_grad():
            y = network(torch.randn(2, channels, *size, dtype=dtype))
        assert (y.shape, y.dtype) == ((2, 5), dtype)


@each_version
def test_the_smallest_image_is_the_smallest(version: str) -> None:
    build, _, _, smallest = VERSIONS[version]
    network = build(5)
    assert network.smallest == smallest
    with pytest.raises(RuntimeError, match="Output size is too small"):
        network.features(torch.ones(1, 3, smallest - 1, 40))


@each_version
def test_memory_orders_export_and_onnx(version: str) -> None:
    network, x = VERSIONS[version][0](5).eval(), torch.randn(2, 3, 33, 40)
    check_channels_last(network, x)
    check_export(network, x)
    if version == "1.1":  # the other has the same parts
        check_onnx(network, x)


def test_weights_start_as_torchvisions() -> None:
    ours, reference = squeezenet1_0(), theirs("1.0")
    moved = SqueezeNet.from_torchvision(reference.state_dict())
    for (name, a), b in zip(ours.named_parameters(), moved.parameters(), strict=True):
        if name.endswith("weight") and a.numel() > 1000:
            assert a.std().item() == pytest.approx(b.std().item(), rel=0.1), name
        if name.endswith("bias"):
            assert (a == 0).all(), name


def without(name: str) -> dict[str, Tensor]:
    given = dict(theirs("1.1", 4).state_dict())
    del given[name]
    return given


REFUSALS = {
    "version": (lambda: SqueezeNet(version="2"), "version must be '1.0' or '1.1', got '2'"),
    "classes": (
        lambda: SqueezeNet(0),
        "c_in, c_out and groups must be at least 1: got 512, 0 and 1",
    ),
    "channels": (
        lambda: squeezenet1_1()(torch.ones(1, 1, 32, 32)),
        "x must have shape (N, 3, H, W), got (1, 1, 32, 32)",
    ),
    "axes": (
        lambda: squeezenet1_1()(torch.ones(3, 32, 32)),
        "x must have shape (N, 3, H, W), got (3, 32, 32)",
    ),
    "size": (
        lambda: squeezenet1_0()(torch.ones(1, 3, 20, 64)),
        "x must have at least 21 positions along every axis, got (20, 64)",
    ),
    "another network's weights": (
        lambda: SqueezeNet.from_torchvision({"fc.weight": torch.ones(2, 2)}),
        "state_dict must be that of torchvision's SqueezeNet: it lacks features.0.weight",
    ),
    "another rank": (
        lambda: SqueezeNet.from_torchvision({"features.0.weight": torch.ones(2, 2)}),
        "state_dict must be that of torchvision's SqueezeNet: features.0.weight must have 4 axes, "
        "got (2, 2)",
    ),
    "a missing weight": (
        lambda: SqueezeNet.from_torchvision(without("features.3.squeeze.bias")),
        "state_dict must fit SqueezeNet: it lacks features.fire2.squeeze.conv.bias",
    ),
    "a weight too many": (
        lambda: SqueezeNet.from_torchvision({**theirs("1.1").state_dict(), "more": torch.ones(1)}),
        "state_dict must fit SqueezeNet: it has also more",
    ),
    "another shape": (
        lambda: SqueezeNet.from_torchvision(
            {**theirs("1.1").state_dict(), "features.3.squeeze.weight": torch.ones(16, 64, 3, 3)}
        ),
        "state_dict must fit SqueezeNet: features.fire2.squeeze.conv.weight must have shape "
        "(16, 64), got (16, 64, 3, 3)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
