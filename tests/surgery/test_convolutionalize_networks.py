"""Whole classifiers made dense, against their own heads on windows of their feature maps."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from sliding import Head, after_pool, assert_near, calibrated, map_before, on_windows
from torch import Tensor, nn

from pointwise.networks.googlenet import GoogLeNet
from pointwise.networks.network_in_network import nin_cifar, nin_mnist
from pointwise.networks.registry import build
from pointwise.networks.squeezenet import SqueezeNet
from pointwise.nn.norm import BatchNorm
from pointwise.surgery.convolutionalize import convolutionalize
from torchvision_models import torchvision

models = torchvision.models


class Case(NamedTuple):
    """A classifier, its size, larger sizes, and what its head is behind the module ``pool``."""

    make: Callable[[], nn.Module]
    size: tuple[int, int]
    larger: tuple[tuple[int, int], ...]
    pool: str
    head: Callable[[nn.Module], Head]
    stride: int
    channels: int = 3


CASES = {
    "alexnet": Case(
        lambda: models.alexnet(num_classes=12),
        (127, 95),
        ((127, 95), (200, 191)),
        "avgpool",
        after_pool("avgpool", "classifier"),
        32,
    ),
    "vgg11": Case(
        lambda: models.vgg11(num_classes=12),
        (64, 32),
        ((64, 32), (96, 97)),
        "avgpool",
        after_pool("avgpool", "classifier"),
        32,
    ),
    "resnet18": Case(
        lambda: models.resnet18(num_classes=12),
        (64, 64),
        ((64, 64), (192, 192), (131, 96)),
        "avgpool",
        after_pool("avgpool", "fc"),
        32,
    ),
    "squeezenet": Case(
        lambda: models.squeezenet1_1(num_classes=12),
        (64, 50),
        ((64, 50), (192, 150), (99, 64)),
        "classifier.3",
        after_pool("classifier.3"),
        16,
    ),
    "googlenet": Case(
        lambda: models.googlenet(
            num_classes=12, transform_input=True, aux_logits=False, init_weights=False
        ),
        (64, 64),
        ((64, 64), (192, 192), (75, 130)),
        "avgpool",
        after_pool("avgpool", "dropout", "fc"),
        32,
    ),
    "shufflenet": Case(
        lambda: models.shufflenet_v2_x0_5(num_classes=12),
        (64, 64),
        ((64, 64), (130, 97)),
        "",
        lambda network: lambda x: network.fc(x.mean([2, 3])),
        32,
    ),
    "our nin_mnist": Case(
        lambda: nin_mnist(norm=BatchNorm),
        (28, 28),
        ((28, 28), (84, 84), (41, 30)),
        "average",
        after_pool("average"),
        4,
        1,
    ),
    "our nin_cifar": Case(
        nin_cifar, (32, 32), ((32, 32), (96, 96), (33, 47)), "average", after_pool("average"), 4
    ),
    "our squeezenet": Case(
        lambda: SqueezeNet(12, version="1.1"),
        (64, 64),
        ((64, 64), (100, 71)),
        "average",
        after_pool("average"),
        16,
    ),
    "our googlenet": Case(
        lambda: GoogLeNet(12),
        (64, 64),
        ((64, 64), (128, 97)),
        "average",
        after_pool("average", "dropout", "head"),
        32,
    ),
    "our resnet50": Case(
        lambda: build("resnet50", channels=3, classes=12),
        (64, 64),
        ((64, 64), (128, 97)),
        "average",
        after_pool("average", "head"),
        32,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_position_is_the_head_on_its_window(case: Case) -> None:
    torch.manual_seed(0)
    example = torch.randn(2, case.channels, *case.size)
    network = calibrated(case.make(), example)
    dense, swaps = convolutionalize(network, example, in_place=True)
    assert dense.grid.size == case.size
    assert dense.grid.stride == (case.stride, case.stride)
    assert swaps
    with torch.no_grad():
        assert_near(dense.rows(example), network(example))
        for size in case.larger:
            x = torch.randn(1, case.channels, *size)
            expected = on_windows(*_parts(network, case, x, example))
            assert_near(dense(x), expected)


def _parts(
    network: nn.Module, case: Case, x: Tensor, example: Tensor
) -> tuple[Tensor, Head, tuple[int, int]]:
    def features(images: Tensor) -> Tensor:
        if case.pool:
            return map_before(network, case.pool, images)
        return _last_map_of(network, images)

    height, width = features(example).shape[2:]
    return features(x), case.head(network), (height, width)


def _last_map_of(shufflenet: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        for name in ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"):
            x = shufflenet.get_submodule(name)(x)
    return x


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "larger"),
    [("alexnet", (448, 480)), ("vgg11", (224, 288)), ("resnet50", (288, 256))],
    ids=["alexnet", "vgg11", "resnet50"],
)
def test_the_published_size(name: str, larger: tuple[int, int]) -> None:
    torch.manual_seed(0)
    example = torch.randn(1, 3, 224, 224)
    network = calibrated(models.get_model(name, num_classes=12), example)
    last = "fc" if name == "resnet50" else "classifier"
    dense, _ = convolutionalize(network, example, in_place=True)
    size = map_before(network, "avgpool", example).shape[2:]
    x = torch.randn(1, 3, *larger)
    expected = on_windows(
        map_before(network, "avgpool", x), after_pool("avgpool", last)(network), (size[0], size[1])
    )
    with torch.no_grad():
        assert_near(dense.rows(example), network(example))
        assert_near(dense(x), expected)
