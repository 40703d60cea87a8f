"""Pictures of what networks cost, for a page, a file and paper.

Nothing is told by colour alone: 1x1 convolutions are hatched or have a marker of their own shape,
and every bar and dot has its figure beside it. Names stand above their bars, so that the bars have
the whole width on a telephone too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pointwise._pages.svg import ACCENT, INK, MARK, MUTED, drawing, inline_svg, svg_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pointwise.inspection.cost import Cost

ROW = 29  # height of a bar with its name above it
LINE = 17  # height of a row of dots with its name beside it
FRAME = 44  # height of a legend and what stands below the rows
WIDTH = 400  # of every drawing
RIGHT = 0.77  # where the dots end and the columns begin, as a share of the width
LETTER = 6.6  # width of a letter of a name, in the page's font at telephone size
LETTERS = 26  # of a name, where it stands beside its row
GROUPS = 4  # into which a network is cut at least, where it can be

DOT: dict[str, Any] = {"marker": "o", "color": ACCENT, "ms": 4.5, "lw": 0}
DIAMOND: dict[str, Any] = {
    "marker": "D",
    "color": MARK,
    "ms": 6.5,
    "mfc": "none",
    "mew": 1.2,
    "lw": 0,
}


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Attributes:
        name: What it stands for.
        total: How long it is.
        pointwise: How much of that is in 1x1 convolutions.
        figure: Its length as it is written.
        share: Its share as it is written.
        bold: Whether it is the one that was asked about.
    """

    name: str
    total: float
    pointwise: float
    figure: str
    share: str
    bold: bool = False


def plot_bars(
    bars: Sequence[Bar],
    *,
    label: str,
    rest: str,
    mark: tuple[float, str] | None = None,
    key: str | None = None,
) -> str:
    """Draw horizontal bars whose part in 1x1 convolutions is hatched.

    Args:
        bars: Bars from top to bottom.
        label: What the chart shows, for those who do not see it.
        rest: What the part is called that is not hatched.
        mark: A length to compare every bar with, and what it is called.
        key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart is
            a file of its own.

    Returns:
        SVG text.

    Raises:
        ValueError: If there are no bars.

    Example:
        >>> bar = Bar("stem", 3, 1, "3 MACs", "100 %")
        >>> svg = plot_bars([bar], label="Costs", rest="other layers")
        >>> svg.startswith("<svg xmlns="), "3 MACs" in svg
        (True, True)
    """
    if not bars:
        raise ValueError("a chart needs at least one bar, got none")
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    with drawing(height=ROW * len(bars) + FRAME) as (figure, axes):
        _frameless(axes, len(bars))
        axes.set_xlim(0, max([*(bar.total for bar in bars), mark[0] if mark else 0]) or 1)
        for place, bar in enumerate(bars):
            _bar(axes, place, bar)
        legend: list[Patch | Line2D] = [
            Patch(facecolor="none", edgecolor=ACCENT, hatch="//////", label="1x1 convolutions"),
            Patch(facecolor=ACCENT, label=rest),
        ]
        if mark:
            for place in range(len(bars)):
                ends = (place + 0.02, place + 0.46)
                axes.plot([mark[0]] * 2, ends, color=MARK, lw=1.8, clip_on=False)
            tick = Line2D([], [], color=MARK, lw=0, marker="|", ms=9, mew=1.8, label=mark[1])
            legend.append(tick)
        axes.legend(
            handles=legend, loc="lower left", ncols=3, bbox_to_anchor=(0.0, 1.0), columnspacing=2.6
        )
        return _written(figure, label, key)


def plot_cost(
    cost: "Cost", *, depth: int | None = None, most: int = 16, key: str | None = None
) -> str:
    """Draw where in a network the multiplications are, and which of them are 1x1 convolutions.

    Args:
        cost: What ``cost()`` returned.
        depth: How many parts of a layer's path name the group that its bar is for. Default: as
            many as give four groups, which are the stages of most networks.
        most: How many groups have a bar, the largest; they stand in the order of the network, and
            the others are one bar more.
        key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart is
            a file of its own.

    Returns:
        SVG text.

    Raises:
        ValueError: If ``depth`` or ``most`` is below one, or nothing in the network multiplies.

    Example:
        >>> import torch
        >>> from pointwise.inspection.cost import cost
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 1))
        >>> "12.9 %" in plot_cost(cost(net, torch.ones(1, 3, 9, 9)))
        True
    """
    if most < 1 or (depth is not None and depth < 1):
        raise ValueError(f"depth and most must be at least 1, got {depth} and {most}")
    total = cost.total
    if not total.macs:
        raise ValueError("the network has no multiplications to draw")
    groups = _groups(cost, depth)
    largest = sorted(groups, key=lambda name: -groups[name][0])[:most]
    left = [macs for name, macs in groups.items() if name not in largest]
    rows = [(name or "(itself)", *groups[name]) for name in groups if name in largest]
    if left:
        rows.append((f"{len(left)} others", *(sum(part) for part in zip(*left, strict=True))))
    bars = [
        Bar(name, macs, pointwise, short(macs), percent(macs / total.macs))
        for name, macs, pointwise in rows
    ]
    share = percent(total.pointwise_macs_share)
    label = f"Parts of {short(total.macs)} MACs; {share} of all are in 1x1 convolutions"
    return plot_bars(bars, label=label, rest="other layers", key=key)


def plot_shares(names: Sequence[str], costs: "Sequence[Cost]", *, key: str | None = None) -> str:
    """Draw the share of 1x1 convolutions in many networks, the largest share of MACs first.

    Args:
        names: What the networks are called.
        costs: What ``cost()`` returned for each.
        key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart is
            a file of its own.

    Returns:
        SVG text: a line per network, with a dot for the MACs and a diamond for the parameters.

    Raises:
        ValueError: If there is not one name for each cost, or none at all.

    Example:
        >>> import torch
        >>> from pointwise.inspection import cost
        >>> one = cost(torch.nn.Conv2d(3, 8, 1), torch.ones(1, 3, 4, 4))
        >>> plot_shares(["a 1x1"], [one])[:4]
        '<svg'
    """
    if not names or len(names) != len(costs):
        raise ValueError(f"there must be one name for each cost, got {len(names)} and {len(costs)}")
    from matplotlib.lines import Line2D

    totals = [one.total for one in costs]
    shares = [(one.pointwise_macs_share, one.pointwise_params_share) for one in totals]
    ordered = sorted(zip(shares, names, strict=True), key=lambda one: (-one[0][0], one[1]))
    macs, params = ([share[i] for share, _ in ordered] for i in (0, 1))
    shown = [
        _plain(name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}")
        for _, name in ordered
    ]
    rows = range(len(ordered))
    tall = LINE * (len(ordered) + 1) + FRAME
    with drawing(height=tall) as (figure, axes):
        figure.set_layout_engine("none")  # it does not know how wide the page's letters are
        left = (LETTER * max(map(len, shown)) + 16) / WIDTH
        axes.set_position((left, 24 / tall, RIGHT - left, 1 - (FRAME + LINE) / tall))
        axes.set(xlim=(0, 1), ylim=(len(ordered) - 0.4, -0.6))
        axes.hlines(rows, macs, params, color=MUTED, lw=1.2)
        axes.plot(macs, rows, **DOT, clip_on=False)
        axes.plot(params, rows, **DIAMOND, clip_on=False)
        axes.grid(visible=True, axis="both")
        axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
        axes.set_yticks(rows, shown)
        axes.tick_params(axis="y", labelcolor=INK, pad=10)
        _column(axes, 0.885, DOT, macs)
        _column(axes, 0.985, DIAMOND, params)
        head = [Line2D([], [], **DOT, label="MACs"), Line2D([], [], **DIAMOND, label="parameters")]
        figure.legend(
            handles=head, loc="upper right", ncols=2, bbox_to_anchor=(0.965, 1), columnspacing=2.6
        )
        return _written(figure, "Share of 1x1 convolutions in MACs and in parameters", key)


def short(number: float) -> str:
    """Write a count in thousands, millions or billions, as the tables do.

    Args:
        number: The count.

    Returns:
        The text.

    Example:
        >>> [short(n) for n in (0, 950, 14_336, 1_258_815_488)]
        ['0', '950', '14.3 k', '1,258.8 M']
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number:,.0f}"


def percent(share: float) -> str:
    """Write a share with one decimal.

    Args:
        share: From 0 to 1, or more.

    Returns:
        The text.

    Example:
        >>> percent(0.14541)
        '14.5 %'
    """
    return f"{100 * share:.1f} %"


def _groups(cost: "Cost", depth: int | None) -> dict[str, tuple[int, int]]:
    """MACs, and those in 1x1 convolutions, by the first parts of the layers' paths."""
    layers = [layer for layer in cost.layers if layer.macs]
    deepest = max(layer.name.count(".") + 1 for layer in layers)
    groups: dict[str, tuple[int, int]] = {}
    for parts in [depth] if depth else range(1, deepest + 1):
        groups = {}
        for layer in layers:
            name = ".".join(layer.name.split(".")[:parts])
            macs, pointwise = groups.get(name, (0, 0))
            own = layer.macs if layer.kind == "pointwise" else 0
            groups[name] = (macs + layer.macs, pointwise + own)
        if len(groups) >= GROUPS:
            break
    return groups


def _bar(axes: "Axes", place: int, bar: Bar) -> None:
    """One bar from the left, its hatched part first, with its name and figure above it."""
    middle, high = place + 0.22, 0.34
    axes.barh(middle, bar.pointwise, high, color="none", edgecolor=ACCENT, lw=1, hatch="//////")
    axes.barh(middle, bar.total - bar.pointwise, high, left=bar.pointwise, color=ACCENT, lw=0)
    cells = (
        (0.0, "left", _plain(bar.name)),
        (0.83, "right", bar.figure),
        (1.0, "right", bar.share),
    )
    for x, side, text in cells:
        axes.text(
            x,
            place - 0.07,
            text,
            ha=side,
            va="baseline",
            weight="bold" if bar.bold else "normal",
            transform=axes.get_yaxis_transform(),
        )


def _frameless(axes: "Axes", rows: int) -> None:
    """No scale: every bar has its figure."""
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _column(axes: "Axes", right: float, marker: dict[str, Any], shares: Sequence[float]) -> None:
    """Percentages right of the dots, under the marker of what they are."""
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.figure.transFigure, axes.transData)
    axes.plot(right - 13 / WIDTH, -1, **marker, transform=place, clip_on=False)
    for row, share in enumerate(shares):
        axes.text(right, row, f"{100 * share:.1f}", ha="right", va="center", transform=place)


def _plain(name: str) -> str:
    """A name as it is: a dollar sign would start a formula."""
    return name.replace("$", r"\$")


def _written(figure: "Figure", label: str, key: str | None) -> str:
    return svg_file(figure, label) if key is None else inline_svg(figure, key, label)
