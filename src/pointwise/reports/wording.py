"""Numbers and results in words, the same everywhere in a report."""

from dataclasses import dataclass

from pointwise.reports.report import Report

DASH = "\N{EN DASH}"  # what is not known


@dataclass(frozen=True)
class Metric:
    """How a metric is called, and which way is better: ``1`` up, ``-1`` down, ``0`` not known.

    A metric without a unit has fixed ``decimals``; one in percent is a share of rows.
    """

    label: str
    better: int
    decimals: int | None = None
    percent: bool = False


METRICS = {
    "rmse": Metric("RMSE", -1),
    "mae": Metric("MAE", -1),
    "mse": Metric("MSE", -1),
    "median_absolute_error": Metric("Median absolute error", -1),
    "r2": Metric("R²", 1, 4),
    "accuracy": Metric("Accuracy", 1, 2, percent=True),
    "balanced_accuracy": Metric("Balanced accuracy", 1, 2, percent=True),
    "mean_iou": Metric("Mean IoU", 1, 4),
    "iou": Metric("IoU", 1, 3),
    "pixel_accuracy": Metric("Pixel accuracy", 1, 2, percent=True),
    "class_accuracy": Metric("Mean class accuracy", 1, 2, percent=True),
    "log_loss": Metric("Log loss", -1, 4),
    "roc_auc": Metric("ROC AUC", 1, 4),
    "f1": Metric("F1", 1, 4),
    "brier": Metric("Brier score", -1, 4),
}


def metric(name: str) -> Metric:
    """Look up a metric; one that is not known keeps its name, and no direction is claimed."""
    return METRICS.get(name, Metric(name, 0))


def count(value: int) -> str:
    """Write a whole number with separators.

    Args:
        value: The number.

    Returns:
        The text.

    Example:
        >>> count(20640)
        '20,640'
    """
    return f"{value:,}"


def quantity(value: float | str | None, digits: int = 4) -> str:
    """Write a measured number with few digits; a text stays as it is, and ``None`` is a dash.

    Args:
        value: What to write.
        digits: Digits that matter; whole numbers keep all of theirs.

    Returns:
        The text.

    Example:
        >>> [quantity(x) for x in (0.46329, 48213.4, 1e-7, "2024-05-01")]
        ['0.4633', '48,213', '1.00e-07', '2024-05-01']
    """
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    if value == 0 or 1e-4 <= abs(value) < 10**digits:
        written = f"{value:.{digits}g}"
    elif 10**digits <= abs(value) < 1e15:
        written = f"{value:,.0f}"
    else:
        written = f"{value:.2e}"
    return signed(written)


def signed(written: str) -> str:
    """Put a true minus sign before a negative number; the one of an exponent stays."""
    return "\N{MINUS SIGN}" + written[1:] if written.startswith("-") else written


def score(name: str, value: float | None) -> str:
    """Write the value of a metric: a share in percent, one with a unit as a quantity.

    Args:
        name: Name of the metric.
        value: Its value.

    Returns:
        The text.

    Example:
        >>> score("accuracy", 0.87314), score("rmse", 0.4633)
        ('87.31 %', '0.4633')
    """
    known = metric(name)
    if value is None or known.decimals is None or abs(value) >= 1e4:
        return quantity(value)
    if known.percent:
        return signed(f"{100 * value:.{known.decimals}f} %")
    return signed(f"{value:.{known.decimals}f}")


def duration(seconds: float | None) -> str:
    """Write a time in the two units that matter.

    Args:
        seconds: The time.

    Returns:
        The text.

    Example:
        >>> [duration(s) for s in (0.004, 0.84, 12.3, 203.4, 8000)]
        ['< 0.01 s', '0.84 s', '12 s', '3 min 23 s', '2 h 13 min']
    """
    if seconds is None:
        return DASH
    if seconds < 0.01:
        return "< 0.01 s"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def headline(report: Report) -> str:
    """Say in one sentence how good the model is, and what the best other model reached.

    Args:
        report: The report.

    Returns:
        The sentence.

    Example:
        >>> print(headline(Report(
        ...     title="houses", task="regression", target=["price"], seconds=9.0,
        ...     created="2026-01-31", metrics={"rmse": 0.4633}, metrics_rows="4,128 held-out rows",
        ...     baselines=[{"name": "gradient boosting", "metrics": {"rmse": 0.4702}}],
        ...     rows={"train": 16512, "valid": 0, "test": 4128},
        ... )))
        RMSE 0.4633 on 4,128 held-out rows; gradient boosting in the same run: 0.4702.
    """
    if not report.metrics:
        return f"No metric was computed on {report.metrics_rows}."
    name, value = next(iter(report.metrics.items()))
    label, rows = metric(name).label, report.metrics_rows
    if value is None:
        said = f"{label} could not be computed on {rows}"
    else:
        said = f"{label} {score(name, value)} on {rows}"
    others = [
        (one["metrics"][name], one["name"])
        for one in report.baselines
        if one["metrics"].get(name) is not None
    ]
    if not others or not metric(name).better:
        return f"{said}."
    best, who = max(others, key=lambda other: metric(name).better * other[0])
    return f"{said}; {who} in the same run: {score(name, best)}."
