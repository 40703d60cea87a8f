"""Which images learn, which choose the epoch, and which are scored on; and the fit itself."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.estimators import ImageClassifier, Segmenter
from pointwise.estimators.grouping import split_groups
from pointwise.estimators.splitting import split_rows
from pointwise.studies.parts import Say


@dataclass(frozen=True)
class ImageOptions:
    """How to study images; the command line's options under the same names.

    Attributes:
        seed: Seed of everything random.
        time_limit: Seconds after which training stops.
        epochs: Times that every image is seen, unless time runs out; ``None`` leaves it to the
            estimator.
        valid: Share of the images that are not scored on, to choose the best epoch with.
        test: Share of the images to score on, of every class alike; 0 scores on the validation
            images, where these are given apart.
        widths: Channels of a segmenter's network at each size; ``None`` leaves it to the estimator.
        groups: Group of each image, such as a video; none is split between the parts.
        progress: Whether to show a progress bar.
        checkpoint: File from which a killed fit resumes.
    """

    seed: int = 0
    time_limit: float | None = None
    epochs: int | None = None
    valid: float = 0.1
    test: float = 0.2
    widths: tuple[int, ...] | None = None
    groups: NDArray[Any] | None = None
    progress: bool = False
    checkpoint: Path | None = None


@dataclass(frozen=True)
class ImagePart:
    """Some of the images.

    Attributes:
        x: Bytes ``(N, C, H, W)``.
        y: The name of each's class, or its mask ``(N, H, W)``.
        names: The file of each.
        groups: The group of each, if there are groups.
    """

    x: NDArray[np.uint8]
    y: NDArray[Any]
    names: list[str]
    groups: NDArray[Any] | None = None

    def take(self, index: NDArray[np.intp]) -> "ImagePart":
        """The images of these numbers."""
        groups = None if self.groups is None else self.groups[index]
        names = [self.names[i] for i in index.tolist()]
        return ImagePart(self.x[index], self.y[index], names, groups)


@dataclass(frozen=True)
class ImageSplit:
    """The images of a study.

    Attributes:
        learn: Those to fit to; they choose the epoch, too, where ``valid`` is ``None``.
        valid: Those to choose the epoch with, where they are given apart.
        test: Those to score on.
        where: Which those are, in words.
    """

    learn: ImagePart
    valid: ImagePart | None
    test: ImagePart
    where: str


def hold_out_images(
    whole: ImagePart,
    valid: ImagePart | None,
    test: ImagePart | None,
    options: ImageOptions,
    classes: NDArray[np.int64] | None,
) -> ImageSplit:
    """Hold images out to score on, unless those are given.

    Args:
        whole: The images to split.
        valid: Those to choose the epoch with, where they are given.
        test: Those to score on, where they are given.
        options: The share to score on, the groups and the seed.
        classes: The class of each image, for as large a share of each; ``None`` for masks.

    Returns:
        The parts.

    Raises:
        DataError: If too few images, or groups, are there to hold some out.
    """
    if test is not None:
        return ImageSplit(whole, valid, test, f"{len(test.names):,} test images")
    if not options.test:
        if valid is None:
            raise DataError(
                "no images would be left to score on: hold out a share of them, or give "
                "validation images apart"
            )
        where = f"{len(valid.names):,} validation images, which chose the epoch"
        return ImageSplit(whole, valid, valid, where)
    count = len(whole.names)
    rng = np.random.RandomState(options.seed)
    if whole.groups is not None:
        parts = split_groups(whole.groups, count, options.test, rng, classes=classes)
    else:
        parts = split_rows(count, options.test, rng, classes=classes)
    if len(parts[0]) == count:
        raise DataError(f"too few images to score on: {_shares(options.test, count, classes)}")
    learn, held = (whole.take(part) for part in parts)
    return ImageSplit(learn, valid, held, f"{len(held.names):,} test images")


def fit_images(
    model: ImageClassifier | Segmenter, split: ImageSplit, options: ImageOptions, say: Say
) -> tuple[float, list[str]]:
    """Fit an estimator to the images that learn.

    Args:
        model: The estimator.
        split: The images.
        options: The checkpoint.
        say: Told of warnings.

    Returns:
        The seconds that it took, and what a person should know.
    """
    learn, valid = split.learn, split.valid
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(
            learn.x,
            learn.y,
            validation_data=None if valid is None else (valid.x, valid.y),
            groups=learn.groups if valid is None else None,
            checkpoint=options.checkpoint,
        )
    seconds = time.perf_counter() - began
    notes = [str(one.message) for one in caught]
    if valid is None and sum(model.rows_.values()) > len(learn.names):
        scarce = "there are too few images" if learn.y.ndim > 1 else "no class has enough images"
        notes.append(
            f"{scarce} to hold any out for choosing the epoch: the training images chose it"
        )
    for note in notes:
        say(note)
    return seconds, notes


def _shares(test: float, count: int, classes: NDArray[np.int64] | None) -> str:
    if classes is None:
        return f"a share of {test:g} is held out, of {count} image{'s' if count > 1 else ''}"
    largest = int(np.bincount(classes).max())
    return (
        f"a share of {test:g} of every class is held out, and the largest class has {largest} "
        f"image{'s' if largest > 1 else ''}"
    )
