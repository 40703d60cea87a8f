"""A classifier on an image of three times its size: one pass against the sliding window of crops.

Both read the same windows, at the network's own stride. Runs alternate, medians are compared:

    python benchmarks/dense_prediction.py [--repeats 3] [--size 224] [--batch 25] [--threads 2]
                                          [--only NAME]

The difference between the two is that of the padding at the borders of the crops; the last network
has none, so there it is rounding. The last column holds the one pass against the classifier's own
head on each window of the image's feature map. The lines below the table say whether both hold.
"""

import argparse
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.surgery.convolutionalize import convolutionalize
from pointwise.surgery.dense.crops import crop_difference
from torchvision_models import torchvision

models = torchvision.models

CLOSE = 1e-5
"""What equal results may differ by in float32, as a share of the largest value."""


def unpadded() -> nn.Module:
    """Convolutions without padding, at stride 32 in all: each position is the crop's own result."""
    widths = (3, 32, 64, 96, 128, 192)
    blocks: list[nn.Module] = []
    for number, (c_in, c_out) in enumerate(pairwise(widths)):
        blocks.append(nn.Conv2d(c_in, c_out, 3 if number else 5, stride=1 if number else 2))
        blocks += [nn.ReLU(), nn.MaxPool2d(2)] if number else [nn.ReLU()]
    parts = {"body": nn.Sequential(*blocks), "pool": nn.AdaptiveAvgPool2d(1)}
    return nn.Sequential(OrderedDict(parts, flatten=nn.Flatten(), fc=nn.Linear(widths[-1], 1000)))


UNPADDED = "without padding"

NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "AlexNet": (models.alexnet, "avgpool", ("classifier",)),
    "VGG-11": (models.vgg11, "avgpool", ("classifier",)),
    "ResNet-50": (models.resnet50, "avgpool", ("fc",)),
    "SqueezeNet 1.1": (models.squeezenet1_1, "classifier.3", ()),
    "GoogLeNet": (
        lambda: models.googlenet(aux_logits=False, init_weights=False),
        "avgpool",
        ("dropout", "fc"),
    ),
    UNPADDED: (unpadded, "pool", ("fc",)),
}
"""What makes a network, the module that reads its last map, and the modules after that."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=25, help="crops taken together")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=NETWORKS, help="one of the networks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(
        "| network | stride | windows | crops, s | one pass, s | speed-up | largest difference "
        "of crops | mean | largest value | off the head on windows |"
    )
    print("| --- " * 10 + "|")
    found: dict[str, Row] = {}
    for name, (make, pool, rest) in NETWORKS.items():
        if options.only in (None, name):
            found[name] = row(name, make, pool, rest, options)
            print(found[name].text, flush=True)
    print()
    worst = max(found.values(), key=lambda one: one.off_head)
    print(
        f"each position is the head on its window to {CLOSE:.0e}: {_held(worst.off_head)}, "
        f"{worst.off_head:.1e} at most"
    )
    if UNPADDED in found:
        off = found[UNPADDED].off_crops
        print(f"{UNPADDED}, each position is the crop's result: {_held(off)}, {off:.1e} at most")
    speed_ups = ", ".join(f"{name} {one.speed_up:.1f}" for name, one in found.items())
    print(f"one pass is so many times as fast as the crops: {speed_ups}")


@dataclass(frozen=True)
class Row:
    """One network's line of the table, and its figures: differences over the largest value."""

    text: str
    speed_up: float
    off_head: float
    off_crops: float


def _held(difference: float) -> str:
    return "holds" if difference <= CLOSE else "DOES NOT HOLD"


def row(
    name: str,
    make: Callable[[], nn.Module],
    pool: str,
    rest: tuple[str, ...],
    options: argparse.Namespace,
) -> Row:
    """Compare and time one network."""
    torch.manual_seed(0)
    example = torch.randn(1, 3, options.size, options.size)
    network = calibrated(make(), options.size)
    image = torch.randn(1, 3, 3 * options.size, 3 * options.size)
    dense, _ = convolutionalize(network, example, in_place=True)
    windows = dense.grid.windows(*image.shape[2:])
    crops = cut(image, dense.grid.size, dense.grid.stride)
    found = crop_difference(network, dense, image, batch=options.batch)
    off = off_the_head(network, dense, image, example, (pool, *rest))
    slow, fast = alternate(
        lambda: [network(part) for part in crops.split(options.batch)],
        lambda: dense(image),
        options.repeats,
    )
    text = (
        f"| {name} | {dense.grid.stride[0]} | {windows[0]} x {windows[1]} | {slow:.2f} "
        f"| {fast:.2f} | {slow / fast:.1f} | {found.largest:.3g} | {found.mean:.3g} "
        f"| {found.scale:.3g} | {off:.1e} |"
    )
    return Row(text, slow / fast, off, found.largest / found.scale)


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with batch norms that know their data, in evaluation mode."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    if norms:
        network.train()
        with torch.no_grad():
            network(torch.randn(4, 3, size, size))
    return network.eval()


def cut(image: Tensor, size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every window of an image as an image of its own."""
    windows = image.unfold(2, size[0], stride[0]).unfold(3, size[1], stride[1])
    return windows.movedim(1, 3).flatten(0, 2).contiguous()


def off_the_head(
    network: nn.Module, dense: nn.Module, image: Tensor, example: Tensor, head: tuple[str, ...]
) -> float:
    """Largest difference from the head on windows of the image's map, over the largest value."""
    first, *rest = (network.get_submodule(name) for name in head)
    seen: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    with torch.no_grad():
        network(example)
        network(image)
        hook.remove()
        small, large = seen
        rows = cut(large, (small.shape[2], small.shape[3]), (1, 1))
        expected = nn.Sequential(first, nn.Flatten(), *rest)(rows)
        found = dense(image)[0].flatten(1).T
    return float((found - expected).abs().max() / expected.abs().max())


def alternate(
    slow: Callable[[], object], fast: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of both, run by turns."""
    took: dict[Callable[[], object], list[float]] = {slow: [], fast: []}
    with torch.inference_mode():
        for _ in range(repeats):
            for run in (slow, fast):
                began = time.perf_counter()
                run()
                took[run].append(time.perf_counter() - began)
    return statistics.median(took[slow]), statistics.median(took[fast])


if __name__ == "__main__":
    main()
