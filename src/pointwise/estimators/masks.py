"""Masks of any whole numbers to class numbers, and how much each class counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.training.objective import UNKNOWN


def read_masks(masks: Any, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Masks of images, as an array of whole numbers.

    Args:
        masks: Array ``(N, H, W)``.
        shape: Number, rows and columns of the images.

    Returns:
        The masks; truth values become 0 and 1.

    Raises:
        DataError: If they are no whole numbers, or not of their images' number and size.

    Example:
        >>> read_masks([[[0, 1]]], (1, 1, 2))
        array([[[0, 1]]])
    """
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise DataError(f"masks must all have one size and form one array ({error})") from error
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise DataError(f"masks must hold whole numbers, one class each, got {array.dtype}")
    if array.shape != shape:
        raise DataError(
            f"masks must have shape {shape}, one class per pixel of the images, got {array.shape}"
        )
    return array


def find_mask_classes(
    masks: NDArray[Any], ignore: int | None, names: Sequence[str] | None
) -> NDArray[np.int64]:
    """The numbers that stand for classes in masks, sorted.

    Args:
        masks: Masks of whole numbers.
        ignore: Number of the pixels that do not count.
        names: Names of the classes 0, 1, ...; without, the numbers in the masks are the classes.

    Returns:
        The numbers, without the ignored one.

    Raises:
        DataError: If there are less than 2 or more than 255.
    """
    numbers = np.arange(len(names)) if names is not None else np.unique(masks)
    classes: NDArray[np.int64] = numbers[numbers != ignore].astype(np.int64)
    if not 2 <= len(classes) <= UNKNOWN:
        raise DataError(
            f"masks must have 2 to {UNKNOWN} classes, got {len(classes)} "
            f"({', '.join(map(str, classes[:5].tolist())) or 'every pixel is ignored'})"
        )
    return classes


def mask_numbers(
    masks: NDArray[Any], classes: NDArray[np.int64], ignore: int | None
) -> NDArray[np.uint8]:
    """Index of every pixel's class, as a byte.

    Args:
        masks: Masks of whole numbers.
        classes: The numbers that stand for classes, sorted.
        ignore: Number of the pixels that do not count.

    Returns:
        Indices into ``classes``; ``UNKNOWN`` where ignored.

    Raises:
        DataError: If a pixel is of no known class.

    Example:
        >>> mask_numbers(np.array([[[3, 7, 0]]]), np.array([3, 7]), ignore=0)
        array([[[  0,   1, 255]]], dtype=uint8)
    """
    numbers = np.empty(masks.shape, np.uint8)
    for mask, into in zip(masks, numbers, strict=True):  # one at a time: indices take 8 bytes
        index = np.searchsorted(classes, mask).clip(max=len(classes) - 1)
        into[...] = index
        strange = classes[index] != mask
        if ignore is not None:
            into[mask == ignore] = UNKNOWN
            strange &= mask != ignore
        if strange.any():
            more = ", ..." if len(classes) > 20 else ""
            raise DataError(
                f"masks hold class {mask[strange].flat[0]}, known are "
                f"{', '.join(map(str, classes[:20].tolist()))}{more}"
                + (f" and {ignore} for pixels to ignore" if ignore is not None else "")
            )
    return numbers


def mask_weights(
    numbers: NDArray[np.uint8], classes: int, given: Sequence[float] | str | None
) -> tuple[float, ...] | None:
    """Weight of each class in the loss.

    ``"balanced"`` weights a class by the inverse square root of its share of the pixels, so that
    rare classes count for more, but not for as much as common ones: the inverse itself makes a
    network see rare classes everywhere. The weights are 1 on average over all pixels.

    Args:
        numbers: Class indices of the training pixels.
        classes: Number of classes.
        given: A weight per class, ``"balanced"`` or ``None``.

    Returns:
        A weight per class, or ``None`` for equal weights.

    Raises:
        ValueError: If the weights are not one per class, finite and from 0 on, or no training
            pixel has one above 0.

    Reference:
        Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, 2018, section 2.2
        (square root of the inverse frequency, after Mikolov et al., 2013).

    Example:
        >>> mask_weights(np.array([[[0] * 9 + [1]]], np.uint8), 2, "balanced")
        (0.833..., 2.5)
    """
    if given is None:
        return None
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(numbers.reshape(-1), minlength=UNKNOWN + 1)[:classes]
        root = np.sqrt(counts / counts.sum())
        there = root > 0
        weights = np.ones(classes)
        weights[there] = 1 / (root[there] * root.sum())
        return tuple(weights.tolist())
    try:
        weights = np.asarray(() if isinstance(given, str) else given, dtype=np.float64)
    except (TypeError, ValueError):  # such as a dict, which classifiers of tables take
        weights = np.empty(0)
    if weights.shape != (classes,) or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(
            f"class_weight must be 'balanced', None or {classes} finite weights from 0 on, "
            f"one per class, got {given!r}"
        )
    there = np.bincount(numbers.reshape(-1), minlength=UNKNOWN + 1)[:classes] > 0
    if not weights[there].any():  # the loss would be 0 whatever is predicted
        raise ValueError(
            f"class_weight must leave a training pixel of positive weight, got {given!r}"
        )
    return tuple(weights.tolist())
