"""Both engines against float64: no worse than twice what PyTorch does in float32."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_chains import ACTIVATIONS, each_engine, float32_errors, needs_halide, network
from torch import nn

from pointwise.runtime.chain import Chain
from pointwise.runtime.compiled import CompiledChain, Engine
from pointwise.runtime.lowering import read_chain

NAN = math.nan


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net.eval())
    assert isinstance(chain, Chain)
    return chain


def assert_accurate(net: nn.Module, x: torch.Tensor, engine: Engine) -> None:
    ours, theirs, scale = float32_errors(net, x, engine)
    assert ours <= 2 * theirs + 1.2e-7 * max(scale, 1e-30), (ours, theirs, scale)


@each_engine
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_as_accurate(name: str, engine: Engine) -> None:
    net = nn.Sequential(nn.Linear(1, 1), ACTIVATIONS[name]())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    for reach in (1e-3, 1.0, 8.0, 30.0, 200.0):
        assert_accurate(net.eval(), torch.linspace(-reach, reach, 20001)[:, None], engine)


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


@each_engine
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    widths=st.lists(st.integers(1, 130), min_size=2, max_size=4),
    name=st.sampled_from(sorted(ACTIVATIONS)),
    by_columns=st.booleans(),
    positions=st.integers(1, 300),
    seed=st.integers(0, 1000),
)
def test_random_networks_are_as_accurate(
    engine: Engine, widths: list[int], name: str, by_columns: bool, positions: int, seed: int
) -> None:
    torch.manual_seed(seed)
    net = network(*widths, activation=ACTIVATIONS[name])
    x = torch.randn(positions, widths[0])
    assert_accurate(net, x.T.contiguous().T if by_columns else x, engine)


@each_engine
@pytest.mark.parametrize("first", [1, 14, 27, 64, 127])
def test_neighbouring_widths_are_as_accurate(first: int, engine: Engine) -> None:
    torch.manual_seed(first)
    widths = [first, first + 1, first + 2, first + 3]
    assert_accurate(network(*widths), torch.randn(500, first), engine)


@needs_halide
@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 131, 10))
def test_every_width_is_as_accurate(first: int) -> None:
    torch.manual_seed(first)
    widths = list(range(first, first + 10))
    assert_accurate(network(*widths), torch.randn(500, first), "fused")
