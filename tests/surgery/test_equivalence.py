"""Comparing two models: what is measured, what is said, and what stays as it was."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pointwise.errors import DifferenceError, PointwiseError
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import (
    called_modules,
    check_equivalent,
)


class Returns(nn.Module):
    """Gives whatever a function makes of its input."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.make(*args, **named)


def shifted(by: float) -> nn.Module:
    return Returns(lambda x: x + by)


X = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)


def test_differences_against_arithmetic() -> None:
    found = check_equivalent(shifted(0), shifted(0.5), X, rtol=1.0)
    assert found.max_abs == 0.5
    assert found.max_relative == 0.5 / 4
    assert (found.worst.name, found.worst.scale, found.worst.spread) == ("output", 4, 3)
    assert found.has_signal
    assert str(found) == "equal to 0.5 (0.12 of the largest output)"


def test_raises_past_the_tolerance() -> None:
    with pytest.raises(DifferenceError) as error:
        check_equivalent(shifted(0), shifted(1e-9), X)
    assert isinstance(error.value, PointwiseError)
    assert str(error.value) == (
        "output must agree to 4e-12, differs by 1e-09 (2.5e-10 of its largest value)"
    )
    check_equivalent(shifted(0), shifted(1e-9), X, atol=1.1e-9)
    check_equivalent(shifted(0), shifted(1e-9), X.float())


@dataclass
class Found:
    boxes: Tensor
    scores: Tensor


Pair = namedtuple("Pair", "low high")

NESTED = {
    "tuple": (lambda x: (x, 2 * x), ["output[0]", "output[1]"]),
    "named_tuple": (lambda x: Pair(x, [x]), ["output[0]", "output[1][0]"]),
    "dict": (lambda x: {"a": x, "b": {"c": x}}, ["output['a']", "output['b']['c']"]),
    "dataclass": (lambda x: Found(x, x), ["output.boxes", "output.scores"]),
    "others": (lambda x: [None, "text", 3, x], ["output[3]"]),
}


@pytest.mark.parametrize(("make", "names"), NESTED.values(), ids=NESTED)
def test_outputs_of_any_nesting(make: Any, names: list[str]) -> None:
    assert list(outputs_of(make(X))) == names
    found = check_equivalent(Returns(make), Returns(make), X)
    assert [one.name for one in found.outputs] == names


def test_the_worst_output_is_named() -> None:
    one = Returns(lambda x: {"a": x, "b": x})
    other = Returns(lambda x: {"a": x + 1e-9, "b": x + 1e-6})
    with pytest.raises(DifferenceError, match=r"^output\['b'\] must agree"):
        check_equivalent(one, other, X)


STRUCTURES = {
    "names": (
        lambda x: {"b": x},
        "both models must put out the same tensors: got output and output['b']",
    ),
    "nothing": (lambda x: None, "both models must put out the same tensors: got output and none"),
    "shape": (lambda x: x[:1], "output must have the same shape: got (2, 2) and (1, 2)"),
    "type": (
        lambda x: x.float(),
        "output must have the same type: got torch.float64 and torch.float32",
    ),
    "device": (lambda x: x.to("meta"), "output must have the same device: got cpu and meta"),
}


@pytest.mark.parametrize(("make", "message"), STRUCTURES.values(), ids=STRUCTURES)
def test_structures_differ(make: Any, message: str) -> None:
    with pytest.raises(DifferenceError) as error:
        check_equivalent(shifted(0), Returns(make), X)
    assert str(error.value) == message


def test_no_tensor_at_all() -> None:
    with pytest.raises(DifferenceError) as error:
        check_equivalent(Returns(lambda x: None), shifted(0), X)
    assert str(error.value) == (
        "the outputs must hold a tensor, those of the first model hold none"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_equal_where_both_are_no_number(value: float) -> None:
    odd = Returns(lambda x: torch.where(x > 3, value, x))
    assert check_equivalent(odd, odd, X).max_abs == 0
    with pytest.raises(DifferenceError, match="differs by inf"):
        check_equivalent(odd, shifted(0), X, rtol=1e6)


SILENT = {
    "zero": lambda x: 0 * x,
    "tiny": lambda x: 1e-13 * x,
    "constant": lambda x: 5 + 1e-9 * x,
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("make", SILENT.values(), ids=SILENT)
def test_outputs_without_signal_are_told(make: Any) -> None:
    found = check_equivalent(Returns(make), Returns(make), X)
    assert not found.has_signal
    assert str(found).endswith(
        "; but the outputs are tiny or constant, so that no error could show"
    )


def test_arguments_by_place_and_by_name() -> None:
    both = Returns(lambda a, b: a - b)
    assert check_equivalent(both, both, (X, 2 * X)).worst.scale == 4
    assert check_equivalent(both, both, {"b": X, "a": 3 * X}).worst.scale == 8


def test_flags_input_hooks_and_random_state_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.ReLU(inplace=True)).double()
    model[1].eval()
    x, state = X.clone(), torch.random.get_rng_state()
    check_equivalent(model, model, x, layers=True)
    assert [part.training for part in model] == [True, False, True]
    assert torch.equal(x, X)
    assert not any(part._forward_hooks for part in model.modules())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_both_draw_the_same_numbers() -> None:
    noisy = Returns(lambda x: x + torch.randn_like(x))
    assert check_equivalent(noisy, noisy, X).max_abs == 0


def test_layer_by_layer() -> None:
    def model(second: float) -> nn.Module:
        return nn.Sequential(shifted(1), shifted(second), nn.ReLU(inplace=True))

    found = check_equivalent(model(2), model(2.5), X, rtol=1, layers=True)
    assert [one.name for one in found.layers] == ["0", "1", "2"]
    assert [one.max_abs for one in found.layers] == [0, 0.5, 0.5]
    with pytest.raises(DifferenceError) as error:
        check_equivalent(model(2), model(2.5), X, layers=True)
    assert str(error.value).endswith("; the first layer to differ is '1', by 0.5")


def test_layers_of_one_model_only_are_passed_over() -> None:
    one = nn.Sequential(nn.Identity(), shifted(0))
    other = nn.Sequential(nn.Sequential(shifted(0)), shifted(0))
    assert [d.name for d in check_equivalent(one, other, X, layers=True).layers] == ["0", "1"]


def test_called_modules() -> None:
    model = nn.ModuleDict({"used": nn.ReLU(), "idle": nn.ReLU()})
    model.forward = lambda x: model["used"](x)
    assert called_modules(model, X) == {"", "used"}
