"""Legends of previews: names, shares and scales, and room for them beside the map."""

import numpy as np
import pytest

from pointwise.maps.previews.drawing import Legend, Sheet, wrap
from pointwise.maps.previews.legends import draw_classes, draw_numbers
from pointwise.maps.previews.reading import SmallMap

NAMES = {1: "forest", 2: "water", 7: "developed"}
COLOURS = {1: (0, 114, 178), 2: (230, 159, 0), 7: (0, 158, 115)}


def small_map(values, missing=None, counts=None):
    values = np.asarray(values)
    missing = np.zeros(values.shape, bool) if missing is None else np.asarray(missing)
    return SmallMap(values, missing, counts or {}, int(missing.sum()), values.size)


def legend_texts(legend):
    return [(entry.name, entry.figure) for entry in legend.entries]


def test_shares_are_of_the_pixels_that_have_a_class():
    small = SmallMap(np.ones((2, 2), np.uint8), np.zeros((2, 2), bool), {1: 3, 7: 1}, 4, 8)
    _, legend = draw_classes(small, NAMES, COLOURS, "cover")
    assert legend_texts(legend) == [
        ("forest", "75.0 %"),
        ("water", "0 %"),
        ("developed", "25.0 %"),
        ("no data, 50.0 % of all", ""),
    ]
    assert [entry.colour for entry in legend.entries] == [*COLOURS.values(), None]


def test_more_classes_than_a_legend_has_lines_share_one():
    values = np.arange(1, 31, dtype=np.uint8).reshape(5, 6)
    small = small_map(values, counts={code: 100 - code for code in range(1, 31)})
    picture, legend = draw_classes(small, {}, None, "")
    assert [name for name, _ in legend_texts(legend)] == [
        *map(str, range(1, 24)),
        "7 other classes",
    ]
    assert (picture[values >= 24] == legend.entries[-1].colour).all()


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([[0.0, 1.0]], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([[-2000.0, 2000.0]], ["\u22122,000", "\u22121,000", "0", "1,000", "2,000"]),
        ([[3.0, 3.0]], ["2", "3", "4"]),
        ([[0.0, 0.0]], ["\u22120.4", "\u22120.2", "0", "0.2", "0.4"]),
        ([[0.0, 2e-9]], ["0", "5e-10", "1e-09", "1.5e-09", "2e-09"]),
        ([[0.0, 4e9]], ["0", "1e+09", "2e+09", "3e+09", "4e+09"]),
    ],
    ids=["shares", "thousands", "one number", "zero", "tiny", "huge"],
)
def test_a_scale_has_round_numbers(values, texts):
    _, legend = draw_numbers(small_map(values), "price")
    assert [text for _, text in legend.bar.ticks] == texts


def test_a_few_far_numbers_do_not_take_the_scale():
    values = np.linspace(0, 10, 1000).reshape(10, 100)
    values[0, 0], values[-1, -1] = -1e6, 1e6
    picture, legend = draw_numbers(small_map(values), "")
    places = [place for place, _ in legend.bar.ticks]
    texts = [text for _, text in legend.bar.ticks]
    assert (texts[0], texts[-1]) == ("\u2264 0.1", "\u2265 9.9")
    assert (places[0], places[-1]) == (0, 1)
    assert np.diff(places).min() > 0.1
    assert picture[0, 0].tolist() == [68, 1, 84]
    assert picture[-1, -1].tolist() == [253, 231, 37]


def test_an_end_of_a_scale_is_no_limit_where_what_lies_beyond_is_the_same_figure():
    shares = np.full(1000, 1e-9)
    shares[500:] = np.linspace(0, 0.02, 500)
    shares[:10], shares[-1] = 0, 0.9
    _, legend = draw_numbers(small_map(shares.reshape(10, 100)), "")
    texts = [text for _, text in legend.bar.ticks]
    assert (texts[0], texts[-1]) == ("0", "\u2265 0.0196")


LONG = [
    "developed, open space",
    "a name of so many words that three lines of a legend are not enough to hold all of them",
    "wetland_emergent_herbaceous_vegetation_seasonal_or_permanent_in_cold_climates",
    "W" * 80,
    "$x$ & <b>\n\ttab",
    *(f"class {i}" for i in range(15)),
]


@pytest.mark.parametrize("width", [400, 640, 1200])
def test_long_names_stay_inside_the_picture_and_off_the_figures(width):
    counts = {code: 10 ** (code % 6) for code in range(20)}
    small = small_map(np.arange(20, dtype=np.uint8).reshape(4, 5), counts=counts)
    picture, legend = draw_classes(small, dict(enumerate(LONG)), None, "land " * 30)
    sheet = Sheet(width, legend, "title " * 40, "note " * 40)
    assert sheet.map_width > 0.4 * width
    for entry, lines in zip(legend.entries, sheet.names, strict=True):
        assert 1 <= len(lines) <= 3
        room = sheet.side - sheet.swatch - sheet.gap - sheet.font.getlength(entry.figure)
        assert max(map(sheet.font.getlength, lines)) <= room - sheet.gap
    wide = np.repeat(picture, sheet.map_width // 5, 1)
    image = np.asarray(sheet.draw(wide))
    assert image.shape[1] == width
    assert (image[:, -sheet.margin // 2 :] == 255).all()
    assert (image[-sheet.margin // 2 :] == 255).all()


def test_a_text_breaks_at_blanks_then_at_marks_and_ends_with_an_ellipsis():
    font = Sheet(1200, Legend("", ()), "", "").font
    room = round(font.getlength("evergreen_needle"))
    assert wrap("one  two\nthree", font, 10_000) == ["one two three"]
    assert wrap("evergreen_needleleaf", font, room) == ["evergreen_", "needleleaf"]
    assert wrap("w" * 500, font, room)[-1].endswith("w\u2026")
    assert len(wrap("w " * 500, font, room)) == 3
    assert wrap("", font, room) == [""]
