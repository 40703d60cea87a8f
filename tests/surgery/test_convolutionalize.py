"""Heads of classifiers made dense, against their own heads on windows of their own feature maps."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from sliding import after_pool, assert_near, calibrated, exactly, map_before, on_windows
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pointwise.nn import GlobalAveragePool, PointwiseConv
from pointwise.nn.norm import BatchNorm
from pointwise.surgery.convolutionalize import convolutionalize
from pointwise.surgery.swap import Swap
from torchvision_models import torchvision

models = torchvision.models


# --- Heads, behind one and the same body ---


class Functional(nn.Module):
    """A network whose forward is a body and any function of its map."""

    def __init__(self, head: Callable[["Functional", Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(features, 5)
        self.norm = nn.LayerNorm(6)
        self.scale = nn.Parameter(torch.rand(5))
        self.slopes = nn.PReLU(5)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self, self.body(x))
        return out


SIZE = (15, 17)  # its feature map: 7 x 8

FUNCTIONAL: dict[str, tuple[Callable[[Functional, Tensor], Tensor], int]] = {
    "flatten": (lambda n, x: n.fc(torch.flatten(x, 1)), 6 * 7 * 8),
    "view": (lambda n, x: n.fc(x.view(x.shape[0], -1)), 6 * 7 * 8),
    "channels last": (lambda n, x: n.fc(x.permute(0, 2, 3, 1).flatten(1)), 6 * 7 * 8),
    "transposed": (lambda n, x: n.fc(x.transpose(2, 3).flatten(1)), 6 * 7 * 8),
    "mean": (lambda n, x: n.fc(x.mean([2, 3])), 6),
    "mean of channels last": (lambda n, x: n.fc(x.movedim(1, -1).mean((1, 2))), 6),
    "mean, kept": (lambda n, x: n.fc(x.mean((-2, -1), keepdim=True).squeeze(-1).squeeze(-1)), 6),
    "maximum": (lambda n, x: n.fc(x.amax((2, 3))), 6),
    "both pools": (
        lambda n, x: n.fc(torch.cat([x.mean((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], 1)),
        12,
    ),
    "pool of the map's size": (lambda n, x: n.fc(F.avg_pool2d(x, (7, 8)).flatten(1)), 6),
    "layer norm": (lambda n, x: n.fc(n.norm(x.mean((2, 3)))), 6),
    "layer norm of the map": (lambda n, x: n.fc(n.norm(x.permute(0, 2, 3, 1)).flatten(1)), 336),
    "scale and softmax": (lambda n, x: (n.fc(x.mean((2, 3))) * n.scale + 1).softmax(-1), 6),
    "slopes": (lambda n, x: n.slopes(n.fc(x.mean((2, 3)))), 6),
    "residual": (lambda n, x: F.gelu(n.fc(x.mean((2, 3)))) + n.fc(x.mean((2, 3))), 6),
    "even bins": (lambda n, x: n.fc(F.adaptive_avg_pool2d(x, (7, 4)).flatten(1)), 6 * 7 * 4),
    "even maxima": (lambda n, x: n.fc(F.adaptive_max_pool2d(x, (1, 2)).flatten(1)), 6 * 2),
    "uneven bins": (lambda n, x: n.fc(F.adaptive_avg_pool2d(x, (3, 5)).flatten(1)), 6 * 3 * 5),
    "more bins than cells": (lambda n, x: n.fc(F.adaptive_avg_pool2d(x, 9).flatten(1)), 6 * 81),
    "own size": (lambda n, x: n.fc(F.adaptive_avg_pool2d(x, (7, 8)).flatten(1)), 6 * 7 * 8),
    "dropout before": (lambda n, x: n.fc(F.dropout(x, 0.5, n.training).flatten(1)), 6 * 7 * 8),
    "map kept in the end": (lambda n, x: x.mean((2, 3), keepdim=True), 6),
    "channels split": (
        lambda n, x: n.fc(x.view(len(x), 2, 3, 7, 8).transpose(1, 2).flatten(1, 2).mean((2, 3))),
        6,
    ),
}


@pytest.mark.parametrize(("head", "features"), FUNCTIONAL.values(), ids=FUNCTIONAL.keys())
def test_heads_in_the_forward(head: Callable[[Functional, Tensor], Tensor], features: int) -> None:
    torch.manual_seed(1)
    example = torch.randn(2, 3, *SIZE)
    network = calibrated(Functional(head, features), example)
    dense, _ = convolutionalize(network, example)
    x = torch.randn(3, 3, 32, 41)
    with torch.no_grad():
        expected = on_windows(
            network.get_submodule("body")(x), lambda m: head(network, m).flatten(1), (7, 8)
        )
        assert_near(dense.rows(example), network(example).flatten(1))
        assert_near(dense(x), expected)


HEADS: dict[str, Callable[[], list[nn.Module]]] = {
    "a hidden layer with a norm": lambda: [
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4 * 6 * 5, 12),
        nn.BatchNorm1d(12),
        nn.ReLU(inplace=True),
        nn.Dropout(0.2),
        nn.Linear(12, 7, bias=False),
    ],
    "pointwise layers": lambda: [
        nn.Flatten(),
        PointwiseConv(4 * 6 * 5, 12),
        BatchNorm(12),
        nn.Tanh(),
        PointwiseConv(12, 7, groups=1),
    ],
    "grouped pointwise behind a pool": lambda: [GlobalAveragePool(), PointwiseConv(4, 8, groups=2)],
    "1x1 convolution behind a pool": lambda: [
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(4, 7, 1),
        nn.SiLU(),
        nn.Flatten(),
    ],
    "a mean pool of the map's size": lambda: [nn.AvgPool2d((6, 5)), nn.Flatten()],
    "convolution of the map's size": lambda: [nn.Conv2d(4, 7, (6, 5)), nn.ReLU(), nn.Flatten()],
    "a strided pool of the map's size": lambda: [nn.MaxPool2d((6, 5)), nn.Flatten()],
    "weight norm": lambda: [nn.Flatten(), weight_norm(nn.Linear(4 * 6 * 5, 7))],
    "flattened by unflatten": lambda: [
        nn.Flatten(),
        nn.Linear(120, 8),
        nn.Unflatten(1, (8, 1, 1)),
        nn.Conv2d(8, 3, 1),
        nn.Flatten(),
    ],
}


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS.keys())
def test_heads_of_modules(make: Callable[[], list[nn.Module]]) -> None:
    torch.manual_seed(2)
    body, head = nn.Conv2d(1, 4, 3), nn.Sequential(*make())
    example = torch.randn(3, 1, 8, 7, dtype=torch.float64)
    network = calibrated(nn.Sequential(body, head).double(), example)
    dense, _ = convolutionalize(network, example)
    x = torch.randn(2, 1, 11, 13, dtype=torch.float64)
    with torch.no_grad():
        assert_near(dense.rows(example), network(example), 1e-12)
        assert_near(dense(x), on_windows(body(x), head, (6, 5)), 1e-12)


# --- What is kept, and what is said ---


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        nn.AdaptiveAvgPool2d((3, 3)),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 5),
    )


def test_the_classifier_is_left_alone() -> None:
    example = torch.randn(2, 1, 8, 8)
    network = calibrated(small(), example).train()
    network[0][1].eval()
    network[3].requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    flags = [module.training for module in network.modules()]
    dense, _ = convolutionalize(network, example)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert [module.training for module in network.modules()] == flags
    inner = dense.network
    assert inner.get_submodule("0.1").training is False
    assert inner.get_submodule("0").training is True
    assert inner.get_submodule("4").training is True
    assert dense.training is True
    assert not inner.get_parameter("3.weight").requires_grad
    assert inner.get_parameter("5.weight").requires_grad
    inner.get_parameter("5.weight").data.zero_()
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_in_place_shares_the_values() -> None:
    network = small().eval()
    dense, _ = convolutionalize(network, torch.randn(2, 1, 8, 8), in_place=True)
    assert dense.network.get_submodule("0") is network[0]
    found = dense.network.get_parameter("5.weight")
    assert found.data_ptr() == network[5].weight.data_ptr()


def test_names_and_modules_stay() -> None:
    dense, swaps = convolutionalize(small().eval(), torch.randn(2, 1, 8, 8))
    assert [type(module).__name__ for module in dense.network.children()] == [
        "Sequential",
        "AvgPool2d",
        "Conv2d",
        "BatchNorm2d",
        "Conv2d",
    ]
    assert dense.network.get_parameter("0.0.weight").shape == (4, 1, 3, 3)
    assert swaps == [
        Swap(
            "1",
            "AdaptiveAvgPool2d",
            "AvgPool2d(2x2, stride 1)",
            "the bins of a 3x3 grid, at every cell; the next layer spreads",
        ),
        Swap("3", "Linear(36, 8)", "Conv2d(4, 8, 3x3, dilation 2)"),
        Swap("4", "BatchNorm1d(8)", "BatchNorm2d(8)"),
        Swap("5", "Linear(8, 5)", "Conv2d(8, 5, 1x1)"),
    ]


def test_a_layer_used_twice_is_two_convolutions() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.fc(self.conv(x).movedim(1, -1)).movedim(-1, 1)
            return self.fc(self.fc(maps.mean((2, 3))).relu())

    torch.manual_seed(0)
    network, x = Twice().eval(), torch.randn(1, 1, 9, 12)
    dense, swaps = convolutionalize(network, torch.randn(2, 1, 8, 8))
    assert [swap.path for swap in swaps] == ["mean", "fc", "fc"]

    def head(maps: Tensor) -> Tensor:
        return network.fc(network.fc(maps.mean((2, 3))).relu())

    with torch.no_grad():
        maps = network.fc(network.conv(x).movedim(1, -1)).movedim(-1, 1)
        assert_near(dense(x), on_windows(maps, head, (6, 6)))


class ByItsSize(nn.Module):
    """Decides by the size of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[2] > 6 else x * 3


class PadsByItsSize(nn.Module):
    """Pads so that a stride of two always divides, as TensorFlow's 'same' does."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))


def test_decisions_by_size_are_those_of_the_training_size() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), ByItsSize(), nn.Flatten(), nn.Linear(144, 3)).eval()
    dense, swaps = convolutionalize(network, torch.randn(1, 1, 8, 8))
    x = torch.randn(1, 1, 12, 12)
    with torch.no_grad():
        expected = on_windows(network[0](x) * 3, lambda m: network[3](m.flatten(1)), (6, 6))
        assert_near(dense(x), expected)
    assert swaps[-1].reason == (
        "operators of the training size, since a module decides by the size of its input"
    )


def test_padding_by_size_is_that_of_the_training_size() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        PadsByItsSize(), nn.Conv2d(1, 4, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    dense, swaps = convolutionalize(network, torch.randn(1, 1, 7, 7))
    assert swaps[0] == Swap(
        "0",
        "PadsByItsSize",
        "the same padding at every size",
        "fixed to what the training size gets",
    )
    x = torch.randn(1, 1, 10, 10)
    with torch.no_grad():
        features = network[1](F.pad(x, (0, 1, 0, 1)))
        assert_near(dense(x), on_windows(features, lambda m: m.mean((2, 3)), (4, 4)))


def test_squeeze_and_excitation_of_the_whole_image() -> None:
    torch.manual_seed(0)
    example = torch.randn(2, 3, 64, 64)
    network = calibrated(models.mobilenet_v3_small(num_classes=5), example)
    dense, swaps = convolutionalize(network, example, whole_image=True)
    kept = [swap for swap in swaps if swap.after is None]
    assert len(kept) == 9
    assert {swap.reason for swap in kept} == {"its statistics are those of the whole image"}
    x = torch.randn(1, 3, 96, 128)
    features = map_before(network, "avgpool", x)
    with torch.no_grad():
        expected = on_windows(features, after_pool("avgpool", "classifier")(network), (2, 2))
        assert_near(dense(x), expected)


def test_the_result_refuses_what_no_window_fits_into() -> None:
    dense, _ = convolutionalize(small().eval(), torch.randn(2, 1, 8, 8))
    with pytest.raises(
        ValueError,
        match=exactly(
            "x must have shape (N, C, H, W) with at least 8 x 8 pixels, got (1, 1, 8, 7)"
        ),
    ):
        dense(torch.ones(1, 1, 8, 7))
    with pytest.raises(
        ValueError,
        match=exactly(
            "x must be 8 x 8 pixels for one row per image, got (9, 8): call the network itself "
            "for a map"
        ),
    ):
        dense.rows(torch.ones(1, 1, 9, 8))
