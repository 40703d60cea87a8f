"""``nn.Dropout`` of this package against torch's, forward and backward, side by side in one run.

Run: python benchmarks/dropout.py
"""

import statistics
import time

import torch

from pointwise.nn import Dropout

REPEATS = 100


def seconds(layer: torch.nn.Module, x: torch.Tensor) -> float:
    began = time.perf_counter()
    layer(x).sum().backward()
    return time.perf_counter() - began


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| values | torch ms | ours ms | torch / ours |")
    print("| --- | --- | --- | --- |")
    for shape in ((256, 128), (16, 256, 128), (16, 1024, 256)):
        x = torch.randn(shape, requires_grad=True)
        layers = (torch.nn.Dropout(0.1), Dropout(0.1))
        times: list[list[float]] = [[], []]
        for _ in range(REPEATS):
            for layer, spent in zip(layers, times, strict=True):
                spent.append(seconds(layer, x))
        torch_s, ours_s = (statistics.median(spent) for spent in times)
        row = f"{x.numel():,} | {torch_s * 1e3:.2f} | {ours_s * 1e3:.2f} | {torch_s / ours_s:.1f}"
        print(f"| {row} |")


if __name__ == "__main__":
    main()
