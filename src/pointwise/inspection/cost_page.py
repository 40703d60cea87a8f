"""The cost of a network as a part of an HTML page: nothing is fetched, no script runs."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from pointwise.inspection.cost_table import (
    Column,
    columns,
    figures_of,
    name_of,
    notes,
    shape_of,
)

if TYPE_CHECKING:
    from pointwise.inspection.cost import Cost, LayerCost
    from pointwise.inspection.machine import Machine

FILLED = ("pointwise", "linear")
"""Kinds with a filled bar; those of the others are outlined."""

CAPTION = (
    "Cost by layer, in the order in which they run. A bar is a share of the column's largest "
    "figure: filled for 1x1 convolutions and linear layers, outlined for all others. Output is the "
    "shape, act. the numbers that a layer leaves for others, MACs/B its multiply-adds per byte "
    "that it reads and writes."
)


def render_html(cost: "Cost", machine: "Machine | None" = None) -> str:
    """The sentences, the table and the totals, with their style.

    Args:
        cost: The counts.
        machine: Marks what waits for memory on it. Default: nothing is marked.

    Returns:
        One ``section`` element.
    """
    shown = columns(cost.total)
    bound = {id(one) for one in cost.memory_bound(machine)} if machine else set()
    headings = ["layer", "kind", "output", *(column.heading for column in shown), "MACs/B"]
    largest = {
        field: max((getattr(one, field) for one in cost.layers), default=0)
        for field in ("params", "macs")
    }
    head = "".join(f'<th role="columnheader" scope="col">{heading}</th>' for heading in headings)
    body = [
        _row(
            name_of(one),
            [one.kind, shape_of(one), *figures_of(one, shown)],
            ["", "", *_bars(one, shown, largest), " m" if id(one) in bound else ""],
            headings,
        )
        for one in cost.layers
    ]
    totals = ["", "", *figures_of(cost.total, shown)]
    foot = _row("total", totals, [""] * len(totals), headings)
    total = ", ".join(f"{c.write(getattr(cost.total, c.field))} {c.heading}" for c in shown)
    style = files("pointwise.inspection").joinpath("cost.css").read_text(encoding="utf-8")
    said = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in notes(cost, machine))
    return f"""<section class="pointwise-cost">
<style>
{style}</style>
<p class="total">{total}</p>
{said}
<table role="table">
<caption>{CAPTION}</caption>
<thead role="rowgroup"><tr role="row">{head}</tr></thead>
<tbody role="rowgroup">
{"".join(body)}</tbody>
<tfoot role="rowgroup">
{foot}</tfoot>
</table>
</section>"""


def _bars(one: "LayerCost", shown: Sequence[Column], largest: dict[str, int]) -> list[str]:
    look = "filled" if one.kind in FILLED else "outlined"
    bars = []
    for field in (column.field for column in shown):
        share = getattr(one, field) / largest[field] if largest.get(field) else 0
        style = f"width:{100 * share:.1f}%"
        bars.append(
            f'<span class="bar {look}" style="{style}" aria-hidden="true"></span>' if share else ""
        )
    return bars


def _row(name: str, texts: Sequence[str], additions: Sequence[str], heads: Sequence[str]) -> str:
    """One row: its name, then cells that carry their headings, for where a row is a list."""
    cells = [
        f'<td role="cell"{" class=figure" if place > 1 else ""} data-heading="{heading}">'
        f"{escape(text)}{addition}</td>"
        for place, (text, addition, heading) in enumerate(
            zip(texts, additions, heads[1:], strict=True)
        )
    ]
    words = escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")  # long paths break there
    head = f'<th role="rowheader" scope="row">{words}</th>'
    return f'<tr role="row">{head}{"".join(cells)}</tr>\n'
