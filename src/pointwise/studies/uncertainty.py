"""How sure a difference of two networks' errors is: other seeds, and other test images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A difference of error rates.

    Attributes:
        value: Theirs less ours, as a share.
        uncertainty: Half of the 95 % interval; infinite for one seed.
    """

    value: float
    uncertainty: float

    def __str__(self) -> str:
        """The difference in points."""
        half = (
            ""
            if math.isinf(self.uncertainty)
            else f" \N{PLUS-MINUS SIGN} {100 * self.uncertainty:.2f}"
        )
        return f"{100 * self.value:+.2f}{half}"


def paired_difference(
    ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]], images: int
) -> Difference:
    """Compare the mistakes of two networks on the same images, seed by seed.

    Two things could have come out otherwise: the seeds, whose part is Student's t over their
    differences, and the test images, whose part is normal over the images' mean differences. The
    half intervals of both add up as independent ones do.

    Args:
        ours: Per seed the numbers of the images that our network classifies wrongly.
        theirs: The same of the other network, in the same order of seeds.
        images: Number of test images.

    Returns:
        Their error less ours: positive where ours is better.

    Raises:
        ValueError: If there are not as many seeds of both, or none.

    Reference:
        Dietterich, Approximate Statistical Tests for Comparing Supervised Classification Learning
        Algorithms, 1998, section 2 (the two sources of variation).

    Example:
        >>> paired_difference([[0], [0]], [[0, 1], [0, 1]], 4).value
        0.25
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"there must be as many seeds of both, got {len(ours)} and {len(theirs)}")
    both = _table(theirs, images) - _table(ours, images)  # (seeds, images)
    value = float(both.mean())
    seeds = len(ours)
    if seeds == 1:
        return Difference(value, math.inf)
    from scipy.stats import norm, t

    tail = (1 + CONFIDENCE) / 2
    by_seed = t.ppf(tail, seeds - 1) * both.mean(1).std(ddof=1) / math.sqrt(seeds)
    by_image = norm.ppf(tail) * both.mean(0).std() / math.sqrt(images)
    return Difference(value, float(math.hypot(by_seed, by_image)))


def _table(wrong: Sequence[Sequence[int]], images: int) -> np.ndarray:
    table = np.zeros((len(wrong), images))
    for row, numbers in zip(table, wrong, strict=True):
        row[list(numbers)] = 1
    return table
