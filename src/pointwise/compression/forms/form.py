"""What a form is, and how a layer is given one."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from pointwise.compression.forms.stages import Axes, Stage
from pointwise.compression.statistics.moments import Moments
from pointwise.functional.factor import SplitFactors, split_by, split_factors
from pointwise.functional.refit import centred_bias

Rank = tuple[int, ...]
"""Channels of a group between the stages, one number for each gap."""


@dataclass(frozen=True)
class Fit:
    """A layer in a form: the values of its stages.

    Attributes:
        weights: Of each stage, ``(G, O, C, *K)``.
        matrix: What they compute together, ``(G, O, C, *K)`` like the weight of the layer.
        error: The error that the moments tell, of all groups together.
    """

    weights: tuple[Tensor, ...]
    matrix: Tensor
    error: float


@dataclass(frozen=True)
class Problem:
    """A layer to be written in forms, and what they share of its solution.

    Attributes:
        stage: The layer.
        weight: Its weight, ``(G, O, C, *K)``.
        moments: What data tell of it.
        metric: What its outputs are worth, ``(G, O, O)``. Default: all the same.
        mixtures: What took long, by name: the first factors of every rank, a row each. Those that
            are known from another time with the same layer need not be found again.
    """

    stage: Stage
    weight: Tensor
    moments: Moments
    metric: Tensor | None = None
    mixtures: dict[str, Tensor] = field(default_factory=dict)
    _splits: dict[str, SplitFactors] = field(default_factory=dict, repr=False, compare=False)

    def split(self, name: str, weight: Tensor, moment: Tensor) -> SplitFactors:
        """Factor the weight before some of its taps, once for each name.

        Args:
            name: Of the taps.
            weight: The weight as ``(G, O, I, J)``.
            moment: As for ``split_factors``.

        Returns:
            The chains of every rank.
        """
        if name not in self._splits:
            if name in self.mixtures:
                found = split_by(self.mixtures[name], weight, moment, metric=self.metric)
            else:
                found = split_factors(weight, moment, metric=self.metric)
            self._splits[name], self.mixtures[name] = found, found.first
        return self._splits[name]

    def before_taps(self) -> SplitFactors:
        """Factor the weight into mixtures of the input's channels, and all taps."""
        assert self.moments.seen is not None, "moments of what the layer reads"
        return self.split("channels", self.weight.flatten(3), self.moments.seen)


class Solution(Protocol):
    """A form fitted to a layer, for every rank."""

    def error(self, rank: Rank) -> float:
        """The error at a rank, of all groups together."""
        ...

    def fit(self, rank: Rank) -> Fit:
        """The values at a rank."""
        ...


class Form(Protocol):
    """A way to write a layer as a few plain ones."""

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        ...

    def refusal(self, stage: Stage) -> str | None:
        """Why the form makes no sense for a layer; ``None`` if it does."""
        ...

    def full_rank(self, stage: Stage) -> Rank:
        """The rank from which on it is exact."""
        ...

    def stages(self, stage: Stage, rank: Rank) -> tuple[Stage, ...]:
        """The layers that it consists of."""
        ...

    def solve(self, problem: Problem) -> Solution:
        """Fit it to a layer."""
        ...


@dataclass(frozen=True)
class Price:
    """What a layer costs.

    Attributes:
        macs: Multiply-adds at all places where it is called, offsets not counted.
        params: Weights and offsets.
    """

    macs: int
    params: int


def price(stages: tuple[Stage, ...], calls: tuple[Axes, ...], *, bias: bool) -> Price:
    """Count what stages one after another cost.

    Args:
        stages: The layers.
        calls: Shapes of the inputs of the first, one for each place where it is called.
        bias: Whether the last has an offset.

    Returns:
        The price.

    Example:
        >>> price((Stage.of(nn.Linear(4, 3)),), ((7, 4),), bias=True)
        Price(macs=84, params=15)
    """
    macs = 0
    for shape in calls:
        for stage in stages:
            macs += stage.macs(shape)
            shape = stage.output_shape(shape)
    params = sum(stage.weights for stage in stages) + (stages[-1].c_out if bias else 0)
    return Price(macs, params)


def check_rank(form: Form, stage: Stage, rank: Rank) -> None:
    """Refuse a rank that a form cannot have for a layer.

    Args:
        form: The form.
        stage: The layer.
        rank: The rank.

    Raises:
        ValueError: If it has another number of parts, or one of them is out of range.
    """
    full = form.full_rank(stage)
    if len(rank) != len(full) or not all(
        1 <= n <= most for n, most in zip(rank, full, strict=True)
    ):
        raise ValueError(f"rank must be from {(1,) * len(full)} to {full}, got {rank}")


def factor_layer(
    layer: nn.Module,
    form: Form,
    rank: Rank,
    *,
    moments: Moments | None = None,
    metric: Tensor | None = None,
    mixtures: dict[str, Tensor] | None = None,
) -> nn.Sequential:
    """Write a layer in a form.

    Args:
        layer: One of ``stages.KINDS``; it is left as it is.
        form: The form.
        rank: Its rank.
        moments: What data tell of the layer. Default: its weights alone count.
        metric: What its outputs are worth, ``(G, O, O)``. Default: all the same.
        mixtures: As of ``Problem``, from the same layer, moments and metric.

    Returns:
        Plain layers, with the type, device and flags of the old one. The last has a bias if the old
        one has, or if that keeps the mean of the outputs.

    Raises:
        ValueError: If the form makes no sense for the layer, or the rank is out of range.

    Example:
        >>> from pointwise.compression.forms.output import OutputForm
        >>> factor_layer(nn.Conv2d(8, 16, 3, stride=2), OutputForm(), (4,))
        Sequential(
          (0): Conv2d(8, 4, kernel_size=(3, 3), stride=(2, 2), bias=False)
          (1): Conv2d(4, 16, kernel_size=(1, 1), stride=(1, 1))
        )
    """
    stage = Stage.of(layer)
    reason = form.refusal(stage)
    if reason is not None:
        raise ValueError(f"form must suit the layer, {form.name!r} does not: {reason}")
    check_rank(form, stage, rank)
    weight, bias = stage.read(layer)
    known = Moments.of_weights(stage, weight) if moments is None else moments
    problem = Problem(stage, weight, known, metric, mixtures or {})
    fit = form.solve(problem).fit(rank)
    if known.patch_mean.any():
        bias = centred_bias(bias, weight.flatten(2), fit.matrix.flatten(2), known.patch_mean)
    return assemble(layer, form.stages(stage, rank), fit.weights, bias)


def assemble(
    layer: nn.Module, stages: tuple[Stage, ...], weights: tuple[Tensor, ...], bias: Tensor | None
) -> nn.Sequential:
    """Build the stages of a form.

    Args:
        layer: The layer whose place they take.
        stages: The stages.
        weights: Their weights, ``(G, O, C, *K)`` each.
        bias: The bias of the last, ``(G, O)``, or ``None``.

    Returns:
        The layers one after another.
    """
    biases = (*(None for _ in stages[1:]), bias)
    built = [
        stage.build(weight, offset, layer)
        for stage, weight, offset in zip(stages, weights, biases, strict=True)
    ]
    return nn.Sequential(*built).train(layer.training)
