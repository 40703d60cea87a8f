"""Real networks with random weights, converted and compared in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import check_equivalent
from pointwise.surgery.restoring import restore
from pointwise.surgery.stock import to_torch
from torchvision_models import torchvision

MODELS = torchvision.models


def convnext() -> nn.Module:
    settings = [
        MODELS.convnext.CNBlockConfig(16, 32, 2),
        MODELS.convnext.CNBlockConfig(32, None, 2),
    ]
    return MODELS.ConvNeXt(settings, num_classes=10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": lambda: MODELS.resnet50(num_classes=10),
    "mobilenet_v2": lambda: MODELS.mobilenet_v2(num_classes=10),
    "convnext": convnext,
    "vit": lambda: MODELS.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10),
    "swin": lambda: MODELS.SwinTransformer(
        [4, 4], 16, [2, 2], [2, 4], window_size=[4, 4], num_classes=10
    ),
}

each_network = pytest.mark.parametrize("name", NETWORKS)
TARGETS = {"conv": to_conv, "linear": to_linear, "pointwise": to_pointwise}


def calibrated(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """With parameters that are not constant and statistics of its own, so that it has signal."""
    for parameter in model.parameters():
        if parameter.max() == parameter.min():
            parameter.data.uniform_(0.5, 1.5) if parameter.max() else parameter.data.normal_(0, 0.2)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.cat([x, -x]))
    return model


@each_network
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_computes_the_same(name: str, target: Callable[..., Any]) -> None:
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model = calibrated(NETWORKS[name]().double(), x)
    new, swaps = target(model, example=x)
    found = check_equivalent(model, new, x, rtol=1e-12)
    assert found.has_signal
    assert all(swap.reason for swap in swaps if swap.after is None)
    if target is to_linear:
        assert sum(swap.after is not None for swap in swaps) == _unit_1x1s(model)
    if name == "resnet50" and target is to_linear:
        dropping = [s for s in swaps if s.reason == "stride (2, 2) drops positions"]
        assert len(dropping) == 3  # the shortcuts of stages 2 to 4
    assert all(part.training for part in new.modules())


def _unit_1x1s(model: nn.Module) -> int:
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return sum(m.kernel_size == (1, 1) and m.stride == (1, 1) for m in convs)


@each_network
def test_the_way_back_is_exact(name: str) -> None:
    model = NETWORKS[name]()
    state = model.state_dict()
    for target in TARGETS.values():
        back = restore(target(model)[0])[0].state_dict()
        assert back.keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in back.items())


def test_layers_whose_weights_are_read_are_converted_too() -> None:
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model = calibrated(NETWORKS["swin"]().double(), x)  # it reads qkv.weight and proj.weight
    new, swaps = to_conv(model)
    assert "Conv2d(16, 48, 1x1) in place of linear" in {swap.after for swap in swaps}
    check_equivalent(model, new, x)
    assert to_conv(model, example=x)[1] == swaps
    program = torch.export.export(new.eval(), (x,), strict=False)
    assert not [node for node in program.graph.nodes if "linear" in str(node.target)]
    torch.testing.assert_close(program.module()(x), model.eval()(x))


def test_a_converted_network_as_torch_modules() -> None:
    x = torch.randn(2, 3, 32, 32)
    model = calibrated(convnext(), x)
    new, swaps = to_torch(to_pointwise(model)[0], x)
    assert all(swap.after is not None for swap in swaps)
    assert not any("pointwise" in type(part).__module__ for part in new.modules())
    check_equivalent(model, new, x)
    check_equivalent(model, new, torch.randn(3, 3, 48, 40))
