"""A picture of a map beside its legend, pixel by pixel: colours in it are those of the legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pointwise.maps.colours import Colour

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont


PAPER: Colour = (255, 255, 255)
INK, MUTED, RULE = (27, 31, 35), (95, 103, 111), (150, 156, 162)
HATCH: Colour = (198, 202, 206)
"""Stripes on paper stand for no data: no class is striped."""

LINE = 1.3
"""Height of a line, in sizes of its letters."""

LINES = 3
"""Most lines of a name."""


@dataclass(frozen=True)
class Entry:
    """A line of the legend: its colour (``None``: no data), its name, and its figure."""

    colour: Colour | None
    name: str
    figure: str = ""


@dataclass(frozen=True)
class Bar:
    """A colour bar: its colours from low to high, and where figures stand, from 0 to 1."""

    colours: NDArray[np.uint8]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Legend:
    """What stands beside a map."""

    heading: str
    entries: tuple[Entry, ...]
    bar: Bar | None = None


class Sheet:
    """Measures of a picture of a map: everything follows from its width.

    Args:
        width: Width of the picture in pixels.
        legend: What stands beside the map.
        title: What stands above it; may be empty.
        note: What stands below it, small.
    """

    def __init__(self, width: int, legend: Legend, title: str, note: str) -> None:
        self.width, self.legend = width, legend
        self.font = _font(max(12, round(width / 57)))
        self.small = _font(max(11, round(width / 75)))
        self.large = _font(max(14, round(width / 42)))
        self.line = round(self.font.size * LINE)
        self.margin = round(self.font.size * 1.5)
        self.swatch = round(self.font.size * 1.15)
        self.gap = round(self.font.size * 0.5)
        self.tail = max((self.font.getlength(one.figure) for one in legend.entries), default=0)
        widest = self._widest_name()
        self.names = [wrap(one.name, self.font, widest) for one in legend.entries]
        self.heading = wrap(legend.heading, self.font, round(width * 0.3)) if legend.heading else []
        self.side = round(max(self._side(), *map(self.font.getlength, ("", *self.heading))))
        self.title = wrap(title, self.large, width - 2 * self.margin) if title else []
        self.map_width = width - self.side - 3 * self.margin
        self.note = wrap(note, self.small, self.map_width) if note else []

    def _widest_name(self) -> int:
        """Room for names: a third of the picture less what stands before and behind them."""
        return round(self.width * 0.36 - self.swatch - 3 * self.gap - self.tail)

    def _side(self) -> float:
        """Width of the legend."""
        rows = [0.0]
        for entry, lines in zip(self.legend.entries, self.names, strict=True):
            name = max(map(self.font.getlength, lines))
            rows.append(name + (2 * self.gap + self.tail if entry.figure else 0))
        row = self.swatch + self.gap + max(rows)
        if self.legend.bar is None:
            return row
        ticks = max((self.font.getlength(text) for _, text in self.legend.bar.ticks), default=0)
        return max(row, 2 * self.swatch + 2 * self.gap + ticks)

    @property
    def legend_height(self) -> int:
        """Pixels from the first line of the legend to its end."""
        lines = sum(len(name) for name in self.names) + len(self.heading)
        gaps = self.gap * (len(self.names) + bool(self.heading))
        bar = self.bar_height + self.line + self.gap if self.legend.bar else 0
        return lines * self.line + gaps + bar

    @property
    def bar_height(self) -> int:
        """Pixels of the colour bar from low to high."""
        return round(self.width / 4)

    def draw(self, picture: NDArray[np.uint8], *, narrower: bool = False) -> "Image":
        """Put map, legend, title and note together.

        Args:
            picture: The map's pixels ``(rows, columns, 3)``, at most ``map_width`` columns.
            narrower: Whether the sheet ends where the map and its legend do.

        Returns:
            The picture.
        """
        from PIL import Image, ImageDraw

        rows, columns = picture.shape[:2]
        title = sum(round(self.large.size * LINE) for _ in self.title)
        note = sum(round(self.small.size * LINE) for _ in self.note)
        top = self.margin + title + (self.gap if title else 0)
        tall = max(rows + self.gap + note, self.legend_height)
        wide = self._narrower(columns) if narrower else self.width
        image = Image.new("RGB", (wide, top + tall + self.margin), PAPER)
        draw = ImageDraw.Draw(image)
        _text(draw, self.margin, self.margin, self.title, self.large, INK)
        image.paste(Image.fromarray(picture), (self.margin, top))
        box = (self.margin - 1, top - 1, self.margin + columns, top + rows)
        draw.rectangle(box, outline=RULE)
        _text(draw, self.margin, top + rows + self.gap, self.note, self.small, MUTED)
        self._draw_legend(image, draw, 2 * self.margin + columns, top)
        return image

    def _narrower(self, columns: int) -> int:
        """Width of the picture of a map too tall to be as wide as there is room."""
        text = [(self.title, self.large), (self.note, self.small)]
        widest = max((font.getlength(line) for lines, font in text for line in lines), default=0)
        return min(
            self.width, 2 * self.margin + max(round(widest), columns + self.margin + self.side)
        )

    def _draw_legend(self, image: "Image", draw: "ImageDraw", left: int, top: int) -> None:
        _text(draw, left, top, self.heading, self.font, MUTED)
        y = top + len(self.heading) * self.line + (self.gap if self.heading else 0)
        if self.legend.bar is not None:
            y = self._draw_bar(image, draw, self.legend.bar, left, y + self.line // 2)
        for entry, lines in zip(self.legend.entries, self.names, strict=True):
            self._draw_swatch(image, draw, entry.colour, left, y)
            x = left + self.swatch + self.gap
            _text(draw, x, y, lines, self.font, INK)
            end = left + self.side
            draw.text((end, y), entry.figure, font=self.font, fill=MUTED, anchor="ra")
            y += len(lines) * self.line + self.gap

    def _draw_swatch(
        self, image: "Image", draw: "ImageDraw", colour: Colour | None, left: int, top: int
    ) -> None:
        from PIL import Image

        size = self.swatch
        fill = np.full((size, size, 3), PAPER if colour is None else colour, np.uint8)
        if colour is None:
            hatch(fill, np.ones((size, size), np.bool_))
        image.paste(Image.fromarray(fill), (left, top))
        draw.rectangle((left, top, left + size - 1, top + size - 1), outline=RULE)

    def _draw_bar(self, image: "Image", draw: "ImageDraw", bar: Bar, left: int, top: int) -> int:
        from PIL import Image

        high, wide = self.bar_height, 2 * self.swatch
        steps = np.linspace(len(bar.colours) - 1, 0, high).round().astype(int)
        image.paste(Image.fromarray(np.repeat(bar.colours[steps][:, None], wide, 1)), (left, top))
        draw.rectangle((left - 1, top - 1, left + wide, top + high), outline=RULE)
        for place, text in bar.ticks:
            y = top + round((1 - place) * (high - 1))
            draw.line((left + wide, y, left + wide + self.gap // 2, y), fill=RULE)
            x = left + wide + self.gap
            draw.text((x, y), text, font=self.font, fill=INK, anchor="lm")
        return top + high + self.line // 2 + self.gap


def hatch(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> None:
    """Stripe the pixels that have no value, in place.

    Args:
        picture: Pixels ``(rows, columns, 3)``.
        where: Those to stripe ``(rows, columns)``.
    """
    rows, columns = where.shape
    striped = (np.arange(rows)[:, None] + np.arange(columns)) % 8 < 2
    picture[where] = PAPER
    picture[where & striped] = HATCH


def wrap(text: str, font: "FreeTypeFont", widest: int) -> list[str]:
    """Break a text into lines, and end it with an ellipsis where it is too long for ``LINES``.

    Args:
        text: The text; blanks and line ends count as one blank.
        font: Font that it is drawn in.
        widest: Pixels of a line.

    Returns:
        The lines, at least one.
    """
    lines = [""]
    for word in _pieces(text.split(), font, widest):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= widest:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) <= LINES:
        return lines
    last = lines[LINES - 1]
    while last and font.getlength(f"{last}\N{HORIZONTAL ELLIPSIS}") > widest:
        last = last[:-1]
    return [*lines[: LINES - 1], f"{last}\N{HORIZONTAL ELLIPSIS}"]


def _pieces(words: Sequence[str], font: "FreeTypeFont", widest: int) -> list[str]:
    """Words, cut where one is wider than a line: at a mark if it has one, else anywhere."""
    pieces = []
    for word in words:
        rest = word
        while len(rest) > 1 and font.getlength(rest) > widest:
            end = len(rest) - 1
            while end > 1 and font.getlength(rest[:end]) > widest:
                end -= 1
            mark = max(rest.rfind(sign, 1, end - 1) for sign in "_-/.") + 1
            end = mark if mark > 1 else end
            pieces.append(rest[:end])
            rest = rest[end:]
        pieces.append(rest)
    return pieces


def _text(
    draw: "ImageDraw",
    x: float,
    y: float,
    lines: Sequence[str],
    font: "FreeTypeFont",
    colour: Colour,
) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + number * round(font.size * LINE)), line, font=font, fill=colour)


def _font(size: int) -> "FreeTypeFont":
    """DejaVu Sans as matplotlib brings it: the same on every machine."""
    from pathlib import Path

    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
