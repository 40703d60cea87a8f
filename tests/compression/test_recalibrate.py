"""Batch norms keep what they know, and change by what their inputs changed."""

import copy

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from pointwise.compression.fitting.recalibrate import LARGEST, SMALLEST, norms_of, recalibrate


def make() -> tuple[nn.Sequential, list[Tensor]]:
    model = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
    ).eval()
    for norm in norms_of(model).values():
        nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    return model, list(torch.randn(40, 3, 8, 8).split(8))


def test_the_same_model_stays_the_same() -> None:
    model, batches = make()
    other = copy.deepcopy(model)
    recalibrate(other, model, batches)
    assert_close(other.state_dict(), model.state_dict())


def test_a_change_of_scale_and_mean_is_undone() -> None:
    model, batches = make()
    other = copy.deepcopy(model)
    conv = other[1]
    with torch.no_grad():
        conv.weight.mul_(torch.tensor([0.5, 2.0, 3.0, 0.7]).view(4, 1, 1, 1))
        conv.bias.add_(torch.tensor([1.0, 0.0, -2.0, 0.3]))
    recalibrate(other, model, batches)
    # the norm after it takes out all but the number that keeps it from dividing by zero
    assert_close(other(batches[0]), model(batches[0]), rtol=1e-3, atol=1e-3)
    assert_close(other[0].state_dict(), model[0].state_dict())
    assert not torch.allclose(other[2].running_var, model[2].running_var)


def test_single_samples_do() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(2)
    batches = list(torch.randn(50, 1, 3))
    recalibrate(other, model, batches)
    share = other[1].running_var / model[1].running_var
    assert_close(share, torch.full((4,), 4.0), rtol=1e-4, atol=0)


def test_what_vanished_is_not_blown_up() -> None:
    model, batches = make()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight.mul_(1e-4)
    recalibrate(other, model, batches)
    assert_close(other[2].running_var, model[2].running_var * SMALLEST)
    with torch.no_grad():
        other[1].weight.mul_(1e6)
    recalibrate(other, model, batches)
    assert_close(other[2].running_var, model[2].running_var * LARGEST)


def test_flags_stay_and_excluded_norms() -> None:
    model, batches = make()
    model[2].train()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight.mul_(2)
    before = copy.deepcopy(other.state_dict())
    recalibrate(other, model, batches, exclude=["2", "5"])
    assert_close(other.state_dict(), before)
    assert [m.training for m in other] == [m.training for m in model]
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in other)
    assert list(norms_of(nn.BatchNorm1d(2, track_running_stats=False))) == []
