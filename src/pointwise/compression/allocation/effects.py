"""What candidates really do to a model's outputs: predicted errors, corrected by measured ones.

A predicted error is a quadratic around the given model, and one layer's alone. Where a layer loses
much it is too small, and what norms and activations after it do is not in it. So some candidates of
each layer are put into the model, one at a time, and the rest of its form follow.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointwise.compression.allocation.candidates import (
    Candidate,
    LayerCandidates,
    Unit,
    build,
    spread,
)
from pointwise.compression.calibration import batch_size
from pointwise.compression.fitting.recovery_loss import Divergence, OutputError, flat
from pointwise.compression.statistics.moments import Moments
from pointwise.surgery.equivalence import Example, call, evaluating
from pointwise.surgery.replace import replace_named

TRIED = 6
"""Ranks of each form of a layer that are tried, from the most to the least."""

SAMPLES = 256
"""Samples on which they are tried."""

VALUES = 2**26
"""Numbers that the given model may put out for them; at least one batch is taken."""

LEAST = 1e-12
"""Errors below this count as none: their ratios tell nothing."""


def correct_errors(
    model: nn.Module,
    layers: Sequence[LayerCandidates],
    batches: Sequence[Example],
    *,
    moments: Mapping[str, Moments],
    unit: Unit,
    pick: Callable[[Any], Tensor] | None,
) -> tuple[LayerCandidates, ...]:
    """Correct the predicted error of every candidate by those of some that are tried.

    What a candidate does is the mean divergence of Kullback and Leibler of its class probabilities
    from those of the given model, in nats; without class scores, half the squared change of the
    outputs as a share of their variance. Candidates that are not tried get the ratio of measured
    and predicted error that those of their form, of the next larger and smaller error, have.

    Args:
        model: The model; it is left as it is.
        layers: Its layers.
        batches: The calibration data; the first of them are used.
        moments: What the data tell of each layer.
        unit: Of the predicted errors.
        pick: Picks class scores out of the model's output; ``None`` if there are none.

    Returns:
        The same candidates with other errors.

    Example:
        >>> from pointwise.compression.statistics.measure import measure
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> x = torch.randn(64, 8)
        >>> known = measure(model, x[:1], data=x)
        >>> found = correct_errors(
        ...     model,
        ...     known.layers,
        ...     known.batches,
        ...     moments=known.moments,
        ...     unit=known.unit,
        ...     pick=lambda scores: scores,
        ... )
        >>> all(one.error >= 0 for layer in found for one in layer.candidates)
        True
    """
    with evaluating(model), torch.no_grad():
        chosen = _few(model, batches)
        effect = _effect(model, chosen, pick)

        def tried(layer: LayerCandidates, one: Candidate) -> float:
            known = moments.get(one.path)

            def rule(path: str, module: nn.Module) -> nn.Module | None:
                if path != one.path:
                    return None
                return build(one, module, known, unit=unit, mixtures=layer.mixtures)

            return effect(replace_named(model, rule)[0].eval())

        return tuple(_corrected(layer, tried) for layer in layers)


def _few(model: nn.Module, batches: Sequence[Example]) -> list[Example]:
    """The first batches, as many as there are numbers and samples to be taken."""
    values = flat(call(model, batches[0])).numel()
    most = max(1, VALUES // max(values, 1))
    count = 0
    for place, batch in enumerate(batches[:most], 1):
        count += batch_size(batch)
        if count >= SAMPLES:
            return list(batches[:place])
    return list(batches[:most])


def _effect(
    model: nn.Module, batches: Sequence[Example], pick: Callable[[Any], Tensor] | None
) -> Callable[[nn.Module], float]:
    """What tells how far another model is from this one, in the mean of the samples."""
    outputs = [call(model, batch) for batch in batches]
    variance = 1.0
    if pick is None:
        every = torch.cat([flat(output) for output in outputs]).double()
        variance = max(float(every.var(0, correction=0).mean()), LEAST)
    scores = [_score(output, pick, variance) for output in outputs]

    def effect(other: nn.Module) -> float:
        taken = [score(call(other, batch)) for score, batch in zip(scores, batches, strict=True)]
        return max(float(torch.cat(taken).double().mean()), 0.0)

    return effect


def _score(
    wanted: Any, pick: Callable[[Any], Tensor] | None, variance: float
) -> Callable[[Any], Tensor]:
    """What tells how far another output of a batch is from the wanted one, ``(N,)``."""
    nothing = torch.empty(0)
    if pick is None:
        rows = flat(wanted)
        apart = OutputError(lambda _: rows, 2 * variance)
        return lambda output: apart.score(output, nothing)
    taught = pick(wanted)
    divergence = Divergence(pick, lambda _: taught)
    return lambda output: divergence.score(output, nothing)


def _corrected(
    layer: LayerCandidates, tried: Callable[[LayerCandidates, Candidate], float]
) -> LayerCandidates:
    changed: dict[Candidate, float] = {}
    for form, some in itertools.groupby(
        sorted(layer.candidates[1:], key=lambda one: str(one.form)), key=lambda one: one.form
    ):
        assert form is not None, "only the first is left as it is"
        same = sorted((one for one in some if one.error > LEAST), key=lambda one: one.error)
        ratios = {}
        for one in spread(same, TRIED):
            measured = tried(layer, one)
            if math.isfinite(measured):
                ratios[one.error] = max(measured, LEAST) / one.error
        if ratios:
            places = np.log(list(ratios))
            logs = np.log(list(ratios.values()))
            for one in same:
                changed[one] = one.error * math.exp(np.interp(math.log(one.error), places, logs))
    candidates = tuple(
        replace(one, error=changed[one]) if one in changed else one for one in layer.candidates
    )
    return replace(layer, candidates=candidates)
