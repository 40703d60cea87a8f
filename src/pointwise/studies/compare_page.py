"""A comparison as one page that loads nothing."""

from html import escape
from typing import TYPE_CHECKING

from pointwise._pages.page import page
from pointwise.studies.comparison import HEADS, RULE
from pointwise.studies.contenders import REFERENCE

if TYPE_CHECKING:
    from pointwise.studies.comparison import Comparison


def render_page(found: "Comparison") -> str:
    """Show answer, picture and figures.

    Args:
        found: What came of the comparison.

    Returns:
        The file's content, to be written as UTF-8.
    """
    learn, valid, test = found.images
    heads = "".join(
        f'<th scope="col"{_number(place)}>{head}</th>' for place, head in enumerate(HEADS)
    )
    rows = "\n".join(
        f"<tr{' class=own' if row.kind == REFERENCE else ''}>"
        + "".join(
            f'<th scope="row">{escape(cell)}</th>'
            if not place
            else f"<td{_number(place)}>{escape(cell)}</td>"
            for place, cell in enumerate(cells)
        )
        + "</tr>"
        for row, cells in zip(found.rows, found.cells_of_rows(), strict=True)
    )
    said = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in found.sentences())
    body = f"""<header>
<p class="eyebrow">When does an mlpconv pay?</p>
<h1>{escape(found.name)}</h1>
<p class="lead">{escape(found.answer())}</p>
</header>
<section>
<h2>Errors</h2>
<figure class="chart">
{found.plot(key="compare")}
<figcaption>Every small dot is a training; the large one is their mean, the line one standard
deviation over the {found.seeds} seeds to each side. Further left is better.</figcaption>
</figure>
<ul>
{said}
</ul>
</section>
<section>
<h2>All figures</h2>
<div class="scroll" tabindex="0" role="region" aria-label="All figures">
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="note">{escape(RULE)} {learn:,} images were learnt from, {valid:,} chose the epoch,
{test:,} were scored on; {found.epochs} epochs. MACs are of one image.</p>
</section>"""
    return page(f"{found.name}: when does an mlpconv pay?", body)


def _number(place: int) -> str:
    return ' class="number"' if place > 2 else ""
