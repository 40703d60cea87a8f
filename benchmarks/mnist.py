"""MNIST: a Network in Network against a 1x1 convolution with two fully connected layers behind it.

Both are trained on the 60,000 images without augmentation and scored once on the test images.
A training that is cut off goes on from its checkpoint when the same command is run again:

    python benchmarks/mnist.py [--seeds 3] [--epochs 8] [--first 0] [--only nin|dense]
        [--precision bfloat16]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pointwise.data.images import read_images
from pointwise.estimators import ImageClassifier
from pointwise.inspection import cost
from pointwise.nn import PointwiseConv
from shared_data import DATA

STATES = Path(__file__).parents[1] / "build" / "mnist"


def dense(classes: int, *, channels: int) -> nn.Module:
    """A 1x1 convolution to 64 channels, then 256 hidden units on all positions at once."""
    return nn.Sequential(
        PointwiseConv(channels, 64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 28 * 28, 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )


NETWORKS = {
    "nin": ("Network in Network", "auto", 4e-3),
    "dense": ("1x1, 256 hidden, 10", dense, 1e-3),
}


def checkpoint(key: str, epochs: int, seed: int, precision: str) -> Path:
    """Where a training is kept."""
    low = "" if precision == "float32" else f"-{precision}"
    return STATES / f"{key}-{epochs}-{seed}{low}.checkpoint"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", choices=NETWORKS, help="one of the networks")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    train, test = (
        read_images(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")
    )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| network | parameters | MACs | seed | test error | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key, (name, backbone, rate) in NETWORKS.items():
        if options.only not in (None, key):
            continue
        errors = []
        for seed in range(options.first, options.first + options.seeds):
            model = ImageClassifier(
                backbone,
                augment=None,
                learning_rate=rate,
                max_epochs=options.epochs,
                validation_fraction=0.02,
                precision=options.precision,
                random_state=seed,
            )
            state = checkpoint(key, options.epochs, seed, options.precision)
            began = time.monotonic()
            model.fit(train.images, train.labels, checkpoint=state)
            took = max(time.monotonic() - began, model.history_[-1]["seconds"])
            errors.append(float(np.mean(model.predict(test.images) != test.labels)))
            total = cost(model.network_, torch.zeros(1, 1, 28, 28)).total
            print(
                f"| {name} | {total.params:,} | {total.macs / 1e6:.1f} M | {seed} "
                f"| {errors[-1]:.2%} | {took:.0f} |",
                flush=True,
            )
        print(f"| {name} | | | mean | {np.mean(errors):.3%} | |", flush=True)


if __name__ == "__main__":
    main()
