"""Both engines against float64: no worse than twice what PyTorch does in float32.

Held to the letter on many positions. Where PyTorch rounds less than usual, in an activation alone
and in products of a few rows, some rounding is allowed in addition.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_chains import (
    ACTIVATIONS,
    chain_of,
    each_engine,
    float32_errors,
    needs_halide,
    network,
)
from torch import nn

from pointwise.runtime.compiled import CompiledChain, Engine

NAN = math.nan


POSITIONS = 1000
"""Enough for the largest error among them to say something about both engines."""

HALF_ULP = 2**-24
"""Of the largest output: what rounding alone makes of an exact result."""


def assert_accurate(net: nn.Module, x: torch.Tensor, engine: Engine) -> None:
    """No worse than twice PyTorch's float32, or twice the rounding of the largest output."""
    ours, theirs, scale = float32_errors(net, x, engine)
    assert ours <= 2 * max(theirs, HALF_ULP * scale), (ours, theirs, scale)


def assert_nearly_accurate(
    net: nn.Module, x: torch.Tensor, engine: Engine, halves: int = 2
) -> None:
    """The same, and some rounding of the largest output in addition."""
    ours, theirs, scale = float32_errors(net, x, engine)
    assert ours <= 2 * theirs + halves * HALF_ULP * scale, (ours, theirs, scale)


@each_engine
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_as_accurate(name: str, engine: Engine) -> None:
    net = nn.Sequential(nn.Linear(1, 1), ACTIVATIONS[name]())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    for reach in (1e-3, 1.0, 8.0, 30.0, 200.0):
        assert_nearly_accurate(net.eval(), torch.linspace(-reach, reach, 20001)[:, None], engine)


@each_engine
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_pass_on_what_is_missing_and_infinite(name: str, engine: Engine) -> None:
    net = nn.Sequential(nn.Linear(1, 1), ACTIVATIONS[name]())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    x = torch.tensor([[NAN], [1.0], [-NAN], [1e30], [-1e30], [0.0]]).repeat(20, 1)
    with torch.no_grad():
        expected = net(x)
    got = CompiledChain(chain_of(net), engine=engine)(x)
    torch.testing.assert_close(got, expected, equal_nan=True, atol=1e-6, rtol=1e-6)


MEMORY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rows": lambda x: x,
    "columns": lambda x: x.T.contiguous().T,
    "rows_apart": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
}

WIDTHS = st.lists(
    st.one_of(st.integers(1, 130), st.sampled_from([16, 32, 48, 64, 96, 128])),
    min_size=2,
    max_size=4,
)


@each_engine
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    widths=WIDTHS,
    name=st.sampled_from(sorted(ACTIVATIONS)),
    memory=st.sampled_from(sorted(MEMORY)),
    seed=st.integers(0, 1000),
)
def test_random_networks_are_as_accurate(
    engine: Engine, widths: list[int], name: str, memory: str, seed: int
) -> None:
    torch.manual_seed(seed)
    net = network(*widths, activation=ACTIVATIONS[name])
    assert_accurate(net, MEMORY[memory](torch.randn(POSITIONS, widths[0])), engine)


@each_engine
@pytest.mark.parametrize("positions", [1, 2, 7, 40])
@pytest.mark.parametrize("widths", [(119, 11, 32, 105), (112, 118), (15, 39, 91, 6)])
def test_few_positions_are_accurate(
    widths: tuple[int, ...], positions: int, engine: Engine
) -> None:
    """PyTorch has products for few rows that sum in more parts: twice their error, and rounding."""
    torch.manual_seed(positions)
    x = torch.randn(positions, widths[0])
    assert_nearly_accurate(network(*widths), x, engine, 4)


@each_engine
@pytest.mark.parametrize("first", [1, 14, 27, 64, 127])
def test_neighbouring_widths_are_as_accurate(first: int, engine: Engine) -> None:
    torch.manual_seed(first)
    widths = [first, first + 1, first + 2, first + 3]
    assert_accurate(network(*widths), torch.randn(POSITIONS, first), engine)


@needs_halide
@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 131, 10))
def test_every_width_is_as_accurate(first: int) -> None:
    torch.manual_seed(first)
    widths = list(range(first, first + 10))
    assert_accurate(network(*widths), torch.randn(POSITIONS, first), "fused")
