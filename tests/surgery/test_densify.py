"""Full resolution by shift-and-stitch and by dilation, against crops and against one another."""

import itertools

import pytest
import torch
from sliding import assert_near, calibrated, exactly
from torch import Tensor, nn

from pointwise.networks.network_in_network import nin_mnist
from pointwise.networks.registry import build
from pointwise.nn.norm import BatchNorm
from pointwise.surgery.convolutionalize import Method, convolutionalize, densify
from pointwise.surgery.dense.crops import crop_difference
from torchvision_models import torchvision

METHODS: tuple[Method, ...] = ("shift", "dilation")


def unpadded(*, average: bool = False, ceil: bool = False, padding: int = 0) -> nn.Sequential:
    """Strides 2, 2 and 2 in three kinds of layers, and a head that reads bins."""
    pool = nn.AvgPool2d if average else nn.MaxPool2d
    return nn.Sequential(
        nn.Conv2d(2, 6, 5, stride=2, padding=padding),
        nn.ReLU(),
        pool(3, 2, ceil_mode=ceil, padding=padding),
        nn.Conv2d(6, 8, 3, padding=padding, dilation=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d((1, 2)),
        nn.Flatten(),
        nn.Linear(16, 12),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Linear(12, 4),
    )


def made(network: nn.Module, size: tuple[int, int]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    example = torch.randn(2, 2, *size)
    return calibrated(network, example), example


@pytest.mark.parametrize("average", [False, True], ids=["max", "average"])
@pytest.mark.parametrize("size", [(39, 47), (44, 41)], ids=["odd", "even"])
def test_without_padding_every_window_is_the_crop(average: bool, size: tuple[int, int]) -> None:
    network, example = made(unpadded(average=average), size)
    x = torch.randn(2, 2, size[0] + 13, size[1] + 18)
    strided, _ = convolutionalize(network, example)
    exact = [strided, *(densify(network, example, method=method)[0] for method in METHODS)]
    for dense in exact:
        found = crop_difference(network, dense, x, batch=64)
        assert found.scale > 1e-3
        assert found.largest < 1e-5 * found.scale
        assert found.agreement == 1
    assert strided.grid.stride == (8, 8)
    assert exact[1](x).shape == exact[2](x).shape == (2, 4, 14, 19)


@pytest.mark.parametrize(
    ("average", "ceil"),
    list(itertools.product([False, True], repeat=2)),
    ids=["max", "max, ceil", "mean", "mean, ceil"],
)
def test_dilation_gives_the_strided_network_at_its_positions(average: bool, ceil: bool) -> None:
    network, example = made(unpadded(average=average, ceil=ceil, padding=1), (45, 40))
    x = torch.randn(1, 2, 45 + 17, 40 + 25)
    strided, _ = convolutionalize(network, example)
    full, _ = densify(network, example, method="dilation")
    with torch.no_grad():
        assert_near(full(x)[..., ::8, ::8], strided(x)[..., :3, :4])
        assert_near(full.rows(example), network(example))


@pytest.mark.parametrize("stride", [1, 2, 4, 8, (2, 4)], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_any_stride_between(method: Method, stride: int | tuple[int, int]) -> None:
    network, example = made(unpadded(), (39, 47))
    if method == "dilation" and isinstance(stride, tuple):
        pytest.skip("a pool cannot keep its stride on one axis; its refusal has a test")
    x = torch.randn(1, 2, 55, 66)
    down, across = (stride, stride) if isinstance(stride, int) else stride
    dense, _ = densify(network, example, method=method, stride=stride)
    full, _ = densify(network, example)
    assert dense.grid.stride == (down, across)
    with torch.no_grad():
        assert_near(dense(x), full(x)[..., ::down, ::across])


def test_methods_agree_away_from_padded_borders() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip
    example, x = torch.randn(1, 1, 12, 12), torch.randn(1, 1, 60, 52)
    shifted, _ = densify(network, example)
    dilated, _ = densify(network, example, method="dilation")
    with torch.no_grad():
        a, b = shifted(x), dilated(x)
    assert a.shape == b.shape == (1, 3, 49, 41)
    assert_near(a[..., 4:-4, 4:-4], b[..., 4:-4, 4:-4])
    assert float((a - b).abs().max()) > 1e-3  # the borders: zeros start at another pixel


NETWORKS = {
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=5), (64, 50), 3),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (64, 64), 3),
    "googlenet": (
        lambda: torchvision.models.googlenet(num_classes=5, aux_logits=False, init_weights=False),
        (64, 64),
        3,
    ),
    "our nin_mnist": (lambda: nin_mnist(norm=BatchNorm), (28, 28), 1),
    "our resnet50": (lambda: build("resnet50", channels=3, classes=5), (64, 64), 3),
}


@pytest.mark.parametrize(("make", "size", "channels"), NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_lose_their_strides(make, size: tuple[int, int], channels: int) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    example = torch.randn(1, channels, *size)
    network = calibrated(make(), example)
    dense, _ = convolutionalize(network, example, in_place=True)
    step = dense.grid.stride[0]
    dilated, _ = densify(network, example, method="dilation", stride=step // 2, in_place=True)
    x = torch.randn(1, channels, size[0] + step, size[1] + 2 * step)
    with torch.no_grad():
        found, expected = dilated(x), dense(x)
    assert found.shape[2:] == (3, 5)
    assert_near(found[..., ::2, ::2], expected[..., :2, :3])


MESSAGES = {
    "method": (
        {"method": "stitch"},
        "method must be 'shift' or 'dilation', got 'stitch'",
    ),
    "stride": ({"stride": 0}, "stride must be at least 1, got 0"),
    "shift": ({"stride": 3}, "stride must divide the classifier's (8, 8), got (3, 3)"),
    "dilation": (
        {"stride": 3, "method": "dilation"},
        "stride must be a product of the network's first strides for method 'dilation', got "
        "(3, 3): the nearest below is (1, 1)",
    ),
    "one axis": (
        {"stride": (2, 4), "method": "dilation"},
        "method 'dilation' cannot take out the strides: 2 (MaxPool2d) is a pool that would keep "
        "its stride on one axis only; use method='shift'",
    ),
    "whole image": (
        {"whole_image": True, "method": "dilation"},
        "method must be 'shift' with whole_image=True, got 'dilation'",
    ),
}


@pytest.mark.parametrize(("options", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_refusals(options, message: str) -> None:  # type: ignore[no-untyped-def]
    network, example = made(unpadded(), (39, 47))
    with pytest.raises(ValueError, match=exactly(message)):
        densify(network, example, **options)


def test_reflected_borders_cannot_be_spread() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 2, 2), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.Flatten(), nn.Linear(32, 2),
    ).eval()  # fmt: skip
    with pytest.raises(
        ValueError,
        match=exactly(
            "method 'dilation' cannot take out the strides: 1 (Conv2d) pads by reflect, which "
            "cannot be spread; use method='shift'"
        ),
    ):
        densify(network, torch.randn(1, 1, 8, 8), method="dilation")
