"""What each of many budgets would cost, from one set of statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from torch import nn

from pointwise.compression.allocation.allocation import allocate
from pointwise.compression.budget import Budget, limits_of
from pointwise.compression.calibration import Data
from pointwise.compression.compress import Evaluate, compress_measured
from pointwise.compression.reports.report import CompressionReport
from pointwise.compression.reports.report_table import NAMES
from pointwise.compression.statistics.measure import SAMPLES, Errors, Measured, measure
from pointwise.compression.statistics.scores import Logits
from pointwise.inspection.plots import percent
from pointwise.surgery.equivalence import Example

if TYPE_CHECKING:
    import pandas as pd

Cost = Literal["macs", "params", "bytes"]

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Budgets of a curve, unless others are asked for."""


@dataclass(frozen=True)
class TradeOffPoint:
    """What one budget costs.

    Attributes:
        asked: The share that was asked for.
        share: The share that there is.
        macs: Multiply-adds on the example.
        params: Parameters.
        bytes: Bytes of the parameters.
        error: The sum of the layers' predicted errors.
        score: What the evaluation gave; ``None`` without one.
    """

    asked: float
    share: float
    macs: int
    params: int
    bytes: int
    error: float
    score: float | None = None


@dataclass(frozen=True)
class TradeOff:
    """A curve over budgets; prints itself as a table.

    Attributes:
        of: What the budgets limit.
        unit: Of the errors, as in reports.
        points: In the order of the budgets, those out of reach left out.
        beyond: The budgets that are out of reach.
        score: What the evaluation gave for the given model; ``None`` without one.
    """

    of: Cost
    unit: Literal["loss", "energy"]
    points: tuple[TradeOffPoint, ...]
    beyond: tuple[float, ...] = ()
    score: float | None = None

    @property
    def name(self) -> str:
        """What the budgets limit, in words."""
        return NAMES[self.of]

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per budget."""
        import pandas as pd

        return pd.DataFrame([vars(point) for point in self.points])

    def __str__(self) -> str:
        """A line for each budget."""
        lines = [f"{self.name:>10}  predicted error  score"]
        lines += [
            f"{percent(one.share):>10}  {one.error:>15.3g}  "
            + ("-" if one.score is None else f"{one.score:.4f}")
            for one in self.points
        ]
        if self.score is not None:
            lines.append(f"{percent(1):>10}  {0:>15}  {self.score:.4f}")
        if self.beyond:
            lines.append(f"Out of reach: {', '.join(map(percent, self.beyond))}.")
        return "\n".join(lines)


def trade_off(
    model: nn.Module,
    example: Example,
    *,
    shares: Sequence[float] = SHARES,
    of: Cost = "macs",
    data: Data | None = None,
    evaluate: Evaluate | None = None,
    logits: Logits | None = None,
    exclude: Sequence[str] = (),
    forms: Sequence[str] | str = "auto",
    seed: int = 0,
    samples: int = SAMPLES,
    errors: Errors = "predicted",
) -> TradeOff:
    """Find out what many budgets would cost, from one set of statistics.

    Args:
        model: The model; it is left as it is.
        example: As for ``compress``.
        shares: The budgets, as shares of what the model costs.
        of: What they limit.
        data: As for ``compress``.
        evaluate: As for ``compress``; the model is compressed for every budget then, which takes
            its time. Default: errors are predicted only.
        logits: As for ``compress``.
        exclude: As for ``compress``.
        forms: As for ``compress``.
        seed: As for ``compress``.
        samples: As for ``compress``.
        errors: As for ``compress``.

    Returns:
        The curve; ``report.to_html(curve)`` draws it.

    Raises:
        DataError: As for ``compress``.
        ValueError: As for ``compress``, but for budgets out of reach, which are told of; or if
            ``of`` is no cost that is counted, or a share is none.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        >>> curve = trade_off(model, torch.ones(1, 64), shares=(0.01, 0.5, 0.7))
        >>> len(curve.points), curve.points[0].error > curve.points[1].error, curve.beyond
        (2, True, (0.01,))
    """
    _check_costs(of, shares)
    known = measure(
        model,
        example,
        data=data,
        logits=logits,
        exclude=exclude,
        forms=forms,
        seed=seed,
        samples=samples,
        errors=errors,
    )
    return trade_off_measured(known, shares=shares, of=of, evaluate=evaluate, seed=seed)


def trade_off_measured(
    known: Measured,
    *,
    shares: Sequence[float] = SHARES,
    of: Cost = "macs",
    evaluate: Evaluate | None = None,
    seed: int = 0,
) -> TradeOff:
    """Find out what many budgets would cost a model of which all is known.

    Args:
        known: What ``measure`` found out.
        shares: As for ``trade_off``.
        of: As for ``trade_off``.
        evaluate: As for ``trade_off``.
        seed: As for ``trade_off``.

    Returns:
        The curve.

    Raises:
        ValueError: If a share is out of range.
    """
    _check_costs(of, shares)
    points: list[TradeOffPoint] = []
    beyond: list[float] = []
    scores: list[float] = []

    def evaluate_once(model: nn.Module) -> float:
        assert evaluate is not None, "asked for scores"
        if model is known.model and scores:
            return scores[0]
        score = evaluate(model)
        if model is known.model:
            scores.append(score)
        return score

    for share in shares:
        budget = Budget(**{of: share})
        if not _is_within_reach(known, budget):
            beyond.append(share)
        elif evaluate is None:
            points.append(_predicted(known, budget, of, share))
        else:
            done = compress_measured(known, budget, evaluate=evaluate_once, seed=seed)
            points.append(_built(done.report, of, share))
    score = float(scores[0]) if scores else None
    return TradeOff(of, known.unit, tuple(points), tuple(beyond), score)


def _check_costs(of: str, shares: Sequence[float]) -> None:
    """Refuse a curve of what is not counted, or over what are no shares."""
    if of not in get_args(Cost):
        raise ValueError(f"of must be one of {', '.join(get_args(Cost))}, got {of!r}")
    for share in shares:
        Budget(**{of: share})


def _is_within_reach(known: Measured, budget: Budget) -> bool:
    try:
        limits_of(budget, known.whole, known.layers, known.found.left)
    except ValueError:
        return False
    return True


def _predicted(known: Measured, budget: Budget, of: Cost, share: float) -> TradeOffPoint:
    """What the layers would cost and how wrong they would be; nothing is built."""
    found = allocate(known.layers, limits_of(budget, known.whole, known.layers, known.found.left))
    saved = {"macs": 0, "params": 0, "bytes": 0}
    for layer, one in zip(known.layers, found.chosen, strict=True):
        keep = layer.candidates[0]
        saved["macs"] += keep.macs - one.macs
        saved["params"] += keep.params - one.params
        saved["bytes"] += (keep.params - one.params) * layer.layer.itemsize
    left = {name: getattr(known.whole, name) - less for name, less in saved.items()}
    reached = left[of] / max(getattr(known.whole, of), 1)
    return TradeOffPoint(share, reached, **left, error=found.error)


def _built(report: CompressionReport, of: Cost, share: float) -> TradeOffPoint:
    """What a model compressed for a budget costs, and what it scores."""
    after = report.after
    error = sum(row.predicted_error or 0.0 for row in report.changed)
    reached = getattr(after, of) / max(getattr(report.before, of), 1)
    score = report.score_after
    return TradeOffPoint(share, reached, after.macs, after.params, after.bytes, error, score)
