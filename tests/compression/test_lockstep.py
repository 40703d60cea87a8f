"""Forwards that wait at layers: the refit that forwards from the start give, in fewer of them."""

import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from pointwise.compression.fitting import lockstep
from pointwise.compression.fitting.lockstep import Lockstep
from pointwise.compression.fitting.sequential import refit
from pointwise.compression.forms.form import factor_layer
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.statistics.rows import KeptRows, Wanted, keep_rows
from pointwise.errors import DataError

WIDTH = 6


class Chain(nn.Module):
    """Layers one after another, each factored."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(5))
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        for layer in self.layers:
            x = torch.tanh(layer(x)) + x
        return x


class Shared(Chain):
    """One layer is called twice, between others."""

    def forward(self, x: Tensor) -> Tensor:
        for at in (0, 1, 2, 1, 3, 4):
            x = torch.tanh(self.layers[at](x))
        return x


class Turned(Chain):
    """The order of two layers depends on the data."""

    def forward(self, x: Tensor) -> Tensor:
        order = (0, 1, 2, 3, 4) if x.mean() > 0 else (0, 2, 1, 4, 3)
        for at in order:
            x = torch.tanh(self.layers[at](x))
        return x


class Skipping(Chain):
    """Some batches do not reach all layers."""

    def forward(self, x: Tensor) -> Tensor:
        for at in range(5 if x.mean() > 0 else 3):
            x = torch.tanh(self.layers[at](x))
        return x


class Keeping(Chain):
    """What belongs to a batch is kept in the model: the next batch takes its place."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.layers[0](x)
        for layer in self.layers[1:]:
            x = torch.tanh(layer(x)) + self.kept
        return x


class MainOnly(Chain):
    """Fails in any other thread."""

    def forward(self, x: Tensor) -> Tensor:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("not here")
        return super().forward(x)


Made = tuple[nn.Module, dict[str, KeptRows], list[Tensor]]


def made(network: Callable[[], nn.Module]) -> Made:
    torch.manual_seed(0)
    given = network()
    batches = [torch.randn(20, WIDTH) + shift for shift in (1.0, -1.0, 0.5)]
    wanted = {f"layers.{at}": Wanted(Stage.of(given.layers[at]), 8) for at in range(5)}
    kept = keep_rows(given, wanted, batches)
    model = network()
    for at in range(5):
        model.layers[at] = factor_layer(given.layers[at], FORMS["output"], (3,))
    return model, kept, batches


def refitted(network: Callable[[], nn.Module]) -> dict[str, Tensor]:
    model, kept, batches = made(network)
    refit(model, kept, batches)
    return model.state_dict()


every = pytest.mark.parametrize("network", [Chain, Shared, Turned, Skipping, Keeping, MainOnly])


@every
@pytest.mark.parametrize("room", [0, 1100, 2**31], ids=["none", "some", "all"])
def test_the_same_as_from_the_start(
    network: type[nn.Module], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    monkeypatch.setattr(lockstep, "MOST_BYTES", 0)
    plain = refitted(network)
    monkeypatch.setattr(lockstep, "MOST_BYTES", room)
    found = refitted(network)
    assert all(torch.equal(plain[name], value) for name, value in found.items())
    assert threading.active_count() == before


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    before = refitted(Chain)
    tries = []

    def refuse(thread: threading.Thread) -> None:
        tries.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    after = refitted(Chain)
    assert len(tries) == 3  # one a batch
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_forwards_do_not_grow_with_the_layers() -> None:
    model, kept, batches = made(Chain)
    refit(model, kept, batches)
    assert model.runs == 1 + 2 * len(batches)  # one to see what it holds, one to compare


def test_what_a_model_keeps_is_found_out() -> None:
    model, _, batches = made(Keeping)
    paths = [f"layers.{at}.1" for at in range(5)]
    assert not visited(model, paths, batches)
    assert visited(model, paths, batches[:1])
    model, _, batches = made(Chain)
    assert visited(model, paths, batches)


def visited(model: nn.Module, paths: Sequence[str], batches: Sequence[Tensor]) -> bool:
    with Lockstep(model, paths, batches) as runs:
        for path in paths:
            for number in range(len(batches)):
                runs.visit(number, path, 1, lambda x: None)
        return runs.agree()


def test_all_is_put_back_where_something_fails() -> None:
    model, _, batches = made(Chain)
    model.train()
    before = threading.active_count()

    def fail(x: Tensor) -> None:
        raise KeyboardInterrupt

    def visit_two() -> None:
        with Lockstep(model, ["layers.0.1", "layers.1.1"], batches) as runs:
            runs.visit(0, "layers.0.1", 1, lambda x: None)
            runs.visit(1, "layers.0.1", 1, fail)

    with pytest.raises(KeyboardInterrupt):
        visit_two()
    assert threading.active_count() == before
    assert model.training
    assert not model.layers[0][1]._forward_pre_hooks


def test_a_model_that_fails_on_a_batch_says_so() -> None:
    model, _, batches = made(Chain)
    wrong = [*batches, torch.ones(4, WIDTH + 1)]
    with Lockstep(model, ["layers.0.1", "layers.1.1"], wrong) as runs:
        runs.visit(0, "layers.0.1", 1, lambda x: None)
        with pytest.raises(
            DataError, match="data must be inputs of the model, which fails on them"
        ):
            runs.visit(3, "layers.0.1", 1, lambda x: None)
