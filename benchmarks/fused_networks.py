"""The networks that fused chains are measured on."""

import itertools
from collections.abc import Callable

from torch import nn

from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder, TableNetwork
from pointwise.runtime import Chain, read_chain

NETWORKS: dict[str, tuple[int, ...]] = {
    "4-16-8-1": (4, 16, 8, 1),
    "6-64-64-1": (6, 64, 64, 1),
    "12-64-64-10": (12, 64, 64, 10),
    "16-32-32-16": (16, 32, 32, 16),
    "64-64-64-64": (64, 64, 64, 64),
    "10-100-100-3": (10, 100, 100, 3),
    "128-128-128": (128, 128, 128),
    "200-128-64-16": (200, 128, 64, 16),
    "64-256-64": (64, 256, 64),
    "256-256-256": (256, 256, 256),
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def network(
    channels: tuple[int, ...],
    activation: Callable[[], nn.Module],
    layer: Callable[[int, int], nn.Module] = lambda c_in, c_out: nn.Conv2d(c_in, c_out, 1),
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c_in, c_out in itertools.pairwise(channels):
        layers += [layer(c_in, c_out), activation()]
    return nn.Sequential(*layers[:-1]).eval()


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net)
    if isinstance(chain, str):
        raise SystemExit(chain)
    return chain


def table_chain() -> Chain:
    """What an estimator fits by default: encoders, 16 members of two layers of 128."""
    numbers = NumberEncoder([0.0] * 12, [1.0] * 12, [True] * 12, [[0.0, 1.0, 3.0]] * 12)
    categories = CategoryEncoder([[0.5, 0.3, 0.2], [0.01] * 100])
    mlp = MLP([numbers.c_out + categories.c_out, 128, 128, 1], members=16)
    return chain_of(TableNetwork(numbers, categories, mlp, ChannelScale([2.0], [0.0])).eval())
