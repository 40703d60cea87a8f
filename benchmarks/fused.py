"""How fast are fused chains against the inference engines, and against what the machine can do?

Every contender does the same job on the same memory, all of them take turns in one run, and the
fastest and the middle round are shown. Peers run with fresh outputs and, where they can, with
outputs used again. The roofline is the larger of two times: the arithmetic at the peak of this core
(the larger of a loop of multiply-adds in registers and a large matrix product) and the bytes of
input and output at the rate at which memory is copied; both are measured in the same rounds.

    taskset -c 0 python benchmarks/fused.py [--quick] [--only NAME] [--side 1024]
    python benchmarks/fused.py --threads 2

One part of it alone: ``--only`` with the name of a network (``--only 64-256-64``), or ``members``,
``compiling``, ``few`` or ``threads``. The last times fused chains on two threads against one, in
one run. Peers that are not installed are left out, and named. It needs the extra ``fast``.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fused_machine import Call, Machine, peak_loop
from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder, TableNetwork
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime.chain import Spread

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

MACS_OF_ROUNDS = 60_000_000_000
"""Short calls take more rounds, until about so many multiply-adds are done."""

FEW_ROWS, CALLS_OF_FEW = (1, 16, 64, 256, 1024, 4096), 500
"""Rows of a call, and how often each is made."""

LOOPS, LOOP_ROUNDS = 64, 60
"""Loops of multiply-adds in registers that are shared out among threads, and how often."""


def network(
    channels: tuple[int, ...],
    activation: Callable[[], nn.Module],
    layer: Callable[[int, int], nn.Module] = lambda c_in, c_out: nn.Conv2d(c_in, c_out, 1),
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c_in, c_out in itertools.pairwise(channels):
        layers += [layer(c_in, c_out), activation()]
    return nn.Sequential(*layers[:-1]).eval()


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net)
    if isinstance(chain, str):
        raise SystemExit(chain)
    return chain


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


def onnxruntime_peers(path: str, x: Tensor, reused: Tensor, threads: int) -> dict[str, Call]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    array, out = x.numpy(), reused.numpy()
    name = session.get_outputs()[0].name
    binding = session.io_binding()
    binding.bind_cpu_input("x", array)
    binding.bind_output(name, "cpu", 0, np.float32, out.shape, out.ctypes.data)
    return {
        "onnxruntime": lambda: session.run(None, {"x": array}),
        "onnxruntime, reused": keeping(lambda: session.run_with_iobinding(binding), out),
    }


def openvino_peers(path: str, x: Tensor, reused: Tensor, threads: int) -> dict[str, Call]:
    import openvino as ov

    core, array, out = ov.Core(), x.numpy(), reused.numpy()
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
        fresh, again = compiled.create_infer_request(), compiled.create_infer_request()
        again.set_input_tensor(ov.Tensor(array, shared_memory=True))
        again.set_output_tensor(ov.Tensor(out, shared_memory=True))
        peers[f"openvino {precision}"] = lambda r=fresh: np.array(r.infer({0: array})[0])
        peers[f"openvino {precision}, reused"] = keeping(again.infer, out)
    return peers


def ours(net: nn.Module, x: Tensor, out: Tensor) -> dict[str, Call]:
    chain = chain_of(net)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1)
    n, c, *sides = out.shape
    out_last = out.view(n, *sides, c).movedim(-1, 1)
    fused, chunks = CompiledChain(chain, engine="fused"), CompiledChain(chain, engine="chunks")
    return {
        OURS: lambda: fused(x),
        "fused, reused": lambda: fused(x, out=out),
        "fused rows, reused": lambda: fused(last, out=out_last),
        "chunks, reused": lambda: chunks(x, out=out),
    }


def contenders(net: nn.Module, x: Tensor, threads: int, peers: bool) -> dict[str, Call]:
    """All of them; those that use an output again share it, or large ones would fill the memory."""
    with torch.no_grad():
        reused = net(x)
    calls = ours(net, x, reused)
    if not peers:
        return calls
    calls |= torch_peers(net, x)
    with tempfile.TemporaryDirectory() as folder:
        for package, make in (("onnxruntime", onnxruntime_peers), ("openvino", openvino_peers)):
            if importlib.util.find_spec(package):
                calls |= make(onnx_file(net, x, folder), x, reused, threads)
    return calls


# --- Timing ---


def time_calls(
    calls: dict[str, Call], rounds: int, before: Callable[[str], object] = lambda _: None
) -> dict[str, list[float]]:
    """Seconds of each in each round, without those of ``before``; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for name, call in calls.items():
            before(name)
            call()
        for _ in range(rounds):
            for name, call in calls.items():
                before(name)
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


def peak_bytes(*, clear: bool = False) -> int:
    """The most memory that this process held, on Linux since the peak was cleared; 0 elsewhere."""
    status, clear_refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear_refs.exists():
        return 0
    if clear:
        clear_refs.write_text("5")
    found = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(found.split()[1])


def members(options: argparse.Namespace) -> None:
    """Members with mean and deviation against one member."""
    channels, count = [12, 64, 64, 1], 16
    x = torch.randn(1, 12, options.side, options.side)
    one = CompiledChain(chain_of(MLP(channels).eval()), engine="fused")
    ensemble = chain_of(MLP(channels, members=count).eval()).then(Spread(count))
    many = CompiledChain(ensemble, engine="fused")
    out = torch.zeros(1, 2, options.side, options.side)
    seconds = time_calls({"one": lambda: one(x), "many": lambda: many(x)}, options.rounds)
    before = peak_bytes(clear=True)
    many(x, out=out)
    grown = peak_bytes() - before
    single, together = min(seconds["one"]), min(seconds["many"])
    hidden = 4 * 64 * count * options.side**2
    print(f"\n### {count} members of 12-64-64-1 with mean and deviation\n")
    print(f"one {single * 1e3:.1f} ms, all {together * 1e3:.1f} ms: {together / single:.1f}x")
    print(
        f"memory grows by {grown / 1e6:.1f} MB in a call, output given; one hidden layer of all "
        f"members would take {hidden / 1e6:.0f} MB"
    )


def threads_alone(options: argparse.Namespace) -> None:
    """Fused chains on two threads against one: both take turns in one run.

    First comes what the processors give on two threads where nothing is shared but their clock.
    """
    print("\n### Two threads against one\n")
    print("| | one, ms | two, ms | one over two | median of the rounds |")
    print("| --- | --- | --- | --- | --- |")
    loops = {"1": peak_loop(tasks=LOOPS)[0], "2": peak_loop(tasks=LOOPS, parallel=True)[0]}
    print_threads("multiply-adds in registers", time_calls(loops, LOOP_ROUNDS))
    for name, channels in NETWORKS.items():
        net = network(channels, ACTIVATIONS[options.activation])
        run = CompiledChain(chain_of(net), engine="fused")
        x = torch.randn(1, channels[0], options.side, options.side)
        out = torch.zeros(1, channels[-1], options.side, options.side)

        call = partial(run, x, out=out)
        macs = x[0, 0].numel() * sum(a * b for a, b in itertools.pairwise(channels))
        rounds = max(options.rounds, min(300, MACS_OF_ROUNDS // macs))
        seconds = time_calls(
            {"1": call, "2": call}, rounds, lambda name: torch.set_num_threads(int(name))
        )
        print_threads(name, seconds)
    torch.set_num_threads(options.threads)


def print_threads(name: str, seconds: dict[str, list[float]]) -> None:
    one, two = min(seconds["1"]), min(seconds["2"])
    ratios = (a / b for a, b in zip(seconds["1"], seconds["2"], strict=True))
    print(
        f"| {name} | {one * 1e3:.2f} | {two * 1e3:.2f} | {one / two:.2f} | "
        f"{statistics.median(ratios):.2f} |",
        flush=True,
    )


def table_chain() -> Chain:
    """What an estimator fits by default: encoders, 16 members of two layers of 128."""
    numbers = NumberEncoder([0.0] * 12, [1.0] * 12, [True] * 12, [[0.0, 1.0, 3.0]] * 12)
    categories = CategoryEncoder([[0.5, 0.3, 0.2], [0.01] * 100])
    mlp = MLP([numbers.c_out + categories.c_out, 128, 128, 1], members=16)
    return chain_of(TableNetwork(numbers, categories, mlp, ChannelScale([2.0], [0.0])).eval())


def few_rows() -> None:
    """Few rows at a time, where a call costs more than its arithmetic."""
    names = ("4-16-8-1", "12-64-64-10")
    chains = {name: network(NETWORKS[name], nn.ReLU, nn.Linear) for name in names}
    print("\n### Few rows: microseconds of a call, PyTorch / fused, as rows\n")
    print(f"| rows | {' | '.join(chains)} |\n| --- |{' --- |' * len(chains)}")
    for rows in FEW_ROWS:
        cells = []
        for net in chains.values():
            run = CompiledChain(chain_of(net), engine="fused")
            x = torch.randn(rows, run.chain.c_in)
            calls = {"PyTorch": partial(net, x), OURS: partial(run, x)}
            seconds = time_calls(calls, CALLS_OF_FEW)
            cells.append(" / ".join(f"{1e6 * min(taken):.0f}" for taken in seconds.values()))
        print(f"| {rows} | {' | '.join(cells)} |", flush=True)


def compile_times() -> None:
    """Seconds to compile and run once, in a process that has compiled before."""
    chains = {name: chain_of(network(c, nn.ELU)) for name, c in NETWORKS.items()}
    chains["a table's network, 16 members"] = table_chain()
    CompiledChain(chain_of(network((3, 5, 2), nn.ELU)), engine="fused")(torch.ones(1, 3, 64, 64))
    print("\n### Compiling\n")
    print("| | planar, s | rows, s |")
    print("| --- | --- | --- |")
    for name, chain in chains.items():
        run, taken = CompiledChain(chain, engine="fused"), []
        x = torch.zeros(1, chain.c_in, 64, 64)
        for laid_out in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
            start = time.perf_counter()
            run(laid_out, axis=1)
            taken.append(time.perf_counter() - start)
        print(f"| {name} | {taken[0]:.2f} | {taken[1]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds of fewer positions")
    others = ("members", "threads", "compiling", "few")
    parser.add_argument("--only", default="", choices=("", *NETWORKS, *others), metavar="NAME")
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
    if options.only not in others:
        machine = Machine()
        for name, channels in NETWORKS.items():
            if options.only in ("", name):
                net = network(channels, ACTIVATIONS[options.activation])
                report(name, net, channels, options, machine)
    if options.only in ("", "members"):
        members(options)
    if options.only == "threads" or (not options.only and options.threads > 1):
        threads_alone(options)
    if options.only in ("", "few"):
        few_rows()
    if options.only in ("", "compiling"):
        compile_times()


if __name__ == "__main__":
    main()
