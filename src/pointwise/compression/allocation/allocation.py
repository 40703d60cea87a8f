"""Which candidate each layer becomes, so that the budget is met with the least error."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pointwise.compression.allocation.candidates import Candidate, LayerCandidates
from pointwise.compression.allocation.hull import lower_hull
from pointwise.compression.allocation.knapsack import knapsack

STEPS = 100
"""Halvings of the price of a unit of cost."""

MIXTURES = 16
"""Where several things are limited: so many ways to weigh one against another."""


@dataclass(frozen=True)
class Limits:
    """What the layers that can be compressed may cost together.

    Attributes:
        macs: Multiply-adds; ``None`` for any number.
        params: Weights and offsets; ``None`` for any number.
        bytes: Bytes of the parameters; ``None`` for any number.
        seconds: Measured time; ``None`` for any.
    """

    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    seconds: float | None = None

    def given(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: limit for name, limit in vars(self).items() if limit is not None}


@dataclass(frozen=True)
class Allocation:
    """One candidate for each layer.

    Attributes:
        chosen: In the order of the layers.
        error: The sum of their errors.
        costs: What they cost together, by name of the limit.
        met: Whether that is within the limits; if not, it is the nearest that can be reached.
    """

    chosen: tuple[Candidate, ...]
    error: float
    costs: Mapping[str, float]
    met: bool


@dataclass(frozen=True)
class _Option:
    """A candidate and its costs, one for each limit, as shares of it."""

    index: int
    error: float
    shares: tuple[float, ...]

    def cost(self, weights: Sequence[float]) -> float:
        return sum(w * share for w, share in zip(weights, self.shares, strict=True))


def allocate(layers: Sequence[LayerCandidates], limits: Limits) -> Allocation:
    r"""Choose a candidate for each layer: least error within the limits.

    The multiple-choice knapsack by Lagrange relaxation: at a price ``p`` for a unit of cost each
    layer takes the candidate of least ``error + p cost``, which lies on its lower convex hull, and
    ``p`` is halved in until the limit is met. What is left of the budget then goes to single
    layers, where it saves most. For a single limit, dynamic programming looks for a choice that
    spends the budget better.

    Args:
        layers: What can become of each layer.
        limits: What all may cost together.

    Returns:
        The choice. Where the limits cannot be met, the one of least cost.

    Raises:
        ValueError: If no limit is set, or one is negative or not a number.

    Reference:
        Shoham and Gersho, Efficient Bit Allocation for an Arbitrary Set of Quantizers, 1988.

    Example:
        >>> from pointwise.compression.layers import FoundLayer
        >>> from pointwise.compression.forms.stages import Stage
        >>> layer = FoundLayer("a", Stage("linear", 4, 4), False, ((1, 4),), 4)
        >>> keep = Candidate("a", None, (), 16, 16, 0.0)
        >>> half = Candidate("a", "output", (1,), 8, 8, 1.0)
        >>> found = allocate([LayerCandidates(layer, (keep, half))], Limits(macs=10))
        >>> found.chosen[0].form, found.error, found.met
        ('output', 1.0, True)
    """
    given = limits.given()
    if not given or not all(math.isfinite(limit) and limit >= 0 for limit in given.values()):
        raise ValueError(f"limits must hold at least one number, none of them negative: {given}")
    options = [_options(layer, given) for layer in layers]
    best: list[_Option] | None = None
    nearest: list[_Option] | None = None
    for weights in _mixtures(len(given)):
        chosen = _relaxed(options, weights)
        if _excess(chosen, len(given)) > 0:
            nearest = min(
                (one for one in (nearest, chosen) if one is not None),
                key=lambda one: _excess(one, len(given)),
            )
            continue
        filled = _filled(options, chosen)
        if best is None or _error(filled) < _error(best):
            best = filled
    if len(given) == 1:  # small models have few choices, of which the relaxed one misses some
        exact = _exact(options)
        if exact is not None and (best is None or _error(exact) < _error(best)):
            best = exact
    final = best if best is not None else nearest
    assert final is not None, "there is a mixture"
    picked = tuple(
        layer.candidates[option.index] for layer, option in zip(layers, final, strict=True)
    )
    costs = {
        name: sum(_cost(layer, one, name) for layer, one in zip(layers, picked, strict=True))
        for name in given
    }
    return Allocation(picked, sum(one.error for one in picked), costs, best is not None)


def _cost(layer: LayerCandidates, candidate: Candidate, name: str) -> float:
    if name == "macs":
        return candidate.macs
    if name == "seconds":
        return candidate.seconds
    return candidate.params * (layer.layer.itemsize if name == "bytes" else 1)


def _options(layer: LayerCandidates, limits: Mapping[str, float]) -> list[_Option]:
    """The candidates of a layer, their costs as shares of the limits."""
    return [
        _Option(
            index,
            one.harm,
            tuple(_cost(layer, one, name) / max(limit, 1e-9) for name, limit in limits.items()),
        )
        for index, one in enumerate(layer.candidates)
    ]


def _mixtures(limits: int) -> list[tuple[float, ...]]:
    """Ways to weigh one limit against another; they sum to one."""
    if limits == 1:
        return [(1.0,)]
    return [
        (i / MIXTURES, *((1 - i / MIXTURES) * w for w in rest))
        for i in range(MIXTURES + 1)
        for rest in _mixtures(limits - 1)
    ]


def _relaxed(options: list[list[_Option]], weights: tuple[float, ...]) -> list[_Option]:
    """The choice at the lowest price that meets every limit; at none, that of least cost."""
    priced = [_hull(layer, weights) for layer in options]

    def at(price: float) -> list[_Option]:
        return [min(layer, key=lambda p: (p[1] + price * p[2], p[2]))[0] for layer in priced]

    free = at(0.0)
    if _excess(free, len(weights)) <= 0:
        return free
    scale = sum(max(error for _, error, _ in layer) for layer in priced) or 1.0
    low, high = 0.0, scale
    for _ in range(STEPS):
        if _excess(at(high), len(weights)) <= 0:
            break
        low, high = high, 4 * high
    else:
        return [layer[-1][0] for layer in priced]
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _excess(at(middle), len(weights)) <= 0:
            high = middle
        else:
            low = middle
    return at(high)


def _hull(layer: list[_Option], weights: tuple[float, ...]) -> list[tuple[_Option, float, float]]:
    """The options that some price may choose, each with its error and its cost."""
    points = [(one.cost(weights), one.error) for one in layer]
    return [(layer[i], points[i][1], points[i][0]) for i in lower_hull(points)]


def _filled(options: list[list[_Option]], chosen: list[_Option]) -> list[_Option]:
    """Spend what is left of the budget on single layers, where it saves most error per cost."""
    chosen = list(chosen)
    limits = len(chosen[0].shares) if chosen else 0
    spent = [sum(one.shares[k] for one in chosen) for k in range(limits)]
    while True:
        best: tuple[float, int, _Option] | None = None
        for place, (layer, now) in enumerate(zip(options, chosen, strict=True)):
            for one in layer:
                gain = now.error - one.error
                if gain <= 0:
                    continue
                more = [b - a for a, b in zip(now.shares, one.shares, strict=True)]
                if any(used + step > 1 for used, step in zip(spent, more, strict=True)):
                    continue
                value = gain / max(*more, 1e-12)
                if best is None or value > best[0]:
                    best = value, place, one
        if best is None:
            return chosen
        _, place, one = best
        for k in range(limits):
            spent[k] += one.shares[k] - chosen[place].shares[k]
        chosen[place] = one


def _exact(options: list[list[_Option]]) -> list[_Option] | None:
    """The best choice for a single limit, but for the rounding of costs."""
    picked = knapsack([[(one.shares[0], one.error) for one in layer] for layer in options])
    if picked is None:
        return None
    chosen = [layer[index] for layer, index in zip(options, picked, strict=True)]
    return _filled(options, chosen)


def _excess(chosen: list[_Option], limits: int) -> float:
    """By how much the worst limit is passed, as a share of it."""
    return max(sum(one.shares[k] for one in chosen) for k in range(limits)) - 1


def _error(chosen: list[_Option]) -> float:
    return sum(one.error for one in chosen)
