"""Which training rows are held out to decide when to stop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.table import as_text, missing_in
from pointwise.errors import DataError

Index = NDArray[np.intp]


def split_rows(
    rows: int,
    fraction: float,
    rng: np.random.RandomState,
    *,
    classes: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
) -> tuple[Index, Index]:
    """Split row numbers into training and validation rows.

    Args:
        rows: Number of rows.
        fraction: Share of rows to hold out.
        rng: Source of the split.
        classes: Class number of each row; each class is split by the same share, and a class with
            too few rows to share stays in training.
        groups: Group of each row; a group is never torn apart.
        times: Time of each row; the latest rows are held out.

    Returns:
        Row numbers of the training and of the validation part, ascending. With too few rows to hold
        any out both parts are all rows.

    Raises:
        DataError: If both groups and times are given, have the wrong length or gaps, or groups are
            too few.

    Example:
        >>> train, valid = split_rows(10, 0.2, np.random.RandomState(0), times=np.arange(10))
        >>> valid
        array([8, 9])
    """
    if groups is not None and times is not None:
        raise DataError("give groups or times, not both: each decides the validation rows alone")
    for name, values in (("groups", groups), ("times", times)):
        if values is not None and len(values) != rows:
            raise DataError(f"{name} must have one entry per row: got {len(values)} for {rows}")
        if values is not None and (gaps := missing_in(values)).any():
            raise DataError(
                f"{name} must be known for every row: {int(gaps.sum())} rows have none, the first "
                f"is row {int(gaps.argmax())}"
            )
    if times is not None:
        held = _order(times)[rows - round(rows * fraction) :]
    elif groups is not None:
        held = _whole_groups(groups, fraction, rng)
    elif classes is not None:
        held = _per_class(classes, fraction, rng)
    else:
        held = rng.permutation(rows)[: int(rows * fraction)]
    if len(held) == 0:
        return np.arange(rows), np.arange(rows)
    is_held = np.zeros(rows, dtype=bool)
    is_held[held] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _order(times: NDArray[Any]) -> Index:
    try:
        return np.argsort(times, kind="stable")
    except TypeError as error:
        raise DataError(f"times must all be numbers, dates or text ({error})") from error


def _whole_groups(groups: NDArray[Any], fraction: float, rng: np.random.RandomState) -> Index:
    if groups.dtype == object:
        groups = as_text(groups)
    names, number = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"groups must name at least 2 groups, got {len(names)}")
    held = rng.permutation(len(names))[: max(1, round(len(names) * fraction))]
    return np.flatnonzero(np.isin(number, held))


def _per_class(classes: NDArray[Any], fraction: float, rng: np.random.RandomState) -> Index:
    order = rng.permutation(len(classes))
    parts = []
    for number in np.unique(classes):
        members = order[classes[order] == number]
        parts.append(members[: int(len(members) * fraction)])
    return np.concatenate(parts)
