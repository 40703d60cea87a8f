"""What training images in bfloat16 products takes and gives, beside float32.

Steps of both precisions take turns in one process; a row gives the fastest of each. Another
processor can be imitated: oneDNN then does without what that one lacks. With --train the small
networks of ``benchmarks/compression.py`` are trained in both, kept in its cache folder, and scored.

    OMP_NUM_THREADS=1 python benchmarks/precision.py [--rounds 5]
    OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 python benchmarks/precision.py
    OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/precision.py --rounds 1
    OMP_NUM_THREADS=1 python benchmarks/precision.py --rounds 0 --train vgg [--seeds 3]
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from compression import CACHE, tell
from compression_networks import NETWORKS as SMALL
from compression_networks import Precision, trained
from pointwise.networks import nin_cifar, nin_mnist
from pointwise.networks.unet import UNet
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.nn.norm import BatchNorm
from pointwise.studies.cells import CellCache

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Network in Network, digits": (lambda: nin_mnist(10, norm=BatchNorm), (128, 1, 28, 28)),
    "Network in Network, colour": (lambda: nin_cifar(10, norm=BatchNorm), (64, 3, 32, 32)),
    "U-Net": (lambda: UNet(11, channels=3, widths=(16, 32, 64, 128, 256)), (4, 3, 180, 240)),
}


def step(make: Callable[[], nn.Module], shape: tuple[int, ...], *, low: bool) -> Callable[[], None]:
    """A training step of a network of its own, on random pixels and classes."""
    torch.manual_seed(0)
    channels = shape[1]
    scale = ImageScale([128.0] * channels, [64.0] * channels)
    network = ImageNetwork(scale, make()).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    x = torch.randint(256, shape, dtype=torch.uint8)

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            output: Tensor = network(x)
        return output.float()

    with torch.no_grad():
        y = torch.randint(10, forward()[:, 0].shape)

    def run() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(), y).backward()
        optimizer.step()

    return run


def time_steps(rounds: int) -> None:
    """Print how long steps take."""
    print("| network | images of a step | float32, ms | bfloat16, ms | share of the time |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, (make, shape) in NETWORKS.items():
        steps = [step(make, shape, low=low) for low in (False, True)]
        best = [float("inf")] * 2
        for _ in range(rounds + 1):  # the first one makes torch's kernels
            for i, run in enumerate(steps):
                began = time.perf_counter()
                run()
                best[i] = min(best[i], time.perf_counter() - began)
        size = " x ".join(map(str, shape))
        row = f"{1e3 * best[0]:.0f} | {1e3 * best[1]:.0f} | {best[1] / best[0]:.2f}"
        print(f"| {name} | {size} | {row} |", flush=True)


def train_both(keys: Sequence[str], seeds: int, folder: Path) -> None:
    """Print how many test images networks get right that were trained in either precision."""
    cache = CellCache(folder, say=tell)
    cache.make_folder()
    print("| network | seed | float32 | bfloat16 | seconds, float32 | seconds, bfloat16 |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for key in keys:
        for seed in range(seeds):
            found = []
            for precision in PRECISIONS:
                one = trained(key, seed, cache, say=tell, precision=precision)
                assert one is not None
                found.append(one)
            row = [f"{one.accuracy:.2%}" for one in found] + [f"{one.seconds:.0f}" for one in found]
            print(f"| {SMALL[key].title} | {seed} | {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="steps of each; 0 for none")
    parser.add_argument("--train", nargs="+", choices=SMALL, default=[], help="networks to train")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"default: {CACHE}")
    asked = parser.parse_args()
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "all that the processor has")
    units = torch.cpu.get_capabilities().get("amx_bf16", False)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; units of AMX: {units}")
    print(f"oneDNN uses {isa}\n")
    if asked.rounds:
        time_steps(asked.rounds)
    if asked.train:
        train_both(asked.train, asked.seeds, asked.cache)


if __name__ == "__main__":
    main()
