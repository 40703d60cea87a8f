"""Candidates and whole models timed on this machine.

Fewer multiply-adds are not always faster: a layer cut in three starts three kernels. So each
candidate is timed on inputs of its shape, once for each shape, beside the layer that it stands for.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.compression.allocation.candidates import Candidate, LayerCandidates, spread
from pointwise.compression.folding import fold_away
from pointwise.compression.forms.stages import Axes
from pointwise.compression.forms.table import FORMS
from pointwise.compression.plans.plan import PlannedLayer
from pointwise.compression.reports.report import Latency
from pointwise.compression.statistics.rows import Hook, run_hooked
from pointwise.inspection.copying import copy_model
from pointwise.inspection.layers import count_parameters
from pointwise.inspection.timing import Timer, take_turns
from pointwise.surgery.equivalence import Example, call, check_equivalent, evaluating
from pointwise.surgery.replace import replace_named
from pointwise.surgery.spelling.orders import (
    FORMATS,
    lay_channels_last,
    lies_last,
)

RANKS_EACH = 8
"""Ranks of a form that are timed."""

LIKED = 16
"""Multiples of this are quickest: convolutions work on so many channels at a time."""

LAYER_S = 0.5
"""Seconds to time all candidates of a layer, if a few rounds do not take longer."""

quick_turns: Timer = partial(take_turns, fewest=5, most=25)
"""Times candidates: there are many, and the whole model is timed with care later."""

MODEL_S = 1.5
"""Seconds to time whole models."""

FREE_GAIN = 0.02
"""Share of the time that another memory order, or the lack of norms, must save to be taken."""

ORDER_RTOL = 1e-3
"""What outputs in another memory order may differ by: a wrong view of memory differs by all."""


@dataclass(frozen=True)
class Laid:
    """A model in the memory order that is fastest, and the seconds of it and of the given one.

    Attributes:
        model: The given model itself, or a copy whose convolutions' weights lie channels-last.
        given_s: The least seconds of the given one.
        seconds: The least seconds of this one, without its norms if they are folded.
        last: Paths of modules whose input lies channels-last.
        folded: The same without its batch norms, if that is faster.
    """

    model: nn.Module
    given_s: float
    seconds: float
    last: frozenset[str] = frozenset()
    folded: nn.Module | None = None

    @property
    def timed(self) -> nn.Module:
        """What takes these seconds."""
        return self.model if self.folded is None else self.folded


def lay_fastest(
    model: nn.Module,
    example: Example,
    *,
    exclude: Sequence[str] = (),
    timer: Timer = take_turns,
) -> Laid:
    """Find the memory order in which a model is fastest, and whether it is faster without norms.

    Neither costs any accuracy, and both tell how long the layers take that could be cheaper.

    Args:
        model: The model; it is left as it is.
        example: An input.
        exclude: Paths of modules that no norm is folded into, or out of.
        timer: Times calls against one another.

    Returns:
        The model, or a channels-last copy that is faster and gives the same; and another without
        batch norms, if that is faster still.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8))
        >>> lay_fastest(model, torch.ones(1, 8)).model is model
        True
    """
    laid = _in_the_fastest_order(model, example, timer)
    folded = fold_away(laid.model, example, exclude=exclude)
    grows = count_parameters(folded.model) > count_parameters(laid.model)
    if not folded.norms or grows:
        return laid
    before, after = time_models(laid.model, folded.model, example, timer=timer)
    if time_share(before, after) >= 1 - FREE_GAIN:
        return laid
    return replace(laid, seconds=min(after), folded=folded.model)


def _in_the_fastest_order(model: nn.Module, example: Example, timer: Timer) -> Laid:
    other = copy_model(model)
    if lay_channels_last(other) and _gives_the_same(model, other, example):
        before, after = time_models(model, other, example, timer=timer)
        seconds = min(before)
        if time_share(before, after) < 1 - FREE_GAIN:
            return Laid(other, seconds, min(after), _read_last(other, example))
    else:
        seconds = time_model(model, example, timer=timer)
    return Laid(model, seconds, seconds, _read_last(model, example))


def _gives_the_same(model: nn.Module, other: nn.Module, example: Example) -> bool:
    try:
        check_equivalent(model, other, example, rtol=ORDER_RTOL)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # some views need one order
        return False
    return True


def _read_last(model: nn.Module, example: Example) -> frozenset[str]:
    """The modules whose input lies channels-last."""
    found: set[str] = set()

    def hook(path: str) -> Hook:
        def note(_: nn.Module, args: Any, *__: Any) -> None:
            if args and isinstance(args[0], Tensor) and lies_last(args[0]):
                found.add(path)

        return note

    run_hooked(model, {path: hook(path) for path, _ in model.named_modules()}, example)
    return frozenset(found)


def time_candidates(
    laid: Laid, layers: Sequence[LayerCandidates], *, timer: Timer = quick_turns
) -> tuple[LayerCandidates, ...]:
    """Time what can become of each layer.

    Args:
        laid: The model, from ``lay_fastest``.
        layers: Its layers; the candidates may be beaten by others in everything but time.
        timer: Times calls against one another.

    Returns:
        The same with some ranks of each form, and the seconds of each candidate.

    Example:
        >>> from pointwise.compression.statistics.measure import measure
        >>> model = nn.Sequential(nn.Linear(8, 8))
        >>> known = measure(model, torch.ones(1, 8))
        >>> timed = time_candidates(lay_fastest(model, torch.ones(1, 8)), known.layers)
        >>> all(one.seconds > 0 for one in timed[0].candidates)
        True
    """
    cache: dict[object, float] = {}
    return tuple(_timed(laid, _thinned(handy(layer)), cache, timer) for layer in layers)


def handy(layer: LayerCandidates) -> LayerCandidates:
    """Leave out ranks that hardware does not like, where a layer is wide enough.

    Args:
        layer: The layer.

    Returns:
        The candidates whose ranks are multiples of 8 or 4.
    """

    def ishandy(one: Candidate) -> bool:
        if one.form is None:
            return True
        full = FORMS[one.form].full_rank(layer.layer.stage)
        steps = [8 if most >= 128 else 4 if most >= 32 else 1 for most in full]
        groups = layer.layer.stage.groups
        return groups > 1 or all(n % step == 0 for n, step in zip(one.rank, steps, strict=True))

    candidates = tuple(one for one in layer.candidates if ishandy(one))
    return replace(layer, candidates=candidates)


def _thinned(layer: LayerCandidates) -> LayerCandidates:
    """The layer as it is, and some ranks of each form, those that hardware likes first."""
    kept = [layer.candidates[0]]
    for form in dict.fromkeys(one.form for one in layer.candidates[1:]):
        same = [one for one in layer.candidates[1:] if one.form == form]
        chosen: list[Candidate] = []
        step = LIKED
        while step and len(chosen) < RANKS_EACH:
            fit = [one for one in same if _step(one) == step]
            chosen += spread(sorted(fit, key=lambda one: -one.macs), RANKS_EACH - len(chosen))
            step //= 2
        kept += sorted(chosen, key=lambda one: -one.macs)
    return replace(layer, candidates=tuple(kept))


def _step(one: Candidate) -> int:
    """The largest power of two, up to ``LIKED``, that all ranks are multiples of."""
    return math.gcd(LIKED, *one.rank)


def _timed(
    laid: Laid, layer: LayerCandidates, cache: dict[object, float], timer: Timer
) -> LayerCandidates:
    module, last = laid.timed.get_submodule(layer.layer.path), layer.layer.path in laid.last
    seconds = dict.fromkeys(layer.candidates, 0.0)
    for shape in layer.layer.calls:
        keys = {one: _key(layer, one, shape, module, last) for one in layer.candidates}
        new = {one: key for one, key in keys.items() if key not in cache}
        if new:
            weight = next(module.parameters())
            x = torch.randn(shape, dtype=weight.dtype, device=weight.device)
            x = x.contiguous(memory_format=FORMATS[x.ndim]) if last else x
            calls = {
                str(place): _caller(blank(layer, one, module), x) for place, one in enumerate(new)
            }
            taken = timer(calls, seconds=LAYER_S)
            for place, key in enumerate(new.values()):
                cache[key] = min(taken[str(place)])  # what else the machine does only adds
        for one, key in keys.items():
            seconds[one] += cache[key]
    candidates = tuple(replace(one, seconds=seconds[one]) for one in layer.candidates)
    return replace(layer, candidates=candidates)


def _key(
    layer: LayerCandidates, one: Candidate, shape: Axes, module: nn.Module, last: bool
) -> object:
    """What the time of a candidate hangs on."""
    weight = next(module.parameters())
    return layer.layer.stage, layer.layer.bias, one.form, one.rank, shape, weight.dtype, last


def _caller(module: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return module(x)

    return run


def blank(layer: LayerCandidates, one: Candidate, module: nn.Module) -> nn.Module:
    """What a candidate stands for, with weights drawn at random.

    Zeros would not do: what follows, a pool for instance, can be faster where all is the same.

    Args:
        layer: The layer.
        one: The candidate.
        module: The layer's module.

    Returns:
        Plain layers; the module itself if it is left.
    """
    if one.form is None:
        return module
    stages = FORMS[one.form].stages(layer.layer.stage, one.rank)
    built = PlannedLayer(one.path, one.form, one.rank, stages, bias=True).build(module)
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in built.parameters():
            if weight.ndim > 1:
                values = torch.randn(weight.shape, generator=drawn)
                weight.copy_(values * weight[0].numel() ** -0.5)
    return built


def blank_model(
    model: nn.Module, layers: Sequence[LayerCandidates], chosen: Sequence[Candidate]
) -> nn.Module:
    """A model with the layers of a choice, with any weights: it takes as long.

    Args:
        model: The model; it is left as it is.
        layers: Its layers.
        chosen: One candidate for each.

    Returns:
        A copy.
    """
    changed = {
        one.path: (layer, one)
        for layer, one in zip(layers, chosen, strict=True)
        if one.form is not None
    }

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        return blank(*changed[path], module) if path in changed else None

    return replace_named(model, rule)[0]


def time_models(
    model: nn.Module, other: nn.Module, example: Example, *, timer: Timer = take_turns
) -> tuple[list[float], list[float]]:
    """Time two models against one another on an input.

    Args:
        model: One model; it runs in evaluation mode, and is left as it was.
        other: The other.
        example: The input.
        timer: Times calls against one another.

    Returns:
        The seconds of each, round by round.
    """

    def caller(one: nn.Module) -> Callable[[], object]:
        return lambda: call(one, example)

    with evaluating(model), evaluating(other), torch.no_grad():
        taken = timer({"before": caller(model), "after": caller(other)}, seconds=MODEL_S)
    return taken["before"], taken["after"]


def time_share(before: Sequence[float], after: Sequence[float]) -> float:
    """What share of the time of one model another takes: of the quickest runs of both.

    What else the machine does only adds, and may add to one of them alone.

    Args:
        before: Seconds of the one.
        after: Seconds of the other.

    Returns:
        The share.

    Example:
        >>> time_share([2.0, 2.1, 9.0], [1.0, 7.0, 7.0])
        0.5
    """
    return min(after) / min(before)


def time_model(model: nn.Module, example: Example, *, timer: Timer = take_turns) -> float:
    """Time a model on an input.

    Args:
        model: The model; it runs in evaluation mode, and is left as it was.
        example: The input.
        timer: Times calls.

    Returns:
        The least of its seconds, as for candidates.
    """
    with evaluating(model), torch.no_grad():
        taken = timer({"model": lambda: call(model, example)}, seconds=MODEL_S)
    return min(taken["model"])


def summary(seconds: Sequence[float]) -> Latency:
    """The median and the quartiles of times.

    Args:
        seconds: The times.

    Returns:
        The summary.

    Example:
        >>> summary([1.0, 2.0, 3.0, 4.0, 5.0])
        Latency(median_s=3.0, low_s=2.0, high_s=4.0)
    """
    if len(seconds) == 1:
        return Latency(seconds[0], seconds[0], seconds[0])
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Latency(middle, low, high)
