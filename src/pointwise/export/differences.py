"""How far the outputs of an exported model are from those of what it was made of."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DifferenceError

Arrays = Sequence[NDArray[Any]]


def check_rounding(worst: float, limit: float, what: str) -> float:
    """Refuse a difference that is more than rounding.

    Args:
        worst: The largest difference.
        limit: What is allowed.
        what: What was run, for the message.

    Returns:
        The largest difference.

    Raises:
        DifferenceError: If it is larger than the limit, or no number.

    Example:
        >>> check_rounding(1e-7, 1e-4, "the library")
        1e-07
    """
    if not worst <= limit:
        raise DifferenceError(
            f"{what} computes something else: it differs by {worst:.2g}, {limit:.2g} are allowed"
        )
    return worst


def classes_differ(
    expected: NDArray[Any], classes: NDArray[Any], limit: float
) -> Callable[[Arrays], float]:
    """Hold labels and probabilities against a model's probabilities.

    Args:
        expected: The model's probabilities ``(N, K, ...)``.
        classes: The labels.
        limit: Between probabilities that lie nearer than twice this, either label is right.

    Returns:
        The largest difference of probabilities; infinite where a label is wrong.
    """

    def difference(outputs: Arrays) -> float:
        labels, shares = outputs
        if shares.shape != expected.shape:
            return np.inf
        ranked = np.sort(expected, 1)
        sure = ranked[:, -1] - ranked[:, -2] > 2 * limit
        right = labels == classes[expected.argmax(1)]
        return _largest(shares, expected) if np.all(right | ~sure) else np.inf

    return difference


def numbers_differ(
    expected: Arrays, unit: NDArray[np.float64] | None = None
) -> Callable[[Arrays], float]:
    """Hold numbers against a model's.

    Args:
        expected: The model's outputs.
        unit: What differences are told in. Default: the largest value of each output.

    Returns:
        The largest difference in that unit.
    """

    def difference(outputs: Arrays) -> float:
        if [y.shape for y in outputs] != [y.shape for y in expected]:
            return np.inf
        worst = 0.0
        for found, one in zip(outputs, expected, strict=True):
            known = np.abs(one[np.isfinite(one)], dtype=np.float64)
            scale = unit if unit is not None else max(float(known.max(initial=0)), 1e-30)
            worst = max(worst, _largest(found / scale, one / scale))
        return worst

    return difference


def _largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference; none where both are the same infinity or no number."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
