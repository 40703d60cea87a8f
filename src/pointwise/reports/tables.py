"""The tables of a report as they are shown: which cell is best, how dark it is, how long a bar."""

import math
from dataclasses import dataclass
from typing import Any

from pointwise._pages.class_colours import class_colour
from pointwise.reports.report import Report
from pointwise.reports.wording import DASH, Metric, metric, score

MOST_BARS = 20


@dataclass(frozen=True)
class MetricCell:
    """A metric of one model, and whether no model in the table has a better one."""

    text: str
    best: bool


@dataclass(frozen=True)
class MetricRow:
    """A model's metrics; ``own`` is the model that the report is about."""

    name: str
    cells: list[MetricCell]
    seconds: float | None
    own: bool


@dataclass(frozen=True)
class MetricTable:
    """The model's metrics above those of the baselines."""

    metrics: list[Metric]
    rows: list[MetricRow]


def metric_table(report: Report) -> MetricTable:
    """Put the model's metrics above those of the baselines and mark the best of each column.

    What reads the same counts as equally good.

    Args:
        report: The report.

    Returns:
        The table.
    """
    models = [("this model", report.metrics, report.seconds)]
    models += [(one["name"], one["metrics"], one["seconds"]) for one in report.baselines]
    names = list(dict.fromkeys(name for _, metrics, _ in models for name in metrics))
    best = {name: _best(name, [metrics.get(name) for _, metrics, _ in models]) for name in names}
    rows = [
        MetricRow(
            name=who,
            cells=[_metric_cell(name, metrics.get(name), best[name]) for name in names],
            seconds=seconds,
            own=place == 0,
        )
        for place, (who, metrics, seconds) in enumerate(models)
    ]
    return MetricTable([metric(name) for name in names], rows)


def _best(name: str, values: list[float | None]) -> str | None:
    """Return the best value as it is written, or ``None`` where better has no meaning."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or not metric(name).better:
        return None
    return score(name, max(known, key=lambda value: metric(name).better * value))


def _metric_cell(name: str, value: float | None, best: str | None) -> MetricCell:
    written = score(name, value)
    return MetricCell(written, value is not None and written == best)


@dataclass(frozen=True)
class ConfusionCell:
    """A count and its share of the rows of its actual class, from 0 to 1."""

    rows: int
    share: float


@dataclass(frozen=True)
class ConfusionRow:
    """One actual class: what its rows were taken for, and how many were taken rightly."""

    label: str
    cells: list[ConfusionCell]
    rows: int
    right: float | None


def confusion_rows(figures: dict[str, Any]) -> list[ConfusionRow]:
    """Shade the confusion matrix by the share of each actual class.

    Args:
        figures: Figures of a classification.

    Returns:
        A row per actual class. What is lumped as "other" has no share that is right: a row of one
        rare class taken for another rare class stands on the diagonal too.
    """
    confusion = figures["confusion"]
    rows = []
    for place, (label, counts) in enumerate(
        zip(confusion["labels"], confusion["counts"], strict=True)
    ):
        total = sum(counts)
        shares = [n / total if total else 0.0 for n in counts]
        lumped = confusion["lumped"] and place == len(counts) - 1
        cells = [ConfusionCell(n, round(share, 4)) for n, share in zip(counts, shares, strict=True)]
        right = shares[place] if total and not lumped else None
        rows.append(ConfusionRow(label, cells, total, right))
    return rows


@dataclass(frozen=True)
class ClassRow:
    """One class of a segmentation, its colour, and its figures as they are written."""

    name: str
    colour: str
    share: str
    overlap: str
    bar: float
    found: str
    right: str


def class_rows(figures: dict[str, Any]) -> list[ClassRow]:
    """Write the figures of each class of a segmentation.

    Args:
        figures: Figures of a segmentation.

    Returns:
        A row per class, in the order of the classes.
    """
    return [
        ClassRow(
            name=one["name"],
            colour=class_colour(place),
            share=_percent(one["share"]),
            overlap=score("iou", one["iou"]),
            bar=one["iou"] or 0.0,
            found=_percent(one["found"]),
            right=_percent(one["right"]),
        )
        for place, one in enumerate(figures["classes"])
    ]


def _percent(share: float | None) -> str:
    if share is None:
        return DASH
    digits = 1 if share >= 0.01 or share == 0 else 2
    return f"{100 * share:.{digits}f} %"


@dataclass(frozen=True)
class Bar:
    """A column's importance and where its bar stands, in percent of the width."""

    name: str
    mean: float | None
    sd: float | None
    width: float
    whisker_start: float
    whisker_width: float


def importance_bars(importance: list[dict[str, Any]]) -> list[Bar]:
    """Scale the largest importances to bars; what is not above zero gets none.

    Args:
        importance: What ``permutation_importance`` returned.

    Returns:
        At most 20 bars.
    """
    shown = importance[:MOST_BARS]
    ends = [(one["mean"] or 0.0) + (one["sd"] or 0.0) for one in shown]
    longest = max([end for end in ends if math.isfinite(end)], default=0.0)
    scale = 100 / longest if longest > 0 else 0.0
    bars = []
    for one in shown:
        mean, sd = one["mean"] or 0.0, one["sd"] or 0.0
        start, end = (min(max((mean + d) * scale, 0.0), 100.0) for d in (-sd, sd))
        width = round(min(max(mean * scale, 0.0), 100.0), 2)
        bars.append(
            Bar(one["name"], one["mean"], one["sd"], width, round(start, 2), round(end - start, 2))
        )
    return bars
