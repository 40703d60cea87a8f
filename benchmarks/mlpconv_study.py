"""When does an mlpconv pay? KxK, KxK + 1x1 and KxK + KxK on MNIST, the CIFAR copy and Landsat.

Every finished training is kept in the cache folder: run the same command again to go on. Prints
the tables of docs/mlpconv.md, and with --plot draws its pictures:

    python benchmarks/mlpconv_study.py [--data mnist cifar landsat] [--time-limit S] [--quick]
"""

import argparse
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from landsat import read_landsat
from pointwise.data.images import ImageSet, read_images
from pointwise.studies.cells import CellCache
from pointwise.studies.compare import compare
from pointwise.studies.compare_data import CompareData
from pointwise.studies.compare_plan import CompareOptions
from pointwise.training import Rows
from pointwise.training.augment import Augmentations, RandomFlip, RandomShift
from shared_data import DATA

VALID = {"MNIST": 5000, "the CIFAR copy": 5000, "Landsat": 887}
"""Images of the published training part that choose the epoch."""

CACHE = Path(tempfile.gettempdir()) / "pointwise-mlpconv-study"

QUICK = {"learn": 5000, "valid": 1000, "test": 2000}


def mnist() -> CompareData:
    folder = DATA / "mnist"
    learn, test = (
        read_images(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")
    )
    return parts("MNIST", learn, test)


def cifar() -> CompareData:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(DATA / "cifar10-jpeg" / "cifar10_jpeg.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        root = next(Path(folder).rglob("train")).parent
        return parts("the CIFAR copy", *(read_images(root / part) for part in ("train", "test")))


def landsat() -> CompareData:
    classes = tuple(map(str, (1, 2, 3, 4, 5, 7)))
    learn, test = (
        ImageSet(x.numpy(), y.numpy(), classes, tuple(map(str, range(len(y)))))
        for x, y in read_landsat()
    )
    return parts("Landsat", learn, test)


def parts(name: str, learn: ImageSet, test: ImageSet) -> CompareData:
    """The published test part is the test; the epoch is chosen on some of the other images."""
    first, second = train_test_split(
        np.arange(len(learn.labels)),
        test_size=VALID[name],
        random_state=0,
        stratify=learn.labels,
    )
    rows = [
        Rows(torch.from_numpy(one.images[index]), torch.from_numpy(one.labels[index]))
        for one, index in (
            (learn, np.sort(first)),
            (learn, np.sort(second)),
            (test, np.arange(len(test.labels))),
        )
    ]
    return CompareData(name, *rows, learn.classes)


SETS: dict[str, tuple[Callable[[], CompareData], CompareOptions]] = {
    "mnist": (mnist, CompareOptions(width=16, epochs=8)),
    "cifar": (
        cifar,
        CompareOptions(width=16, epochs=8, augment=Augmentations(RandomShift(3), RandomFlip())),
    ),
    "landsat": (landsat, CompareOptions(width=256, epochs=60, batch_size=128, seeds=10)),
}


def quick(data: CompareData, options: CompareOptions) -> tuple[CompareData, CompareOptions]:
    """Few images and few epochs of narrow networks: to see that it runs."""
    chosen = {}
    for part, most in QUICK.items():
        rows = getattr(data, part)
        index = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
        chosen[part] = Rows(rows.x[index], rows.y[index])
    options = replace(options, width=min(options.width, 16), epochs=min(options.epochs, 5), seeds=3)
    return replace(data, name=f"{data.name}, {QUICK['learn']:,} images at most", **chosen), options


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--quick", action="store_true", help="few images, epochs and channels")
    parser.add_argument("--time-limit", type=float, help="seconds for each data set")
    parser.add_argument("--seeds", type=int, help="trainings of every network")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"default: {CACHE}")
    parser.add_argument("--plot", type=Path, help="folder for mlpconv_NAME.svg")
    asked = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in asked.data:
        read, options = SETS[name]
        data = read()
        seeds = asked.seeds or options.seeds
        options = replace(options, seeds=seeds, time_limit_s=asked.time_limit)
        if asked.quick:
            data, options = quick(data, options)
        found = compare(data, options, cache=CellCache(asked.cache, say=tell), say=tell)
        learn, valid, test = found.images
        print(
            f"\n## {found.name}\n\n{learn:,} images to learn from, {valid:,} to choose the epoch, "
            f"{test:,} to test on; {found.seeds} seeds, {found.epochs} epochs\n\n"
            f"{found.to_markdown()}\n\n{found.answer()}\n",
            *found.sentences(),
            sep="\n",
            flush=True,
        )
        if asked.plot:
            (asked.plot / f"mlpconv_{name}.svg").write_text(found.plot(), encoding="utf-8")


if __name__ == "__main__":
    main()
