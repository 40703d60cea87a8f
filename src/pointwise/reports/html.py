"""A report as one HTML file: nothing is fetched, no script runs, whatever is in the data."""

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pointwise._pages.page import style
from pointwise.reports import charts, tables
from pointwise.reports.report import Report
from pointwise.reports.wording import count, duration, headline, quantity

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(report: Report) -> str:
    """Render a report as one self-contained HTML file.

    Args:
        report: The report; ``Report.from_json`` reads one from a model folder.

    Returns:
        The file's content, to be written as UTF-8.

    Example:
        >>> page = render_html(Report(
        ...     title="houses", task="regression", target=["price"], seconds=9.0,
        ...     created="2026-01-31", metrics={"rmse": 0.46}, metrics_rows="10 held-out rows",
        ...     rows={"train": 90, "valid": 10, "test": 0},
        ... ))
        >>> "RMSE 0.46 on 10 held-out rows" in page
        True
    """
    template = _environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        headline=headline(report),
        learning=charts.learning_curves(report.history, report.best_epoch, "learning"),
        metrics=tables.metric_table(report),
        targets=[
            _target(name, figures, f"target-{place}")
            for place, (name, figures) in enumerate(report.figures.items())
        ],
        bars=tables.importance_bars(report.importance),
        most_bars=tables.MOST_BARS,
    )


def _target(name: str, figures: dict[str, Any], key: str) -> dict[str, Any]:
    """Draw the figures of one target."""
    if figures["kind"] == "segmentation":
        return {
            "name": name,
            "figures": figures,
            "charts": [],
            "confusion": tables.confusion_rows(figures),
            "classes": tables.class_rows(figures),
        }
    if figures["kind"] == "regression":
        drawn = [
            charts.density(figures, f"{key}-density"),
            charts.residual_histogram(figures, f"{key}-residuals"),
            charts.residual_bands(figures, f"{key}-bands"),
        ]
        confusion = []
    else:
        drawn = [
            charts.calibration(figures, f"{key}-calibration"),
            charts.roc(figures, f"{key}-roc"),
        ]
        confusion = tables.confusion_rows(figures)
    return {
        "name": name,
        "figures": figures,
        "charts": [chart for chart in drawn if chart is not None],
        "confusion": confusion,
    }


def _environment() -> "Environment":
    from jinja2 import DictLoader, Environment, StrictUndefined

    here = files("pointwise.reports")
    environment = Environment(
        loader=DictLoader(
            {
                "report.html.jinja": here.joinpath("report.html.jinja").read_text("utf-8"),
                "report.css": style() + here.joinpath("overlays.css").read_text("utf-8"),
            }
        ),
        autoescape=True,  # every name in a table is a stranger's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, duration=duration, quantity=quantity)
    return environment
