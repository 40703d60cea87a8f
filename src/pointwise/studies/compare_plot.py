"""The picture of a comparison: a dot per training, in groups of what is equal."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pointwise._pages.svg import ACCENT, INK, MARK, MUTED, drawing, inline_svg, svg_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = 21  # height of a row
FRAME = 34  # height of the scale below the rows
WIDTH = 400
LEFT, RIGHT = 118, 290  # where the dots begin and end
MARGIN = 0.06  # of the scale, on each side

Line = tuple[str, Sequence[float], bool]
"""A contender's name, the error of each training, and whether it is the one asked about."""


def plot_errors(
    groups: Sequence[tuple[str, Sequence[Line]]], *, label: str, key: str | None = None
) -> str:
    """Draw errors, their means and standard deviations, a line per contender.

    Args:
        groups: A title, and the lines below it.
        label: What the chart shows, for those who do not see it.
        key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart is
            a file of its own.

    Returns:
        SVG text.

    Raises:
        ValueError: If there are no lines, or one of them has no errors.

    Example:
        >>> svg = plot_errors([("equal MACs", [("3x3", [0.1, 0.2], True)])], label="Errors")
        >>> svg.startswith("<svg "), "15.00" in svg
        (True, True)
    """
    lines = [line for _, several in groups for line in several]
    if not lines or not all(errors for _, errors, _ in lines):
        raise ValueError("a chart needs at least one line, and errors on each")
    tall = LINE * (len(lines) + len(groups)) + FRAME
    with drawing(height=tall) as (figure, axes):
        figure.set_layout_engine("none")  # it does not know how wide the page's letters are
        axes.set_position((LEFT / WIDTH, FRAME / tall, (RIGHT - LEFT) / WIDTH, 1 - FRAME / tall))
        row = 0
        for title, several in groups:
            place = axes.get_yaxis_transform()
            axes.text(
                (-LEFT + 2) / (RIGHT - LEFT), row, title, va="center", color=MUTED, transform=place
            )
            for line in several:
                row += 1
                _line(axes, row, line)
            row += 1
        axes.set_ylim(row - 0.3, -0.6)
        ends = [bound for _, errors, _ in lines for bound in _bounds(errors)]
        room = MARGIN * (max(ends) - min(ends)) or 0.5
        axes.set_xlim(max(0, min(ends) - room), max(ends) + room)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("test error, %", labelpad=3)
        return svg_file(figure, label) if key is None else inline_svg(figure, key, label)


def _bounds(errors: Sequence[float]) -> tuple[float, float]:
    """How far a line reaches, in percent."""
    mean, spread = _moments(errors)
    return (
        100 * min(*errors, mean - spread, mean),
        100 * max(*errors, mean + spread, mean),
    )


def _moments(errors: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(errors), statistics.stdev(errors) if len(errors) > 1 else 0.0


def _line(axes: "Axes", row: int, line: Line) -> None:
    """Name, dots, mean and deviation, and the figures right of them."""
    name, errors, own = line
    mean, spread = _moments(errors)
    colour, shape = (ACCENT, "o") if own else (MARK, "D")
    weight = "bold" if own else "normal"
    place = axes.get_yaxis_transform()
    axes.plot(
        [100 * (mean - spread), 100 * (mean + spread)], [row, row], color=colour, lw=1.4, zorder=2
    )
    axes.plot([100 * mean], [row], color=colour, marker=shape, ms=6.5, lw=0, zorder=3)
    axes.plot(
        [100 * error for error in errors],
        [row] * len(errors),
        color=INK,
        marker="o",
        ms=2.2,
        lw=0,
        zorder=4,
    )
    left = (-LEFT + 12) / (RIGHT - LEFT)
    axes.text(left, row, name, va="center", weight=weight, transform=place)
    figures = f"{100 * mean:.2f}" + (
        f" \N{PLUS-MINUS SIGN} {100 * spread:.2f}" if len(errors) > 1 else ""
    )
    right = (WIDTH - LEFT - 4) / (RIGHT - LEFT)
    axes.text(right, row, figures, va="center", ha="right", weight=weight, transform=place)
