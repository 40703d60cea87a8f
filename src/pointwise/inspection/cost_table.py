"""The cost of a network as text of at most 100 columns, and the wording that its HTML shares."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointwise.inspection.cost import Cost, LayerCost, Total
    from pointwise.inspection.machine import Machine

WIDTH = 100
GAP = "  "
NARROWEST_NAME, NARROWEST_SHAPE = 14, 8
LONG = 1_000_000_000
"""Parameters are written digit by digit below this, other figures below a thousandth of it."""

UNITS = {1_000_000_000: "G", 1_000_000: "M"}


@dataclass(frozen=True)
class Column:
    """A column of figures: what it is of, its heading, and how a figure is written."""

    field: str
    heading: str
    write: Callable[[int], str]


def columns(total: "Total") -> list[Column]:
    """The columns of figures, each in one unit from top to bottom.

    Args:
        total: The totals of a network.

    Returns:
        Columns whose figures are exact where they are short, else in millions or billions.
    """
    return [
        _column("params", "params", total.params, LONG),
        _column("macs", "MACs", total.macs, LONG // 1000),
        _column("activations", "act.", total.activations, LONG // 1000),
        _column("bytes", "bytes", total.bytes, LONG // 1000),
    ]


def _column(field: str, heading: str, total: int, long: int) -> Column:
    if total < long:
        return Column(field, heading, lambda figure: f"{figure:,}")
    # The larger unit only where the smaller one would leave six digits before the point.
    unit = next((unit for unit in UNITS if total >= 100 * unit), min(UNITS))

    def write(figure: int) -> str:
        scaled = f"{figure / unit:,.1f}"
        return scaled if scaled != "0.0" else "<0.1" if figure else "0"

    return Column(field, f"{UNITS[unit]}{'B' if field == 'bytes' else f' {heading}'}", write)


def notes(cost: "Cost", machine: "Machine | None") -> list[str]:
    """What there is to say of a table: the shares, what waits for memory, what is not counted.

    Args:
        cost: The counts.
        machine: The machine that runs the network; nothing is said of memory without.

    Returns:
        Whole sentences.
    """
    total = cost.total
    sentences = [
        f"{who} hold {percent(params)} of the parameters and {percent(macs)} of the MACs."
        for who, params, macs in (
            ("1x1 convolutions", total.pointwise_params_share, total.pointwise_macs_share),
            (
                "1x1 convolutions and linear layers together",
                total.channel_params_share,
                total.channel_macs_share,
            ),
        )
    ]
    if machine is not None:
        bound = cost.memory_bound(machine)
        share = sum(one.macs for one in bound) / max(total.macs, 1)
        ran = sum(1 for one in cost.layers if one.operators)
        sentences.append(
            f"m: waits for memory on this machine, with fewer than {machine.ridge:.1f} MACs per "
            f"byte: {len(bound)} of {ran} layers, with {percent(share)} of the MACs."
        )
    if cost.uncounted:
        sentences.append(f"Not counted, for want of a formula: {', '.join(cost.uncounted)}.")
    return sentences


def percent(share: float) -> str:
    """A share with two digits after the point."""
    return f"{100 * share:.2f} %"


def name_of(layer: "LayerCost") -> str:
    """The path of a layer; the model itself has an empty one."""
    return layer.name or "(model)"


def shape_of(layer: "LayerCost") -> str:
    """What a layer gives, or that it does not run."""
    if not layer.operators:
        return "not run"
    return "x".join(map(str, layer.output_shape)) or "scalar"


def figures_of(one: "LayerCost | Total", shown: Sequence[Column]) -> list[str]:
    """The figures of a layer or of all, and at last its MACs per byte."""
    figures = [column.write(getattr(one, column.field)) for column in shown]
    return [*figures, f"{one.macs / one.bytes:,.1f}" if one.bytes else "0.0"]


def render_text(cost: "Cost", machine: "Machine | None" = None) -> str:
    """The table, the totals, and the sentences below it.

    Args:
        cost: The counts.
        machine: Marks what waits for memory on it. Default: nothing is marked.

    Returns:
        Lines of at most 100 characters.
    """
    shown = columns(cost.total)
    bound = {id(one) for one in cost.memory_bound(machine)} if machine else set()
    rows = [["layer", "kind", "output", *(column.heading for column in shown), "MACs/B", ""]]
    for one in cost.layers:
        mark = "m" if id(one) in bound else ""
        rows.append([name_of(one), one.kind, shape_of(one), *figures_of(one, shown), mark])
    rows.append(["total", "", "", *figures_of(cost.total, shown), ""])
    lines = _aligned(rows if machine else [row[:-1] for row in rows])
    rule = "-" * max(map(len, lines))
    said = [line for sentence in notes(cost, machine) for line in textwrap.wrap(sentence, WIDTH)]
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], "", *said])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Text to the left, figures to the right; names and then shapes give way, their ends stay."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, narrowest in ((0, NARROWEST_NAME), (2, NARROWEST_SHAPE)):
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - WIDTH
        widths[i] -= min(max(excess, 0), max(widths[i] - narrowest, 0))
    lines = []
    for row in rows:
        cells = [
            _cut(cell, width).ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(GAP.join(cells).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]
