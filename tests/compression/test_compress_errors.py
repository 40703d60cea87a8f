"""What cannot be compressed: one clear error each, and the model as it was."""

import re
from typing import Any

import pytest
import torch
from compress_models import MODELS, made
from torch import Tensor, nn
from torch.nn import functional as F

from pointwise.compression.budget import Budget, check_met
from pointwise.compression.compress import compress
from pointwise.errors import DataError

X = torch.randn(64, 8)


def make() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))


class Draws(nn.Module):
    """Dropout in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), 0.5)


class Silent(nn.Module):
    """It puts out no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> float:
        return float(self.layer(x).sum())


def exploding() -> nn.Module:
    model = make()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    return model


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return make()


class Divides(nn.Module):
    """Not a number for some inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x) / (x.abs().amax(1, keepdim=True) < 9))
        return y


def test_impossible_budget() -> None:
    message = (
        "budget must be within reach: macs=0.1 is not, the smallest share of the macs is 0.250"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        compress(make(), Budget(macs=0.1), X[:1])


def test_nothing_to_compress() -> None:
    message = "share of the macs is 1.000 (0 layers can be compressed; 2 cannot: it is excluded)"
    with pytest.raises(ValueError, match=re.escape(message)):
        compress(make(), Budget(macs=0.9), X[:1], exclude=[""])


def test_budgets_that_exclude_each_other() -> None:
    message = (
        "budget must be within reach: macs=0.3, params=0.4 are not all at once, though each is "
        "alone; raise one of them"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_met(Budget(macs=0.3, params=0.4), met=False)
    check_met(Budget(macs=0.3, params=0.4), met=True)


@pytest.mark.parametrize(
    ("model", "data", "kind", "message"),
    [
        (make(), [], DataError, "data must hold at least one sample, got none"),
        (
            make(),
            torch.randn(9, 7),
            DataError,
            "data must be inputs of the model, which fails on batch 0: mat1 and mat2",
        ),
        (
            make(),
            torch.cat([X, X.new_full((1, 8), float("nan"))]),
            DataError,
            "the outputs of '0' must be finite on the data, they are not",
        ),
        (
            Divides(),
            torch.cat([X, torch.full((1, 8), 10.0)]),
            DataError,
            "must be finite on the data, they are not",
        ),
        (
            Draws(),
            X,
            ValueError,
            "model must give the same every time in evaluation mode, its output changes from one "
            "run to the next: it draws random numbers",
        ),
        (Silent(), X, ValueError, "model must put out at least one tensor, it puts out none"),
        (
            exploding(),
            X,
            ValueError,
            "model must give numbers for the example, its output holds nan",
        ),
    ],
    ids=["no_data", "wrong_data", "nan_data", "nan_inside", "random", "no_output", "nan_weights"],
)
def test_wrong_models_and_data(model: nn.Module, data: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        compress(model, Budget(macs=0.5), X[:1], data=data)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"forms": "svd"}, ValueError, "forms must be 'auto' or some of output, input, axis 0,"),
        ({"forms": []}, ValueError, "tucker, got none"),
        ({"exclude": ["head"]}, ValueError, "exclude must hold paths of modules"),
        ({"exclude": "0"}, TypeError, "exclude must be a sequence of paths, such as ['0']"),
        (
            {"logits": lambda y: y["out"]},
            DataError,
            "logits must pick class scores out of the model's output, it fails: ",
        ),
        (
            {"logits": lambda y: y.sum()},
            DataError,
            "logits must pick class scores of shape (N, K, *S), got shape ()",
        ),
        (
            {"evaluate": lambda model: "good"},
            TypeError,
            "evaluate must return a number, got 'good'",
        ),
    ],
    ids=["form", "no_form", "exclude", "one_path", "logits_fail", "logits_shape", "evaluate"],
)
def test_wrong_options(options: dict[str, Any], kind: Any, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        compress(make(), Budget(macs=0.75), X[:1], data=X, **options)


def test_wrong_example() -> None:
    with pytest.raises(
        ValueError, match="example must be an input of the model, which fails on it"
    ):
        compress(make(), Budget(macs=0.5), torch.ones(1, 5))


def test_the_flags_survive_an_error() -> None:
    network, example, batches = made(MODELS["cnn"])
    network.train()
    with pytest.raises(DataError):
        compress(network, Budget(macs=0.5), example, data=[batches[0], batches[1] / 0])
    assert all(m.training for m in network.modules())


# --- Wrong arguments, and data that tell little ---


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"model": torch.tanh}, TypeError, "model must be a torch.nn.Module, got"),
        (
            {"budget": 0.7},
            TypeError,
            "budget must be a Budget, such as Budget(macs=0.5), got 0.7",
        ),
        ({"samples": -1}, ValueError, "samples must be a whole number above 0, got -1"),
        ({"samples": 0}, ValueError, "samples must be a whole number above 0, got 0"),
        ({"example": torch.ones(0, 16)}, ValueError, "example must hold at least one sample, got"),
        (
            {"model": nn.Linear(16, 16, device="meta"), "example": torch.ones(1, 16).to("meta")},
            ValueError,
            "model must have values, its output is on the meta device",
        ),
        (
            {"model": nn.Sequential(nn.LazyLinear(16))},
            ValueError,
            "model must know its sizes, its 0.weight is lazy: run it once first",
        ),
        (
            {"model": made_in_inference_mode()},
            ValueError,
            "model must be made outside of torch.inference_mode(), its 0.weight was made in it",
        ),
    ],
    ids=["model", "budget", "samples", "no_samples", "empty", "meta", "lazy", "inference"],
)
def test_wrong_arguments(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    given: dict[str, Any] = {
        "model": nn.Linear(16, 16),
        "budget": Budget(macs=0.5),
        "example": torch.ones(1, 16),
        **change,
    }
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        compress(**given)


POOR = {
    "one sample": lambda x: x[:1],
    "one sample again and again": lambda x: x[:1].expand(64, -1).contiguous(),
    "zeros": torch.zeros_like,
    "sure of everything": lambda x: 1e30 * x,
}


@pytest.mark.parametrize("name", POOR)
def test_data_that_tell_little_do_not_spend_less_than_the_budget(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 8))
    x = torch.randn(64, 16)
    done = compress(model, Budget(macs=0.7), x[:1], data=POOR[name](x))
    assert 0.65 < done.report.after.macs / done.report.before.macs <= 0.7
    said = "Only 1 sample of data: what they do not show is taken not to occur"
    assert (said in str(done.report).replace("\n", " ")) == (name == "one sample")


def test_inference_mode_changes_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    x = torch.randn(64, 16)
    plain = compress(model, Budget(macs=0.7), x[:1], data=x)
    with torch.inference_mode():
        done = compress(model, Budget(macs=0.7), x[:1].clone(), data=x.clone())
    assert done.report.unit == "loss"
    assert not any(p.is_inference() for p in done.model.parameters())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(done.model.state_dict()[name], value)
