"""Values to bins: which range to draw, how many bins, and which bin a value falls in."""

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

Floats = NDArray[np.float64]
MOST_BINS = 40


def at_least_one(values: Floats) -> Floats:
    """Return the finite ``values`` that are left, or say that none is.

    Args:
        values: Array of shape ``(N, ...)``.

    Returns:
        The same array.

    Raises:
        DataError: If ``N`` is zero.
    """
    if len(values) == 0:
        raise DataError("figures need at least one row with finite values, got none")
    return values


def bin_count(rows: int) -> int:
    """Return how many bins an axis gets, from 8 to 40.

    Few rows get few bins: 40 x 40 cells with 12 rows in them would be the rows themselves.

    Args:
        rows: Number of rows to be binned.

    Returns:
        Number of bins.
    """
    return int(np.clip(np.sqrt(rows), 8, MOST_BINS))


def bin_index(values: Floats, low: float, high: float, bins: int) -> NDArray[np.int64]:
    """Say in which of ``bins`` equal bins each value falls; values beyond go to the outermost.

    Args:
        values: Values of shape ``(N,)``.
        low: Start of the first bin.
        high: End of the last bin, which holds it.
        bins: Number of bins.

    Returns:
        Indices from 0 to ``bins - 1``, of shape ``(N,)``.

    Example:
        >>> bin_index(np.array([-9.0, 0.0, 0.5, 1.0, 9.0]), 0.0, 1.0, 4)
        array([0, 0, 2, 3, 3])
    """
    share = (np.clip(values, low, high) - low) / (high - low)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def robust_range(values: Floats) -> tuple[float, float]:
    """Choose the range to draw: all of it, or where it ends far out, little more than the bulk.

    The bulk is the middle 99 %; the range goes at most a quarter of the bulk's width beyond it.
    Values that are all the same get some room on both sides.

    Args:
        values: Finite values of shape ``(N,)``, ``N >= 1``.

    Returns:
        Low and high end, low < high.

    Example:
        >>> robust_range(np.array([2.0, 3.0, 5.0]))
        (2.0, 5.0)
        >>> robust_range(np.zeros(5))
        (-0.5, 0.5)
    """
    bulk_low, bulk_high = np.quantile(values, [0.005, 0.995])
    margin = (bulk_high - bulk_low) / 4
    low = float(max(values.min(), bulk_low - margin))
    high = float(min(values.max(), bulk_high + margin))
    if _is_narrow(low, high):
        low, high = float(values.min()), float(values.max())
    if _is_narrow(low, high):
        pad = 0.05 * abs(low) or 0.5
        low, high = low - pad, high + pad
    return low, high


def _is_narrow(low: float, high: float) -> bool:
    # Below this the bins' edges would no longer be different numbers.
    return high - low <= 1e-9 * max(abs(low), abs(high))
