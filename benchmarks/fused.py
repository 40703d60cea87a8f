"""How fast are fused chains against the inference engines, and against what the machine can do?

Every contender does the same job on the same memory, all of them take turns in one run, and the
fastest and the middle round are shown. Peers run with fresh outputs and, where they can, with
outputs used again. The roofline is the larger of two times: the arithmetic at the peak of this core
(the larger of a loop of multiply-adds in registers and a large matrix product) and the bytes of
input and output at the rate at which memory is copied; both are measured in the same rounds.

    taskset -c 0 python benchmarks/fused.py [--quick] [--only TEXT] [--side 1024] [--threads 1]
    python benchmarks/fused.py --threads 2

Peers that are not installed are left out, and named. It needs the extra ``fast``.
"""

import argparse
import gc
import importlib.util
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointwise.nn import MLP
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime.chain import Spread

Call = Callable[[], Any]

NETWORKS: dict[str, tuple[int, ...]] = {
    "4-16-8-1": (4, 16, 8, 1),
    "6-64-64-1": (6, 64, 64, 1),
    "12-64-64-10": (12, 64, 64, 10),
    "16-32-32-16": (16, 32, 32, 16),
    "64-64-64-64": (64, 64, 64, 64),
    "10-100-100-3": (10, 100, 100, 3),
    "128-128-128": (128, 128, 128),
    "200-128-64-16": (200, 128, 64, 16),
    "64-256-64": (64, 256, 64),
    "256-256-256": (256, 256, 256),
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

OURS = "fused"
EXACT = ("eager", "torch.compile", "onnxruntime", "openvino f32")
"""Peers of equal precision, by the start of their names."""

MACS_IN_LOOP = 1 << 26


def network(channels: tuple[int, ...], activation: Callable[[], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c_in, c_out in itertools.pairwise(channels):
        layers += [nn.Conv2d(c_in, c_out, 1), activation()]
    return nn.Sequential(*layers[:-1]).eval()


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net)
    if isinstance(chain, str):
        raise SystemExit(chain)
    return chain


# --- The machine ---


def peak_loop() -> tuple[Call, int]:
    """A loop of multiply-adds that never leaves the registers, and its multiply-adds."""
    import halide as hl

    target = hl.get_host_target()
    lanes, chains = target.natural_vector_size(hl.Float(32)), 12
    steps = MACS_IN_LOOP // (lanes * chains)
    factor, more = hl.Param(hl.Float(32), "factor"), hl.Param(hl.Float(32), "more")
    along = hl.RDom([(0, steps)], "along")
    x, once, v, chain = (hl.Var(name) for name in ("x", "once", "v", "chain"))
    total, out = hl.Func("total"), hl.Func("out")
    whole = lanes * chains
    total[x] = hl.cast(hl.Float(32), x)
    total[x] = total[x] * factor + more + 0 * along.x
    out[x] = total[x]
    out.bound(x, 0, whole).split(x, once, x, whole).split(x, chain, v, lanes)
    out.vectorize(v).unroll(chain)
    total.compute_at(out, once).split(x, chain, v, lanes).vectorize(v).unroll(chain)
    update = total.update().split(x, chain, v, lanes).reorder(v, chain, along.x)
    update.vectorize(v).unroll(chain)
    call = out.compile_to_callable([factor, more], target)
    result = hl.Buffer(np.empty(whole, np.float32))
    return lambda: call(0.5, 1.0, result), steps * whole


@dataclass
class Machine:
    """What this machine does, measured in the rounds of the contenders."""

    side: int = 1024
    calls: dict[str, Call] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        left, right = torch.rand(2, self.side, self.side)
        product = torch.empty(self.side, self.side)
        self.calls["product"] = lambda: torch.mm(left, right, out=product)
        self.macs["product"] = self.side**3
        self.calls["loop"], self.macs["loop"] = peak_loop()
        source, target = torch.ones(1 << 24), torch.zeros(1 << 24)
        self.calls["copy"] = lambda: target.copy_(source)
        self.bytes = 2 * 4 * (1 << 24)

    def peak(self, seconds: dict[str, list[float]], threads: int) -> tuple[float, float, float]:
        """Multiply-adds a second by the product and by the loop, and bytes a second."""
        product = self.macs["product"] / min(seconds["product"])
        loop = threads * self.macs["loop"] / min(seconds["loop"])  # the loop runs on one thread
        return product, loop, self.bytes / min(seconds["copy"])


# --- Contenders ---


def torch_peers(net: nn.Module, x: Tensor) -> dict[str, Call]:
    peers: dict[str, Call] = {"eager": lambda: net(x)}
    try:
        compiled = torch.compile(net)
        compiled(x)
        peers["torch.compile"] = lambda: compiled(x)
    except Exception as error:
        print(f"torch.compile does not run here: {str(error).splitlines()[0]}", file=sys.stderr)
    return peers


def onnx_file(net: nn.Module, x: Tensor, folder: str) -> str:
    path = str(Path(folder) / "network.onnx")
    torch.onnx.export(
        net, (x[..., :2],), path, dynamo=False, dynamic_axes={"x": [3]}, input_names=["x"]
    )
    return path


def keeping(call: Call, *arrays: Any) -> Call:
    """A call that keeps alive the memory which an engine only points to."""

    def run() -> Any:
        assert arrays
        return call()

    return run


def onnxruntime_peers(path: str, x: Tensor, like: Tensor, threads: int) -> dict[str, Call]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    array, out = x.numpy(), np.empty(like.shape, np.float32)
    name = session.get_outputs()[0].name
    binding = session.io_binding()
    binding.bind_cpu_input("x", array)
    binding.bind_output(name, "cpu", 0, np.float32, out.shape, out.ctypes.data)
    return {
        "onnxruntime": lambda: session.run(None, {"x": array}),
        "onnxruntime, reused": keeping(lambda: session.run_with_iobinding(binding), out),
    }


def openvino_peers(path: str, x: Tensor, like: Tensor, threads: int) -> dict[str, Call]:
    import openvino as ov

    core, array = ov.Core(), x.numpy()
    peers: dict[str, Call] = {}
    for precision in ("f32", "bf16"):
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        model = core.read_model(path)
        model.reshape(list(array.shape))
        compiled = core.compile_model(model, "CPU", settings)
        fresh, reused = compiled.create_infer_request(), compiled.create_infer_request()
        out = np.empty(like.shape, np.float32)
        reused.set_input_tensor(ov.Tensor(array, shared_memory=True))
        reused.set_output_tensor(ov.Tensor(out, shared_memory=True))
        peers[f"openvino {precision}"] = lambda r=fresh: np.array(r.infer({0: array})[0])
        peers[f"openvino {precision}, reused"] = keeping(reused.infer, out)
    return peers


def ours(net: nn.Module, x: Tensor, like: Tensor) -> dict[str, Call]:
    chain = chain_of(net)
    out = torch.empty_like(like)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1)
    out_last = like.movedim(1, -1).contiguous().movedim(-1, 1)
    fused, chunks = CompiledChain(chain, engine="fused"), CompiledChain(chain, engine="chunks")
    return {
        OURS: lambda: fused(x),
        "fused, reused": lambda: fused(x, out=out),
        "fused rows, reused": lambda: fused(last, out=out_last),
        "chunks, reused": lambda: chunks(x, out=out),
    }


def contenders(net: nn.Module, x: Tensor, threads: int, peers: bool) -> dict[str, Call]:
    with torch.no_grad():
        like = net(x)
    calls = ours(net, x, like)
    if not peers:
        return calls
    calls |= torch_peers(net, x)
    with tempfile.TemporaryDirectory() as folder:
        for package, make in (("onnxruntime", onnxruntime_peers), ("openvino", openvino_peers)):
            if importlib.util.find_spec(package):
                calls |= make(onnx_file(net, x, folder), x, like, threads)
    return calls


# --- Timing ---


def time_calls(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for call in calls.values():
            call()
        for _ in range(rounds):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(
    name: str, net: nn.Module, channels: tuple[int, ...], options: argparse.Namespace, m: Machine
) -> None:
    x = torch.randn(1, channels[0], options.side, options.side)
    calls = contenders(net, x, options.threads, not options.no_peers)
    gc.collect()
    seconds = time_calls({**m.calls, **calls}, options.rounds)
    product, loop, copied = m.peak(seconds, options.threads)
    positions = options.side**2
    macs = positions * sum(a * b for a, b in itertools.pairwise(channels))
    moved = 4 * positions * (channels[0] + channels[-1])
    bound = max(macs / max(product, loop), moved / copied)
    kind = "arithmetic" if bound > moved / copied else "bytes"
    exact = {n: min(s) for n, s in seconds.items() if n.startswith(EXACT)}
    print(f"\n### {name}: {macs / 1e9:.2f} G multiply-adds\n")
    print(
        f"Peak {max(product, loop) / 1e9:.1f} G multiply-adds/s (product {product / 1e9:.1f}, loop "
        f"{loop / 1e9:.1f}), copies {copied / 1e9:.1f} GB/s: "
        f"bound {bound * 1e3:.1f} ms by {kind}.\n"
    )
    print("| | fastest ms | median ms | share of the roofline | over fused |")
    print("| --- | --- | --- | --- | --- |")
    best = min(min(seconds[OURS]), min(seconds["fused, reused"]))
    for contender in calls:
        fastest, median = min(seconds[contender]), statistics.median(seconds[contender])
        print(
            f"| {contender} | {fastest * 1e3:.2f} | {median * 1e3:.2f} | {bound / fastest:.0%} | "
            f"{fastest / best:.2f} |"
        )
    if exact:
        fastest_peer = min(exact, key=lambda n: exact[n])
        print(
            f"\nFastest peer of equal precision: {fastest_peer}, {exact[fastest_peer] / best:.2f}x"
        )
    ratio = min(seconds["fused, reused"]) / min(seconds["fused rows, reused"])
    print(f"Rows run at {ratio:.0%} of the speed of planar memory.", flush=True)


def members(options: argparse.Namespace) -> None:
    """Members with mean and deviation against one member."""
    channels = [12, 64, 64, 1]
    x = torch.randn(1, 12, options.side, options.side)
    one = CompiledChain(chain_of(MLP(channels).eval()), engine="fused")
    ensemble = chain_of(MLP(channels, members=16).eval()).then(Spread(16))
    many = CompiledChain(ensemble, engine="fused")
    seconds = time_calls({"one": lambda: one(x), "many": lambda: many(x)}, options.rounds)
    single, together = min(seconds["one"]), min(seconds["many"])
    print("\n### 16 members of 12-64-64-1 with mean and deviation\n")
    print(f"one {single * 1e3:.1f} ms, all {together * 1e3:.1f} ms: {together / single:.1f}x")


def compile_times() -> None:
    """Seconds to compile, in a process that has compiled before."""
    print("\n### Compiling\n")
    for name, channels in NETWORKS.items():
        net = network(channels, nn.ELU)
        run = CompiledChain(chain_of(net), engine="fused")
        x = torch.randn(1, channels[0], 64, 64)
        start = time.perf_counter()
        run(x)
        print(f"{name}: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds of fewer positions")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--activation", default="relu", choices=ACTIVATIONS)
    parser.add_argument("--side", type=int, default=1024, help="positions along both axes")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.side, options.rounds = min(options.side, 256), min(options.rounds, 5)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for package in ("onnxruntime", "openvino"):
        if not importlib.util.find_spec(package):
            print(f"{package} is not installed, and left out")
    print(
        f"torch {torch.__version__}, {options.threads} threads, processors "
        f"{sorted(os.sched_getaffinity(0))}, {options.side} x {options.side} positions, "
        f"{options.activation}"
    )
    machine = Machine()
    for name, channels in NETWORKS.items():
        if options.only in name:
            report(
                name, network(channels, ACTIVATIONS[options.activation]), channels, options, machine
            )
    if not options.only:
        members(options)
        compile_times()


if __name__ == "__main__":
    main()
