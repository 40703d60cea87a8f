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

import torch
from torch import nn

from fused_machine import Machine, time_calls
from fused_networks import ACTIVATIONS, NETWORKS, network
from fused_parts import compile_times, few_rows, members, threads_alone
from fused_peers import EXACT, OURS, contenders


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
