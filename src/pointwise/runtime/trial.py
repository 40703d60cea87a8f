"""Trials: whether a compiled chain is faster than the modules that it was read from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from pointwise.inspection.timing import Speedup, Timer, speedup, take_turns

Verdict: TypeAlias = Literal["faster", "slower", "as fast"]

BEFORE, AFTER = "as given", "compiled"

FEWEST = 9
"""Rounds of a trial: with fewer no order statistic bounds the median at 99 percent."""

SECONDS = 0.05
"""A trial of quick calls lasts this long."""


@dataclass(frozen=True)
class Trial:
    """How fast compiled code is beside what it stands for.

    Attributes:
        seconds: What PyTorch takes, in the middle round.
        speedup: How many times faster the compiled code is, with its bounds.
    """

    seconds: float
    speedup: Speedup

    @property
    def verdict(self) -> Verdict:
        """``"faster"`` or ``"slower"`` where that is beyond doubt, else ``"as fast"``."""
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "as fast"


def short_turns(calls: Any, *, seconds: float = SECONDS) -> dict[str, list[float]]:
    """Time calls in turns, in as few rounds as tell anything.

    Args:
        calls: What to time, by name.
        seconds: For how long, about.

    Returns:
        By name the seconds of one call, round by round.

    Example:
        >>> len(short_turns({"a": lambda: 1})["a"]) >= 9
        True
    """
    return take_turns(calls, seconds=seconds, fewest=FEWEST)


def compare(
    before: Callable[[Tensor], Any],
    after: Callable[[Tensor], Any],
    x: Tensor,
    timer: Timer = short_turns,
) -> Trial:
    """Time compiled code against what it stands for, in turns.

    Args:
        before: What PyTorch runs.
        after: The compiled code.
        x: An input; neither may change it.
        timer: Times calls against one another; a stand-in in tests.

    Returns:
        How fast they are.

    Example:
        >>> stand_in = lambda calls, *, seconds: {"as given": [3.0] * 9, "compiled": [1.0] * 9}
        >>> compare(torch.relu, torch.relu, torch.ones(3), stand_in).verdict
        'faster'
    """
    with torch.no_grad():
        taken = timer({BEFORE: lambda: before(x), AFTER: lambda: after(x)}, seconds=SECONDS)
    found = speedup(taken[BEFORE], taken[AFTER])
    return Trial(sorted(taken[BEFORE])[len(taken[BEFORE]) // 2], found)
