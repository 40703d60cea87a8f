"""Which candidate each layer becomes under a budget, of costs or of measured time."""

import math
from dataclasses import dataclass, replace

from pointwise.compression.allocation.allocation import Allocation, Limits, allocate
from pointwise.compression.allocation.candidates import Candidate
from pointwise.compression.allocation.latency import (
    Laid,
    blank_model,
    handy,
    time_models,
    time_share,
)
from pointwise.compression.budget import Budget, check_met, limits_of
from pointwise.compression.statistics.measure import Measured
from pointwise.inspection.timing import Timer, take_turns

NEAR = 0.97
"""Share of a budget that is to be used up: what is left over would have kept some accuracy."""

ABOUT = 0.9
"""Where a budget of time is out of reach, the fastest choice must be faster by so much to be worth
what it loses: it takes every layer to its least rank."""

TRIES, MISSES = 8, 3
"""So often a choice is timed as a whole and, if it is too slow or quicker than need be, made again:
times of single layers do not add up to that of the whole. After so many that are too slow it is
time to see what is within reach at all."""


@dataclass(frozen=True)
class _Timed:
    """A choice for so many seconds of the layers; the share of the time that the whole takes."""

    seconds: float
    share: float
    error: float
    chosen: tuple[Candidate, ...]


def choose(known: Measured, budget: Budget, *, timer: Timer = take_turns) -> tuple[Candidate, ...]:
    """Choose a candidate for each layer, so that the whole keeps to a budget.

    Args:
        known: What is known of the model.
        budget: The budget.
        timer: Times calls against one another, for a budget of time.

    Returns:
        One for each layer.

    Raises:
        ValueError: If the budget is out of reach; time aside, which is told in the report.
    """
    limits = limits_of(budget, known.whole, known.layers, known.found.left)
    if budget.latency is None:
        return _allocate(known, limits, budget).chosen
    if known.laid is None:
        raise ValueError("a budget of latency needs what measure(timed=True) found out")
    return _choose_by_time(known, known.laid, limits, budget, budget.latency, timer)


def _choose_by_time(
    known: Measured, laid: Laid, limits: Limits, budget: Budget, asked: float, timer: Timer
) -> tuple[Candidate, ...]:
    """The best choice by the times of single layers, that is fast enough as a whole."""
    most = sum(one.candidates[0].seconds for one in known.layers)
    least = sum(min(one.seconds for one in layer.candidates) for layer in known.layers)
    stays = max(0.0, laid.seconds - most)
    seconds = max(asked * laid.given_s - stays, least)
    met, missed = 0.0, math.inf  # seconds of the layers: the whole was fast enough, or was not
    goal, tried = asked, list[_Timed]()
    for _ in range(TRIES):
        found = allocate(known.layers, replace(limits, seconds=seconds))
        for name, limit in limits.given().items():
            if found.costs[name] > limit:
                check_met(budget, met=False)
        model = blank_model(laid.timed, known.layers, found.chosen)
        share = time_share(*time_models(known.model, model, known.example, timer=timer))
        again = any(found.chosen == one.chosen for one in tried)
        tried.append(_Timed(seconds, share, found.error, found.chosen))
        if share > goal and seconds <= least:  # out of reach: about as fast as that will do
            goal, met = share / ABOUT, seconds
            missed = min((one.seconds for one in tried if one.share > goal), default=most)
            if least >= most:  # there is nothing to choose from
                break
        elif share > goal:
            missed = min(missed, seconds)
        else:
            met = max(met, seconds)
            if goal == asked and (again or share >= NEAR * asked):
                break
        if met and missed < math.inf:
            seconds = (met + missed) / 2
        elif met or len(tried) < MISSES:
            seconds = max((seconds + stays) * asked / share - stays, least)
        else:
            seconds = least
    return min((one for one in tried if one.share <= goal), key=lambda one: one.error).chosen


def _allocate(known: Measured, limits: Limits, budget: Budget) -> Allocation:
    """The best choice of handy ranks; of all ranks, where handy ones leave much of the budget."""
    found_handy = [handy(layer) for layer in known.layers]
    found = allocate(found_handy, limits)
    if not found.met or not _is_near(known, found, budget):
        every = allocate(known.layers, limits)
        if every.met or not found.met:
            found = every
    check_met(budget, found.met)
    return found


def _is_near(known: Measured, found: Allocation, budget: Budget) -> bool:
    """Whether a choice uses up a budget, or nothing is to be gained by that."""
    if found.error == 0:
        return True
    for name, share in budget.given().items():
        total = getattr(known.whole, name)
        size = {"bytes": "params"}.get(name, name)
        kept = sum(
            getattr(layer.candidates[0], size) * (layer.layer.itemsize if name == "bytes" else 1)
            for layer in known.layers
        )
        if total - kept + found.costs[name] >= NEAR * share * total:
            return True
    return False
