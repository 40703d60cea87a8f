"""Chains, networks and layouts that the tests of the runtime share."""

import importlib.util
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pointwise.runtime.chain import Chain
from pointwise.runtime.compiled import CompiledChain, Engine
from pointwise.runtime.lowering import read_chain
from pointwise.runtime.reference import evaluate

HAS_HALIDE = importlib.util.find_spec("halide") is not None

needs_halide = pytest.mark.skipif(not HAS_HALIDE, reason="halide is not installed")

each_engine = pytest.mark.parametrize(
    "engine", ["chunks", pytest.param("fused", marks=needs_halide)]
)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": lambda: nn.ELU(0.7),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "hardswish": nn.Hardswish,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": lambda: nn.Softplus(2.0, 15.0),
    "tanh": nn.Tanh,
}


class Block(nn.Module):
    """A forward by hand, called by name, in another order than the modules were made in."""

    def __init__(self) -> None:
        super().__init__()
        self.leave, self.act, self.enter = nn.Linear(8, 3), nn.GELU(), nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(self.act(self.enter(x)))


def network(*channels: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Matrices with an activation between any two."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(channels):
        layers += [nn.Linear(c_in, c_out), activation()]
    return nn.Sequential(*layers[:-1]).eval()


def chain_of(net: nn.Module) -> Chain:
    """The chain of a network that is one."""
    chain = read_chain(net.eval())
    assert isinstance(chain, Chain)
    return chain


def make_chunks(chain: Chain, dtype: torch.dtype) -> CompiledChain:
    """A chain that runs in chunks, as `compile_parts` asks for one."""
    return CompiledChain(chain, engine="chunks", dtype=dtype)


def outputs(net: nn.Module, x: Tensor) -> Tensor:
    """What PyTorch gives."""
    with torch.no_grad():
        made: Tensor = net(x)
    return made


def as_rows(x: Tensor, axis: int = 1) -> Tensor:
    """``(P, C)`` of any layout, by the definition."""
    return x.movedim(axis, -1).reshape(-1, x.shape[axis])


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "rows": ((1000,), lambda x: x),
    "row": ((1,), lambda x: x),
    "no_rows": ((0,), lambda x: x),
    "rows_apart": ((300,), lambda x: torch.cat([x, x], 1)[:, : x.shape[1]]),
    "columns": ((1000,), lambda x: x.T.contiguous().T),
    "planar": ((2, 37, 21), lambda x: x),
    "planar_last": ((2, 37, 21), channels_last),
    "small_samples": ((50, 3, 3), lambda x: x),
    "small_samples_last": ((50, 3, 3), channels_last),
    "a_few_positions": ((1, 7), lambda x: x),
    "no_positions": ((2, 0), lambda x: x),
    "volume": ((2, 5, 6, 7), lambda x: x),
    "crop": ((2, 40, 30), lambda x: x[:, :, 3:33, 2:25]),
    "every_other": ((1, 600), lambda x: x[:, :, ::2]),
    "many_tiles": ((1, 9001), lambda x: x),
}
"""Samples and positions, and what is done to an array of these to lay it out."""


def arranged(layout: str, c: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An input ``(N, C, *S)`` in a layout; numbers of both signs, of types that have them."""
    (n, *space), lay_out = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(n + c)
    x = torch.randn(n, c, *space, generator=generator)
    if not dtype.is_floating_point:
        low = 0 if dtype in (torch.uint8, torch.uint16, torch.bool) else -100
        x = torch.randint(low, 120, x.shape, generator=generator)
        if dtype == torch.bool:
            x = x > 60
    return lay_out(x.to(dtype))


def assert_runs(
    chain: Chain, x: Tensor, engine: Engine, atol: float = 2e-6, rtol: float = 2e-6
) -> None:
    """An engine gives what the chain means, in the shape and order of the input."""
    got = CompiledChain(chain, engine=engine)(x, axis=1)
    expected = evaluate(chain, as_rows(x).double())
    assert got.shape == (x.shape[0], chain.c_out, *x.shape[2:])
    if chain.dtype is None:
        assert got.dtype == torch.float32
        torch.testing.assert_close(
            as_rows(got), expected.float(), atol=atol, rtol=rtol, equal_nan=True
        )
    else:
        assert got.dtype == chain.dtype
        wrong = (as_rows(got) != expected).float()
        assert wrong.numel() == 0 or wrong.mean() < 2e-3


def float32_errors(net: nn.Module, x: Tensor, engine: Engine) -> tuple[float, float, float]:
    """Largest errors against float64 of an engine and of PyTorch, and the largest output."""
    chain = chain_of(net)
    with torch.no_grad():
        exact = evaluate(chain, x)
        ours = CompiledChain(chain, engine=engine)(x)
        theirs = net(x)
    scale = float(exact.abs().max())
    return float((ours - exact).abs().max()), float((theirs - exact).abs().max()), scale
