"""From how many rows on does an estimator's prediction gain by the fused runtime, and do images?

For networks of tables: how many multiply-adds a second PyTorch and the fused chain do, how long
making the code takes, and from how many multiply-adds on that pays. For the networks that the
estimators of images train: what ``runtime.compile`` finds in them, and the whole compiled network
against PyTorch, in turns.

    taskset -c 0 python benchmarks/fused_estimators.py [--only tables|images] [--rounds 5]

It needs the extra ``fast``.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pointwise.estimators.backbones import build_backbone
from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder, TableNetwork
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime import compile as compile_network

NUMBERS, CHUNK_ROWS, MOST_ROWS = 12, 8192, 200_000

TABLES = [((16, 16), 1), ((32,), 2), ((64, 64), 4), ((128, 128), 8), ((128, 128), 16)]
"""Hidden layers, and members."""

IMAGES = {
    "nin_mnist, 64 x 28 x 28": ({"backbone": "nin_mnist", "classes": 10, "channels": 1}, 64, 28),
    "nin_cifar, 32 x 32 x 32": ({"backbone": "nin_cifar", "classes": 10, "channels": 3}, 32, 32),
    "unet, 1 x 256 x 256": (
        {
            "backbone": "unet",
            "classes": 11,
            "channels": 3,
            "widths": [16, 32, 64, 128, 256],
            "attention": False,
        },
        1,
        256,
    ),
}
"""What the estimators of images train by default: sizes, images and their side."""


def seconds(call: Callable[[], object], rounds: int = 1) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def table(hidden: tuple[int, ...], members: int) -> TableNetwork:
    numbers = NumberEncoder(
        [0.0] * NUMBERS, [1.0] * NUMBERS, [True] * NUMBERS, [[0.0, 1.0, 3.0]] * NUMBERS
    )
    mlp = MLP([numbers.c_out, *hidden, 1], members=members)
    return TableNetwork(numbers, CategoryEncoder([]), mlp, ChannelScale([2.0], [0.0])).eval()


def table_line(hidden: tuple[int, ...], members: int) -> str:
    network = table(hidden, members)
    parameters = sum(p.numel() for p in network.mlp.parameters())
    x = torch.randn(min(int(8e9) // parameters, MOST_ROWS), NUMBERS)
    plain = seconds(lambda: torch.cat([network.scaled(r) for r in x.split(CHUNK_ROWS)]), 2)
    chain = read_chain(network)
    assert isinstance(chain, Chain)
    run = CompiledChain(chain, engine="fused")
    made = seconds(lambda: run(x[:256]))
    fused = seconds(lambda: run(x), 2)
    macs = len(x) * parameters
    pays = made / (plain - fused) * macs
    return (
        f"| {hidden}, {members} | {macs / plain / 1e9:.1f} | {macs / fused / 1e9:.1f} | "
        f"{made:.2f} | {pays / 1e9:.1f} | {pays / parameters:,.0f} |"
    )


def tables() -> None:
    print("\n### Tables\n")
    print("| hidden, members | PyTorch, G/s | fused, G/s | to compile, s | pays from, G | rows |")
    print("| --- | --- | --- | --- | --- | --- |")
    first = nn.Sequential(nn.Linear(3, 7), nn.SELU(), nn.Linear(7, 2)).eval()
    compile_network(first)  # takes longer than others
    for hidden, members in TABLES:
        print(table_line(hidden, members), flush=True)


def image_network(config: dict[str, object]) -> nn.Module:
    channels = int(str(config["channels"]))
    scale = ImageScale([0.5] * channels, [0.25] * channels)
    return ImageNetwork(scale, build_backbone(config)).eval()


def report(name: str, network: nn.Module, x: Tensor, rounds: int) -> None:
    start = time.perf_counter()
    judged = compile_network(network, example=x)
    made = time.perf_counter() - start
    forced = compile_network(network, example=x, engine="fused")
    calls = {"PyTorch": network, "as compile chose": judged, "all chains fused": forced}
    taken: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(rounds):
        for way, call in calls.items():
            start = time.perf_counter()
            call(x)
            taken[way].append(time.perf_counter() - start)
    plain = min(taken["PyTorch"])
    print(f"{name}: compiled and judged in {made:.2f} s")
    for way, times in taken.items():
        print(f"    {way}: {min(times) * 1e3:.1f} ms, {plain / min(times):.2f}x")
    fused = [str(part) for part in judged.parts if part.engine != "PyTorch"]
    print(
        "\n".join(f"    {line}" for line in fused or ["no chain was found to be faster"]),
        flush=True,
    )


def images(rounds: int) -> None:
    print("\n### Images\n")
    for name, (config, count, side) in IMAGES.items():
        x = torch.rand(count, int(str(config["channels"])), side, side)
        report(name, image_network(config), x, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", choices=("", "tables", "images"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.no_grad():
        if options.only != "images":
            tables()
        if options.only != "tables":
            images(options.rounds)


if __name__ == "__main__":
    main()
