"""Labels of pixels from rasters, their values, and every refusal."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from rasterio.errors import NotGeoreferencedWarning
from shapely import box

from labelled_scenes import LANDSAT, grid, labels_found, write_raster, write_shapes
from pointwise.data.pixel_labels import read_labels
from pointwise.data.pixel_labels.thinning import Thinned
from pointwise.data.pixel_labels.values import take_pixels
from pointwise.data.scenes import Scene, open_scene
from pointwise.errors import DataError, DataWarning

GRID = grid()


def cover(**pixels: Any) -> np.ndarray:
    values = np.zeros((20, 24), "uint8")
    values[3, 4], values[19, 23], values[3, 5] = 1, 2, 1
    return values


# Rasters.


def test_labels_of_a_raster_are_those_that_are_not_nodata(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0)
    got = read_labels(path, GRID)
    assert labels_found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}
    assert (got.target, got.notes, got.labels.dtype) == ("cover", (), np.int64)
    assert got.groups.tolist() == [-1, -1, -1]
    assert got.source == f"{path}, a raster"


def test_zero_is_a_class_where_another_value_is_nodata(tmp_path):
    values = np.full((20, 24), 255, "uint8")
    values[0, 0], values[5, 6] = 0, 9
    path = write_raster(tmp_path / "cover.tif", values, nodata=255)
    assert labels_found(path) == {(0, 0): 0, (5, 6): 9}


def test_zero_is_unlabelled_where_nothing_says_what_is(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover())
    assert labels_found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}
    note = f"{path}: names no nodata value, so 0 is taken for unlabelled (477 pixels)"
    assert read_labels(path, GRID).notes == (note,)


def test_zero_is_a_class_where_nan_is_unlabelled(tmp_path):
    values = np.full((20, 24), np.nan, "float32")
    values[0, 1], values[7, 8] = 0, 3
    path = write_raster(tmp_path / "cover.tif", values)
    assert labels_found(path) == {(0, 1): 0, (7, 8): 3}
    assert read_labels(path, GRID).labels.dtype == np.int64


def test_measured_values_stay_fractions(tmp_path):
    values = np.full((20, 24), -1, "float64")
    values[2, 2], values[2, 3] = 0.25, 4
    path = write_raster(tmp_path / "carbon.tif", values, nodata=-1)
    assert labels_found(path, target="carbon per ha") == {(2, 2): 0.25, (2, 3): 4.0}
    assert read_labels(path, GRID, target="carbon per ha").target == "carbon per ha"


@pytest.mark.parametrize("strange", [np.inf, -np.inf, -1.7976931348623157e308])
def test_what_is_infinite_or_too_large_is_unlabelled(strange, tmp_path):
    values = np.full((20, 24), np.nan)
    values[2, 2], values[2, 3], values[2, 4] = 1, 2, strange
    path = write_raster(tmp_path / "cover.tif", values)
    assert labels_found(path) == {(2, 2): 1, (2, 3): 2}
    note = f"{path}: 1 pixel infinite or too large for float32: taken for unlabelled"
    assert read_labels(path, GRID).notes == (note,)


TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.mark.parametrize(
    ("most", "options"),
    [(24 * 3, {"blockysize": 2}), (300, TILES), (50, TILES), (5, {"blockysize": 20})],
    ids=["strips", "single tiles", "tiles that are cut", "strips that are cut"],
)
def test_large_rasters_are_gone_through_in_parts(most, options, tmp_path, monkeypatch):
    monkeypatch.setattr("pointwise.data.pixel_labels.raster._STRIP", most)
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, **options)
    assert labels_found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}


def dense() -> np.ndarray:
    """Labels of nearly all pixels, of which one class is rare."""
    values = np.random.default_rng(0).integers(1, 4, (20, 24)).astype("uint8")
    values[0, :5], values[7, 7] = 0, 9
    return values


def test_of_many_labelled_pixels_some_are_drawn(tmp_path, monkeypatch):
    values = dense()
    path = write_raster(tmp_path / "cover.tif", values, nodata=0, **TILES)
    few = labels_found(path, most=50, seed=3)
    assert len(few) == 50
    assert all(values[place] == label for place, label in few.items())
    assert read_labels(path, GRID, most=50, seed=3).notes == (
        "of 475 labelled pixels 50 are drawn at random",
        f"{path}: too rare to be among those drawn: 9",
    )
    assert labels_found(path, most=50, seed=2) != few
    monkeypatch.setattr("pointwise.data.pixel_labels.raster._STRIP", 40)
    assert labels_found(path, most=50, seed=3) == few  # in whatever parts it is read
    every = read_labels(path, GRID, most=475)
    assert (len(every), every.notes) == (475, ())


def test_every_pixel_is_as_likely_to_be_drawn(tmp_path):
    values = np.ones((20, 24), "uint8")
    path = write_raster(tmp_path / "cover.tif", values, nodata=0)
    counts = np.zeros(values.shape)
    for seed in range(200):
        got = read_labels(path, GRID, most=48, seed=seed)
        counts[got.rows, got.columns] += 1
    # Each count is binomial, 200 draws of a tenth; of 480 the sum of squares is near chi squared.
    square = ((counts - 20) ** 2 / 18).sum()
    assert 380 < square < 590
    assert counts.min() > 3


def test_what_is_held_of_many_labels_is_bounded():
    thinned, most = Thinned(100, seed=0), 0
    for start in range(0, 100_000, 1000):
        thinned.add(np.arange(start, start + 1000), np.zeros(1000))
        most = max(most, thinned._held)
    assert most <= 2 * 100 + 1000
    assert len(thinned.take()[0]) == 100
    assert thinned.total == 100_000


def test_of_many_pixels_under_polygons_some_are_drawn_with_all_their_labels(tmp_path):
    shapes = [box(0, 0, 12, 20), box(6, 0, 24, 20), box(23, 19, 24, 20), box(5.6, 5.6, 5.9, 5.9)]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b", "b", "a"])
    whole, few = labels_found(path), labels_found(path, most=200, seed=4)
    assert few.items() <= whole.items()  # none of those that differ, though one label alone may be
    assert 60 < len(few) < 200
    notes = read_labels(path, GRID, most=200, seed=4).notes
    assert notes[:2] == (
        f"{path}: 1 polygon without the centre of a pixel (smaller than one, or at the edge): "
        "left out",
        "of 601 labelled pixels 200 are drawn at random",
    )


def test_of_several_bands_the_target_is_taken(tmp_path):
    both = np.stack([cover(), 3 * cover()])
    path = write_raster(tmp_path / "maps.tif", both, nodata=0, names=["old", "new"])
    assert set(labels_found(path, target="new").values()) == {3, 6}
    with pytest.raises(DataError, match=r"has 2 bands: name the one of the labels with --target: "):
        read_labels(path, GRID)
    with pytest.raises(DataError, match=r"--target: old, new; there is no 'mid'$"):
        read_labels(path, GRID, target="mid")


def test_a_raster_may_be_a_hair_off_the_scene(tmp_path):
    near = (10.0, 0.0, 500_000.4, 0.0, -10.0, 5_000_200.0)
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, place=near)
    assert len(labels_found(path)) == 3


def test_a_raster_whose_crs_is_written_differently_is_the_same(tmp_path):
    same = "+proj=tmerc +lat_0=0 +lon_0=9 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, crs=same)
    assert len(labels_found(path)) == 3


def test_a_raster_without_crs_is_taken_to_have_the_scenes(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, crs=None)
    with pytest.warns(DataWarning, match=f"^{re.escape(str(path))}: has no CRS: taken to be that"):
        assert len(labels_found(path)) == 3


@dataclass(frozen=True)
class Misfit:
    options: dict[str, Any]
    message: str
    values: Callable[[], np.ndarray] = cover


SHIFTED = (10.0, 0.0, 500_010.0, 0.0, -10.0, 5_000_200.0)
MISFITS = {
    "smaller": Misfit(
        {},
        "it has 10 rows x 24 columns, the scene 20 x 24: bring them there",
        lambda: cover()[:10],
    ),
    "a pixel beside": Misfit(
        {"place": SHIFTED},
        "it lies at x 500010 to 500250, y 5000000 to 5000200, the scene at x 500000 to 500240",
    ),
    "other CRS": Misfit(
        {"crs": "EPSG:32633"},
        "its CRS is EPSG:32633, the scene's EPSG:32632: bring them there without mixing classes, "
        "such as: gdalwarp -r near -t_srs EPSG:32632 -te 500000 5000000 500240 5000200 -ts 24 20 ",
    ),
    "smaller and other CRS": Misfit(
        {"crs": "EPSG:4326"}, "24 x 20; its CRS is EPSG:4326", lambda: cover().T
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_raster_elsewhere_is_refused(name, tmp_path):
    case = MISFITS[name]
    path = write_raster(tmp_path / "cover.tif", case.values(), nodata=0, **case.options)
    with pytest.raises(DataError) as error:
        read_labels(path, GRID, scene_name="scene.tif")
    said = str(error.value)
    assert said.startswith(f"{path}: labels must lie on the pixels of the scene scene.tif; ")
    if name == "smaller and other CRS":
        assert "it has 24 rows x 20 columns, the scene 20 x 24; its CRS is EPSG:4326" in said
    else:
        assert case.message in said


NO_PLACE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SOUTH_UP = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0)
PLACING = {
    "the same size": (
        cover(),
        grid(),
        "gdal_translate -a_srs EPSG:32632 -a_ullr 500000 5000200 500240 5000000 'my cover.tif' ",
    ),
    "another size": (
        cover()[:10],
        grid(),
        "gdal_translate -r nearest -outsize 24 20 -a_srs EPSG:32632 -a_ullr 500000 5000200 500240 "
        "5000000 'my cover.tif' ",
    ),
    "south up": (
        cover(),
        grid(crs=None, place=SOUTH_UP),
        "gdal_translate -a_ullr 500000 5000000 500240 5000200 'my cover.tif' ",
    ),
    "a scene without a place": (
        cover()[:10],
        grid(crs=None, place=NO_PLACE),
        "gdal_translate -r nearest -outsize 24 20 'my cover.tif' ",
    ),
}


@pytest.mark.parametrize(("values", "scene", "way"), PLACING.values(), ids=PLACING.keys())
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_labels_without_a_place_are_given_the_scenes(values, scene, way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_raster("my cover.tif", values, crs=None, place=NO_PLACE)
    words = (
        "they have no place of their own: if they cover the scene, bring them onto it, such as: "
    )
    with pytest.raises(DataError) as error:
        read_labels("my cover.tif", scene)
    assert f": {words}{way}labels-on-scene.tif" in str(error.value)


def test_for_a_rotated_scene_the_way_is_another(tmp_path):
    rotated = grid(place=(8.0, 6.0, 500_000.0, 6.0, -8.0, 5_000_200.0))
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0)
    with pytest.raises(DataError, match=r"with rasterio\.warp\.reproject and Resampling\.nearest$"):
        read_labels(path, rotated)
    with pytest.warns(NotGeoreferencedWarning):
        path = write_raster(tmp_path / "plain.tif", cover(), crs=None, place=NO_PLACE)
    with pytest.raises(DataError, match=r"write its crs and transform to them with rasterio$"):
        read_labels(path, rotated)


def test_a_raster_without_labels_is_refused(tmp_path):
    path = write_raster(tmp_path / "cover.tif", 0 * cover())
    with pytest.raises(DataError, match=r"cover\.tif: no pixel has a label: all are 0 or nodata$"):
        read_labels(path, GRID)


# Values.


class Counting:
    """A scene that remembers the windows it was asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.read_pixels = scene, 0
        self.bands, self.grid, self.block = scene.bands, scene.grid, scene.block

    def read(self, rows: slice, columns: slice) -> Any:
        self.read_pixels += (rows.stop - rows.start) * (columns.stop - columns.start)
        return self.scene.read(rows, columns)


def test_values_are_those_of_the_pixels_and_little_else_is_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (3, 900, 700), dtype="int16")
    path = write_raster(
        tmp_path / "s.tif", values, nodata=7, tiled=True, blockxsize=64, blockysize=64
    )
    rows, columns = np.array([899, 0, 5, 5, 899]), np.array([3, 3, 699, 698, 4])
    expected = values[:, rows, columns].T.astype(float)
    expected[expected == 7] = np.nan
    with open_scene(path) as scene:
        counting = Counting(scene)
        np.testing.assert_array_equal(take_pixels(counting, rows, columns), expected)
    assert counting.read_pixels == 5


@pytest.mark.skipif(not LANDSAT.is_dir(), reason="NC Landsat is not here")
@pytest.mark.parametrize(
    ("name", "pixels", "classes"),
    [("labelled_pixels.tif", 2872, 7), ("points.shp", 883, 7), ("polygons.shp", 2264, 7)],
)
def test_the_three_labels_of_north_carolina(name, pixels, classes):
    with open_scene(sorted(LANDSAT.glob("lsat7_2000_*.tif"))) as scene:
        got = read_labels(LANDSAT / f"landsat96_{name}", scene.grid, target="label")
        values = take_pixels(scene, got.rows, got.columns)
    assert (len(got), len(set(got.labels.tolist()))) == (pixels, classes)
    assert values.shape == (pixels, 6)
    assert np.isnan(values).all(axis=1).mean() < 0.2
