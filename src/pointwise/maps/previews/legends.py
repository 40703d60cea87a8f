"""What the colours of a map mean: its classes with their shares, or the scale of its numbers."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pointwise.maps.colours import Colour, map_colour
from pointwise.maps.previews.drawing import Bar, Entry, Legend
from pointwise.maps.previews.reading import SmallMap

NO_DATA = "no data"
WIDEST_FIGURE = "100.0 %"

MOST_CLASSES = 24
"""Classes with a line of their own in a legend; the rest share one."""

ROOM = 0.11
"""Part of a scale that the figure at its end takes."""

OTHERS: Colour = (128, 128, 128)

TAILS = 0.01
"""Share of cells at either end that a scale leaves out, where they would stretch it."""


def draw_classes(
    small: SmallMap,
    names: Mapping[int, str],
    colours: Mapping[int, Colour] | None,
    heading: str,
) -> tuple[NDArray[np.uint8], Legend]:
    """Colour a class map.

    Args:
        small: The map.
        names: Name of each class; a class without one is called by its number.
        colours: Colour of each class. ``None``: those of a palette, in the order of the numbers.
        heading: What the classes are of.

    Returns:
        Pixels ``(rows, columns, 3)`` and the legend, classes in the order of their numbers.
    """
    valid = small.pixels - small.nodata
    codes = sorted(set(small.counts) | set(names))
    if colours is None:
        colours = {code: map_colour(place) for place, code in enumerate(codes)}
    shown = codes
    if len(codes) > MOST_CLASSES:
        largest = sorted(codes, key=lambda code: -small.counts.get(code, 0))[: MOST_CLASSES - 1]
        shown = sorted(largest)
    entries = [
        Entry(colours.get(code, OTHERS), names.get(code, str(code)), share(count, valid))
        for code in shown
        for count in [small.counts.get(code, 0)]
    ]
    if rest := [code for code in codes if code not in shown]:
        count = sum(small.counts.get(code, 0) for code in rest)
        entries.append(Entry(OTHERS, f"{len(rest)} other classes", share(count, valid)))
    picture = np.full((*small.values.shape, 3), OTHERS, np.uint8)
    for code in shown:
        picture[small.values == code] = colours.get(code, OTHERS)
    return picture, Legend(heading, (*entries, *_no_data(small)))


def draw_numbers(small: SmallMap, heading: str) -> tuple[NDArray[np.uint8], Legend]:
    """Colour a map of numbers, from dark for low to light for high.

    Args:
        small: The map.
        heading: What the numbers are of.

    Returns:
        Pixels ``(rows, columns, 3)``, and a legend with a colour bar.
    """
    import matplotlib as mpl

    colours = (mpl.colormaps["viridis"].resampled(256)(np.arange(256))[:, :3] * 255).round()
    table = colours.astype(np.uint8)
    numbers = small.values[~small.missing]
    if not numbers.size:
        return table[np.zeros(small.values.shape, int)], Legend(heading, _no_data(small))
    low, high = _range(numbers)
    place = np.clip((small.values - low) / (high - low), 0, 1)
    ticks = _ticks(low, high, least=float(numbers.min()), most=float(numbers.max()))
    return table[(place * 255).round().astype(int)], Legend(
        heading, _no_data(small), Bar(table, ticks)
    )


def planned_legend(names: Mapping[int, str], heading: str) -> Legend:
    """Plan a legend before the map is read, at least as wide as the one that it will have.

    Args:
        names: Names of the classes; none for numbers.
        heading: What they are of.

    Returns:
        The legend.
    """
    classes = [Entry(None, name, WIDEST_FIGURE) for name in names.values()]
    return Legend(heading, (*classes, Entry(None, f"{NO_DATA}, {WIDEST_FIGURE} of all")))


def share(part: int, whole: int) -> str:
    """Write a share so that something is never nothing, nor nearly all everything.

    Args:
        part: Number of pixels.
        whole: Of so many.

    Returns:
        The text.

    Example:
        >>> share(1, 3), share(0, 3), share(1, 10**6), share(10**6 - 1, 10**6), share(3, 3)
        ('33.3 %', '0 %', '<0.1 %', '>99.9 %', '100 %')
    """
    if part in (0, whole):
        return "100 %" if part else "0 %"
    tenths = round(1000 * part / whole)
    if tenths in (0, 1000):
        return "<0.1 %" if tenths == 0 else ">99.9 %"
    return f"{tenths / 10:.1f} %"


def _no_data(small: SmallMap) -> tuple[Entry, ...]:
    """A line for the pixels without a value; none if all have one."""
    if not small.nodata:
        return ()
    return (Entry(None, f"{NO_DATA}, {share(small.nodata, small.pixels)} of all"),)


def _range(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Lowest and highest number of a scale: all of them, unless a few would take most of it."""
    low, high = float(numbers.min()), float(numbers.max())
    inner = np.quantile(numbers, (TAILS, 1 - TAILS))
    if (inner[1] - inner[0]) < (high - low) / 2 and inner[1] > inner[0]:
        low, high = map(float, inner)
    if low == high:
        edge = abs(low) / 2 or 0.5
        return low - edge, high + edge
    return low, high


def _ticks(low: float, high: float, *, least: float, most: float) -> tuple[tuple[float, str], ...]:
    """Round numbers on the scale; its ends too where the map holds numbers beyond them."""
    from matplotlib.ticker import MaxNLocator

    span = high - low
    places = [
        value
        for value in MaxNLocator(5, steps=(1, 2, 5, 10)).tick_values(low, high)
        if low <= value <= high
    ]
    ticks = [(float((value - low) / span), _number(value, span)) for value in places]
    if least < low:
        kept = [tick for tick in ticks if tick[0] > ROOM]
        ticks = [(0.0, _end("\N{LESS-THAN OR EQUAL TO}", low, least, span)), *kept]
    if most > high:
        kept = [tick for tick in ticks if tick[0] < 1 - ROOM]
        ticks = [*kept, (1.0, _end("\N{GREATER-THAN OR EQUAL TO}", high, most, span))]
    return tuple(ticks)


def _end(sign: str, value: float, beyond: float, span: float) -> str:
    """The end of a scale, with a sign if what lies beyond it is another figure."""
    text = _number(value, span)
    return text if _number(beyond, span) == text else f"{sign} {text}"


def _number(value: float, span: float) -> str:
    """A figure on a scale, with the digits that tell its hundredths apart."""
    digits = max(0, 2 - math.floor(math.log10(span)))
    if abs(value) >= 1e7 or digits > 6:
        return f"{value:.3g}"
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if digits else text).replace("-", "\N{MINUS SIGN}")
