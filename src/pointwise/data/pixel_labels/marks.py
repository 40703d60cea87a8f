"""Marks of labels on pixels, and one label for each pixel made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT = 2**53


@dataclass(frozen=True)
class Marks:
    """Pixels that something put a label on; one may be there several times.

    Args:
        pixels: Number of each pixel, row after row, ``(N,)``.
        labels: What was put there, ``(N,)``.
        parts: Number of the polygon or point that did, ``(N,)``; -1 for rasters.
        target: Name of what the labels are.
        notes: What a person should know, a sentence each.
    """

    pixels: NDArray[np.int64]
    labels: NDArray[Any]
    parts: NDArray[np.int64]
    target: str
    notes: tuple[str, ...] = ()


def settle(marks: Marks, *, average: bool | None = None) -> tuple[Marks, str]:
    """Make one label per pixel.

    Args:
        marks: As found.
        average: Whether different labels of one pixel are averaged, which takes numbers; else such
            a pixel has none. ``None`` averages numbers with fractions: they are measured.

    Returns:
        Each pixel once, in their order, of the first part that marked it; and a note on pixels
        marked more than once, empty if there are none.

    Example:
        >>> pixels, parts = np.array([4, 2, 4]), np.array([0, 1, 2])
        >>> found, note = settle(Marks(pixels, np.array(["a", "b", "c"]), parts, "cover"))
        >>> found.pixels, note
        (array([2]), '1 pixel has labels that differ: left out')
    """
    order = np.argsort(marks.pixels, kind="stable")
    pixels, labels = marks.pixels[order], marks.labels[order]
    starts = np.flatnonzero(np.diff(pixels, prepend=-1))
    parts, counts = marks.parts[order][starts], np.diff([*starts, len(pixels)])
    if len(starts) == len(pixels):
        return Marks(pixels, labels, parts, marks.target, marks.notes), ""
    numeric = labels.dtype.kind in "iuf"
    if average is None:
        average = labels.dtype.kind == "f"
    codes = np.unique(labels, return_inverse=True)[1]
    differ = np.minimum.reduceat(codes, starts) != np.maximum.reduceat(codes, starts)
    many = _pixels(int(differ.sum()), "have", "has") + " labels that differ: "
    if average and numeric:
        means = np.add.reduceat(labels.astype(np.float64), starts) / counts
        firsts = labels[starts]
        labels = as_whole(np.where(differ, means, firsts))  # equal ones are kept as they are
        note = f"{many}their mean is taken" if differ.any() else ""
        return Marks(pixels[starts], labels, parts, marks.target, marks.notes), note
    kept = starts[~differ]
    note = f"{many}left out" if differ.any() else ""
    return Marks(pixels[kept], labels[kept], parts[~differ], marks.target, marks.notes), note


def as_whole(values: NDArray[Any]) -> NDArray[Any]:
    """Write whole numbers as integers: classes that a file keeps as 1.0, 2.0 are 1, 2.

    Args:
        values: Of any kind.

    Returns:
        int64 where all are finite and whole, else as they were.

    Example:
        >>> as_whole(np.array([1.0, 2.0])), as_whole(np.array([1.5]))
        (array([1, 2]), array([1.5]))
    """
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return values
    whole = bool((values == np.round(values)).all()) and bool((np.abs(values) < _EXACT).all())
    return values.astype(np.int64) if whole else values


def drawn_note(total: int, kept: int) -> str:
    """Say that not all labelled pixels are taken.

    Args:
        total: How many there are.
        kept: How many are taken.

    Returns:
        A sentence.

    Example:
        >>> drawn_note(3600, 500)
        'of 3,600 labelled pixels 500 are drawn at random'
    """
    return f"of {total:,} labelled pixels {kept:,} are drawn at random"


def counted(count: int, one: str, many: str = "") -> str:
    """Say how many there are of something.

    Args:
        count: How many.
        one: What it is called.
        many: What several are called; by default with an s.

    Returns:
        Part of a sentence.

    Example:
        >>> counted(1, "point"), counted(2000, "point")
        ('1 point', '2,000 points')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _pixels(count: int, many: str, one: str) -> str:
    return f"{counted(count, 'pixel')} {one if count == 1 else many}"
