"""Calls of a compiled chain: arrays and tensors, layouts, axes, ``out``, and what is refused."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from runtime_chains import chain_of, channels_last, each_engine, network, outputs
from torch import nn

from pointwise.runtime import compile as compile_
from pointwise.runtime.compiled import CompiledChain, Engine
from pointwise.runtime.views import LARGE_BYTES, LINE_BYTES, is_rows


def pixels() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 17, 1), nn.GELU(), nn.Conv2d(17, 2, 1)).eval()


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


@each_engine
@pytest.mark.parametrize("lay_out", [lambda x: x, channels_last], ids=["planar", "last"])
def test_large_outputs_begin_on_a_cache_line(lay_out: Any, engine: Engine) -> None:
    net, x = network(3, 17, 2), lay_out(torch.randn(1, 3, 700, 800))
    run = CompiledChain(chain_of(net), engine=engine)
    made = run(x, axis=1)
    assert made.untyped_storage().nbytes() >= LARGE_BYTES
    assert made.data_ptr() % LINE_BYTES == 0
    assert is_rows(made, -3) == is_rows(x, -3)
    again = run(x.numpy(), axis=1)
    assert again.flags.writeable
    assert np.array_equal(again, made.numpy())


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
def test_numbers_behind_an_odd_header(engine: Engine) -> None:
    net = pixels()
    header, values = 1078, np.random.default_rng(0).random((3, 40, 50), dtype=np.float32)
    image = np.frombuffer(bytes(header) + values.tobytes(), np.float32, offset=header)
    room = np.zeros(header + 4 * 2 * 40 * 50, np.uint8)
    out = room[header:].view(np.float32).reshape(2, 40, 50)
    assert not image.flags.aligned
    assert not out.flags.aligned
    compile_(net, engine=engine)(image.reshape(3, 40, 50), out=out)
    expected = outputs(net, torch.from_numpy(values))
    torch.testing.assert_close(torch.tensor(out), expected, atol=1e-6, rtol=1e-6)


@each_engine
def test_arrays_as_outputs(engine: Engine) -> None:
    net = network(3, 17, 2)
    x = np.ones((5, 3), dtype=np.float32)
    out = np.zeros((5, 2), dtype=np.float32)
    assert compile_(net, engine=engine)(x, out=out) is out
    torch.testing.assert_close(torch.from_numpy(out), outputs(net, torch.from_numpy(x)))


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
    "out_expanded": (
        lambda: ROWS(torch.ones(5, 3), out=torch.ones(1, 2).expand(5, 2)),
        ValueError,
        "out must have memory of its own for each number: it was expanded",
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
    "no_network": (
        lambda: compile_("network"),  # type: ignore[arg-type]
        TypeError,
        "model_or_chain must be a torch.nn.Module or a Chain, got str",
    ),
    "example": (
        lambda: compile_(network(3, 1), example=[1.0]),  # type: ignore[arg-type]
        TypeError,
        "example must be a tensor or a NumPy array, got list",
    ),
    "training": (
        lambda: compile_(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout()), example=torch.ones(1, 3, 5, 5)
        ),
        ValueError,
        "the network must be in evaluation mode, it is not: call eval()",
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
