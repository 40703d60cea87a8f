"""What can become of each layer, what that costs, and how wrong it would be, in one unit."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from pointwise.compression.allocation.hull import lower_hull
from pointwise.compression.forms.form import (
    Form,
    Price,
    Problem,
    Rank,
    Solution,
    factor_layer,
    price,
)
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import FoundLayer
from pointwise.compression.statistics.moments import Moments

Unit = Literal["loss", "energy"]
"""``loss``: what the model's own loss would grow by, see ``fisher``; ``energy``: the error of the
layer's outputs as a share of their variance."""

DAMPING = 0.25
"""What every output is worth besides, as a share of the mean. Where a network is sure of its
classes hardly any small change has a gradient, and few samples show few of those that have; what a
smaller network changes is not small."""

DOUBT = 1e-9
"""What a layer that loses all of its weights counts for besides its error, in any unit: where data
say that nothing is lost, it is still better to lose little, and some of all layers."""

MOST_RANKS = 64
"""More ranks of a form than these are thinned."""

MOST_PAIRS = 10
"""More ranks on each side of a kernel than these are thinned."""


@dataclass(frozen=True)
class Candidate:
    """One thing that can become of a layer.

    Attributes:
        path: The layer.
        form: Name of the form; ``None`` to leave the layer as it is.
        rank: Rank of the form.
        macs: Multiply-adds of what takes its place, at all places where it is called.
        params: Its weights and offsets.
        error: How wrong it is, in the unit of all candidates.
        seconds: How long it takes at all places where it is called; 0 if that was not measured.
        doubt: What it counts for besides the error where that tells nothing, as data may not.
    """

    path: str
    form: str | None
    rank: Rank
    macs: int
    params: int
    error: float
    seconds: float = 0.0
    doubt: float = 0.0

    @property
    def harm(self) -> float:
        """What is to be least of all layers together."""
        return self.error + self.doubt


@dataclass(frozen=True)
class LayerCandidates:
    """All that can become of a layer: none is worse than another in every respect.

    Attributes:
        layer: The layer.
        candidates: The first leaves it as it is; the others cost less.
        reason: Why there are no others; empty if there are.
        mixtures: What ``build`` need not find again.
    """

    layer: FoundLayer
    candidates: tuple[Candidate, ...]
    reason: str = ""
    mixtures: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def hull(self, cost: Callable[[Candidate], float]) -> tuple[Candidate, ...]:
        """The candidates on the lower convex hull of cost and error, from the dearest on.

        Args:
            cost: What counts.

        Returns:
            From the least error on; each further one saves less for each bit of error.

        Example:
            >>> from pointwise.compression.forms.stages import Stage
            >>> layer = FoundLayer("a", Stage("linear", 4, 4), False, ((1, 4),), 4)
            >>> steps = [(16, 0.0), (12, 3.0), (8, 2.0), (4, 8.0)]
            >>> some = [Candidate("a", None, (), macs, 0, error) for macs, error in steps]
            >>> [c.macs for c in LayerCandidates(layer, tuple(some)).hull(lambda c: c.macs)]
            [16, 8, 4]
        """
        points = [(cost(one), one.harm) for one in self.candidates]
        return tuple(self.candidates[index] for index in lower_hull(points))


def damped(gradient: Tensor, *, damping: float = DAMPING) -> Tensor:
    """A metric of outputs that gives all of them some worth.

    Args:
        gradient: Second moments of gradients, ``(G, O, O)``.
        damping: What is added to each, as a share of the mean.

    Returns:
        Of the same shape.

    Example:
        >>> damped(torch.diag(torch.tensor([2.0, 0.0]))[None], damping=0.5).diagonal(dim1=1, dim2=2)
        tensor([[2.5000, 0.5000]])
    """
    diagonal = gradient.diagonal(dim1=-2, dim2=-1)
    return gradient + damping * diagonal.mean() * torch.eye(
        gradient.shape[-1], dtype=gradient.dtype, device=gradient.device
    )


def metric_of(moments: Moments, unit: Unit) -> tuple[Tensor | None, float]:
    """The metric of a layer's outputs, and what makes of errors in it errors in the unit.

    Args:
        moments: What data tell of the layer.
        unit: The unit.

    Returns:
        ``(G, O, O)`` or ``None``, and the factor: half the positions of a sample, or one over the
        energy of the outputs.

    Raises:
        ValueError: If the unit is ``loss`` and there are no gradients.
    """
    if unit == "energy":
        return None, 1 / moments.energy if moments.energy > 0 else 0.0
    if moments.gradient is None:
        raise ValueError("moments must hold gradients for the unit 'loss', they hold none")
    return damped(moments.gradient), moments.positions / (2 * moments.samples)


def list_candidates(
    layer: FoundLayer,
    module: nn.Module,
    moments: Moments | None = None,
    *,
    unit: Unit = "energy",
    forms: Iterable[Form] = tuple(FORMS.values()),
    beaten: bool = False,
) -> LayerCandidates:
    """List what can become of a layer.

    Nothing that costs more than the layer, in multiply-adds or in parameters, is on the list.

    Args:
        layer: The layer, as ``find_layers`` gives it.
        module: The module itself.
        moments: What data tell of it. Default: its weights alone count.
        unit: In which to tell errors; of all layers that are to be compared the same.
        forms: The forms to try.
        beaten: Whether to list what another candidate beats in multiply-adds, parameters and error,
            too: it may still be faster.

    Returns:
        The candidates.

    Example:
        >>> from pointwise.compression.forms.stages import Stage
        >>> module = nn.Linear(8, 8)
        >>> found = FoundLayer("0", Stage.of(module), True, ((1, 8),), 4)
        >>> [(c.form, c.rank, c.macs) for c in list_candidates(found, module).candidates]
        [(None, (), 64), ('output', (3,), 48), ('output', (2,), 32), ('output', (1,), 16)]
    """
    old = price((layer.stage,), layer.calls, bias=layer.bias)
    keep = Candidate(layer.path, None, (), old.macs, old.params, 0.0)
    weight, _ = layer.stage.read(module)
    known = Moments.of_weights(layer.stage, weight) if moments is None else moments
    if unit == "loss" and known.gradient is None:
        return LayerCandidates(layer, (keep,), "no gradient of the loss reaches it")
    metric, scale = metric_of(known, unit)
    bias = layer.bias or bool(known.patch_mean.any())
    problem = Problem(layer.stage, weight, known, metric)
    found: list[Candidate] = []
    reasons: list[str] = []
    for form in forms:
        reason = form.refusal(layer.stage)
        if reason is not None:
            reasons.append(f"{form.name}: {reason}")
            continue
        smaller = _smaller(form, layer, old, bias)
        if not smaller:
            reasons.append(f"{form.name}: no rank makes it smaller")
            continue
        found += _priced(layer, form, smaller, form.solve(problem), scale, old)
    listed = found if beaten else _undominated(found)
    reason = "" if found else "; ".join(reasons)
    return LayerCandidates(layer, (keep, *listed), reason, problem.mixtures)


def build(
    candidate: Candidate,
    module: nn.Module,
    moments: Moments | None = None,
    *,
    unit: Unit = "energy",
    mixtures: dict[str, Tensor] | None = None,
) -> nn.Module:
    """Make what a candidate stands for.

    Args:
        candidate: The candidate.
        module: The layer; it is left as it is.
        moments: As for ``list_candidates``.
        unit: As for ``list_candidates``.
        mixtures: What ``list_candidates`` found with the same moments and unit. Default: it is
            found again.

    Returns:
        The layers that take its place; the layer itself if it is left.

    Example:
        >>> build(Candidate("0", "output", (2,), 0, 0, 0.0), nn.Linear(8, 8, bias=False))
        Sequential(
          (0): Linear(in_features=8, out_features=2, bias=False)
          (1): Linear(in_features=2, out_features=8, bias=False)
        )
    """
    if candidate.form is None:
        return module
    metric = None if moments is None else metric_of(moments, unit)[0]
    form = FORMS[candidate.form]
    return factor_layer(
        module, form, candidate.rank, moments=moments, metric=metric, mixtures=mixtures
    )


def spread(some: Sequence[Candidate], count: int) -> list[Candidate]:
    """Take at most so many, from the first to the last.

    Args:
        some: The candidates.
        count: How many.

    Returns:
        The last if it is one; else the first, the last, and others in even steps between.

    Example:
        >>> some = [Candidate("0", None, (), macs, 0, 0.0) for macs in range(9)]
        >>> [one.macs for one in spread(some, 3)]
        [0, 4, 8]
    """
    if len(some) <= count:
        return list(some)
    if count == 1:
        return list(some[-1:])
    return [some[round(i * (len(some) - 1) / (count - 1))] for i in range(count)]


def _smaller(form: Form, layer: FoundLayer, old: Price, bias: bool) -> list[tuple[Rank, Price]]:
    """Ranks that cost less than the layer, and what they cost."""
    full = form.full_rank(layer.stage)
    grids = [_thinned(n, MOST_RANKS if len(full) == 1 else MOST_PAIRS) for n in full]
    ranks: list[Rank] = [()]
    for grid in grids:
        ranks = [(*rank, n) for rank in ranks for n in grid]
    result = []
    for rank in ranks:
        new = price(form.stages(layer.stage, rank), layer.calls, bias=bias)
        fits = new.macs <= old.macs and new.params <= old.params
        if fits and (new.macs < old.macs or new.params < old.params):
            result.append((rank, new))
    return result


def _thinned(most: int, count: int) -> list[int]:
    """Numbers up to the largest, evenly spread; large steps are such as hardware likes."""
    step = math.ceil(most / count)
    if step > 2:
        step = 4 * math.ceil(step / 4) if step <= 8 else 8 * math.ceil(step / 8)
    return sorted({*range(step, most + 1, step), most})


def _priced(
    layer: FoundLayer,
    form: Form,
    ranks: list[tuple[Rank, Price]],
    solution: Solution,
    scale: float,
    old: Price,
) -> list[Candidate]:
    found = []
    for rank, new in ranks:
        error = solution.error(rank)
        if error < float("inf"):
            doubt = DOUBT * (1 - new.params / max(old.params, 1)) ** 2
            one = Candidate(
                layer.path, form.name, rank, new.macs, new.params, scale * error, doubt=doubt
            )
            found.append(one)
    return found


def _undominated(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats, from the dearest on."""
    order = sorted(candidates, key=lambda c: (c.harm, c.macs, c.params))
    kept: list[Candidate] = []
    for one in order:
        if not any(other.macs <= one.macs and other.params <= one.params for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda c: (-c.macs, -c.params))
