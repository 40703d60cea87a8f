"""Whole networks: what is left of their norms, and that they compute the same."""

from collections.abc import Callable

import pytest
import torch
from calibrated import calibrated, check_folded, reasons
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.networks.mobilenet_v2 import MobileNetV2
from pointwise.surgery.fold import fold
from torchvision_models import torchvision

models = torchvision.models


def convnext() -> nn.Module:
    settings = [models.convnext.CNBlockConfig(8, 16, 2), models.convnext.CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(settings, stochastic_depth_prob=0.1, num_classes=10)


def vit() -> nn.Module:
    net = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10)
    nn.init.normal_(net.heads.head.weight)  # torchvision's is zero
    return net


# For each: how to build it, the size of its input, and how many batch norms are left.
SMALL: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "resnet": (lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1]), 64, 0),
    "mobilenet": (lambda: models.MobileNetV2(10, width_mult=0.25), 32, 0),
    "ours": (lambda: MobileNetV2(10, width=0.25), 32, 0),
    # A norm before an activation before a convolution: every first one of a layer, and after the
    # transition and at the end.
    "densenet": (lambda: models.DenseNet(8, (2, 2), 16, num_classes=10), 64, 6),
    "convnext": (convnext, 32, 0),
    "vit": (vit, 32, 0),
}

LARGE: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "resnet50": (models.resnet50, 64, 0),
    "efficientnet_b0": (models.efficientnet_b0, 64, 0),
    "regnet_y_400mf": (models.regnet_y_400mf, 64, 0),
    "googlenet": (lambda: models.googlenet(aux_logits=False, init_weights=False), 64, 0),
    "inception_v3": (lambda: models.inception_v3(aux_logits=False, init_weights=False), 96, 0),
    "shufflenet_v2_x0_5": (models.shufflenet_v2_x0_5, 64, 0),
}


def check_network(build: Callable[[], nn.Module], size: int, left: int) -> None:
    """Fold a calibrated network in float64."""
    x = torch.randn(1, 3, size, size)
    torch.manual_seed(0)
    folded, swaps = check_folded(calibrated(build(), x), x, dtype=torch.float64)
    norms = [path for path, m in folded.named_modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == left, norms
    assert reasons(swaps).keys() >= set(norms)
    assert "tiny or constant" not in swaps[-1].reason


@pytest.mark.parametrize("case", SMALL)
def test_small_networks(case: str):
    check_network(*SMALL[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE)
def test_published_networks(case: str):
    check_network(*LARGE[case])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0"])
def test_blocks_of_branches(name: str):
    timm = pytest.importorskip("timm")
    x = torch.randn(1, 3, 64, 64)
    net = calibrated(timm.create_model(name), x)
    folded, _ = check_folded(net, x, dtype=torch.float64)
    merged = timm.utils.reparameterize_model(net)
    assert not any(isinstance(module, _BatchNorm) for module in folded.modules())
    convs = [sum(isinstance(m, nn.Conv2d) for m in one.modules()) for one in (folded, merged)]
    assert convs[0] == convs[1]


def test_single_precision_is_told_from_an_error():
    x = torch.randn(1, 3, 32, 32)
    net = calibrated(models.MobileNetV2(10, width_mult=0.25), x)
    assert fold(net, x)[1][-1].reason.startswith("equal to ")
