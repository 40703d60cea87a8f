"""Timing calls against one another: all take turns, and ratios are taken within a round.

What else a machine does then falls on all calls alike, and a slow minute does not decide.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Call = Callable[[], object]

TURN_S = 0.002
"""A turn lasts this long at least: the clock and the call itself are then far below a percent."""

FEWEST, MOST = 15, 201
"""Rounds: below nine no order statistic bounds the median at 99 percent; fifteen leave out two on
each side, in which the machine did something else."""

Z = 2.576
"""Standard errors for 99 percent: many ratios are looked at, and the best of them is taken."""


class Timer(Protocol):
    """Times calls against one another: ``take_turns``, or a stand-in for tests."""

    def __call__(self, calls: Mapping[str, Call], *, seconds: float) -> dict[str, list[float]]:
        """Seconds of every call in every round."""
        ...


@dataclass(frozen=True)
class Speedup:
    """How many times faster one call is than another, side by side.

    Attributes:
        ratio: Median over the rounds of the one's seconds over the other's; above 1 is faster.
        low: Lower bound of that median at 99 percent.
        high: Upper bound of that median at 99 percent.
        rounds: How many rounds there were.
    """

    ratio: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        """The ratio and its bounds, as reports show them."""
        return f"{self.ratio:.2f}x ({self.low:.2f} to {self.high:.2f})"

    def wins(self, margin: float = 0.0) -> bool:
        """Whether it is faster beyond doubt, and by more than a margin.

        Args:
            margin: Share of the time that it must save to be worth a change.

        Returns:
            Whether even the lower bound is above 1, and the median above ``1 + margin``.

        Example:
            >>> Speedup(1.3, 1.1, 1.5, 20).wins(), Speedup(1.3, 0.9, 1.5, 20).wins()
            (True, False)
        """
        return self.low > 1 and self.ratio > 1 + margin


def take_turns(
    calls: Mapping[str, Call],
    *,
    seconds: float = 1.0,
    fewest: int = FEWEST,
    most: int = MOST,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every call in every round; all take turns, in a random order each round.

    A call that is quick is repeated within its turn, so that a turn is long enough to be measured.
    Each is called twice before the first round, since first calls are slow.

    Args:
        calls: What to time, by name.
        seconds: For how long, about, within the bounds on the rounds.
        fewest: Rounds at least.
        most: Rounds at most.
        clock: Gives the seconds.

    Returns:
        By name the seconds of one call, round by round: the same place is the same round.

    Example:
        >>> taken = take_turns({"a": lambda: 1, "b": lambda: 2}, seconds=0.01, fewest=3)
        >>> len(taken["a"]) == len(taken["b"]) >= 3
        True
    """
    loops, round_s = {}, 0.0
    for name, call in calls.items():
        call()
        began = clock()
        call()
        once_s = max(clock() - began, 1e-9)
        loops[name] = max(1, round(TURN_S / once_s))
        round_s += loops[name] * once_s
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for _ in range(min(max(int(seconds / max(round_s, 1e-9)), fewest), most)):
        shuffle(order)
        for name in order:
            call, repeats = calls[name], range(loops[name])
            began = clock()
            for _ in repeats:
                call()
            taken[name].append((clock() - began) / loops[name])
    return taken


def speedup(before: Sequence[float], after: Sequence[float]) -> Speedup:
    """Compare the seconds of two calls that took turns.

    The bounds are order statistics of the rounds' ratios: they assume nothing on how times are
    spread, which is neither normal nor even on both sides.

    Args:
        before: Seconds of the call to compare with, round by round.
        after: Seconds of the other, in the same rounds.

    Returns:
        How many times faster the other is.

    Raises:
        ValueError: If the rounds are not the same in number, or there are none.

    Reference:
        Conover, Practical Nonparametric Statistics, 1999, section 3.2.

    Example:
        >>> speedup([2.0] * 9, [1.0] * 9)
        Speedup(ratio=2.0, low=2.0, high=2.0, rounds=9)
    """
    if not before or len(before) != len(after):
        raise ValueError(
            f"calls must be timed in the same rounds, got {len(before)} and {len(after)}"
        )
    ratios = sorted(a / b for a, b in zip(before, after, strict=True))
    n = len(ratios)
    skip = max(0, math.floor((n - Z * math.sqrt(n)) / 2))
    return Speedup(statistics.median(ratios), ratios[skip], ratios[n - 1 - skip], n)
