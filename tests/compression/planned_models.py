"""A network with layers in several forms, its plan, and networks that the plan does not fit."""

from types import SimpleNamespace

import torch
from torch import nn

from pointwise.compression.forms.form import factor_layer
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.plans.plan import Plan, PlannedLayer
from pointwise.compression.reports.report import CompressionReport, Totals
from pointwise.surgery.replace import replace_named


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)

CHOICES = {"0": ("axis 0", (4,)), "3": ("tucker", (3, 5)), "6": ("output", (2,))}


def compressed(model: nn.Module | None = None, choices=None) -> SimpleNamespace:
    """A model with some layers in a form, and the plan of that."""
    model = net() if model is None else model
    choices = CHOICES if choices is None else choices
    planned = []

    def rule(path: str, layer: nn.Module) -> nn.Module | None:
        if path not in choices:
            return None
        name, rank = choices[path]
        stages = FORMS[name].stages(Stage.of(layer), rank)
        planned.append(PlannedLayer(path, name, rank, stages, layer.bias is not None))
        return factor_layer(layer, FORMS[name], rank)

    built, _ = replace_named(model, rule)
    plan = Plan(tuple(planned), type(model).__name__)
    costs = Totals(1, 1, 4)
    report = CompressionReport(type(model).__name__, (), costs, costs, (), "energy")
    return SimpleNamespace(model=built, plan=plan, report=report)


def other(**layers: nn.Module) -> nn.Module:
    """The network with other layers at some places."""
    model = net()
    for place, layer in layers.items():
        model[int(place[1:])] = layer
    return model
