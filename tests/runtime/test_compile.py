"""What is compiled: verification, fallback, threads, forks, copies."""

import copy
import multiprocessing
import pickle
import re
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from runtime_chains import chain_of, each_engine, needs_halide, network, outputs
from torch import Tensor, nn

from pointwise.errors import DifferenceError
from pointwise.functional import Affine
from pointwise.nn import MLP
from pointwise.runtime import compile as compile_
from pointwise.runtime.chain import Activation, Argmax, Chain, Softmax, Spread
from pointwise.runtime.compile import Compiled, _checked, _difference
from pointwise.runtime.compiled import NO_HALIDE, CompiledChain, Engine
from pointwise.runtime.lowering import READERS

# --- Verification ---


VERIFIED: dict[str, Callable[[], nn.Module]] = {
    "rows": lambda: network(3, 17, 2),
    "conv1d": lambda: nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU(), nn.Conv1d(4, 2, 1)),
    "conv3d": lambda: nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.ReLU()),
    "batch_norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
    "softmax": lambda: nn.Sequential(nn.Linear(3, 4), nn.Softmax(1)),
    "mlp": lambda: MLP([3, 4, 2], members=2),
}


@pytest.mark.parametrize("name", VERIFIED)
def test_networks_are_run_for_comparison(name: str) -> None:
    net, calls = VERIFIED[name]().eval(), []
    forward = type(net).forward

    class Watched(type(net)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x.shape)
            made: Tensor = forward(self, x)
            return made

    net.__class__ = Watched
    READERS[Watched] = READERS[Watched.__mro__[1]]
    try:
        compiled = compile_(net, engine="chunks")
    finally:
        del READERS[Watched]
    assert len(calls) == 1
    assert calls[0].numel() == 3000
    assert compiled.largest_difference < 1e-6


def far_normed() -> tuple[nn.Module, Tensor]:
    """A network and inputs about 1e5 of variance 1, of which float32 loses some digits."""
    norm = nn.BatchNorm1d(4)
    norm.running_mean.normal_(1e5, 1)
    model = nn.Sequential(norm, nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return model.eval().requires_grad_(False), torch.randn(1000, 4) + 1e5


@each_engine
def test_a_result_nearer_to_float64_than_the_network_is_taken(engine: Engine) -> None:
    model, x = far_normed()
    compiled = compile_(model, example=x, engine=engine)
    exact = copy.deepcopy(model).double()(x.double())
    ours, theirs = ((one(x) - exact).abs().max() for one in (compiled, model))
    assert compiled.largest_difference > 2e-4
    assert ours <= 2 * theirs


def test_a_wrong_result_is_an_error_where_the_network_rounds_much() -> None:
    model, x = far_normed()
    expected = model(x)
    theirs = (expected - copy.deepcopy(model).double()(x.double())).abs().max()
    with pytest.raises(DifferenceError, match=r"differs from the network by .*, more than"):
        _checked(model, x, (expected + 4 * theirs).float(), expected)


def test_a_wrong_result_is_an_error() -> None:
    chain = chain_of(network(3, 17, 2))
    wrong = Chain(3, [*chain.steps[:-1], Affine(torch.zeros(2, 17))])
    x = torch.ones(5, 3)
    run = CompiledChain(wrong, engine="chunks")
    with pytest.raises(DifferenceError, match=r"differs from the network by .*, more than"):
        _difference(run(x), CompiledChain(chain, engine="chunks")(x))
    with pytest.raises(DifferenceError, match=r"gives shape \(5, 2\) where the network gives"):
        _difference(run(x), x)


@each_engine
def test_chains_end_in_classes_and_members_in_means(engine: Engine) -> None:
    mlp = MLP([5, 16, 16, 3], members=4).eval()
    x = torch.randn(300, 5)
    each = outputs(mlp, x).unflatten(1, (4, 3))
    chain = chain_of(mlp)
    means = compile_(chain.then(Spread(4)), engine=engine)(x)
    torch.testing.assert_close(means[:, :3], each.mean(1), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(means[:, 3:], each.std(1, correction=0), atol=1e-6, rtol=1e-5)
    voted = compile_(chain.then(Softmax(4), Spread(4, deviation=False), Argmax()), engine=engine)
    classes = each.softmax(2).mean(1).argmax(1, keepdim=True)
    assert voted(x).dtype == torch.int64
    torch.testing.assert_close(voted(x), classes)
    assert voted.largest_difference == 0


def test_float64_networks_run_in_float64() -> None:
    net = network(3, 17, 2).double()
    compiled = compile_(net)
    x = torch.randn(100, 3, dtype=torch.float64)
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-14, rtol=1e-14)
    assert compiled.parts[0].reason == "computes in float64"


# --- Fallback ---


def test_without_halide_chunks_run_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)
    net, x = network(3, 17, 2), torch.randn(100, 3)
    with pytest.warns(UserWarning, match=re.escape(NO_HALIDE)) as caught:
        compiled = compile_(net)
    assert caught[0].filename == __file__
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-6, rtol=1e-6)
    assert compiled.parts[0].engine == "chunks"
    assert compiled.parts[0].reason == NO_HALIDE
    with pytest.raises(ImportError, match=f"^{re.escape(NO_HALIDE)}$"):
        compile_(net, engine="fused")


def test_asking_for_chunks_warns_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_(network(3, 17, 2), engine="chunks").parts[0].engine == "chunks"


MIXED = Chain(
    6,
    [Affine(torch.ones(6, 2), groups=3), Activation("relu"), Affine(torch.ones(6, 3), groups=2)],
)


@needs_halide
def test_what_cannot_be_fused_runs_in_chunks_with_the_reason() -> None:
    compiled = compile_(MIXED)
    reason = "its steps have different numbers of groups: [2, 3]"
    assert compiled.parts[0].reason == reason
    assert compiled.parts[0].engine == "chunks"
    with pytest.raises(ValueError, match=re.escape(reason)):
        compile_(MIXED, engine="fused")


@needs_halide
def test_channels_far_apart_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    from pointwise.runtime import fused

    net, called = network(5, 17, 3), []
    gathered = fused.Fused._gathered
    monkeypatch.setattr(fused, "FARTHEST", 1000)
    monkeypatch.setattr(
        fused.Fused, "_gathered", lambda self, x, out: [called.append(1), gathered(self, x, out)]
    )
    run = CompiledChain(chain_of(net), engine="fused")
    for positions, times in ((200, 0), (1000, 1)):  # 1000 positions of 5 channels reach 4999
        x = torch.randn(positions, 5).T.contiguous().T
        torch.testing.assert_close(run(x), outputs(net, x), atol=1e-6, rtol=1e-6)
        assert len(called) == times


# --- Threads, processes, copies ---


@each_engine
def test_several_threads_share_one_callable(engine: Engine) -> None:
    net = network(5, 64, 64, 3)
    compiled = compile_(net, engine=engine)
    inputs = [torch.randn(3000 + 17 * i, 5) for i in range(8)]
    expected = [outputs(net, x) for x in inputs]
    results: dict[int, list[Tensor]] = {}

    def work(i: int) -> None:
        results[i] = [compiled(inputs[i]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, made in results.items():
        for got in made:
            torch.testing.assert_close(got, expected[i], atol=1e-6, rtol=1e-6)
    assert len(results) == 8


@each_engine
@pytest.mark.parametrize("c_out", [3, 32], ids=["turned", "across"])
def test_two_threads_give_what_one_gives(c_out: int, engine: Engine) -> None:
    net = network(5, 64, 64, c_out)
    compiled = compile_(net, engine=engine)
    x, images = torch.randn(20000, 5), torch.randn(3, 700, 5).transpose(1, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = compiled(x), compiled(images, axis=1)
        torch.set_num_threads(2)
        two = compiled(x), compiled(images, axis=1)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)


def _child(compiled: Any, x: Any, queue: Any) -> None:
    queue.put(float(compiled(x).sum()))  # of an array: PyTorch's threads do not survive a fork


@each_engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_can_go_on(engine: Engine) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    net = network(5, 64, 64, 3)
    compiled = compile_(net, engine=engine)
    x = np.random.default_rng(0).normal(size=(20000, 5)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if engine == "fused" else 1)
        expected = float(compiled(x).sum())
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_child, args=(compiled, x, queue))
        process.start()
        got = queue.get(timeout=60)
        process.join(60)
    finally:
        torch.set_num_threads(before)
    assert process.exitcode == 0
    assert got == pytest.approx(expected, rel=1e-4)


@each_engine
def test_a_pickled_one_compiles_anew(engine: Engine) -> None:
    compiled = compile_(network(3, 17, 2), engine=engine)
    x = torch.randn(10, 3)
    again: Compiled = pickle.loads(pickle.dumps(compiled))
    torch.testing.assert_close(again(x), compiled(x))


@needs_halide
def test_a_second_network_of_the_same_shape_compiles_nothing() -> None:
    from pointwise.runtime import fused

    x = torch.randn(100, 3)
    one, two = network(3, 23, 2), network(3, 23, 2)
    CompiledChain(chain_of(one), engine="fused")(x)
    count = len(fused._COMPILED._kept)
    got = CompiledChain(chain_of(two), engine="fused")(x)
    assert len(fused._COMPILED._kept) == count
    torch.testing.assert_close(got, outputs(two, x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.uint16, np.int64])
def test_an_example_may_be_of_any_type_that_the_chain_takes(dtype):
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    example = np.random.default_rng(0).integers(0, 9, (1, 3, 20, 20)).astype(dtype)
    compiled = compile_(network, example=example)
    expected = network(torch.from_numpy(example.astype(np.float32))).detach()
    assert compiled.largest_difference < 1e-5
    np.testing.assert_allclose(compiled(example), expected, rtol=1e-4, atol=1e-5)


def test_networks_of_several_parts_take_numpys_own_fractions():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    x = np.random.default_rng(0).normal(size=(1, 3, 9, 9))
    compiled = compile_(network.eval(), example=x)
    expected = network(torch.from_numpy(x).float()).detach()
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-5)


def test_negative_views_are_read_as_what_they_say():
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).eval()
    compiled, x = compile_(network), torch.randn(500, 3)
    for sign in (1, -1):
        given = x if sign == 1 else torch._neg_view(x)
        torch.testing.assert_close(compiled(given), network(sign * x).detach())
