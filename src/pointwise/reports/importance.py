"""What each column is worth: the loss when its values are shuffled."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

Score = Callable[[str | None, NDArray[np.int64] | None], float]


def permutation_importance(
    columns: Sequence[str], score: Score, rows: int, *, repeats: int = 5, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure how much the loss grows when one column's values are shuffled between rows.

    Every column meets the same permutations, so columns compare on equal terms and a result does
    not depend on the order in which they are named.

    Args:
        columns: Names of the columns to shuffle, one at a time.
        score: ``score(None, None)`` is the loss on the untouched rows; ``score(name, permutation)``
            the loss with the values of column ``name`` taken in the order of ``permutation``.
        rows: Number of rows, the length of a permutation.
        repeats: Permutations per column.
        seed: Seed of the permutations.

    Returns:
        Per column its ``name``, the ``mean`` increase of the loss and its ``sd`` over the repeats,
        largest mean first; a mean that is not a number comes last.

    Raises:
        DataError: If ``rows`` or ``repeats`` is below one.

    Reference:
        Breiman, Random Forests, 2001, section 10.

    Example:
        >>> x = {"used": np.arange(4.0), "unused": np.ones(4)}
        >>> def loss(name, permutation):
        ...     column = x["used"][permutation] if name == "used" else x["used"]
        ...     return float(np.mean((column - x["used"]) ** 2))
        >>> [entry["name"] for entry in permutation_importance(["unused", "used"], loss, rows=4)]
        ['used', 'unused']
    """
    if min(rows, repeats) < 1:
        raise DataError(f"rows and repeats must be at least 1, got {rows} and {repeats}")
    permutations = [
        np.random.default_rng([seed, turn]).permutation(rows) for turn in range(repeats)
    ]
    untouched = score(None, None)
    measured = []
    for name in columns:
        increases = np.array([score(name, permutation) - untouched for permutation in permutations])
        sd = float(increases.std(ddof=1)) if repeats > 1 else 0.0
        measured.append({"name": name, "mean": float(increases.mean()), "sd": sd})
    return sorted(measured, key=lambda one: -np.nan_to_num(one["mean"], nan=-np.inf))
