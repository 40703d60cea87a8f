"""The closed table of activations, and activations that are no part of it, in the blocks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pointwise.nn import (
    ACTIVATIONS,
    MLP,
    AttentionGate,
    Bottleneck,
    ChannelGate,
    ConvNormActivation,
    GatedFusion,
    MaskHead,
    Projection,
    SumFusion,
    activation_name,
)


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


BLOCKS = {
    "projection": (lambda **options: Projection(4, 4, activation=nn.PReLU, **options), 1),
    "convolution": (
        lambda **options: ConvNormActivation(4, 4, 3, activation=nn.PReLU, **options),
        1,
    ),
    "bottleneck": (lambda **options: Bottleneck(4, 2, 4, activation=nn.PReLU, **options), 1),
    "mlp": (lambda **options: MLP([4, 3, 4], activation=nn.PReLU, **options), 1),
    "channel gate": (
        lambda **options: ChannelGate(4, 2, activation=nn.PReLU, gate=nn.PReLU, **options),
        1,
    ),
    "attention gate": (
        lambda **options: AttentionGate(4, 4, 2, activation=nn.PReLU, gate=nn.PReLU, **options),
        2,
    ),
    "sum": (lambda **options: SumFusion([4, 4], 4, activation=nn.PReLU, **options), 2),
    "weighed": (lambda **options: GatedFusion([4, 4], 4, activation=nn.PReLU, **options), 2),
    "mask head": (
        lambda **options: MaskHead(4, 4, widths=(2,), c_up=2, activation=nn.PReLU, **options),
        1,
    ),
}


@pytest.mark.parametrize(("make", "maps"), BLOCKS.values(), ids=BLOCKS.keys())
def test_an_activation_that_learns_has_the_blocks_device_and_type(
    make: Callable[..., nn.Module], maps: int
) -> None:
    assert all(p.is_meta for p in make(device="meta").parameters())
    block = make(dtype=torch.float64)
    assert {p.dtype for p in block.parameters()} == {torch.float64}
    y = block(*(torch.randn(2, 4, 5, 5, dtype=torch.float64) for _ in range(maps)))
    assert y.dtype == torch.float64
