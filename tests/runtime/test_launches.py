"""A call of a kind that was made before starts at once, and gives what any other gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from runtime_chains import chain_of, needs_halide, network
from torch import Tensor

from pointwise.nn import MLP
from pointwise.runtime import fused
from pointwise.runtime.chain import Chain, Spread
from pointwise.runtime.compiled import CompiledChain
from pointwise.runtime.reference import evaluate

pytestmark = needs_halide


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the inputs that were looked at, and not repeated."""
    seen: list[tuple[int, ...]] = []
    run = fused.Fused.run

    def noted(self: fused.Fused, x: Tensor, out: Tensor) -> Any:
        seen.append(tuple(x.shape))
        return run(self, x, out)

    monkeypatch.setattr(fused.Fused, "run", noted)
    return seen


def expected(chain: Chain, x: Tensor) -> Tensor:
    """What the chain gives in float64, of channels along the second axis."""
    last = x.movedim(1, -1)
    made = evaluate(chain, last.reshape(-1, x.shape[1]))
    return made.float().unflatten(0, last.shape[:-1]).movedim(-1, 1)


def rows(*shape: int) -> Tensor:
    """Memory whose channels lie side by side."""
    return torch.rand(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "planar": lambda: torch.rand(1, 5, 40, 50),
    "samples": lambda: torch.rand(3, 5, 16, 33),
    "rows": lambda: rows(2, 5, 40, 50),
    "a window": lambda: torch.rand(1, 5, 60, 60)[:, :, 7:50],
    "a channel of many": lambda: torch.rand(1, 9, 40, 50)[:, 2:7],
    "bytes": lambda: torch.randint(0, 255, (1, 5, 40, 50), dtype=torch.uint8),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_out", [False, True])
def test_other_memory_of_the_same_kind(
    layout: str, with_out: bool, runs: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    net = network(5, 24, 3)
    run = CompiledChain(chain_of(net), engine="fused")
    for _ in range(3):
        x = LAYOUTS[layout]()
        wanted = expected(run.chain, x)
        out = torch.empty_like(wanted) if with_out else None
        torch.testing.assert_close(run(x, axis=1, out=out), wanted, atol=1e-5, rtol=1e-5)
    assert len(runs) == 1


def test_many_positions_and_members_in_slices(
    monkeypatch: pytest.MonkeyPatch, runs: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(fused, "SLICE_MACS", 1 << 20)
    torch.manual_seed(0)
    members = MLP([4, 8, 2], members=3).eval()
    chains = [chain_of(members), chain_of(members).then(Spread(3))]
    for chain in chains:
        run = CompiledChain(chain, engine="fused")
        for seed in range(2):
            x = torch.rand(1, 4, 30_011, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(run(x, axis=1), expected(chain, x), atol=1e-6, rtol=1e-5)
    assert len(runs) == 2


def test_memory_that_overlaps_the_second_time() -> None:
    net = network(4, 8, 4)
    run = CompiledChain(chain_of(net), engine="fused")
    x = torch.rand(1, 4, 3000)
    run(x, axis=1, out=torch.empty(1, 4, 3000))
    wanted = expected(run.chain, x)
    run(x, axis=1, out=x)
    torch.testing.assert_close(x, wanted, atol=1e-6, rtol=1e-5)


def test_memory_where_no_number_begins_the_second_time() -> None:
    net = network(4, 8, 4)
    run = CompiledChain(chain_of(net), engine="fused")
    x = np.random.default_rng(0).random((4, 3000), dtype=np.float32)
    wanted = run(x, axis=0)
    odd = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    np.testing.assert_array_equal(run(odd, axis=0), wanted)


def test_other_numbers_of_threads_and_gradients(runs: list[tuple[int, ...]]) -> None:
    net = network(16, 64, 64, 4)
    run = CompiledChain(chain_of(net), engine="fused")
    x = torch.rand(1, 16, 20_000)
    wanted = expected(run.chain, x)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1, 2):
            torch.set_num_threads(threads)
            torch.testing.assert_close(run(x, axis=1), wanted, atol=1e-6, rtol=1e-5)
    finally:
        torch.set_num_threads(before)
    assert len(runs) == 2
    made = run(x.clone().requires_grad_(), axis=1)
    torch.testing.assert_close(made, wanted, atol=1e-6, rtol=1e-5)
    assert not made.requires_grad


def test_kinds_beyond_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointwise.runtime.launches.MOST_KEPT", 3)
    net = network(4, 8, 4)
    run = CompiledChain(chain_of(net), engine="fused")
    for size in [*range(1000, 1008), *range(1000, 1008)]:
        x = torch.rand(1, 4, size)
        wanted = expected(run.chain, x)
        torch.testing.assert_close(run(x, axis=1), wanted, atol=1e-6, rtol=1e-5)
