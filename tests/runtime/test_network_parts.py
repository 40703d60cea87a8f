"""Chains inside larger networks: which are found, which are kept, and what a trial decides."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from runtime_chains import Block, each_engine, make_chunks, network, outputs
from torch import Tensor, nn

from pointwise.nn import MLP, MLPConv, PointwiseConv, Projection
from pointwise.runtime import compile as compile_
from pointwise.runtime.compile import _compile_network
from pointwise.runtime.compiled import NO_HALIDE, Engine
from pointwise.runtime.parts import CompiledPart, Part, compile_parts
from pointwise.runtime.trial import AFTER, BEFORE


class Classifier(nn.Module):
    """Convolutions, an mlpconv, projections and a head, called by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 1),
            nn.BatchNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, 8, 1),
            nn.MaxPool2d(2),
        )
        self.block = MLPConv(8, (8, 12, 9), kernel=3)
        self.shrink = Projection(9, 6)
        self.single = PointwiseConv(6, 6)
        self.head = MLP([6, 16, 4])

    def forward(self, x: Tensor) -> Tensor:
        y = self.single(self.shrink(self.block(self.stem(x))))
        out: Tensor = self.head(y.mean((2, 3)))
        return out


def places(parts: tuple[Part, ...] | list[Part]) -> dict[str, Part]:
    return {part.path: part for part in parts}


@each_engine
def test_chains_are_found_in_a_larger_network(engine: Engine) -> None:
    torch.manual_seed(0)
    net = Classifier()
    net(torch.randn(4, 3, 32, 32))  # statistics of the norms
    net.eval()
    x = torch.randn(4, 3, 32, 32)
    compiled = compile_(net, example=x, engine=engine)
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-5, rtol=1e-5)
    found = places(compiled.parts)
    assert {path: part.what for path, part in found.items() if part.engine == engine} == {
        "stem.1": "8 scale relu -> 16 gelu -> 8",
        "block.mlp": "8 -> 12 relu -> 9 relu",
        "shrink": "9 -> 6 relu -> 6",
        "head": "6 -> 16 relu -> 4",
    }
    assert found["stem.0"].reason == "Conv2d has kernel size (3, 3), not 1"
    assert found["stem.7"].reason == "MaxPool2d is not known as a pointwise map"
    assert list(found) == [
        "stem.0",
        "stem.1",
        "stem.7",
        "block.conv.conv",
        "block.mlp",
        "shrink",
        "head",
    ]
    assert not any(isinstance(module, CompiledPart) for module in net.modules())
    with pytest.raises(ValueError, match=r"^axis and out are for networks that are one chain"):
        compiled(x, axis=1)


def test_a_module_used_twice_in_a_sequence_is_left_alone() -> None:
    twin = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
    net = nn.Sequential(twin, nn.MaxPool2d(2), twin).eval()
    x = torch.randn(1, 3, 8, 8)
    compiled = compile_(net, example=x, engine="chunks")
    torch.testing.assert_close(compiled(x), outputs(net, x))


# --- Trials ---


def timed(speedup: float, noise: float = 1.0) -> Callable[..., dict[str, list[float]]]:
    """A stand-in for the clock, by which compiled code is so many times faster."""

    def timer(calls: Mapping[str, Any], *, seconds: float) -> dict[str, list[float]]:
        for call in calls.values():
            call()
        return {BEFORE: [speedup, speedup * noise] * 9, AFTER: [1.0] * 18}

    return timer


def pixels(*modules: nn.Module) -> nn.Module:
    """A network that is no chain, with modules on 256 x 256 pixels in its middle."""
    return nn.Sequential(nn.MaxPool2d(2), *modules, nn.MaxPool2d(2)).eval()


ONE = (nn.Conv2d(16, 64, 1), nn.ReLU())
TWO = (*ONE, nn.Conv2d(64, 16, 1))
X = torch.randn(1, 16, 512, 512, generator=torch.Generator().manual_seed(0))

RULE: dict[str, tuple[tuple[nn.Module, ...], float, float, str]] = {
    "two_faster": (TWO, 1.5, 1.01, ""),
    "two_as_fast": (TWO, 0.99, 1.05, ""),
    "two_slower": (TWO, 0.8, 1.01, "compiled it is slower on the example: 0.80x (0.80 to 0.81)"),
    "one_faster": (ONE, 1.5, 1.01, ""),
    "one_as_fast": (ONE, 0.99, 1.05, "compiled it is as fast on the example: 1.01x (0.99 to 1.04)"),
    "one_slower": (ONE, 0.8, 1.01, "compiled it is slower on the example: 0.80x (0.80 to 0.81)"),
}


@pytest.mark.parametrize("name", RULE)
def test_a_part_must_gain(name: str) -> None:
    modules, speedup, noise, reason = RULE[name]
    made, parts = compile_parts(
        pixels(*modules), make_chunks, example=X, timer=timed(speedup, noise)
    )
    part = places(parts)["1"]
    assert part.reason == reason
    assert part.engine == ("PyTorch" if reason else "chunks")
    assert isinstance(made.get_submodule("1"), nn.Conv2d if reason else CompiledPart)


def test_a_single_matrix_that_takes_no_time_is_not_tried() -> None:
    def no_timer(calls: Any, *, seconds: float) -> Any:
        raise AssertionError("it was timed")

    small = torch.randn(1, 16, 8, 8)
    _, parts = compile_parts(pixels(*ONE), make_chunks, example=small, timer=no_timer)
    assert places(parts)["1"].reason == "a single matrix, which gains too little by fusion"


def test_a_lone_matrix_is_never_tried() -> None:
    _, parts = compile_parts(pixels(ONE[0]), make_chunks, example=X, timer=timed(9.0))
    assert places(parts)["1"].reason == "a single map gains nothing by fusion"


@each_engine
def test_without_a_trial_two_matrices_are_compiled(engine: Engine) -> None:
    small = torch.randn(1, 16, 8, 8)
    for modules, used in ((ONE, "PyTorch"), (TWO, engine)):
        compiled = compile_(pixels(*modules), example=small, engine=engine)
        assert places(compiled.parts)["1"].engine == used


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = network(3, 4, 3), network(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) * 2


def test_what_the_example_does_not_reach_is_left_alone() -> None:
    x = torch.randn(50, 3)
    made, parts = compile_parts(Unused().eval(), make_chunks, example=x, timer=timed(2.0))
    assert places(parts)["unused"].reason == "the example does not reach it"
    assert places(parts)["used"].engine == "chunks"
    torch.testing.assert_close(made(x).shape, x.shape)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x=x) * 2


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(input=x) * 2


def test_what_takes_its_input_by_name_is_left_alone() -> None:
    x = torch.randn(50, 3)
    made, parts = compile_parts(Mixed().eval(), make_chunks, example=x, timer=timed(2.0))
    assert places(parts)["inner"].reason == "it is called with something else than one tensor"
    assert made(x).shape == x.shape
    _, parts = compile_parts(Named().eval(), make_chunks, example=x, timer=timed(2.0))
    assert places(parts)["inner.enter"].engine == "chunks"


def test_a_network_that_would_be_slower_as_a_whole_stays_as_it_is() -> None:
    rounds = iter([2.0, 0.5])  # the part gains, the whole does not

    def timer(calls: Mapping[str, Any], *, seconds: float) -> dict[str, list[float]]:
        return {BEFORE: [next(rounds)] * 9, AFTER: [1.0] * 9}

    net = pixels(*TWO)
    compiled = _compile_network(net, X, "auto", "", timer)
    part = places(compiled.parts)["1"]
    assert part.engine == "PyTorch"
    assert part.reason == "the network as a whole would be slower: 0.50x (0.50 to 0.50)"
    assert not any(isinstance(module, CompiledPart) for module in compiled.run.modules())
    assert compiled.run is not net
    assert torch.equal(compiled(X), outputs(net, X))


class ReadsSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x))).view(-1, self.c.out_features) * 2


def test_a_network_that_reads_what_was_replaced_stays_as_it_is() -> None:
    net, x = ReadsSizes().eval(), torch.randn(50, 3)
    compiled = compile_(net, example=x, engine="chunks")
    assert places(compiled.parts)["a"].reason == (
        "the network reads more of it: 'Identity' object has no attribute 'out_features'"
    )
    assert torch.equal(compiled(x), outputs(net, x))


def test_without_halide_a_larger_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)
    with pytest.warns(UserWarning, match=re.escape(NO_HALIDE)) as caught:
        compiled = compile_(pixels(*TWO), example=X)
    assert caught[0].filename == __file__
    torch.testing.assert_close(compiled(X), outputs(pixels(*TWO), X), atol=1e-5, rtol=1e-5)


# --- What a network does besides ---


class WritesAndAdds(nn.Module):
    """A branch that begins in place: what is added is not what the branch was given."""

    def __init__(self, *first: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(8, 8, 3, padding=1)
        self.branch = nn.Sequential(
            *first,
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 8, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        made: Tensor = self.branch(stem)
        return made + stem


@each_engine
@pytest.mark.parametrize(
    ("first", "where"),
    [
        ([], "branch.1"),
        ([nn.Dropout()], "branch.2"),
        ([nn.Sequential(nn.Identity(), nn.Dropout2d())], "branch.2"),
    ],
    ids=["at once", "after a dropout", "after two that pass on"],
)
def test_what_begins_in_place_stays_in_place(
    engine: Engine, first: list[nn.Module], where: str
) -> None:
    net, x = WritesAndAdds(*first).eval(), torch.randn(2, 8, 16, 16)
    compiled = compile_(net, example=x, engine=engine)
    assert [part.path for part in compiled.parts] == ["stem", where]
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("last", [nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 1)], ids=["parts", "chain"])
def test_the_example_is_left_as_it_is(last: nn.Module) -> None:
    net = nn.Sequential(nn.LeakyReLU(0.1, inplace=True), last, nn.ReLU(), nn.Conv2d(8, 4, 1))
    x = torch.randn(1, 3, 16, 16)
    before = x.clone()
    compile_(net.eval(), example=x, engine="chunks")
    assert torch.equal(x, before)


class Counting(WritesAndAdds):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize("engine", ["auto", "chunks"])
def test_compiling_leaves_no_trace_in_buffers(engine: Engine) -> None:
    net, x = Counting().eval(), torch.randn(2, 8, 16, 16)
    compiled = compile_(net, example=x, engine=engine)
    assert net.calls == 0
    compiled(x)
    assert compiled.run.calls == 1


class GivesSeveral(nn.Module):
    """A mapping, as segmentation models of torchvision give it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), network(8, 16, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        stem = self.stem(x)
        return {"out": self.head(stem.movedim(1, -1)), "more": (stem, 1)}


@each_engine
def test_outputs_of_any_kind(engine: Engine) -> None:
    net, x = GivesSeveral().eval(), torch.randn(2, 3, 16, 16)
    compiled = compile_(net, example=x.numpy(), engine=engine)
    expected = outputs(net, x)
    for got in (compiled(x), compiled(x.numpy())):
        assert got["more"][1] == 1
        for one, other in ((got["out"], expected["out"]), (got["more"][0], expected["more"][0])):
            torch.testing.assert_close(torch.as_tensor(one), other, atol=1e-5, rtol=1e-5)
    assert isinstance(compiled(x.numpy())["out"], np.ndarray)


@pytest.mark.parametrize("engine", ["auto", "chunks"])
def test_a_softmax_over_positions_runs_through_pytorch(engine: Engine) -> None:
    pool = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1), nn.Softmax(dim=1)).eval()
    x = torch.randn(4, 10, 16)
    compiled = compile_(pool, example=x, engine=engine)
    assert compiled.parts[0].engine == "PyTorch"
    torch.testing.assert_close(compiled(x), pool(x))


def test_old_weight_norm_is_copied() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        normed = nn.utils.weight_norm(nn.Conv2d(3, 8, 3))
    net = nn.Sequential(normed, nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()
    x = torch.randn(1, 3, 9, 9)
    compiled = compile_(net, example=x, engine="chunks")
    torch.testing.assert_close(compiled(x), outputs(net, x))
    assert [part.engine for part in compiled.parts] == ["PyTorch", "chunks"]
