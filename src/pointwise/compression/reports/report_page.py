"""The report of a compression as a page: one file that loads nothing and runs no script."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pointwise._pages.page import page
from pointwise.compression.reports.report_charts import plot_errors, plot_trade_off
from pointwise.compression.reports.report_table import (
    NAMES,
    error_of,
    left_by_reason,
    name_of,
    rank_of,
    sentences,
    share,
    summary,
    unit,
)
from pointwise.inspection.plots import percent, short

if TYPE_CHECKING:
    from pointwise.compression.reports.report import CompressionReport, LayerRow, Totals
    from pointwise.compression.trade_off import TradeOff


def render_html(report: "CompressionReport", curve: "TradeOff | None" = None) -> str:
    """Write the page of a compression.

    Args:
        report: The report.
        curve: What other budgets would cost. Default: no such charts.

    Returns:
        The file's content, to be written as UTF-8.
    """
    parts = [_head(report), _totals(report), _charts(report, curve), _layers(report), _left(report)]
    return page(f"{report.model}: compression", "\n".join(filter(None, parts)))


def _head(report: "CompressionReport") -> str:
    missed = "" if report.met else '<p class="alert">The budget was not met.</p>\n'
    said = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(report))
    return f"""<header>
<p class="eyebrow">Compression</p>
<h1>{escape(report.model)}</h1>
<p class="lead">{escape(summary(report))}.</p>
{missed}</header>
<section>
<h2>In short</h2>
{said or "<p>Nothing was asked for.</p>"}
<p>{_count(len(report.changed), "layer")} rewritten, {len(report.left):,} left alone.</p>
</section>"""


def _totals(report: "CompressionReport") -> str:
    asked = {target.name: target for target in report.targets}
    rows = []
    for name, words in NAMES.items():
        if name == "latency":
            continue
        target = asked.get(name)  # type: ignore[call-overload]
        goal = "" if target is None else percent(target.asked)
        mark = "" if target is None or target.met else " (not met)"
        before, after = (getattr(one, name) for one in (report.before, report.after))
        cells = [short(before), short(after), percent(share(report, name)), goal + mark]
        rows.append((words, cells))
    if report.before.latency and report.after.latency:
        times = [_milliseconds(one) for one in (report.before, report.after)]
        target = asked.get("latency")
        reached = report.after.latency.median_s / report.before.latency.median_s
        if target is not None:  # of the quickest runs
            reached = target.reached
        goal = "" if target is None else percent(target.asked)
        rows.append(("latency, ms", [*times, percent(reached), goal]))
    if report.score_before is not None and report.score_after is not None:
        change = f"{report.score_after - report.score_before:+.4f}"
        rows.append(("score", [f"{report.score_before:.4f}", f"{report.score_after:.4f}", change]))
    if report.score_before is not None and report.score_unrecovered is not None:
        change = f"{report.score_unrecovered - report.score_before:+.4f}"
        cells = [f"{report.score_before:.4f}", f"{report.score_unrecovered:.4f}", change]
        rows.append(("score, before learning on", cells))
    table = _table(["", "before", "after", "share", "asked for"], rows, "Costs before and after")
    return f"<section>\n<h2>Before and after</h2>\n{table}\n</section>"


def _charts(report: "CompressionReport", curve: "TradeOff | None") -> str:
    """The drawings, each with a sentence on how to read it."""
    found: list[tuple[str, str | None, str]] = [
        (
            "Measured against predicted",
            plot_errors(report, "layers"),
            "A dot is a layer; on the dashed line its error is what the statistics of the given "
            "network promised. It is measured in the rewritten network, where what the layers "
            f"before have changed counts, too. Errors are {unit(report)}.",
        )
    ]
    if curve is not None:
        found += [
            (
                "Score over budgets",
                plot_trade_off(curve, "scores", scores=True, report=report),
                "The evaluation of the network at each budget; the diamond is this model.",
            ),
            (
                "Predicted error over budgets",
                plot_trade_off(curve, "errors", scores=False, report=report),
                "The sum of the layers' predicted errors at each budget, from one set of "
                "statistics; the diamond is this model. It tells the shape of the trade, not the "
                "error of the whole network.",
            ),
        ]
    drawn = [
        f'<figure class="chart">\n<h3>{title}</h3>\n{svg}\n<figcaption>{escape(reading)}'
        "</figcaption>\n</figure>"
        for title, svg, reading in found
        if svg is not None
    ]
    if not drawn:
        return ""
    body = "\n".join(drawn)
    return f'<section>\n<h2>What it costs</h2>\n<div class="charts">\n{body}\n</div>\n</section>'


def _layers(report: "CompressionReport") -> str:
    if not report.changed:
        return ""
    heads = ["layer", "form", "MACs", "parameters", "predicted", "measured", "layers"]
    rows = [(name_of(row), _cells(row)) for row in report.changed]
    table = _table(heads, rows, "Layers that were rewritten", texts=(0, 5))
    return f"""<section>
<h2>Layer by layer</h2>
<p>Multiply-adds and parameters are those after, and their share of those before. Errors are
{escape(unit(report))}.</p>
{table}
</section>"""


def _cells(row: "LayerRow") -> list[str]:
    rank = rank_of(row)
    return [
        f"{row.form}, {rank}" if rank else f"{row.form}",
        _reduced(row.new_macs, row.macs),
        _reduced(row.new_params, row.params),
        error_of(row.predicted_error),
        error_of(row.measured_error),
        f"{row.after}, was {row.before}",
    ]


def _reduced(after: int, before: int) -> str:
    return f"{short(after)} ({percent(after / before)})" if before else short(after)


def _left(report: "CompressionReport") -> str:
    if not report.left:
        return ""
    items = "\n".join(
        f"<li><strong>{escape(reason)}</strong>: {', '.join(map(_name, paths))}</li>"
        for reason, paths in left_by_reason(report)
    )
    return f"<section>\n<h2>Left alone</h2>\n<ul>\n{items}\n</ul>\n</section>"


def _table(
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    label: str,
    *,
    texts: Sequence[int] = (),
) -> str:
    """A table that scrolls in its own box; ``texts`` are the cells behind the name with text."""
    kinds = [' class="number"'] * (len(heads) - 1)
    for place in texts:
        kinds[place] = ' class="values"' if place else ""
    head = "".join(
        f'<th scope="col"{kind if "number" in kind else ""}>{text}</th>'
        for text, kind in zip(heads, ["", *kinds], strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row"><span class="name">{_name(name)}</span></th>'
        + "".join(
            f"<td{kind}>{escape(cell)}</td>"
            for cell, kind in zip([*cells, *[""] * (len(kinds) - len(cells))], kinds, strict=True)
        )
        + "</tr>"
        for name, cells in rows
    )
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>"""


def _name(path: str) -> str:
    """A path that may break at its dots."""
    return escape(path).replace(".", ".<wbr>")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _milliseconds(totals: "Totals") -> str:
    one = totals.latency
    if one is None:
        return ""
    return f"{1e3 * one.median_s:.3g} ({1e3 * one.low_s:.3g} to {1e3 * one.high_s:.3g})"
