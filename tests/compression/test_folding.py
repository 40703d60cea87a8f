"""Batch norms folded away at the end: where that is exact, for all data, and nowhere else."""

import pytest
import torch
from compress_models import block
from torch import Tensor, nn
from torch.testing import assert_close

from pointwise.compression.folding import fold_away


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*block(3, 8), *block(8, 4), nn.Flatten(), nn.LazyLinear(5))
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(16, 3, 6, 6))
    return model


X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_flags_stay(training: bool) -> None:
    model = network().train(training)
    model[3].eval()
    found = fold_away(model, X, batches=[X + 1])
    assert (found.norms, found.offsets) == (("1", "4"), ("0", "3"))
    assert [one.training for one in found.model] == [one.training for one in model]
    assert found.model.training == training
    assert_close(found.model.eval()(X), model.eval()(X))
    assert isinstance(model[1], nn.BatchNorm2d)


def test_excluded_layers_take_no_norm() -> None:
    assert fold_away(network(), X, exclude=["0"]).norms == ("4",)


def test_a_model_without_norms_is_given_back() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert fold_away(model, X).model is model


class Forked(nn.Module):
    """Leaves its norm out where there are many inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(3.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y if len(x) > 8 else self.norm(y)


def test_data_that_flow_in_another_way_keep_the_norm() -> None:
    model = Forked()
    assert fold_away(model, X, batches=[X, X + 1]).norms == ("norm",)
    assert fold_away(model, X, batches=[X, X.repeat(4, 1, 1, 1)]).model is model
