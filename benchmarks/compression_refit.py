"""The refit of a compressed network, front to back: forwards that wait against whole ones.

    python benchmarks/compression_refit.py --networks resnet18 densenet121 --images 128

Networks of torchvision with random weights and calibrated norms are compressed to half of their
multiply-adds, and their last factors refitted twice: with one forward of the data that waits at
each layer, and with one from the start for each. Both take turns; the weights must be the same.
"""

import argparse
import copy
import statistics
import time

import torch

from compression_jobs import table
from pointwise.compression import Budget, compress
from pointwise.compression.calibration import read_batches
from pointwise.compression.fitting.sequential import keep_targets, refit
from torchvision_models import torchvision
from zoo_layers import prepare

WAYS = {"waiting": None, "from the start": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["resnet18", "densenet121"])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = [measure(name, given.images, given.size, given.rounds) for name in given.networks]
    head = ("network", "layers", "compress, s", "refit waiting, s", "from the start, s", "ratio")
    table(head, rows)


def measure(name: str, images: int, size: int, rounds: int) -> tuple[object, ...]:
    torch.manual_seed(0)
    x = torch.randn(images, 3, size, size)
    network = getattr(torchvision.models, name)()
    prepare(network, x[:8])
    start = time.perf_counter()
    done = compress(network, Budget(macs=0.5), x[:1], data=x)
    whole = time.perf_counter() - start
    batches = read_batches(x, x[:1], samples=images)
    paths = [layer.path for layer in done.plan.layers]
    calls = dict.fromkeys(paths, 1)  # none of these networks shares a layer
    kept = keep_targets(network, done.model, calls, batches, samples=images)
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        found = []
        for way, waiting in WAYS.items():
            model = copy.deepcopy(done.model)
            start = time.perf_counter()
            refit(model, kept, batches, waiting=waiting)
            took[way].append(time.perf_counter() - start)
            found.append(model.state_dict())
        assert all(torch.equal(found[0][key], value) for key, value in found[1].items())
    few, many = (statistics.median(seconds) for seconds in took.values())
    return name, len(paths), f"{whole:.0f}", f"{few:.1f}", f"{many:.1f}", f"{many / few:.1f}x"


if __name__ == "__main__":
    main()
