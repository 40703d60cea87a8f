"""Images to compare networks on, in three parts that every network gets alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pointwise.errors import DataError
from pointwise.studies.contenders import Job
from pointwise.training import Rows

TEST, VALID = 0.2, 0.15
"""Share of the images to score on, and share of the others to choose the epoch with."""

FEWEST = 5
"""Images that a class must have, so that some are in every part."""


@dataclass(frozen=True)
class CompareData:
    """Images and labels to learn from, to choose the epoch with, and to score on.

    Attributes:
        name: What they are called.
        learn: Images ``(N, C, H, W)`` and class numbers ``(N,)`` to learn from.
        valid: Those that choose the best epoch.
        test: Those that are scored on, once per network.
        classes: Names of the classes.

    Raises:
        ValueError: If a part has no images, or images of another size than the first one's.
    """

    name: str
    learn: Rows
    valid: Rows
    test: Rows
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for part, rows in (("learn", self.learn), ("valid", self.valid), ("test", self.test)):
            if not len(rows) or rows.x.ndim != 4 or rows.x.shape[1:] != self.learn.x.shape[1:]:
                raise ValueError(
                    f"{part} must have images of one shape (N, C, H, W), "
                    f"got {tuple(rows.x.shape)} where learn has {tuple(self.learn.x.shape)}"
                )

    def job(self, kernel: int) -> Job:
        """What a network with this kernel has to do; its scale is that of the learnt images."""
        _, channels, height, width = self.learn.x.shape
        scales = [_scale(self.learn.x[:, channel]) for channel in range(channels)]
        mean, std = zip(*scales, strict=True)
        return Job((channels, height, width), len(self.classes), kernel, mean, std)


def split_images(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    *,
    seed: int = 0,
) -> CompareData:
    """Split images into parts with the same share of every class.

    Args:
        name: What they are called.
        images: Images of shape ``(N, C, H, W)``.
        labels: Class number of each.
        classes: Names of the classes.
        seed: Decides the split.

    Returns:
        68 % to learn from, 12 % to choose the epoch with, 20 % to score on.

    Raises:
        DataError: If there are no labels, less than two classes, or too few images of a class.

    Example:
        >>> images = np.zeros((50, 1, 8, 8), np.uint8)
        >>> data = split_images("dots", images, np.arange(50) % 2, ("even", "odd"))
        >>> len(data.learn), len(data.valid), len(data.test)
        (34, 6, 10)
    """
    if labels is None:
        raise DataError(f"{name} has no labels: a comparison needs the class of every image")
    if len(classes) < 2:
        raise DataError(f"{name} has {len(classes)} class: a comparison needs two at least")
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < FEWEST:
        least = int(counts.argmin())
        raise DataError(
            f"class {classes[least]!r} has {counts[least]} images: a comparison needs {FEWEST} of "
            "every class at least, so that some are in every part"
        )
    everything = np.arange(len(labels))
    rest, test = _split(everything, labels, max(TEST, len(classes) / len(labels)), seed)
    learn, valid = _split(rest, labels, max(VALID, len(classes) / len(rest)), seed)
    parts = [
        Rows(torch.from_numpy(images[index]), torch.from_numpy(labels[index]))
        for index in (learn, valid, test)
    ]
    return CompareData(name, parts[0], parts[1], parts[2], classes)


def _split(
    index: NDArray[Any], labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = train_test_split(
        index, test_size=share, random_state=seed, stratify=labels[index]
    )
    return np.sort(first), np.sort(second)


def _scale(values: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation; bytes are counted, not copied as floats."""
    if values.dtype == torch.uint8:
        counts = torch.bincount(values.flatten(), minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64, device=values.device)
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean).square()).sum() / counts.sum())
    else:
        mean, variance = float(values.double().mean()), float(values.double().var(correction=0))
    return mean, variance**0.5 or 1.0
