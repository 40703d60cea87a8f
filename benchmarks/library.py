"""One row, or position, and many through a C library, beside other ways to run the same model.

A table's model on California housing (trained for a moment: the time is the same) and a chain of
12-64-64-10 channels. The library is called by a loop in C, the others by one in Python; all take
turns on one thread.

    taskset -c 0 python benchmarks/library.py [--seconds 3]
"""

import argparse
import ctypes
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from pointwise import PointwiseRegressor
from pointwise.export import onnx_inputs, to_library, to_onnx
from pointwise.export.library.running import compiler, linked
from pointwise.inspection.timing import take_turns
from pointwise.nn import MLP
from pointwise.runtime import compile as compile_network
from shared_data import california

LOOPS = """
#include "{name}.h"
void repeat(size_t times, const {row} *x, {out} *out, size_t count)
{{
    for (size_t i = 0; i < times; i++) {name}_{function}(x, out, count);
}}
"""
COUNTS = (1, 1_000, 100_000)
Calls = dict[str, Callable[[], object]]


def loaded(home: Path, name: str, function: str, row: str, out: str) -> ctypes.CDLL:
    """The library with a loop around its function."""
    files = {path.name: path.read_bytes() for path in (home / name).iterdir()}
    files["loop.c"] = LOOPS.format(name=name, function=function, row=row, out=out).encode()
    (home / f"{name}-built").mkdir()
    command = compiler()
    assert command is not None, "a C compiler is needed"
    return linked(files, home / f"{name}-built", command)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def timed(what: str, count: int, calls: Calls, repeats: int, seconds: float) -> None:
    """Print a line: microseconds of the library, and how many times as long the others take."""
    taken = take_turns(calls, seconds=seconds)
    own = statistics.median(taken["C library"]) / repeats
    others = []
    for name, times in taken.items():
        if name != "C library":
            ratios = [t / o * repeats for t, o in zip(times, taken["C library"], strict=True)]
            others.append(f"{name} {statistics.median(ratios):.3g}")
    print(f"| {what} | {count:,} | {1e6 * own:.3g} | {', '.join(others)} |", flush=True)


def table(home: Path, seconds: float) -> None:
    X, y, (learn, _, test) = california()
    model = PointwiseRegressor(max_epochs=1, random_state=0).fit(X.iloc[learn], y[learn])
    done = to_library(model, home / "houses")
    onnx = to_onnx(model, home / "houses.onnx")
    print(
        f"\nCalifornia housing: library {sum(f.stat().st_size for f in done.folder.iterdir()):,} "
        f"bytes, ONNX file {onnx.path.stat().st_size:,} bytes"
    )
    library, engine = loaded(home, "houses", "predict", "houses_row", "double"), session(onnx.path)
    header()
    for count in COUNTS:
        rows = X.iloc[np.resize(test, count)]
        feeds = onnx_inputs(model, rows)
        records = np.ascontiguousarray(rows.to_numpy(np.float64))  # all columns are numbers
        made = np.empty(count)
        repeats = max(1, 1000 // count)
        arguments = (
            ctypes.c_size_t(repeats),
            ctypes.c_void_p(records.ctypes.data),
            ctypes.c_void_p(made.ctypes.data),
            ctypes.c_size_t(count),
        )
        library.repeat(*arguments)
        np.testing.assert_allclose(made, model.predict(rows), atol=1e-4)
        calls: Calls = {
            "C library": lambda given=arguments: library.repeat(*given),
            "ONNX Runtime": lambda given=feeds: engine.run(None, given),
            "predict": lambda given=rows: model.predict(given),
        }
        timed("rows of 8 columns", count, calls, repeats, seconds)


def chain(home: Path, seconds: float) -> None:
    network = MLP([12, 64, 64, 10]).eval()
    to_library(network, home / "chain")
    to_onnx(network, home / "chain.onnx", example=torch.zeros(1, 12))
    library = loaded(home, "chain", "rows", "float", "float")
    engine, compiled = session(home / "chain.onnx"), compile_network(network)
    print("\nThe chain 12-64-64-10, rows")
    header()
    for count in COUNTS:
        x = torch.randn(count, 12)
        made = torch.empty(count, 10)
        repeats = max(1, 1000 // count)
        arguments = (
            ctypes.c_size_t(repeats),
            ctypes.c_void_p(x.data_ptr()),
            ctypes.c_void_p(made.data_ptr()),
            ctypes.c_size_t(count),
        )
        library.repeat(*arguments)
        with torch.no_grad():
            torch.testing.assert_close(made, network(x), atol=1e-5, rtol=1e-5)
        out, feeds = torch.empty(count, 10), {"input": x.numpy()}

        def eager(x: torch.Tensor = x) -> torch.Tensor:
            with torch.inference_mode():
                return network(x)

        calls: Calls = {
            "C library": lambda given=arguments: library.repeat(*given),
            "runtime.compile": lambda x=x, out=out: compiled(x, out=out),
            "ONNX Runtime": lambda given=feeds: engine.run(None, given),
            "PyTorch": eager,
        }
        timed("positions", count, calls, repeats, seconds)


def header() -> None:
    print("\n| of | count | C library, microseconds | others take, times |")
    print("| --- | --- | --- | --- |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each line")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, 1 thread")
    with tempfile.TemporaryDirectory() as home:
        table(Path(home), seconds)
        chain(Path(home), seconds)


if __name__ == "__main__":
    main()
