"""The report of a compression as text, and the words that its page shares."""

from textwrap import fill
from typing import TYPE_CHECKING

from pointwise.inspection.plots import percent, short

if TYPE_CHECKING:
    from pointwise.compression.reports.report import CompressionReport, LayerRow, Totals

WIDEST = 100
"""Columns of the table."""

NAMES = {"macs": "MACs", "params": "parameters", "bytes": "bytes", "latency": "latency"}
"""What the parts of a budget are called."""

PREDICTED, MEASURED = "predicted", "measured"


def render_text(report: "CompressionReport") -> str:
    """The totals, a line for each layer, what was left alone and why, and the notes.

    Args:
        report: The report.

    Returns:
        Lines of at most 100 characters, unless a name alone is longer.
    """
    lines = [*_costs(report), "", *map(_wrapped, sentences(report)), ""]
    if report.changed:
        lines += _table(report)
        if not any("rrors are" in note for note in report.notes):  # they may say it better
            lines.append(f"Errors are {unit(report)}.")
        lines.append("")
    left = report.left
    if left:
        lines.append(f"Left alone: {len(left)} of {len(report.rows)} layers.")
        lines += [
            _wrapped(f"  {reason}: {', '.join(paths)}") for reason, paths in left_by_reason(report)
        ]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


def summary(report: "CompressionReport") -> str:
    """What the model costs after, against before.

    Args:
        report: The report.

    Returns:
        Part of a sentence.
    """
    parts = [
        f"{short(getattr(report.after, name))} of {short(getattr(report.before, name))} "
        f"{NAMES[name]} ({percent(share(report, name))})"
        for name in ("macs", "params", "bytes")
    ]
    return ", ".join(parts)


def share(report: "CompressionReport", name: str) -> float:
    """What the model costs after, as a share of what it cost before.

    Args:
        report: The report.
        name: Which of the costs.

    Returns:
        The share; one where there was nothing.
    """
    before = getattr(report.before, name)
    return float(getattr(report.after, name) / before) if before else 1.0


def sentences(report: "CompressionReport") -> list[str]:
    """What was asked for, how long it takes, what it scores, and the notes.

    Args:
        report: The report.

    Returns:
        Whole sentences.
    """
    said = [
        f"Asked for {percent(one.asked)} of the {NAMES[one.name]}: "
        f"{'met' if one.met else 'not met'}, with {percent(one.reached)}."
        for one in report.targets
    ]
    times = [_time(totals) for totals in (report.before, report.after)]
    if times[0] and times[1]:
        said.append(f"Takes {times[1]} for the example, before {times[0]}.")
    if report.score_before is not None and report.score_after is not None:
        change = report.score_after - report.score_before
        between = ""
        if report.score_unrecovered is not None:
            between = f", {report.score_unrecovered:.4f} before it learnt on"
        said.append(
            f"Scores {report.score_after:.4f}, before {report.score_before:.4f} ({change:+.4f})"
            f"{between}."
        )
    return [*said, *report.notes]


def unit(report: "CompressionReport") -> str:
    """What the errors of layers are.

    Args:
        report: The report.

    Returns:
        Part of a sentence.
    """
    from pointwise.compression.reports.report import UNITS

    return UNITS.get(report.unit, report.unit)


def left_by_reason(report: "CompressionReport") -> list[tuple[str, list[str]]]:
    """The layers that were left alone, those of one reason together.

    Args:
        report: The report.

    Returns:
        Reasons in the order of the model, each with its layers.
    """
    found: dict[str, list[str]] = {}
    for row in report.left:
        found.setdefault(row.reason or "no reason given", []).append(name_of(row))
    return list(found.items())


def name_of(row: "LayerRow") -> str:
    """The path of a layer; the model itself has an empty one."""
    return row.path or "(the model)"


def rank_of(row: "LayerRow") -> str:
    """The rank of a form."""
    return " x ".join(map(str, row.rank))


def error_of(value: float | None) -> str:
    """An error with three digits that count."""
    return "-" if value is None else f"{value:.3g}"


def _wrapped(line: str) -> str:
    """A line in as many as it takes; names stay whole."""
    deeper = " " * (len(line) - len(line.lstrip()) + 2)
    return fill(
        line, WIDEST, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False
    )


def _time(totals: "Totals") -> str:
    one = totals.latency
    if one is None:
        return ""
    return f"{1e3 * one.median_s:.3g} ms ({1e3 * one.low_s:.3g} to {1e3 * one.high_s:.3g})"


def _costs(report: "CompressionReport") -> list[str]:
    """A line for each cost, under the name of the model."""
    rows = [["", "before", "after", "share"]]
    for name in ("macs", "params", "bytes"):
        before, after = (short(getattr(one, name)) for one in (report.before, report.after))
        rows.append([NAMES[name], before, after, percent(share(report, name))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return [report.model, *lines]


def _table(report: "CompressionReport") -> list[str]:
    """A line for each layer that became something else, and the totals."""
    heads = ["layer", "form", "rank", "MACs", "before", "params", "before", PREDICTED, MEASURED]
    rows = [
        [
            name_of(row),
            row.form or "",
            rank_of(row),
            *map(short, (row.new_macs, row.macs, row.new_params, row.params)),
            error_of(row.predicted_error),
            error_of(row.measured_error),
        ]
        for row in report.changed
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    widths[0] = max(12, min(widths[0], WIDEST - sum(widths[1:]) - 2 * len(widths[1:])))

    def line(cells: list[str]) -> str:
        name, *figures = cells
        if len(name) > widths[0]:  # the end of a path tells layers apart
            name = f"\N{HORIZONTAL ELLIPSIS}{name[1 - widths[0] :]}"
        rest = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(figures, widths[1:], strict=True))
        ]
        return "  ".join([name.ljust(widths[0]), *rest])

    rule = "-" * (sum(widths) + 2 * len(widths[1:]))
    return [line(heads), rule, *map(line, rows), rule]
