"""CamVid at 180 x 240, 11 classes: a U-Net of 3x3s and 1x1s, from scratch.

The 367 training images train, the 101 validation images choose the epoch, and the 233 test images
are scored once. A training that is cut off goes on from its checkpoint when the same command is run
again:

    python benchmarks/camvid.py [--minutes 60] [--epochs 150] [--seed 0] [--threads 2]
        [--precision bfloat16] [--save FOLDER]
"""

import argparse
import time
from pathlib import Path

import torch

from pointwise import save
from pointwise.data.masks import MaskedImages, read_masked_images
from pointwise.estimators import Segmenter
from pointwise.functional.overlap import intersection_over_union, mean_iou
from pointwise.inspection import cost
from shared_data import DATA

STATES = Path(__file__).parents[1] / "build" / "camvid"

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

IGNORED = 11
"""Number in the masks of pixels of no class."""


def camvid(part: str) -> MaskedImages:
    """One of the three parts of the data set: ``train``, ``val`` or ``test``."""
    return read_masked_images(DATA / "camvid-180x240" / part, classes=CLASSES, ignore=IGNORED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, help="time limit of the training; default: none")
    parser.add_argument("--epochs", type=int, default=150, help="most epochs")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--save", type=Path, help="folder for the model, as compression.py takes it"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    train, valid, test = (camvid(part) for part in ("train", "val", "test"))
    model = Segmenter(
        widths=options.widths,
        classes=CLASSES,
        ignore=IGNORED,
        batch_size=options.batch,
        learning_rate=options.rate,
        max_epochs=options.epochs,
        time_limit=options.minutes and 60 * options.minutes,
        precision=options.precision,
        random_state=options.seed,
        verbose=1,
    )
    settings = "-".join(map(str, (*options.widths, options.batch, options.rate, options.epochs)))
    low = "" if options.precision == "float32" else f"-{options.precision}"
    state = STATES / f"{settings}-{options.minutes}-{options.seed}{low}.checkpoint"
    began = time.monotonic()
    model.fit(
        train.images,
        train.masks,
        validation_data=(valid.images, valid.masks),
        checkpoint=state,
    )
    if options.save:
        save(model, options.save)
    took = max(time.monotonic() - began, model.history_[-1]["seconds"])
    total = cost(model.network_, torch.zeros(1, 3, *train.images.shape[2:])).total
    best = min(epoch["valid_loss"] for epoch in model.history_)
    counts = model.confusion(test.images, test.masks)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(
        "| widths | parameters | MACs | seed | epochs | seconds | an epoch | images valid. | test |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {', '.join(map(str, options.widths))} | {total.params:,} | {total.macs / 1e9:.2f} G "
        f"| {options.seed} | {len(model.history_)} | {took:.0f} "
        f"| {took / len(model.history_):.1f} s | {1 - best:.3f} | {mean_iou(counts):.3f} |"
    )
    shares = counts.sum(1) / counts.sum()
    print("\n| class | share of the pixels | IoU |\n| --- | --- | --- |")
    for name, share, iou in zip(CLASSES, shares, intersection_over_union(counts), strict=True):
        print(f"| {name} | {share:.1%} | {iou:.3f} |")
    print(f"\npixel accuracy {counts.diag().sum() / counts.sum():.3f}")


if __name__ == "__main__":
    main()
