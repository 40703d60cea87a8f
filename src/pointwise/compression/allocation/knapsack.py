"""The multiple-choice knapsack for one limit, by dynamic programming over rounded costs."""

from collections.abc import Sequence

import numpy as np

BINS = 6000
"""Costs are rounded up to this part of the limit."""


def knapsack(options: Sequence[Sequence[tuple[float, float]]]) -> list[int] | None:
    """Choose an option of each group: least error, with costs of at most 1 together.

    Args:
        options: By group the cost and the error of each option.

    Returns:
        The index of each group's option, the best but for the rounding of costs; ``None`` if no
        choice keeps to the limit when costs are rounded up.

    Reference:
        Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, section 11.5.

    Example:
        >>> knapsack([[(0.6, 0.0), (0.3, 1.0)], [(0.7, 0.0), (0.2, 5.0)]])
        [1, 0]
        >>> knapsack([[(0.6, 0.0)], [(0.7, 0.0)]]) is None
        True
    """
    best = np.zeros(BINS + 1)  # the least error at a cost of at most so many bins
    choices = []
    for group in options:
        after = np.full(BINS + 1, np.inf)
        chosen = np.zeros(BINS + 1, dtype=np.int32)
        for index, (cost, error) in enumerate(group):
            bins = int(np.ceil(cost * BINS - 1e-9))
            if bins > BINS:
                continue
            found = best[: BINS + 1 - bins] + error
            better = found < after[bins:]
            after[bins:][better] = found[better]
            chosen[bins:][better] = index
        best = after
        choices.append(chosen)
    if not np.isfinite(best[BINS]):
        return None
    left, picked = BINS, []
    for group, chosen in zip(reversed(options), reversed(choices), strict=True):
        index = int(chosen[left])
        picked.append(index)
        left -= int(np.ceil(group[index][0] * BINS - 1e-9))
    return picked[::-1]
