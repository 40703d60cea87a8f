"""Rasters as GDAL reads them: whatever the layout, the values are those that were written."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_cases import CRS, PLACE, assert_reads, numbers, read_all, scene_warning, write, write_vrt

from pointwise.data.scenes import Grid, open_scene
from pointwise.errors import DataWarning

rasterio = pytest.importorskip("rasterio")

# --- Layouts: the same values, however they are stored ---

TILES = {"tiled": True, "blockxsize": 16, "blockysize": 32}
LAYOUTS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "strips": ({"blockysize": 5}, (5, 41)),
    "lines": ({"blockysize": 1}, (1, 41)),
    "tiles": (TILES, (32, 16)),
    "band by band": ({**TILES, "interleave": "band"}, (32, 16)),
    "pixel by pixel": ({**TILES, "interleave": "pixel"}, (32, 16)),
    "deflate": ({**TILES, "compress": "deflate", "predictor": 2}, (32, 16)),
    "lzw": ({"blockysize": 5, "compress": "lzw"}, (5, 41)),
    "zstd": ({**TILES, "compress": "zstd"}, (32, 16)),
    "bigtiff": ({**TILES, "bigtiff": "yes"}, (32, 16)),
    "big endian": ({**TILES, "endianness": "big"}, (32, 16)),
    "sparse": ({**TILES, "sparse_ok": True}, (32, 16)),
}


@pytest.mark.parametrize(("options", "block"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(options: dict[str, Any], block: tuple[int, int], tmp_path: Path) -> None:
    values = numbers(dtype="uint16")
    values[:, :32, :16] = 0
    path = write(tmp_path / "a.tif", values, **options)
    assert_reads(path, values)
    with open_scene(path) as scene:
        assert scene.block == block


DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_types(dtype: str, tmp_path: Path) -> None:
    values = numbers(dtype=dtype)
    assert_reads(write(tmp_path / "a.tif", values), values)


DRIVERS = {"png": "PNG", "img": "HFA", "bil": "EHdr", "asc": "AAIGrid"}


@pytest.mark.parametrize("ending", DRIVERS)
def test_formats(ending: str, tmp_path: Path) -> None:
    values = numbers(1, dtype="uint8" if ending != "asc" else "int32")
    source = write(tmp_path / "a.tif", values)
    from rasterio.shutil import copy

    copy(source, tmp_path / f"b.{ending}", driver=DRIVERS[ending])
    assert_reads(tmp_path / f"b.{ending}", values)


def test_a_vrt_reads_as_its_files(tmp_path: Path) -> None:
    values = numbers(2, dtype="int16")
    for number, plane in enumerate(values):
        write(tmp_path / f"{number}.tif", plane[None], blockysize=7)
    assert_reads(write_vrt(tmp_path / "a.vrt", "Int16"), values)
    with open_scene(tmp_path / "a.vrt") as scene:
        assert scene.block == (7, 41)
        assert scene.names == ("red", None)


def test_one_pixel(tmp_path: Path) -> None:
    values = numbers(2, 1, 1, "int16")
    assert_reads(write(tmp_path / "a.tif", values), values)


def test_overviews_are_not_used(tmp_path: Path) -> None:
    values = numbers(1, 64, 64)
    path = write(tmp_path / "a.tif", values, **TILES)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert_reads(path, values)


def test_palettes_are_numbers(tmp_path: Path) -> None:
    values = numbers(1) % 3
    path = write(tmp_path / "a.tif", values, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255), 1: (0, 255, 0, 255), 2: (0, 0, 0, 255)})
    assert_reads(path, values)


def test_pages_of_a_tiff_are_rasters_of_their_own(tmp_path: Path) -> None:
    from PIL import Image

    values = numbers(2)
    first, second = (Image.fromarray(plane) for plane in values)
    first.save(tmp_path / "b.tif", save_all=True, append_images=[second])
    with pytest.warns(DataWarning) as caught:
        got, _ = read_all(tmp_path / "b.tif")
    told = [str(warning.message).replace(f"{tmp_path}/", "") for warning in caught]
    assert told == [
        "b.tif: holds 2 rasters, the first is read; others are opened by their names: "
        "GTIFF_DIR:1:b.tif, GTIFF_DIR:2:b.tif",
        "b.tif: has no CRS and no transform: a map lies on the pixel grid",
    ]
    np.testing.assert_array_equal(got, values[:1])
    _, scene = scene_warning(lambda: open_scene(f"GTIFF_DIR:2:{tmp_path}/b.tif"), tmp_path)
    with scene:
        np.testing.assert_array_equal(scene.read(slice(None), slice(None))[0], values[1:])


# --- Places: kept as they are ---

COS, SIN = math.cos(math.pi / 6), math.sin(math.pi / 6)
TURNED = (COS, -SIN, 7.0, SIN, COS, 8.0)
PLACES = {
    "north up": PLACE,
    "south up": (30.0, 0.0, 500_000.0, 0.0, 30.0, 0.0),
    "rotated": TURNED,
    "sheared": (1.0, 0.5, 10.0, 0.25, -2.0, 20.0),
    "uneven": (0.25, 0.0, -180.0, 0.0, -0.5, 90.0),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_transforms(place: tuple[float, ...], tmp_path: Path) -> None:
    values = numbers(1)
    path = write(tmp_path / "a.tif", values, transform=place)
    with open_scene(path) as scene:
        np.testing.assert_allclose(scene.grid.transform, place, rtol=0, atol=1e-12)
    assert_reads(path, values)


def test_the_crs_is_wkt(tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", numbers(1))) as scene:
        assert rasterio.crs.CRS.from_wkt(scene.grid.crs) == rasterio.crs.CRS.from_string(CRS)


def test_no_crs_is_allowed(tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", numbers(1), crs=None)) as scene:
        assert scene.grid == Grid(37, 41, None, PLACE)


def test_a_pixel_grid_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(1), crs=None, transform=None)
    words, scene = scene_warning(lambda: open_scene(path), tmp_path)
    assert words == "a.tif: has no CRS and no transform: a map lies on the pixel grid"
    with scene:
        assert scene.grid == Grid(37, 41)
        np.testing.assert_array_equal(
            scene.read(slice(0, 4), slice(0, 4))[0], numbers(1)[:, :4, :4]
        )


def test_control_points_are_not_kept(tmp_path: Path) -> None:
    from rasterio.control import GroundControlPoint

    points = [GroundControlPoint(r, c, 10.0 + c, 20.0 - r) for r in (0, 37) for c in (0, 41)]
    path = write(tmp_path / "a.tif", numbers(1), transform=None, gcps=points)
    words, scene = scene_warning(lambda: open_scene(path), tmp_path)
    assert words == (
        "a.tif: its place is given by 4 ground control points, which are not kept: a map lies on "
        "the pixel grid; gdalwarp gives it a place first"
    )
    with scene:
        assert scene.grid == Grid(37, 41)


def test_scales_are_not_applied(tmp_path: Path) -> None:
    values = numbers(2, dtype="int16")
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.0001, 1.0), (0.0, -5.0)
    words, (got, _) = scene_warning(lambda: read_all(path), tmp_path)
    assert words == (
        "a.tif: has tags of scale and offset (0.0001 and 0, 1 and -5): values are read as they are "
        "stored, so a model has to be fitted on stored values too"
    )
    np.testing.assert_array_equal(got, values)


# --- Windows and bands ---


def test_bands_in_any_order(tmp_path: Path) -> None:
    values = numbers(4, dtype="uint16")
    with open_scene(write(tmp_path / "a.tif", values)) as scene:
        for bands in ([2], [3, 0], [1, 1, 2], [0, 1, 2, 3]):
            got, missing = scene.read(slice(3, 9), slice(4, 44), bands)
            np.testing.assert_array_equal(got, values[bands, 3:9, 4:44])
            assert missing is None


WRONG_WINDOWS = {
    "empty": (slice(5, 5), slice(None), "a window has rows start:stop within 0:37, got slice(5, 5"),
    "outside": (slice(None), slice(41, 50), "a window has columns start:stop within 0:41, got"),
    "steps": (slice(0, 9, 2), slice(None), "a window has rows start:stop within 0:37, got slice(0"),
}


@pytest.mark.parametrize(
    ("rows", "columns", "words"), WRONG_WINDOWS.values(), ids=WRONG_WINDOWS.keys()
)
def test_wrong_windows(rows: slice, columns: slice, words: str, tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", numbers(1))) as scene:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            scene.read(rows, columns)
        assert str(caught.value).startswith(words)


@pytest.mark.parametrize("bands", [[], [3], [-1]], ids=str)
def test_wrong_bands(bands: list[int], tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", numbers(3))) as scene:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            scene.read(slice(None), slice(None), bands)
        assert str(caught.value) == f"bands are numbers from 0 to 2, one at least, got {bands}"


def test_a_line_about_a_scene(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(2, dtype="int16"), names=["red", "nir"], nodata=-99)
    with open_scene(path) as scene:
        assert str(scene) == (
            "a.tif: 2 bands (red, nir), 37 x 41 (height x width), int16, EPSG:32633, nodata -99"
        )
    with open_scene(write(tmp_path / "b.tif", numbers(1, dtype="float32"), crs=None)) as scene:
        assert scene.describe() == (
            "b.tif: 1 band (b), 37 x 41 (height x width), float32, no CRS, nodata none"
        )


def test_corners_of_a_turned_grid() -> None:
    corners = Grid(2, 3, None, TURNED).corners()
    assert math.dist(corners[0], corners[1]) == pytest.approx(3)
    assert math.dist(corners[0], corners[2]) == pytest.approx(2)
