"""Widths with which a contender has as much of something as the reference.

The widths of all stages are one multiple of the reference's, rounded; where that misses, one stage
moves by a channel or two on its own.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from torch import nn

from pointwise.training import Augment, CrossEntropy, Rows, Settings, train

Matching: TypeAlias = Literal["parameters", "macs", "time"]
Widths: TypeAlias = tuple[int, ...]
Ratio: TypeAlias = Callable[[Widths], float]

MATCHINGS: tuple[Matching, ...] = ("parameters", "macs", "time")
TITLES: dict[Matching, str] = {
    "parameters": "equal parameters",
    "macs": "equal MACs",
    "time": "equal training time",
}

TOLERANCE = 0.02
"""How far a matched figure may be from the reference's, as a share of it."""

BURST_S = 0.04
"""Least seconds that are timed as one: the clock and the turn's overhead are then negligible."""

QUICK_S, THOROUGH_S = 0.6, 2.4
"""Seconds for which a contender and the reference take turns while widths are searched, and for
the last few; at least ``TURNS`` turns each."""

TURNS = 3

LARGEST_FACTOR = 64.0

PRECISION = 0.01
"""Multiples of the width closer than this are not told apart by their seconds."""


def match_count(base: Sequence[int], ratio: Ratio) -> Widths:
    """Find the widths whose count is closest to the reference's.

    Args:
        base: The reference's widths.
        ratio: Count of a contender with these widths, divided by the reference's.

    Returns:
        The widths.

    Example:
        >>> match_count((10, 20), lambda widths: sum(w * w for w in widths) / 2000)
        (20, 40)
    """
    seen = _bisect(base, ratio)
    best = min(seen, key=lambda widths: abs(seen[widths] - 1))
    if abs(seen[best] - 1) <= TOLERANCE / 4:
        return best
    near = {
        (*best[:stage], max(1, best[stage] + step), *best[stage + 1 :])
        for stage in range(len(best))
        for step in (-2, -1, 0, 1, 2)
    }
    ratios = {widths: ratio(widths) for widths in sorted(near)}
    good = [widths for widths in ratios if abs(ratios[widths] - 1) <= TOLERANCE / 2]
    if good:
        return min(good, key=lambda widths: _disproportion(base, widths))
    return min(ratios, key=lambda widths: abs(ratios[widths] - 1))


def match_time(
    base: Sequence[int], ratio: Callable[[Widths, float], float]
) -> tuple[Widths, float]:
    """Find the widths whose training step takes as long as the reference's.

    Seconds do not grow evenly with the width, and every measurement is off by a little: the
    closest few are measured again, for longer, and judged by that alone.

    Args:
        base: The reference's widths.
        ratio: Seconds of a step with these widths, divided by the reference's, measured for so
            many seconds.

    Returns:
        The widths and their ratio.

    Example:
        >>> match_time((10,), lambda widths, seconds: widths[0] / 14)
        ((14,), 1.0)
    """
    seen = _bisect(base, lambda widths: ratio(widths, QUICK_S), PRECISION)
    best = min(seen, key=lambda widths: abs(seen[widths] - 1))
    step = max(TOLERANCE, 1 / max(best))
    tried: dict[Widths, float] = {}
    for place in (0, -1, 1, -2, 2):
        widths = _scaled(best, 1 + place * step)
        if widths not in tried:
            tried[widths] = ratio(widths, THOROUGH_S)
        if abs(tried[widths] - 1) <= TOLERANCE / 2:
            break
    found = min(tried, key=lambda widths: abs(tried[widths] - 1))
    return found, tried[found]


def step_seconds(
    networks: Sequence[nn.Module],
    rows: Rows,
    settings: Settings,
    *,
    augment: Augment | None = None,
    seconds: float = QUICK_S,
) -> list[float]:
    """Seconds of a training step of each network, the fastest of several turns.

    The networks take turns, so that what else the machine does falls on all of them alike.

    Args:
        networks: The networks; their weights change.
        rows: Training rows; as many batches of them are taken as are worth timing.
        settings: How they are trained.
        augment: What changes the batches.
        seconds: For how long they take turns, at least.

    Returns:
        Seconds per step.
    """
    single = _bursts(networks[0], rows, settings, augment, 1)
    spent = min(next(single) for _ in range(TURNS))  # the first steps of all are slow
    steps = max(1, math.ceil(BURST_S / spent))
    runs = [_bursts(network, rows, settings, augment, steps) for network in networks]
    for run in runs:
        next(run)
    fastest, turn, began = [math.inf] * len(runs), 0, time.perf_counter()
    while turn < TURNS or time.perf_counter() - began < seconds:
        fastest = [min(best, next(run)) for best, run in zip(fastest, runs, strict=True)]
        turn += 1
    return fastest


def _bursts(
    network: nn.Module, rows: Rows, settings: Settings, augment: Augment | None, steps: int
) -> Iterator[float]:
    """Seconds of a step, again and again: the loop that trains it trains on a few batches."""
    index = torch.arange(steps * settings.batch_size, device=rows.x.device) % len(rows)
    some, one = Rows(rows.x[index], rows.y[index]), Rows(rows.x[:1], rows.y[:1])
    endless = replace(settings, max_epochs=sys.maxsize, patience=sys.maxsize, time_limit_s=None)
    run = train(network, CrossEntropy(1), some, one, endless, augment=augment)
    while True:
        began = time.perf_counter()
        next(run)
        yield (time.perf_counter() - began) / steps


def _bisect(base: Sequence[int], ratio: Ratio, precision: float = 0.0) -> dict[Widths, float]:
    """Ratios at widths ever closer to where they pass one."""
    seen: dict[Widths, float] = {}

    def at(factor: float) -> float:
        widths = _scaled(base, factor)
        if widths not in seen:
            seen[widths] = ratio(widths)
        return seen[widths]

    low = high = 1.0
    while at(high) < 1 and high < LARGEST_FACTOR:
        low, high = high, high * 1.5
    while at(low) > 1 and max(_scaled(base, low)) > 1:
        low, high = low / 1.5, low
    while high - low > max(precision, 1 / (8 * max(base))):
        middle = (low + high) / 2
        if abs(at(middle) - 1) <= TOLERANCE / 10:
            break
        low, high = (middle, high) if at(middle) < 1 else (low, middle)
    return seen


def _scaled(base: Sequence[int], factor: float) -> Widths:
    return tuple(max(1, round(width * factor)) for width in base)


def _disproportion(base: Sequence[int], widths: Widths) -> float:
    """How far the stages are from one multiple of the reference's; 1 for exactly one."""
    factors = [width / b for width, b in zip(widths, base, strict=True)]
    return max(factors) / min(factors)
