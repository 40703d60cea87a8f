"""The charts of a report, drawn from binned figures, each with a sentence on how to read it.

What reads as well as a table is none of them: the confusion matrix and the importance of columns
are HTML tables with shaded cells and bars, which wrap and scroll where a drawing would shrink.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise._pages.svg import ACCENT, INK, MARK, MUTED, drawing, inline_svg
from pointwise.reports.ticks import few_ticks, log_ticks
from pointwise.reports.wording import count, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Chart:
    """A drawing, its title, and one sentence on how to read it."""

    title: str
    svg: str
    reading: str


def learning_curves(
    history: Sequence[dict[str, Any]], best_epoch: int | None, key: str
) -> Chart | None:
    """Draw the training and validation loss over the epochs, with the best epoch marked.

    Args:
        history: Records of a report, in the order of the epochs.
        best_epoch: The epoch whose weights were kept.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart, or ``None`` where no epoch has a loss.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = np.array([one["epoch"] for one in history])
    train, valid = (
        np.array([one[name] for one in history], dtype=float)
        for name in ("train_loss", "valid_loss")
    )
    known = np.concatenate([train, valid])
    known = known[np.isfinite(known)]
    if known.size == 0:
        return None
    logarithmic = bool(known.min() > 0 and known.max() > 4 * known.min())
    with drawing(height=270) as (figure, axes):
        marker = "o" if len(epochs) == 1 else None
        axes.plot(epochs, train, color=MUTED, lw=1.1, marker=marker, label="training")
        if np.isfinite(valid).any():
            axes.plot(epochs, valid, color=ACCENT, lw=1.8, marker=marker, label="validation")
        for place in np.flatnonzero(epochs == best_epoch)[:1]:
            axes.axvline(epochs[place], color=MARK, lw=1, ls=(0, (3, 2)))
            axes.plot(epochs[place], valid[place], "o", color=MARK, ms=5, label="best epoch")
        axes.set(xlabel="epoch", ylabel="loss" + (" (log scale)" if logarithmic else ""))
        axes.set_xlim(epochs[0] - 1, epochs[-1] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if logarithmic:
            log_ticks(axes)
        _legend_above(axes)
        svg = inline_svg(figure, key, "Training and validation loss over the epochs")
    return Chart(
        "Learning curves",
        svg,
        "How to read it: both lines should fall and level off; where the validation line rises "
        "again while the training line falls, the model learns rows by heart; the marked epoch "
        "is the one that was kept.",
    )


def density(figures: dict[str, Any], key: str) -> Chart:
    """Draw predicted against actual values as shaded cells, with the diagonal.

    Args:
        figures: Figures of one regression target.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart.
    """
    bins, ends = figures["density"], _ends(figures["density"])
    counts = np.array(bins["counts"], dtype=float)
    # One hue whose opacity grows with the logarithm of the count: right on white and on black,
    # and single rows stay visible beside cells of hundreds.
    cells = np.empty((*counts.shape, 4))
    cells[..., :3] = np.array([0x1F, 0x83, 0xC4]) / 255
    cells[..., 3] = np.where(counts > 0, 0.12 + 0.88 * _log_share(counts), 0)
    with drawing(height=380) as (figure, axes):
        axes.imshow(cells, extent=(*ends, *ends), origin="lower", interpolation="none")
        axes.plot(ends, ends, color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.set(xlabel="actual", ylabel="predicted", xlim=ends, ylim=ends)
        axes.grid(visible=True, axis="both")
        few_ticks(axes)
        svg = inline_svg(figure, key, "Two-dimensional histogram of predicted and actual values")
    return Chart(
        "Predicted against actual",
        svg,
        "How to read it: the stronger the colour, the more rows (one row to "
        f"{count(int(counts.max()))}, logarithmic); on the dashed diagonal the prediction equals "
        f"the actual value, above it is too high.{_beyond(bins['beyond'], 'cells')}",
    )


def residual_histogram(figures: dict[str, Any], key: str) -> Chart:
    """Draw the histogram of the residuals.

    Args:
        figures: Figures of one regression target.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart.
    """
    bins = figures["residuals"]
    edges = np.linspace(*_ends(bins), len(bins["counts"]) + 1)
    with drawing(height=190) as (figure, axes):
        axes.stairs(bins["counts"], edges, fill=True, color=ACCENT, lw=0, alpha=0.75)
        axes.axvline(0, color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.set(
            xlabel="residual (actual \N{MINUS SIGN} predicted)",
            ylabel="rows",
            xlim=(edges[0], edges[-1]),
        )
        few_ticks(axes)
        svg = inline_svg(figure, key, "Histogram of the residuals")
    low, _, median, _, high = bins["quantiles"]
    return Chart(
        "Residuals",
        svg,
        "How to read it: a narrow hill around zero is good, one beside zero means predictions off "
        f"to one side; here the median is {quantity(median)} and nine rows in ten lie between "
        f"{quantity(low)} and {quantity(high)}.{_beyond(bins['beyond'], 'bars')}",
    )


def residual_bands(figures: dict[str, Any], key: str) -> Chart | None:
    """Draw the quantiles of the residuals over the predicted values.

    Args:
        figures: Figures of one regression target.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart, or ``None`` where there are too few rows for three bands.
    """
    bands = figures["bands"]
    if len(bands) < 3:
        return None
    middle = [band["middle"] for band in bands]
    q5, q25, q50, q75, q95 = np.array([band["quantiles"] for band in bands], dtype=float).T
    with drawing(height=220) as (figure, axes):
        axes.fill_between(middle, q5, q95, color=ACCENT, alpha=0.18, lw=0, label="9 rows in 10")
        axes.fill_between(middle, q25, q75, color=ACCENT, alpha=0.38, lw=0, label="half of them")
        axes.plot(middle, q50, color=ACCENT, lw=1.8, label="median")
        axes.axhline(0, color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.set(xlabel="predicted", ylabel="residual", xlim=(middle[0], middle[-1]))
        _legend_above(axes)
        few_ticks(axes)
        svg = inline_svg(figure, key, "Quantiles of the residuals over the predicted values")
    return Chart(
        "Residuals against predicted",
        svg,
        "How to read it: a median along zero means no bias at that height of the prediction; where "
        "the bands widen, single predictions are less certain.",
    )


def calibration(figures: dict[str, Any], key: str) -> Chart | None:
    """Draw how often a class came true beside the probability it was given.

    Args:
        figures: Figures of a classification.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart, or ``None`` without a single bin.
    """
    bins = figures["calibration"]
    if not bins["rows"]:
        return None
    x, y, rows = (
        np.array(bins[name], dtype=float) for name in ("probability", "frequency", "rows")
    )
    low, high = _wilson(y, rows)
    of = f"“{bins['positive']}”" if bins["positive"] is not None else "the predicted class"
    with drawing(height=330) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.bar(x, 0.14 * rows / rows.max(), 0.05, color=MUTED, alpha=0.3, lw=0)
        axes.vlines(x, low, high, color=ACCENT, lw=1.2)
        axes.plot(x, y, "o-", color=ACCENT, ms=4.5, lw=1.2)
        axes.set(xlabel="predicted probability", ylabel="observed frequency")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(visible=True, axis="both")
        svg = inline_svg(figure, key, "Observed frequency over predicted probability")
    return Chart(
        "Calibration",
        svg,
        f"How to read it: of the rows given a probability of 0.8 for {of}, eight in ten should "
        "be just that, on the dashed diagonal; below it the model is too sure of itself. Whiskers "
        "cover 95 %, bars at the foot show where the rows are. Expected calibration error: "
        f"{quantity(bins['error'])}.",
    )


def roc(figures: dict[str, Any], key: str) -> Chart | None:
    """Draw the ROC curve of a binary classification.

    Args:
        figures: Figures of a classification.
        key: Prefix of the ids in the drawing, unique in the page.

    Returns:
        The chart, or ``None`` where the figures hold no curve.
    """
    curve = figures["roc"]
    if curve is None:
        return None
    false, true = curve["false_positive"], curve["true_positive"]
    with drawing(height=330) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 3)))
        axes.fill_between(false, true, color=ACCENT, alpha=0.12, lw=0)
        axes.plot(false, true, color=ACCENT, lw=1.8)
        axes.set(xlabel="share of the others flagged too", ylabel="share of the positives found")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(visible=True, axis="both")
        svg = inline_svg(figure, key, "ROC curve: true positive rate over false positive rate")
    return Chart(
        "ROC curve",
        svg,
        "How to read it: each point is one threshold on the probability; the nearer the curve is "
        f"to the upper left corner the better. Area under it: {quantity(curve['area'])} (guessing: "
        "0.5, perfect: 1).",
    )


def _legend_above(axes: "Axes") -> None:
    axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0.0, 1.0), columnspacing=2.2)


def _ends(bins: dict[str, Any]) -> tuple[float, float]:
    return float(bins["low"]), float(bins["high"])


def _log_share(counts: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Map counts of 1 to the largest onto 0 to 1, logarithmically."""
    return np.asarray(np.log(np.maximum(counts, 1)) / math.log(max(counts.max(), 2)))


def _beyond(rows: int, where: str) -> str:
    if not rows:
        return ""
    verb = "row lies" if rows == 1 else "rows lie"
    return f" {count(rows)} {verb} beyond the range, counted in the outermost {where}."


def _wilson(
    share: "np.ndarray[Any, Any]", rows: "np.ndarray[Any, Any]", z: float = 1.96
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    spread = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return centre - spread, centre + spread
