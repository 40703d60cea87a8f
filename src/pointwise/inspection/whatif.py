"""What a 1x1 saves: a KxK convolution beside the ways around it, as table, picture and page."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

from pointwise._pages.page import page
from pointwise.inspection.alternatives import (
    Alternative,
    Idea,
    bottleneck,
    break_even,
    plain,
    reduced,
    separable,
)
from pointwise.inspection.plots import Bar, percent, plot_bars, short
from pointwise.inspection.spec import MOST, Spec, parse_spec

if TYPE_CHECKING:
    import pandas as pd

TITLES: dict[Idea, str] = {
    "plain": "Plain",
    "reduce": "A 1x1 reduce in front",
    "bottleneck": "Bottleneck",
    "separable": "Depthwise separable",
}
LARGEST = 2**60  # MACs of a layer: torch counts the bytes of a tensor in 63 bits
SWEEP = 6  # reduced widths that are shown unless others are asked for


@dataclass(frozen=True)
class WhatIf:
    """A KxK convolution and its alternatives; prints itself as a table.

    Attributes:
        spec: What was asked about.
        reduce: Width of the reduce and of the bottleneck that was asked about.
        break_even: Width below which a 1x1 reduce saves multiplications, exactly.
        rows: The alternatives, the plain convolution first.
    """

    spec: Spec
    reduce: int
    break_even: Fraction
    rows: tuple[Alternative, ...]

    def sentences(self) -> list[str]:
        """What the figures say.

        Returns:
            Sentences: what the asked width does, where a reduce stops saving, what separating does.
        """
        plain, *_ = self.rows
        asked = next(r for r in self.rows if r.idea == "reduce" and r.width == self.reduce)
        separable = next(row for row in self.rows if row.idea == "separable")
        widest = math.ceil(self.break_even) - 1
        saves = (
            f"A 1x1 reduce saves multiplications up to {widest:,} channels "
            f"(as many as before at {float(self.break_even):,.1f})."
            if widest
            else "A 1x1 reduce saves no multiplications here, however narrow."
        )
        kernel = math.prod(self.spec.kernel)
        return [
            f"{short(plain.macs)} MACs directly, {short(asked.macs)} through a 1x1 to "
            f"{self.reduce:,} channels: {percent(asked.share)}.",
            saves,
            f"Depthwise separable: 1/{self.spec.c_out} + 1/{kernel} of the MACs, "
            f"{percent(separable.share)}.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data.

        Returns:
            The spec in its parts, the widths, and a list of rows.
        """
        return {
            "spec": str(self.spec),
            **asdict(self.spec),
            "reduce": self.reduce,
            "break_even": float(self.break_even),
            "widest_saving": math.ceil(self.break_even) - 1,
            "rows": [asdict(row) for row in self.rows],
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """The figures as a table.

        Returns:
            A row per alternative, with the names of their attributes as columns.
        """
        import pandas as pd

        frame = pd.DataFrame([asdict(row) for row in self.rows])
        return frame.astype({"width": "Int64"})

    def plot(self, *, key: str | None = None) -> str:
        """Draw the MACs of every alternative, the part in 1x1 convolutions hatched.

        Args:
            key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart
                is a file of its own.

        Returns:
            SVG text.
        """
        bars = [
            Bar(
                row.name,
                row.macs,
                row.pointwise_macs,
                short(row.macs),
                percent(row.share),
                bold=self._is_asked(row),
            )
            for row in self.rows
        ]
        plain = self.rows[0]
        label = f"MACs of a {self.spec.title} and of its alternatives"
        mark = (plain.macs, f"cost of one {plain.name}")
        return plot_bars(bars, label=label, rest=self.spec.label, mark=mark, key=key)

    def to_html(self) -> str:
        """Show the figures and the picture in one page that loads nothing.

        Returns:
            The file's content, to be written as UTF-8.
        """
        first, *rest = map(_unbroken, self.sentences())
        heads = "".join(
            f'<th scope="col" class="number">{head}</th>'
            for head in ("parameters", "MACs", "of plain", "activations", "MACs per byte")
        )
        body = f"""<header>
<p class="eyebrow">What a 1x1 saves</p>
<h1>{escape(self.spec.title)}</h1>
<p class="lead">{escape(first)}</p>
</header>
<section>
<h2>Multiplications</h2>
<figure class="chart">
{self.plot(key="whatif")}
<figcaption>How to read it: a bar is the MACs of one way from {self.spec.c_in:,} to
{self.spec.c_out:,} channels, the hatched part those in 1x1 convolutions; where it ends before the
upright mark it does with fewer than the plain convolution. {escape(" ".join(rest))}</figcaption>
</figure>
</section>
<section style="break-inside: avoid">
<h2>All figures</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Cost of every alternative">
<table>
<thead><tr><th scope="col">convolutions</th>{heads}</tr></thead>
{"".join(map(self._html_group, TITLES))}</table>
</div>
<p class="note">For one input, in float32, biases included, without norms and activations.</p>
</section>"""
        return page(f"{self.spec}: what a 1x1 saves", body)

    def __str__(self) -> str:
        """The table, and what it says."""
        heads = ("convolutions", "parameters", "MACs", "of plain", "activations", "MACs/byte")
        lines = {idea: [_cells(row) for row in self._of(idea)] for idea in TITLES}
        cells = [heads, *(row for rows in lines.values() for row in rows)]
        wide = [max(len(row[i]) for row in cells) for i in range(len(heads))]
        wide[0] += 2
        text = [f"{self.spec.title}", "", _line(heads, wide)]
        for idea, title in TITLES.items():
            text.append(title)
            rows = zip(self._of(idea), lines[idea], strict=True)
            text += [_line((f"{self._point(row)} {c[0]}", *c[1:]), wide) for row, c in rows]
        return "\n".join([*text, "", *self.sentences()])

    def _of(self, idea: Idea) -> list[Alternative]:
        return [row for row in self.rows if row.idea == idea]

    def _is_asked(self, row: Alternative) -> bool:
        return row.idea == "reduce" and row.width == self.reduce

    def _point(self, row: Alternative) -> str:
        return ">" if self._is_asked(row) else " "

    def _html_group(self, idea: Idea) -> str:
        rows = "".join(
            f'<tr{" class=own" if self._is_asked(row) else ""}><th scope="row">{name}</th>'
            + "".join(f'<td class="number">{cell}</td>' for cell in cells)
            + "</tr>\n"
            for row in self._of(idea)
            for name, *cells in [_cells(row)]
        )
        head = f'<tr><th scope="rowgroup" colspan="6" class="muted">{TITLES[idea]}</th></tr>'
        return f"<tbody>\n{head}\n{rows}</tbody>\n"


def whatif(
    spec: str | Spec, *, reduce: int | None = None, widths: Sequence[int] | None = None
) -> WhatIf:
    """Compare a KxK convolution with what does the same job with 1x1 convolutions.

    Args:
        spec: The convolution, ``"7x7:512->64@28x28"``: kernel, channels in and out, input size,
            one to three axes; a stride follows the kernel, ``"3x3/2:64->128@56x56"``.
        reduce: Channels that a 1x1 leaves before the KxK, and width of the bottleneck. Default: a
            quarter of those that come in, at most as many as go out.
        widths: More reduced widths to show. Default: powers of two around the break-even width.

    Returns:
        The alternatives and what they cost.

    Raises:
        ValueError: If ``spec`` cannot be read, or a width is below one.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, 2014, figure 2 (1x1 reduce). He et al.,
        Deep Residual Learning for Image Recognition, 2015, figure 5 (bottleneck and basic block).
        Howard et al., MobileNets, 2017, equation 5 (separable).

    Example:
        >>> found = whatif("7x7:512->64@28x28", reduce=64)
        >>> print(found.sentences()[0])
        1,258.8 M MACs directly, 183.0 M through a 1x1 to 64 channels: 14.5 %.
    """
    spec = parse_spec(spec) if isinstance(spec, str) else spec
    if reduce is None:
        reduce = max(1, min(spec.c_in // 4, spec.c_out))
    even = break_even(spec)
    shown = sorted({*(_powers(even) if widths is None else widths), reduce})
    _check_widths(spec, shown)
    rows = (
        plain(spec),
        plain(spec, times=2),
        *(reduced(spec, width) for width in shown),
        bottleneck(spec, reduce),
        separable(spec),
    )
    return WhatIf(spec, reduce, even, rows)


def _check_widths(spec: Spec, widths: Sequence[int]) -> None:
    if min(widths) < 1 or max(widths) > MOST:
        wrong = min(widths) if min(widths) < 1 else max(widths)
        raise ValueError(f"reduced widths must be from 1 to {MOST:,}, got {wrong:,}")
    channels = max(spec.c_in, spec.c_out, *widths)
    if math.prod(spec.kernel) * math.prod(spec.size) * channels**2 > LARGEST:
        raise ValueError(f"{spec} takes too many multiplications to count")


def _powers(even: Fraction) -> list[int]:
    """Powers of two up to the first that saves nothing, and none above what may be asked for."""
    top = min((math.ceil(even) - 1).bit_length(), MOST.bit_length() - 1)
    return [2**power for power in range(max(0, top - SWEEP + 1), top + 1)]


def _unbroken(sentence: str) -> str:
    """A sentence whose lines do not break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=[Mk%])", "\N{NO-BREAK SPACE}", sentence)


def _cells(row: Alternative) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.params:,}",
        short(row.macs),
        percent(row.share),
        f"{row.activations:,}",
        f"{row.intensity:.1f}",
    )


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    name, *rest = cells
    right = (cell.rjust(width) for cell, width in zip(rest, wide[1:], strict=True))
    return "  ".join([name.ljust(wide[0]), *right]).rstrip()
