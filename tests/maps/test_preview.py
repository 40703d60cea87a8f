"""Previews: the pixels drawn are those of the file, in the colours of its legend."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from pointwise.errors import DataError
from pointwise.maps.colours import map_colour
from pointwise.maps.previews import reading, write_preview
from pointwise.maps.previews.drawing import HATCH, PAPER, Sheet
from pointwise.maps.previews.reading import read_small

NAMES = {1: "forest", 2: "water", 7: "developed"}
COLOURS = {1: (0, 114, 178), 2: (230, 159, 0), 7: (0, 158, 115)}
NORTH_UP = Affine(30, 0, 600_000, 0, -30, 200_000)


def map_file(
    values,
    *,
    nodata=0,
    names=None,
    colours=None,
    transform=NORTH_UP,
    crs="EPSG:32119",
    bands=(),
    units=(),
    block=None,
):
    """A raster ``map.tif`` in this folder."""
    values = values if values.ndim == 3 else values[None]
    kind = {"tiled": True, "blockxsize": block, "blockysize": block} if block else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            "map.tif",
            "w",
            driver="GTiff",
            count=len(values),
            height=values.shape[1],
            width=values.shape[2],
            dtype=values.dtype,
            nodata=nodata,
            transform=transform,
            crs=crs,
            **kind,
        ) as out:
            out.write(values)
            if colours:
                out.write_colormap(1, colours)
            if names:
                out.update_tags(POINTWISE_CLASSES=json.dumps(names))
            if bands:
                out.descriptions = bands
            if units:
                out.units = units
    return Path("map.tif")


def drawn(**options):
    write_preview("map.tif", "map.png", **options)
    with Image.open("map.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


def map_part(picture):
    """The map's pixels: inside the frame, whose left edge is the first column that is drawn."""
    left = np.flatnonzero((picture != 255).any(2).any(0))[0]
    rows = np.flatnonzero((picture[:, left] != 255).any(1))
    edge = (picture[rows[0], left:] == picture[rows[0], left]).all(1)
    right = left + np.argmin(edge) - 1
    return picture[rows[0] + 1 : rows[-1], left + 1 : right]


def at_middles(part, shape):
    """The pixel drawn in the middle of each pixel of the file."""
    rows = (2 * np.arange(shape[0]) + 1) * part.shape[0] // (2 * shape[0])
    columns = (2 * np.arange(shape[1]) + 1) * part.shape[1] // (2 * shape[1])
    return part[np.ix_(rows, columns)]


def blocks(shape=(12, 16)):
    """Classes 1, 2 and 7 in stripes, with a corner of no data."""
    values = np.full(shape, 7, np.uint8)
    values[: shape[0] // 2] = 1
    values[:, : shape[1] // 4] = 2
    values[-3:, -4:] = 0
    return values


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_classes_have_the_colours_of_the_file_and_no_data_is_striped():
    values = blocks()
    map_file(values, names=NAMES, colours=COLOURS)
    part = map_part(drawn())
    shown = at_middles(part, values.shape)
    for code, colour in COLOURS.items():
        assert (shown[values == code] == colour).all()
    corner = part[round(part.shape[0] * 0.8) :, round(part.shape[1] * 0.8) :]
    found = {tuple(colour) for colour in corner.reshape(-1, 3).tolist()}
    assert found == {PAPER, HATCH}


@pytest.mark.parametrize(
    ("tags", "heading"),
    [
        ({}, "class"),
        ({"POINTWISE_OUTPUT": "class", "POINTWISE_TARGET": "land cover"}, "land cover"),
        ({"POINTWISE_OUTPUT": "proba", "POINTWISE_TARGET": "land cover"}, "class"),
        ({"POINTWISE_OUTPUT": "class"}, "class"),
    ],
    ids=["another program's", "classes of a target", "no classes", "classes"],
)
def test_the_heading_says_what_the_classes_are(tags, heading, monkeypatch):
    map_file(blocks(), names=NAMES, bands=("class",))
    with rasterio.open("map.tif", "r+") as file:
        file.update_tags(**tags)
    seen = []

    def sheet(width, legend, *rest):
        seen.append(legend.heading)
        return Sheet(width, legend, *rest)

    monkeypatch.setattr("pointwise.maps.previews.preview.Sheet", sheet)
    write_preview("map.tif", "map.png")
    assert seen == [heading, heading]


def test_every_pixel_is_drawn_where_it_lies():
    values = np.random.default_rng(0).integers(1, 4, (700, 870)).astype(np.uint8)
    names, colours = {1: "a", 2: "b", 3: "c"}, {i: (10 * i, 0, 200) for i in (1, 2, 3)}
    map_file(values, names=names, colours=colours)
    part = map_part(drawn(width=1200))
    rows, columns = part.shape[:2]
    expected = values[
        np.ix_(
            (2 * np.arange(rows) + 1) * 700 // (2 * rows),
            (2 * np.arange(columns) + 1) * 870 // (2 * columns),
        )
    ]
    np.testing.assert_array_equal(part[..., 0], expected * 10)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_classes_without_colours_take_those_of_the_palette_in_their_order(dtype):
    values = blocks().astype(dtype)
    map_file(values, names=NAMES)
    shown = at_middles(map_part(drawn()), values.shape)
    for place, code in enumerate(NAMES):
        assert (shown[values == code] == map_colour(place)).all()


def test_names_in_single_tags_are_read_too():
    map_file(blocks())
    with rasterio.open("map.tif", "r+") as file:
        file.update_tags(1, CLASS_1="forest")
    assert (map_part(drawn())[2, -2] == map_colour(0)).all()


@pytest.mark.parametrize("tag", ["no JSON", "[1, 2]", '{"a": "b"}', "3"])
def test_a_tag_of_another_make_is_passed_over(tag):
    values = blocks()
    map_file(values, colours=COLOURS)
    with rasterio.open("map.tif", "r+") as file:
        file.update_tags(POINTWISE_CLASSES=tag)
    shown = at_middles(map_part(drawn()), values.shape)
    assert (shown[values == 1] == COLOURS[1]).all()


@pytest.mark.parametrize("width", [400, 640, 1200, 2000])
def test_a_picture_is_as_wide_as_asked_for(width):
    map_file(blocks(), names=NAMES, colours=COLOURS)
    assert drawn(width=width).shape[1] == width
    map_file(np.linspace(-1, 1, 192, dtype=np.float32).reshape(12, 16), nodata=None)
    assert drawn(width=width).shape[1] == width


def test_a_tall_map_is_no_more_than_a_quarter_higher_than_the_width():
    map_file(blocks((400, 8)), names=NAMES, colours=COLOURS)
    high, wide = drawn(width=800).shape[:2]
    assert 1000 < high < 1100
    assert wide < 400


@pytest.mark.parametrize(
    ("transform", "turn"),
    [
        (Affine(30, 0, 0, 0, -30, 0), lambda a: a),
        (Affine(30, 0, 0, 0, 30, 0), lambda a: a[::-1]),
        (Affine(-30, 0, 0, 0, -30, 0), lambda a: a[:, ::-1]),
        (Affine(20, 10, 0, 10, -20, 0), lambda a: a),
        (Affine.identity(), lambda a: a),
    ],
    ids=["north up", "south up", "mirrored", "rotated", "none"],
)
def test_north_is_up(transform, turn):
    values = blocks()
    map_file(values, names=NAMES, colours=COLOURS, transform=transform)
    expected = turn(values)
    shown = at_middles(map_part(drawn()), values.shape)
    for code, colour in COLOURS.items():
        assert (shown[expected == code] == colour).all()


def test_pixels_that_are_no_squares_keep_their_shape():
    map_file(blocks((20, 20)), names=NAMES, transform=Affine(10, 0, 0, 0, -20, 0))
    rows, columns = map_part(drawn()).shape[:2]
    assert rows == 2 * columns


def test_numbers_run_from_dark_to_light_and_nan_is_striped():
    values = np.tile(np.linspace(-5, 5, 40, dtype=np.float32), (30, 1))
    values[10:20, 10:20] = np.nan
    map_file(values, nodata=np.nan, bands=["height"], units=["m"])
    shown = at_middles(map_part(drawn()), values.shape)
    assert shown[0, 0].tolist() == [68, 1, 84]  # viridis from its first colour
    assert shown[0, -1].tolist() == [253, 231, 37]  # to its last
    light = shown[0].astype(float) @ (0.299, 0.587, 0.114)
    assert (np.diff(light) > 0).all()
    assert {tuple(one) for one in shown[12:18, 12:18].reshape(-1, 3).tolist()} <= {PAPER, HATCH}


@pytest.mark.parametrize(
    ("band", "light"), [(None, False), (1, False), (2, True), ("spread", True)]
)
def test_the_first_band_is_drawn_unless_another_is_asked_for(band, light):
    ramp = np.tile(np.linspace(0, 1, 20, dtype=np.float32), (20, 1))
    map_file(np.stack([ramp, ramp[:, ::-1]]), nodata=None, bands=["value", "spread"])
    shown = map_part(drawn(band=band))
    assert bool(shown[5, 2].sum() > shown[5, -3].sum()) is light


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_map_without_a_single_value_is_all_stripes(dtype):
    empty = np.zeros((8, 8), dtype) if dtype is np.uint8 else np.full((8, 8), np.nan, dtype)
    map_file(empty, nodata=0 if dtype is np.uint8 else np.nan, names=NAMES)
    part = map_part(drawn())
    assert {tuple(one) for one in part.reshape(-1, 3).tolist()} == {PAPER, HATCH}


SIZES = {"smaller": (40, 30), "odd": (37, 61), "the same": (100, 130), "larger": (300, 300)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("block", [None, 32], ids=["strips", "tiles"])
def test_reading_in_windows_gives_middles_means_and_counts(size, block, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW_PIXELS", 1500)
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 5, (100, 130)).astype(np.uint8 if block else np.int32)
    map_file(classes, block=block)
    rows, columns = min(size[0], 100), min(size[1], 130)
    with rasterio.open("map.tif") as file:
        small = read_small(file, 1, *size, classes=True)
    i = (2 * np.arange(rows) + 1) * 100 // (2 * rows)
    j = (2 * np.arange(columns) + 1) * 130 // (2 * columns)
    np.testing.assert_array_equal(small.values, classes[np.ix_(i, j)])
    np.testing.assert_array_equal(small.missing, classes[np.ix_(i, j)] == 0)
    assert small.counts == {code: int((classes == code).sum()) for code in range(1, 5)}
    assert small.nodata == (classes == 0).sum()
    numbers = rng.standard_normal((100, 130)).astype(np.float32)
    numbers[rng.random(numbers.shape) < 0.5] = np.nan
    map_file(numbers, nodata=np.nan, block=block)
    with rasterio.open("map.tif") as file:
        small = read_small(file, 1, *size, classes=False)
    cell = (np.arange(100) * rows // 100)[:, None] * columns + np.arange(130) * columns // 130
    valid = np.isfinite(numbers)
    count = np.bincount(cell[valid], minlength=rows * columns)
    total = np.bincount(cell[valid], numbers[valid].astype(float), minlength=rows * columns)
    np.testing.assert_array_equal(small.missing.ravel(), count == 0)
    mean = total[count > 0] / count[count > 0]
    np.testing.assert_allclose(small.values.ravel()[count > 0], mean, rtol=1e-12, atol=1e-12)
    assert (small.nodata, small.pixels) == ((~valid).sum(), 13_000)


REFUSALS = {
    "not a PNG": (
        "map.tif", "map.jpg", {},
        "a preview is a PNG picture: its name must end in .png, got map.jpg",
    ),
    "too narrow": (
        "map.tif", "map.png", {"width": 100},
        "a preview must be 400 to 8,000 pixels wide, got width=100",
    ),
    "no file": (
        "gone.tif", "map.png", {},
        "gone.tif cannot be read as a raster: gone.tif: No such file or directory",
    ),
    "no raster": (
        "note.tif", "map.png", {},
        "note.tif cannot be read as a raster: 'note.tif' not recognized as being in a supported "
        "file format.",
    ),
    "no such number": (
        "map.tif", "map.png", {"band": 3},
        "map.tif has no band 3: it has 1 'value', 2 'spread'",
    ),
    "no such name": (
        "map.tif", "map.png", {"band": "height"},
        "map.tif has no band 'height': it has 1 'value', 2 'spread'",
    ),
    "complex numbers": (
        "waves.tif", "map.png", {},
        "waves.tif: bands hold real numbers, got complex64 in band 1: write amplitude, or real "
        "and imaginary part, as bands of their own",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_drawn_is_refused_and_writes_nothing(case):
    map_file(np.zeros((1, 4, 4), np.complex64), nodata=None)
    Path("map.tif").rename("waves.tif")
    map_file(np.zeros((2, 4, 4), np.float32), nodata=None, bands=["value", "spread"])
    Path("note.tif").write_text("no raster")
    source, out, options, message = REFUSALS[case]
    with pytest.raises(DataError) as caught:
        write_preview(source, out, **options)
    assert str(caught.value) == message
    assert not Path(out).exists()


def test_a_truncated_file_is_refused():
    values = np.random.default_rng(0).integers(1, 9, (500, 500)).astype(np.uint8)
    map_file(values, names=NAMES)
    whole = Path("map.tif").read_bytes()
    Path("map.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^map\.tif cannot be read as a raster: "):
        write_preview("map.tif", "map.png")
