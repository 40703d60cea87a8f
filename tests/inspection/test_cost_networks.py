"""What published networks cost: figures of the literature, torch's own counter, and our own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import torchvision_models
from pointwise.inspection.cost import cost
from pointwise.inspection.layers import count_parameters
from pointwise.networks.registry import build
from pointwise.nn import PointwiseConv

models = torchvision_models.torchvision.models

KINDS = {"pointwise", "linear", "depthwise", "conv", "attention", "matmul", "other"}


def published(name: str) -> tuple[nn.Module, Tensor]:
    """A network of torchvision and its input, without memory for either."""
    size = 299 if name == "inception_v3" else 224
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        model = models.get_model(name, weights=None, **options).eval()
        return model, torch.ones(1, 3, size, size)


@pytest.fixture
def regnet_widths(monkeypatch):
    """RegNet computes its widths with tensors, which must hold values."""
    widths = models.regnet.BlockParams.from_init_params

    def with_values(**settings):
        with torch.device("cpu"):
            return widths(**settings)

    monkeypatch.setattr(models.regnet.BlockParams, "from_init_params", with_values)


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_multiply_adds_are_half_of_what_torch_counts(name, regnet_widths):
    model, x = published(name)
    counted = cost(model, x)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(x)
    assert 2 * counted.total.macs == counter.get_total_flops()
    assert counted.total.params == count_parameters(model)
    assert counted.uncounted == ()
    assert {one.kind for one in counted.layers} <= KINDS


@pytest.mark.parametrize(
    ("name", "macs", "pointwise", "channel"),
    [
        ("resnet50", 4_089.2, 51.83, 51.88),
        ("vit_b_32", 4_409.2, 0, 96.33),
        ("mobilenet_v2", 300.8, 89.08, 89.51),
    ],
)
def test_figures_of_published_networks(name, macs, pointwise, channel):
    total = cost(*published(name)).total
    assert round(total.macs / 1e6, 1) == macs
    assert round(100 * total.pointwise_macs_share, 2) == pointwise
    assert round(100 * total.channel_macs_share, 2) == channel


@pytest.mark.parametrize(
    ("channels", "second", "both"),
    [(512, 262_656, 276_992), (64, 32_832, 47_168), (1024, 525_312, 539_648)],
)
@pytest.mark.parametrize("one", [lambda c: nn.Conv2d(512, c, 1), lambda c: PointwiseConv(512, c)])
def test_parameters_of_a_1x1_after_a_3x3(one, channels, second, both):
    model = nn.Sequential(nn.Conv2d(3, 512, 3, padding="same"), one(channels)).to("meta")
    counted = cost(model, torch.ones(1, 3, 256, 256, device="meta"))
    assert [layer.params for layer in counted.layers] == [14_336, second]
    assert [layer.kind for layer in counted.layers] == ["conv", "pointwise"]
    assert counted.total.params == both


def test_a_reduce_saves_what_the_literature_says():
    x = torch.ones(1, 512, 28, 28, device="meta")
    with torch.device("meta"):
        plain = nn.Conv2d(512, 64, 7, padding=3)
        reduced = nn.Sequential(PointwiseConv(512, 64), nn.Conv2d(64, 64, 7, padding=3))
    assert cost(plain, x).total.macs == 28 * 28 * 64 * 512 * 7 * 7 == 1_258_815_488
    assert cost(reduced, x).total.macs == 28 * 28 * (512 * 64 + 64 * 64 * 7 * 7) == 183_042_048


OWN = ["googlenet", "mobilenet_v2", "resnet50", "resnet101", "squeezenet1_0", "squeezenet1_1"]


@pytest.mark.parametrize("name", OWN)
def test_our_networks_cost_what_torchvisions_do(name):
    with torch.device("meta"):
        ours = build(name)
    counted, expected = (
        cost(ours, torch.ones(1, 3, 224, 224, device="meta")),
        cost(*published(name)),
    )
    assert counted.uncounted == ()
    for kind in sorted(KINDS):
        for figure in ("macs", "params") if name != "googlenet" else ("macs",):  # it has more heads
            sums = [
                sum(getattr(one, figure) for one in found.layers if one.kind == kind)
                for found in (counted, expected)
            ]
            assert sums[0] == sums[1], (kind, figure)


@pytest.mark.parametrize(
    ("name", "size", "macs", "pointwise", "channel"),
    [
        ("resnet50", 224, 4_089.2, 51.83, 51.88),
        ("mobilenet_v1", 224, 568.7, 94.86, 95.04),
        ("nin_cifar", 32, 222.5, None, None),
    ],
)
def test_figures_of_our_networks(name, size, macs, pointwise, channel):
    with torch.device("meta"):
        total = cost(build(name), torch.ones(1, 3, size, size)).total
    assert round(total.macs / 1e6, 1) == macs
    if pointwise is not None:
        assert round(100 * total.pointwise_macs_share, 2) == pointwise
        assert round(100 * total.channel_macs_share, 2) == channel


def test_what_the_forward_does_not_reach_is_listed_without_operators():
    model, x = published("googlenet")
    counted = cost(model, x)
    idle = [one for one in counted.layers if not one.operators]
    assert sum(one.params for one in idle) == sum(
        count_parameters(part) for part in (model.aux1, model.aux2)
    )
    assert all(one.name.startswith("aux") and one.macs == one.bytes == 0 for one in idle)
