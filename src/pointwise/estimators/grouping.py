"""Whole groups held out, such as videos whose frames are nearly the same image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.table import as_text, missing_in
from pointwise.errors import DataError
from pointwise.estimators.splitting import Index


def split_groups(
    groups: Any,
    rows: int,
    fraction: float,
    rng: np.random.RandomState,
    *,
    classes: NDArray[Any] | None = None,
) -> tuple[Index, Index]:
    """Split row numbers into training and validation rows without tearing a group apart.

    Groups are taken in random order, each one that brings the share held out nearer to ``fraction``
    of the rows: few groups may be of very different sizes. At least one is held out.

    Args:
        groups: Group of each row.
        rows: Number of rows.
        fraction: Share of rows to hold out.
        rng: Source of the split.
        classes: Class number of each row: no class is held out as a whole.

    Returns:
        Row numbers of the training and of the validation part, ascending.

    Raises:
        DataError: If there is not a group for each row, there are fewer than two groups, or each
            of them holds all rows of a class.

    Example:
        >>> split_groups(["a"] * 8 + ["b"] * 2, 10, 0.2, np.random.RandomState(0))[1]
        array([8, 9])
    """
    numbers = _numbers(groups, rows)
    sizes = np.bincount(numbers)
    wanted, held_rows = fraction * rows, 0
    kept = _Kept(numbers, classes)
    for group in rng.permutation(len(sizes)).tolist():
        nearer = abs(held_rows + sizes[group] - wanted) < abs(held_rows - wanted)
        if nearer and kept.give(group):
            held_rows += sizes[group]
    if not held_rows and not any(kept.give(group) for group in np.argsort(sizes, kind="stable")):
        raise DataError(
            f"groups cannot be held out: each of the {len(sizes)} holds all that there is of some "
            "class"
        )
    return np.flatnonzero(~kept.given), np.flatnonzero(kept.given)


class _Kept:
    """The rows that are not held out yet, and how many of each class they are."""

    def __init__(self, numbers: NDArray[np.intp], classes: NDArray[Any] | None) -> None:
        self.given = np.zeros(len(numbers), dtype=bool)
        self._numbers = numbers
        self._classes = np.zeros(len(numbers), np.intp) if classes is None else classes
        self._left = np.bincount(self._classes)

    def give(self, group: int) -> bool:
        """Hold a group out, unless a class would lose its last row."""
        members = self._numbers == group
        lost = np.bincount(self._classes[members], minlength=len(self._left))
        if ((lost > 0) & (lost == self._left)).any():
            return False
        self._left = self._left - lost
        self.given |= members
        return True


def _numbers(groups: Any, rows: int) -> NDArray[np.intp]:
    values = np.asarray(groups)
    if values.ndim != 1 or len(values) != rows:
        came = len(values) if values.ndim == 1 else f"shape {values.shape}"
        raise DataError(f"groups must have one entry per image: got {came} for {rows}")
    if (gaps := missing_in(values)).any():
        raise DataError(
            f"groups must be known for every image: {int(gaps.sum())} images have none, the first "
            f"is image {int(gaps.argmax())}"
        )
    names, numbers = np.unique(
        as_text(values) if values.dtype == object else values, return_inverse=True
    )
    if len(names) < 2:
        raise DataError(f"groups must name at least 2 groups, got {len(names)}: {names[0]}")
    return numbers
