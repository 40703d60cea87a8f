"""Network in Network: torch's layers in a row, the published counts, and class maps."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blocks import check_block, check_onnx, settled
from pointwise.networks.network_in_network import NetworkInNetwork, Stage, nin_cifar, nin_mnist
from pointwise.nn.conv import MakeNorm
from pointwise.nn.norm import BatchNorm

MAX, AVERAGE = nn.MaxPool2d, nn.AvgPool2d
PLANS = {
    "cifar": (nin_cifar, 3, [(5, 192), 160, 96, MAX, (5, 192), 192, 192, AVERAGE, (3, 192), 192]),
    "mnist": (nin_mnist, 1, [(5, 96), 64, 48, MAX, (5, 128), 96, 48, MAX, (5, 128), 96]),
}
"""Builder and channels; kernel and width of a convolution, width of a 1x1, pool."""

each_network = pytest.mark.parametrize("name", PLANS)


def reference(name: str, network: nn.Module, norm: bool) -> nn.Sequential:
    """The network of torch's layers, with the weights of ours."""
    _, channels, plan = PLANS[name]
    layers = nn.Sequential()
    for part in [*plan, 10]:
        if part in (MAX, AVERAGE):
            layers.append(part(3, stride=2, ceil_mode=True))
            continue
        kernel, width = part if isinstance(part, tuple) else (1, part)
        layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU())
        channels = width
    pairs = zip(layers.state_dict().items(), network.state_dict().values(), strict=True)
    layers.load_state_dict({key: given.reshape(old.shape) for (key, old), given in pairs})
    return layers.eval()


@each_network
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
@pytest.mark.parametrize("size", [(4, 4), (15, 22)], ids=str)
def test_it_is_torchs_layers(name: str, norm: MakeNorm | None, size: tuple[int, int]) -> None:
    build, channels, _ = PLANS[name]
    network = settled(build(norm=norm))
    x = torch.randn(2, channels, *size)
    with torch.no_grad():
        maps = reference(name, network, norm is not None)(x)
        torch.testing.assert_close(network.maps(x), maps, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(x), maps.mean((2, 3)), rtol=1e-4, atol=1e-4)


CIFAR_MACS = (
    32 * 32 * (5 * 5 * 3 * 192 + 192 * 160 + 160 * 96)
    + 16 * 16 * (5 * 5 * 96 * 192 + 2 * 192 * 192)
    + 8 * 8 * (3 * 3 * 192 * 192 + 192 * 192 + 192 * 10)
)
MNIST_MACS = (
    28 * 28 * (5 * 5 * 1 * 96 + 96 * 64 + 64 * 48)
    + 14 * 14 * (5 * 5 * 48 * 128 + 128 * 96 + 96 * 48)
    + 7 * 7 * (5 * 5 * 48 * 128 + 128 * 96 + 96 * 10)
)
COSTS = {
    "cifar": (nin_cifar, (3, 32, 32), 966_986, CIFAR_MACS, 222.5),
    "mnist": (nin_mnist, (1, 28, 28), 349_674, MNIST_MACS, 50.7),
}


@pytest.mark.parametrize(
    ("build", "shape", "params", "macs", "millions"), COSTS.values(), ids=COSTS.keys()
)
def test_published_costs(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    params: int,
    macs: int,
    millions: float,
) -> None:
    network = build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.ones(1, *shape))
    assert sum(p.numel() for p in network.parameters()) == params
    assert counter.get_total_flops() == 2 * macs
    assert round(macs / 1e6, 1) == millions


@each_network
@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_channels_size_and_classes(name: str, channels: int, dtype: torch.dtype) -> None:
    network = PLANS[name][0](7, channels=channels).to(dtype).eval()
    for size in ((4, 4), (9, 31), (40, 24)):
        with torch.no_grad():
            y = network(torch.randn(2, channels, *size, dtype=dtype))
            maps = network.maps(torch.randn(2, channels, *size, dtype=dtype))
        assert (y.shape, y.dtype) == ((2, 7), dtype)
        assert maps.shape == (2, 7, size[0] // 4, size[1] // 4)
        assert maps.min() >= 0


def test_the_smallest_image_is_the_smallest() -> None:
    assert NetworkInNetwork(2, [Stage(3, (4,)), Stage(1, (4, 3))]).smallest == 2
    assert nin_cifar().smallest == nin_mnist().smallest == 4
    with pytest.raises(RuntimeError, match="Output size is too small"):
        nin_cifar().features(torch.ones(1, 3, 3, 8))


def test_a_small_network_meets_the_contract_of_blocks() -> None:
    stages = [Stage(3, (4, 3)), Stage(1, (4,), nn.AvgPool2d), Stage(3, (3, 2))]
    network = NetworkInNetwork(2, stages, channels=2, norm=BatchNorm)
    check_block(network, torch.randn(2, 2, 7, 10))


def test_onnx_of_the_whole_network() -> None:
    check_onnx(settled(nin_cifar(5, norm=BatchNorm)), torch.randn(2, 3, 10, 13), tolerance=1e-3)


def test_weights_start_with_the_variance_of_he() -> None:
    network = nin_cifar()
    mlpconv = network.features[3]
    assert mlpconv.conv.conv.weight.std().item() == pytest.approx((2 / (96 * 25)) ** 0.5, rel=0.02)
    assert mlpconv.mlp[0].conv.weight.std().item() == pytest.approx((2 / 192) ** 0.5, rel=0.02)
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    assert all((p == 0).all() for p in biases[:-1])


@each_network
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
def test_class_maps_start_alive(name: str, norm: MakeNorm | None) -> None:
    build, channels, _ = PLANS[name]
    maps = build(norm=norm).maps(torch.randn(8, channels, 24, 24))
    share = (maps > 0).float().mean((0, 2, 3))
    assert share.min() > (0.7 if norm is None else 0.2)


def test_class_maps_of_a_single_convolution_start_alive() -> None:
    network = NetworkInNetwork(3, [Stage(3, ())], channels=2)
    assert network.smallest == 1
    assert (network.maps(torch.randn(8, 2, 5, 1)) > 0).all()


@each_network
@pytest.mark.parametrize("norm", [None, BatchNorm], ids=["plain", "norm"])
def test_it_trains(name: str, norm: MakeNorm | None) -> None:
    """Bright rows against bright columns, from scratch."""
    network = PLANS[name][0](2, channels=1, norm=norm).train()
    labels = torch.arange(16) % 2
    x = torch.randn(16, 1, 1, 12).expand(16, 1, 12, 12)
    x = torch.where(labels[:, None, None, None] == 0, x, x.mT).contiguous()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.7 * losses[0]


REFUSALS = {
    "no stages": (
        lambda: NetworkInNetwork(2, []),
        "stages must name one mlpconv layer at least, got []",
    ),
    "classes": (
        lambda: nin_cifar(0),
        "c_in, c_out and groups must be at least 1: got 192, 0 and 1",
    ),
    "channels": (
        lambda: nin_cifar()(torch.ones(1, 1, 32, 32)),
        "x must have shape (N, 3, H, W), got (1, 1, 32, 32)",
    ),
    "axes": (
        lambda: nin_mnist()(torch.ones(1, 28, 28)),
        "x must have shape (N, 1, H, W), got (1, 28, 28)",
    ),
    "size": (
        lambda: nin_mnist()(torch.ones(1, 1, 3, 28)),
        "x must have at least 4 positions along every axis, got (3, 28)",
    ),
    "size of maps": (
        lambda: nin_mnist().maps(torch.ones(1, 1, 28, 3)),
        "x must have at least 4 positions along every axis, got (28, 3)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
