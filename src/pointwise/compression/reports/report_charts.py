"""The charts of a compression's page."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pointwise._pages.svg import ACCENT, INK, MARK, MUTED, drawing, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pointwise.compression.reports.report import CompressionReport
    from pointwise.compression.trade_off import TradeOff

HERE: dict[str, Any] = {"marker": "D", "color": MARK, "ms": 6.5, "mfc": "none", "mew": 1.4, "lw": 0}
"""How the point of the model at hand looks."""

FEW = 1.5
"""Decades on an axis below which its ticks are 1, 2 and 5 of each."""


def plot_errors(report: "CompressionReport", key: str) -> str | None:
    """Draw the measured error of every layer over the predicted one.

    Args:
        report: The report.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        SVG text, or ``None`` where no layer has both.
    """
    pairs = [
        (row.predicted_error, row.measured_error)
        for row in report.changed
        if row.predicted_error and row.measured_error
    ]
    if not pairs:
        return None
    low, high = min(map(min, pairs)) / 1.6, max(map(max, pairs)) * 1.6
    with drawing(height=400) as (figure, axes):
        axes.plot([low, high], [low, high], color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.plot(*zip(*pairs, strict=True), "o", color=ACCENT, ms=5, alpha=0.8)
        axes.set(xlabel="predicted error", ylabel="measured error")
        axes.grid(visible=True, axis="both")
        for axis in ("x", "y"):
            _logarithmic(axes, axis, low, high)
        return inline_svg(figure, key, "Measured over predicted error of the layers")


def plot_trade_off(
    curve: "TradeOff", key: str, *, scores: bool, report: "CompressionReport | None" = None
) -> str | None:
    """Draw what budgets cost in predicted error, or in the score of the evaluation.

    Args:
        curve: The points.
        key: Prefix of the ids in the drawing, unique in the page.
        scores: Whether to draw the scores, in place of the predicted errors.
        report: A compression to mark in it. Default: none.

    Returns:
        SVG text, or ``None`` where no point has such a figure.
    """
    points = [
        (100 * point.share, value)
        for point in curve.points
        if (value := point.score if scores else point.error) is not None and math.isfinite(value)
    ]
    if not points:
        return None
    points.sort()
    label = "score" if scores else "predicted error"
    with drawing(height=270) as (figure, axes):
        axes.plot(*zip(*points, strict=True), "o-", color=ACCENT, ms=4.5, lw=1.6, label=label)
        if scores and curve.score is not None:
            axes.axhline(curve.score, color=MUTED, lw=1, ls=(0, (4, 3)), label="given model")
        here = _here(curve, report, scores)
        if here is not None:
            axes.plot(*here, **HERE, label="this model")
            points.append(here)
        axes.set(xlabel=f"share of the {curve.name}, %", ylabel=label)
        _limit_shares(axes, [x for x, _ in points])
        positive = [y for _, y in points if y > 0]
        if not scores and positive and max(positive) > 20 * min(positive):
            _logarithmic(axes, "y", min(positive) / 1.6, max(positive) * 1.6)
            axes.set_ylabel(f"{label} (log scale)")
        elif not scores:
            axes.set_ylim(0, 1.05 * max(y for _, y in points) or 1)
        axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 1), columnspacing=2.2)
        return inline_svg(figure, key, f"The {label} over the share of the {curve.name}")


def _here(
    curve: "TradeOff", report: "CompressionReport | None", scores: bool
) -> tuple[float, float] | None:
    """Where a compression lies on a curve; its errors are in the curve's unit or not there."""
    if report is None:
        return None
    before = getattr(report.before, curve.of)
    value: float | None = report.score_after
    if not scores:
        errors = [row.predicted_error for row in report.changed if row.predicted_error is not None]
        value = sum(errors) if errors and report.unit == curve.unit else None
    if value is None or not before or not math.isfinite(value):
        return None
    return 100 * getattr(report.after, curve.of) / before, value


def _limit_shares(axes: "Axes", shares: Sequence[float]) -> None:
    """From a round share below all of them to 100."""
    low = min(10 * math.floor(min(shares) / 10), 90)
    axes.set_xlim(low - 1, max(100, *shares) + 2)
    step = 10 if 100 - low <= 50 else 20
    axes.set_xticks(range(math.ceil(low / step) * step, 101, step))


def _logarithmic(axes: "Axes", axis: str, low: float, high: float) -> None:
    """A logarithmic axis with few plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    decades = math.log10(high / low)
    subs = (1, 2, 5) if decades < FEW else (1,)
    drawn = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    (axes.set_xlim if axis == "x" else axes.set_ylim)(low, high)
    drawn.set_major_locator(LogLocator(subs=subs, numticks=6))
    drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    drawn.set_minor_locator(NullLocator())
    drawn.set_minor_formatter(NullFormatter())
