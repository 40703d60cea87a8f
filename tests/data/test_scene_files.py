"""Several files as one scene: in what order, under which names, and only over one grid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_cases import (
    LANDSAT,
    PLACE,
    assert_reads,
    numbers,
    read_all,
    scene_error,
    scene_warning,
    write,
)

from pointwise.data.scenes import Grid, open_scene
from pointwise.data.scenes.agreement import grid_difference, show_crs

rasterio = pytest.importorskip("rasterio")

# --- Order and types ---


def test_a_list_of_files(tmp_path: Path) -> None:
    values = numbers(5)
    paths = [
        write(tmp_path / "b.tif", values[:2], blockysize=4),
        write(tmp_path / "a.tif", values[2:3], blockysize=9),
        write(tmp_path / "c.tif", values[3:], tiled=True, blockxsize=16, blockysize=16),
    ]
    assert_reads(paths, values)
    assert_reads([str(path) for path in paths], values)
    with open_scene(paths) as scene:
        assert scene.block == (16, 41)
        assert scene.names == (None, None, "a", None, None)
        assert [band.file for band in scene.bands] == [str(paths[n]) for n in (0, 0, 1, 2, 2)]
        for bands in ([4, 0, 2], [3, 1, 4, 0], [2]):
            got, _ = scene.read(slice(5, 15), slice(7, 30), bands)
            np.testing.assert_array_equal(got, values[bands, 5:15, 7:30])
        assert str(scene) == (
            "3 files from b.tif: 5 bands (a), 37 x 41 (height x width), uint8, EPSG:32633, nodata "
            "none"
        )


def test_a_folder_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    values = numbers(3)
    for number, plane in zip([10, 2, 1], values, strict=True):
        write(tmp_path / f"B{number}.tif", plane[None], nodata=0)
    (tmp_path / "readme.txt").write_text("")
    (tmp_path / "B1.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert_reads(tmp_path, values[::-1], values[::-1] == 0)
    with open_scene(tmp_path) as scene:
        assert scene.names == ("B1", "B2", "B10")


TYPES = {
    "uint8": ("uint8", "uint8", "uint8"),
    "uint16 int16": ("uint16", "int16", "int32"),
    "uint8 int8": ("uint8", "int8", "int16"),
    "int16 float32": ("int16", "float32", "float32"),
    "uint32 float32": ("uint32", "float32", "float64"),
    "uint32 int32": ("uint32", "int32", "int64"),
    "float32 float64": ("float32", "float64", "float64"),
}


@pytest.mark.parametrize(("one", "other", "common"), TYPES.values(), ids=TYPES.keys())
def test_the_common_type_loses_nothing(one: str, other: str, common: str, tmp_path: Path) -> None:
    first, second = numbers(2, dtype=one), numbers(1, dtype=other)
    paths = [write(tmp_path / "a.tif", first), write(tmp_path / "b.tif", second)]
    assert_reads(paths, np.concatenate([first.astype(common), second.astype(common)]))
    with open_scene(paths) as scene:
        assert scene.dtype == np.dtype(common)
        assert scene.read(slice(None), slice(None), [0])[0].dtype == np.dtype(one)


@pytest.mark.parametrize("other", ["float32", "uint64"])
def test_rounded_integers_are_told(other: str, tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.tif", numbers(1, dtype="int64")),
        write(tmp_path / "b.tif", numbers(1, dtype=other)),
    ]
    words, scene = scene_warning(lambda: open_scene(paths), tmp_path)
    assert words == (
        f"bands of int64, {other} are read together as float64: integers beyond 2**53 are rounded"
    )
    scene.close()


# --- Names ---


def test_names_are_descriptions_or_stems(tmp_path: Path) -> None:
    values = numbers(1)
    paths = [
        write(tmp_path / "scene_B02.tif", values),
        write(tmp_path / "scene_B03.tif", values, names=["green"]),
        write(tmp_path / "more.tif", numbers(2), names=["red"]),
    ]
    with open_scene(paths) as scene:
        assert scene.names == ("scene_B02", "green", "red", None)


def test_the_same_description_in_each_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"B{n}.tif", numbers(1), names=["Layer_1"]) for n in (1, 2)]
    with open_scene(paths) as scene:
        assert scene.names == ("B1", "B2")


def test_names_that_repeat_are_taken_away(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{n}.tif", numbers(3), names=["red", "nir", f"date_{n}"]) for n in (1, 2)
    ]
    words, scene = scene_warning(lambda: open_scene(paths), tmp_path)
    assert words == (
        "bands of one scene have names of their own, 'red', 'nir' is there more than once: these "
        "bands count as unnamed"
    )
    with scene:
        assert scene.names == (None, None, "date_1", None, None, "date_2")


def test_files_of_the_same_name_in_two_folders(tmp_path: Path) -> None:
    values = numbers(2)
    paths = [write(tmp_path / str(n) / "red.tif", values[n : n + 1]) for n in (0, 1)]
    words, (got, _) = scene_warning(lambda: read_all(paths), tmp_path)
    assert words == (
        "bands of one scene have names of their own, 'red' is there more than once: these bands "
        "count as unnamed"
    )
    np.testing.assert_array_equal(got, values)


# --- One grid ---

MOVED = (30.0, 0.0, 500_030.0, 0.0, -30.0, 5_000_000.0)
SHOWN = "(30, 0, 500000, 0, -30, 5000000)"
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"width": 40}, "the size is 37 x 41 and 37 x 40 (height x width)"),
    "crs": ({"crs": "EPSG:32634"}, "the CRS is EPSG:32633 and EPSG:32634"),
    "no crs": ({"crs": None}, "the CRS is EPSG:32633 and none"),
    "moved": (
        {"transform": MOVED},
        f"the transform is {SHOWN} and (30, 0, 500030, 0, -30, 5000000)",
    ),
    "south up": (
        {"transform": (30, 0, 500_000, 0, 30, 5_000_000)},
        f"the transform is {SHOWN} and (30, 0, 500000, 0, 30, 5000000)",
    ),
    "finer": (
        {"transform": (29.9, 0, 500_000, 0, -29.9, 5_000_000)},
        f"the transform is {SHOWN} and (29.9, 0, 500000, 0, -29.9, 5000000)",
    ),
}


@pytest.mark.parametrize(("options", "difference"), OTHERS.values(), ids=OTHERS.keys())
def test_another_grid(options: dict[str, Any], difference: str, tmp_path: Path) -> None:
    options = dict(options)
    values = numbers(1, width=options.pop("width", 41))
    paths = [write(tmp_path / "a.tif", numbers(1)), write(tmp_path / "b.tif", values, **options)]
    assert scene_error(lambda: open_scene(paths), tmp_path) == (
        f"files of one scene have the same grid: {difference} in a.tif and b.tif: gdalwarp or "
        "gdalbuildvrt brings them together"
    )


def test_transforms_that_differ_by_rounding(tmp_path: Path) -> None:
    values = numbers(2)
    near = tuple(value * (1 + 1e-12) for value in PLACE)
    paths = [
        write(tmp_path / "a.tif", values[:1]),
        write(tmp_path / "b.tif", values[1:], transform=near),
    ]
    assert_reads(paths, values)


def test_the_same_crs_in_other_words() -> None:
    crs = rasterio.crs.CRS.from_epsg(32633)
    one, other = (Grid(2, 2, crs.to_wkt(version=version)) for version in ("WKT1_GDAL", "WKT2_2019"))
    assert one.crs != other.crs
    assert grid_difference(one, other) is None


def test_a_crs_without_code_is_shown_by_its_name() -> None:
    crs = rasterio.crs.CRS.from_wkt(
        'PROJCS["my grid",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.25]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
        'PARAMETER["longitude_of_center",7],UNIT["metre",1]]'
    )
    assert show_crs(crs.to_wkt()) == "my grid"


# --- A real scene ---


@pytest.mark.skipif(not LANDSAT.is_dir(), reason=f"{LANDSAT} is not there")
def test_landsat() -> None:
    paths = sorted(LANDSAT.glob("lsat7_2000_*.tif"))
    planes = []
    for path in paths:
        with rasterio.open(path) as file:
            planes.append(file.read(1, masked=True))
    missing = np.stack([np.ma.getmaskarray(plane) for plane in planes])
    values = np.stack([plane.data.astype(np.float32) for plane in planes])
    assert_reads(paths, values, missing)
    with open_scene(paths) as scene:
        assert str(scene) == (
            "6 files from lsat7_2000_10.tif: 6 bands (lsat7_2000_10, lsat7_2000_20, lsat7_2000_30, "
            "lsat7_2000_40, lsat7_2000_50, lsat7_2000_70), 443 x 489 (height x width), float32, "
            "EPSG:32119, nodata -99999 and -32768"
        )
        assert scene.grid.transform == (28.5, 0.0, 630534.0, 0.0, -28.5, 228114.0)
        assert scene.block == (8, 489)
