"""Modules that feed one another in forwards written by hand: found, joined, and run the same."""

from collections.abc import Callable

import pytest
import torch
from runtime_chains import Block, make_chunks, outputs
from torch import Tensor, nn

from pointwise.nn import MLP
from pointwise.runtime import compile as compile_
from pointwise.runtime.lines import lines_of
from pointwise.runtime.parts import CompiledPart, compile_parts


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3), nn.Tanh()])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.abs()


class Branching(nn.Module):
    """A value in the middle is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.b(self.a(x))
        return h + self.c(h)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.b(self.a(x)))) * 2


class TwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.again = self.b

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.a(x)) * 2


class ReadsWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x))) @ self.c.weight


class LooksAtValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.c(self.b(self.a(x)))
        return h if h.sum() > 0 else -h


LINES: dict[str, tuple[Callable[[], nn.Module], list[list[str]]]] = {
    "block": (Block, [["enter", "act", "leave"]]),
    "list": (Listed, [["layers.0", "layers.1", "layers.2", "layers.3"]]),
    "branching": (Branching, [["a", "b"]]),
    "twice": (Twice, []),
    "two_names": (TwoNames, []),
    "reads_weights": (ReadsWeights, [["a", "b"]]),
    "looks_at_values": (LooksAtValues, []),
    "sequence": (lambda: nn.Sequential(nn.ReLU(), nn.Tanh()), [["0", "1"]]),
    "known": (lambda: MLP([3, 4, 1]), []),
    "leaf": (nn.ReLU, []),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_are_modules_that_feed_one_another(name: str) -> None:
    make, expected = LINES[name]
    assert lines_of(make().eval()) == expected


@pytest.mark.parametrize("name", ["block", "list", "branching", "twice", "two_names"])
@pytest.mark.parametrize("more", ["reads_weights", "looks_at_values"])
def test_forwards_by_hand_give_the_same(name: str, more: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(LINES[name][0](), LINES[more][0]()).eval()
    x = torch.randn(50, 3)
    compiled = compile_(net, example=x, engine="chunks")
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-6, rtol=1e-6)


def test_a_block_by_hand_is_one_chain() -> None:
    made, parts = compile_parts(nn.Sequential(Block()).eval(), make_chunks)
    assert [str(part) for part in parts] == ["0.enter: 3 -> 8 gelu -> 3: chunks"]
    assert isinstance(made.get_submodule("0.enter"), CompiledPart)
    assert isinstance(made.get_submodule("0.leave"), nn.Identity)
