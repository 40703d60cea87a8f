"""Few ticks, legible ones: what the axes of a small chart say."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pointwise.reports.wording import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LETTERS = 32  # of all labels of an axis, where 350 pixels are its width


def few_ticks(axes: "Axes") -> None:
    """Leave room between the labels at phone width.

    Args:
        axes: Axes on which all is drawn: the ticks are chosen for the limits as they stand.
    """
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        for most in (6, 3, 2):
            places = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
            ticks = [float(tick) for tick in places if low <= tick <= high]
            labels = tick_labels(ticks)
            if sum(map(len, labels)) <= MOST_LETTERS:
                break
        axis.set_ticks(ticks, labels)


def log_ticks(axes: "Axes") -> None:
    """Make the vertical axis logarithmic, with plain numbers instead of powers of ten.

    Args:
        axes: Axes to change.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Write the ticks of one axis with as many digits as it takes to tell them apart.

    Args:
        ticks: Values at even steps.

    Returns:
        A label per tick.

    Example:
        >>> tick_labels([0.0, 250000.0, 500000.0]), tick_labels([1234.0, 1234.5])
        (['0', '250,000', '500,000'], ['1,234.0', '1,234.5'])
        >>> tick_labels([1e-7, 2e-7])
        ['1e-07', '2e-07']
    """
    largest = max(map(abs, ticks), default=0.0)
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=largest) or 1.0
    if 1e-4 <= step <= largest < 1e12:
        decimals = next((d for d in range(7) if math.isclose(round(step, d), step)), 7)
        return [signed(f"{tick:,.{decimals}f}") for tick in ticks]
    digits = min(max(math.ceil(math.log10(max(largest, step) / step)) + 1, 1), 15)
    return [signed(f"{tick:.{digits}g}") for tick in ticks]
