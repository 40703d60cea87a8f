"""The callable: arrays, ``out``, verification, fallback, threads, forks, larger networks."""

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
from runtime_chains import channels_last, each_engine, needs_halide, network
from torch import Tensor, nn

from pointwise.errors import DifferenceError
from pointwise.functional import Affine
from pointwise.nn import MLP, MLPConv, PointwiseConv, Projection
from pointwise.runtime import compile as compile_
from pointwise.runtime.chain import Activation, Argmax, Chain, Softmax, Spread
from pointwise.runtime.compile import Compiled
from pointwise.runtime.compiled import NO_HALIDE, CompiledChain, Engine
from pointwise.runtime.lowering import READERS, read_chain
from pointwise.runtime.parts import CompiledPart


def outputs(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        made: Tensor = net(x)
    return made


def pixels() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 17, 1), nn.GELU(), nn.Conv2d(17, 2, 1)).eval()


# --- Calls ---


@each_engine
def test_tensors_come_back_as_tensors(engine: Engine) -> None:
    net, x = network(3, 17, 2), torch.randn(100, 3)
    compiled = compile_(net, engine=engine)
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-6, rtol=1e-6)
    assert compiled.largest_difference < 1e-6
    assert compiled.describe().startswith(f"network: 3 -> 17 relu -> 2: {engine}\nlargest")


@each_engine
def test_arrays_come_back_as_arrays(engine: Engine) -> None:
    net = pixels()
    image = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint16)
    got = compile_(net, engine=engine)(image)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float32
    expected = outputs(net, torch.from_numpy(image).float())
    torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-4, rtol=1e-5)


def read_only(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    made = x.copy()
    made.flags.writeable = False
    return made


ARRAYS = {
    "plain": lambda x: x,
    "read_only": read_only,
    "backwards": lambda x: x[::-1, ::-1],
    "foreign_bytes": lambda x: x.astype(">f4"),
    "transposed": lambda x: np.asfortranarray(x),
    "part": lambda x: np.concatenate([x, x], 1)[:, : x.shape[1]],
    "none": lambda x: x[:0],
}


@each_engine
@pytest.mark.parametrize("kind", ARRAYS)
def test_every_kind_of_array(kind: str, engine: Engine) -> None:
    net = network(3, 17, 2)
    x = ARRAYS[kind](np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    got = CompiledChain(chain_of(net), engine=engine)(x)
    expected = outputs(net, torch.from_numpy(np.array(x, dtype=np.float32)))
    torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-6, rtol=1e-6)


@each_engine
def test_the_axis_of_the_channels_can_be_named(engine: Engine) -> None:
    net = network(3, 17, 2)
    run = CompiledChain(chain_of(net), engine=engine)
    x = torch.randn(20, 15, 3)
    expected = outputs(net, x)
    for axis in (0, 1, 2, -1):
        got = run(x.movedim(-1, axis), axis=axis)
        torch.testing.assert_close(got.movedim(axis, -1), expected, atol=1e-6, rtol=1e-6)
        got = run(x.movedim(-1, axis).contiguous(), axis=axis)
        torch.testing.assert_close(got.movedim(axis, -1), expected, atol=1e-6, rtol=1e-6)


@each_engine
def test_the_output_lies_as_the_input_does(engine: Engine) -> None:
    run = compile_(pixels(), engine=engine)
    x = torch.randn(2, 3, 20, 30)
    assert run(x).is_contiguous()
    assert run(channels_last(x)).is_contiguous(memory_format=torch.channels_last)


OUTS = {
    "planar": lambda: torch.full((2, 2, 20, 30), 7.0),
    "last": lambda: channels_last(torch.full((2, 2, 20, 30), 7.0)),
    "crop": lambda: torch.full((2, 2, 40, 40), 7.0)[:, :, 5:25, :30],
    "double_steps": lambda: torch.full((2, 2, 20, 60), 7.0)[..., ::2],
}


@each_engine
@pytest.mark.parametrize("last", [False, True], ids=["from_planar", "from_last"])
@pytest.mark.parametrize("kind", OUTS)
def test_memory_can_be_used_again(kind: str, last: bool, engine: Engine) -> None:
    net, x = pixels(), torch.randn(2, 3, 20, 30)
    out = OUTS[kind]()
    run = CompiledChain(chain_of(net), engine=engine)
    assert run(channels_last(x) if last else x, out=out) is out
    torch.testing.assert_close(out, outputs(net, x), atol=1e-6, rtol=1e-6)


@each_engine
def test_the_output_may_be_the_input(engine: Engine) -> None:
    net = network(3, 17, 3)
    x = torch.randn(1000, 3)
    expected = outputs(net, x)
    compile_(net, engine=engine)(x, out=x)
    torch.testing.assert_close(x, expected, atol=1e-6, rtol=1e-6)


@each_engine
def test_arrays_as_outputs(engine: Engine) -> None:
    net = network(3, 17, 2)
    x = np.ones((5, 3), dtype=np.float32)
    out = np.zeros((5, 2), dtype=np.float32)
    assert compile_(net, engine=engine)(x, out=out) is out
    torch.testing.assert_close(torch.from_numpy(out), outputs(net, torch.from_numpy(x)))


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net)
    assert isinstance(chain, Chain)
    return chain


ROWS = CompiledChain(chain_of(network(3, 17, 2)), engine="chunks")
IMAGES = CompiledChain(chain_of(pixels()), engine="chunks")

ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "channels": (
        lambda: ROWS(torch.ones(5, 4)),
        ValueError,
        "x must have 3 channels along axis 1, got shape (5, 4)",
    ),
    "axes": (
        lambda: IMAGES(torch.ones(5, 3)),
        ValueError,
        "x must have one of these numbers of axes: 3, 4; got shape (5, 3); name the axis of the "
        "channels otherwise",
    ),
    "axis": (
        lambda: ROWS(torch.ones(5, 3), axis=2),
        ValueError,
        "axis must be one of the 2 of x, got 2",
    ),
    "list": (
        lambda: ROWS([[1.0, 2.0, 3.0]]),
        TypeError,
        "x must be a NumPy array or a tensor, got list",
    ),
    "words": (
        lambda: ROWS(np.array([["a", "b", "c"]])),
        TypeError,
        "x must hold numbers, got an array of <U1",
    ),
    "complex": (
        lambda: ROWS(torch.ones(5, 3, dtype=torch.complex64)),
        TypeError,
        "x must hold real numbers, got torch.complex64",
    ),
    "device": (
        lambda: ROWS(torch.ones(5, 3, device="meta")),
        TypeError,
        "x must be on the CPU, got meta",
    ),
    "out_shape": (
        lambda: ROWS(torch.ones(5, 3), out=torch.ones(5, 3)),
        ValueError,
        "out must have shape (5, 2), got (5, 3)",
    ),
    "out_type": (
        lambda: ROWS(torch.ones(5, 3), out=torch.ones(5, 2, dtype=torch.float64)),
        TypeError,
        "out must hold torch.float32, got torch.float64",
    ),
    "out_read_only": (
        lambda: ROWS(np.ones((5, 3)), out=read_only(np.ones((5, 2), dtype=np.float32))),
        ValueError,
        "out must be a writable array of native numbers that does not run backwards",
    ),
    "engine": (
        lambda: compile_(network(3, 1), engine="fast"),  # type: ignore[arg-type]
        ValueError,
        "engine must be one of auto, fused, chunks, got 'fast'",
    ),
    "dtype": (
        lambda: CompiledChain(ROWS.chain, dtype=torch.float16),
        ValueError,
        "dtype must be torch.float32 or torch.float64, got torch.float16",
    ),
    "no_example": (
        lambda: compile_(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
        ValueError,
        "example must be given, to verify the result with: the network is not one chain "
        "(Conv2d has kernel size (3, 3), not 1)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        call()


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


def test_a_wrong_result_is_an_error() -> None:
    chain = chain_of(network(3, 17, 2))
    wrong = Chain(3, [*chain.steps[:-1], Affine(torch.zeros(2, 17))])
    from pointwise.runtime.compile import _difference

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
def test_two_threads_give_what_one_gives(engine: Engine) -> None:
    net = network(5, 64, 64, 3)
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


# --- Larger networks ---


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


@each_engine
def test_chains_are_found_in_a_larger_network(engine: Engine) -> None:
    torch.manual_seed(0)
    net = Classifier()
    net(torch.randn(4, 3, 32, 32))  # statistics of the norms
    net.eval()
    x = torch.randn(4, 3, 32, 32)
    compiled = compile_(net, example=x, engine=engine)
    torch.testing.assert_close(compiled(x), outputs(net, x), atol=1e-5, rtol=1e-5)
    places = {part.path: part for part in compiled.parts}
    assert {path for path, part in places.items() if part.engine == engine} == {
        "stem.1",
        "block.mlp",
        "shrink",
        "head",
    }
    assert places["stem.0"].reason == "Conv2d has kernel size (3, 3), not 1"
    assert places["stem.7"].reason == "MaxPool2d is not known as a pointwise map"
    assert places["single"].reason == "a single map gains nothing by fusion"
    assert not any(isinstance(module, CompiledPart) for module in net.modules())
    with pytest.raises(ValueError, match=r"^axis and out are for networks that are one chain"):
        compiled(x, axis=1)


def test_a_module_used_twice_in_a_sequence_is_left_alone() -> None:
    twin = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    net = nn.Sequential(twin, nn.MaxPool2d(2), twin).eval()
    x = torch.randn(1, 3, 8, 8)
    compiled = compile_(net, example=x, engine="chunks")
    torch.testing.assert_close(compiled(x), outputs(net, x))
