"""The closed table of activations."""

import pytest
import torch
from torch import nn

from pointwise.nn import ACTIVATIONS, activation_name


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_builds_and_round_trips(name: str) -> None:
    kind = ACTIVATIONS[name]
    assert activation_name(kind) == name
    made = kind()
    assert isinstance(made, nn.Module)
    assert list(made.parameters()) == []  # so that members share nothing
    assert made(torch.randn(2, 3, 4)).shape == (2, 3, 4)


def test_names_are_sorted_and_one_per_class() -> None:
    assert list(ACTIVATIONS) == sorted(ACTIVATIONS)
    assert len(set(ACTIVATIONS.values())) == len(ACTIVATIONS)


@pytest.mark.parametrize("other", [nn.PReLU, nn.Linear, torch.relu, "relu"])
def test_others_are_refused(other: object) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        activation_name(other)
    assert str(error.value) == (
        "activation must be one of elu, gelu, hardswish, identity, leaky_relu, mish, relu, relu6, "
        f"selu, sigmoid, silu, softplus, tanh, got {other!r}"
    )
