"""What holds of every published network: any size, channels and type; both memory orders."""

import re

import pytest
import torch
from torch import nn

from blocks import check_export, check_onnx, settled
from cases import channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.networks import NETWORKS, build

each_network = pytest.mark.parametrize("name", NETWORKS)


def network_of(name: str, channels: int = 3, classes: int = 5) -> nn.Module:
    return settled(build(name, channels=channels, classes=classes))


@each_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 3, 12])
def test_any_channels_size_and_type(name: str, channels: int, dtype: torch.dtype) -> None:
    network = network_of(name, channels).to(dtype)
    # Most are no multiple of the stride. None is one column wide in the end and higher than that:
    # there oneDNN's bfloat16 convolution of stride 2 (torch 2.13, with AMX) reads unwritten memory.
    for more in ((0, 0), (7, 33), (13, 32)):
        size = [network.smallest + extra for extra in more]
        with torch.no_grad():
            y = network(torch.randn(2, channels, *size, dtype=dtype))
        assert y.shape[:2] == (2, 5)
        assert y.ndim == 2 or list(y.shape[2:]) == size
        assert y.dtype == dtype
        assert y.isfinite().all()


@each_network
def test_memory_orders_agree(name: str) -> None:
    network = network_of(name)
    x = torch.randn(2, 3, network.smallest, network.smallest + 3)
    with torch.no_grad():
        y, z = network(x), network(channels_last(x))
    torch.testing.assert_close(z, y, rtol=1e-3, atol=1e-4)
    assert z.ndim == 2 or is_channels_last(z)


@each_network
def test_export(name: str) -> None:
    network = network_of(name)
    check_export(network, torch.randn(2, 3, network.smallest, network.smallest))


@pytest.mark.parametrize("name", ["attention_unet", "googlenet", "mobilenet_v2", "nin_cifar"])
def test_onnx(name: str) -> None:
    network = network_of(name)
    check_onnx(network, torch.randn(1, 3, network.smallest, network.smallest), tolerance=1e-3)


@each_network
def test_one_step_of_training_reaches_every_weight(name: str) -> None:
    network = build(name, classes=5).train()
    x = torch.randn(2, network.channels, network.smallest + 32, network.smallest + 32)
    y = network(x)
    nn.functional.cross_entropy(y, torch.randint(5, y.shape[:1] + y.shape[2:])).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@each_network
def test_an_image_too_small_is_refused(name: str) -> None:
    network = network_of(name)
    size = network.smallest - 1
    message = (
        f"x must have at least {network.smallest} positions along every axis, got ({size}, {size})"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        network(torch.ones(1, 3, size, size))


@each_network
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, 4, 256, 256), "(N, 3, H, W)"), ((1, 3, 256), "(N, 3, H, W)"), ((3, 256, 256), "(N, 3,")],
    ids=["channels", "tokens", "no batch"],
)
def test_another_shape_is_refused(name: str, shape: tuple[int, ...], wanted: str) -> None:
    message = f"x must have shape {wanted}"
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        network_of(name)(torch.ones(shape))
    assert f"got {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "no network is named 'resnet5': did you mean resnet50 or resnet101?"),
        ("ResNet50", "no network is named 'ResNet50': did you mean resnet50"),
        ("u-net", "no network is named 'u-net': did you mean unet"),
        ("vgg16", "no network is named 'vgg16': known are attention_unet, googlenet, "),
    ],
)
def test_an_unknown_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(name)
