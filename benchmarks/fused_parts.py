"""What is shown of fused chains besides their speed on one thread: members, threads, few rows."""

import argparse
import itertools
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fused_machine import peak_loop, time_calls
from fused_networks import ACTIVATIONS, NETWORKS, chain_of, network, table_chain
from fused_peers import OURS
from pointwise.nn import MLP
from pointwise.runtime import CompiledChain
from pointwise.runtime.chain import Spread

MACS_OF_ROUNDS = 60_000_000_000
"""Short calls take more rounds, until about so many multiply-adds are done."""

FEW_ROWS, CALLS_OF_FEW = (1, 16, 64, 256, 1024, 4096), 500
"""Rows of a call, and how often each is made."""

LOOPS, FEW_LOOPS, LOOP_ROUNDS = 64, 4, 60
"""Loops of multiply-adds in registers that are shared out among threads: many, as few as take about
as long as the smallest chain, and how often.
"""


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

    First comes what the processors give on two threads where nothing is shared but their clock, for
    long and for a moment.
    """
    print("\n### Two threads against one\n")
    print("| | one, ms | two, ms | one over two | median of the rounds |")
    print("| --- | --- | --- | --- | --- |")
    for tasks, name in ((LOOPS, "multiply-adds in registers"), (FEW_LOOPS, "a few of them")):
        loops = {"1": peak_loop(tasks=tasks)[0], "2": peak_loop(tasks=tasks, parallel=True)[0]}
        print_threads(name, time_calls(loops, LOOP_ROUNDS))
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
