"""Labels of pixels: rasters, points and polygons, every rule and every refusal."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely import MultiPoint, MultiPolygon, Point, box

from labelled_scenes import LANDSAT, grid, write_raster, write_shapes
from pointwise.data.pixel_labels import read_labels
from pointwise.data.pixel_labels.thinning import Thinned
from pointwise.data.pixel_labels.values import take_pixels
from pointwise.data.scenes import Scene, open_scene
from pointwise.errors import DataError, DataWarning

GRID = grid()


def found(path: Path, **options: Any) -> dict[tuple[int, int], Any]:
    """The labels by row and column."""
    got = read_labels(path, options.pop("on", GRID), **options)
    assert len(got) == len(got.rows) == len(got.columns) == len(got.labels) == len(got.groups)
    places = zip(got.rows.tolist(), got.columns.tolist(), strict=True)
    return dict(zip(places, got.labels.tolist(), strict=True))


def cover(**pixels: Any) -> np.ndarray:
    values = np.zeros((20, 24), "uint8")
    values[3, 4], values[19, 23], values[3, 5] = 1, 2, 1
    return values


# Rasters.


def test_labels_of_a_raster_are_those_that_are_not_nodata(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0)
    got = read_labels(path, GRID)
    assert found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}
    assert (got.target, got.notes, got.labels.dtype) == ("cover", (), np.int64)
    assert got.groups.tolist() == [-1, -1, -1]
    assert got.source == f"{path}, a raster"


def test_zero_is_a_class_where_another_value_is_nodata(tmp_path):
    values = np.full((20, 24), 255, "uint8")
    values[0, 0], values[5, 6] = 0, 9
    path = write_raster(tmp_path / "cover.tif", values, nodata=255)
    assert found(path) == {(0, 0): 0, (5, 6): 9}


def test_zero_is_unlabelled_where_nothing_says_what_is(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover())
    assert found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}
    note = f"{path}: names no nodata value, so 0 is taken for unlabelled (477 pixels)"
    assert read_labels(path, GRID).notes == (note,)


def test_zero_is_a_class_where_nan_is_unlabelled(tmp_path):
    values = np.full((20, 24), np.nan, "float32")
    values[0, 1], values[7, 8] = 0, 3
    path = write_raster(tmp_path / "cover.tif", values)
    assert found(path) == {(0, 1): 0, (7, 8): 3}
    assert read_labels(path, GRID).labels.dtype == np.int64


def test_measured_values_stay_fractions(tmp_path):
    values = np.full((20, 24), -1, "float64")
    values[2, 2], values[2, 3] = 0.25, 4
    path = write_raster(tmp_path / "carbon.tif", values, nodata=-1)
    assert found(path, target="carbon per ha") == {(2, 2): 0.25, (2, 3): 4.0}
    assert read_labels(path, GRID, target="carbon per ha").target == "carbon per ha"


TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.mark.parametrize(
    ("most", "options"),
    [(24 * 3, {"blockysize": 2}), (300, TILES), (50, TILES), (5, {"blockysize": 20})],
    ids=["strips", "single tiles", "tiles that are cut", "strips that are cut"],
)
def test_large_rasters_are_gone_through_in_parts(most, options, tmp_path, monkeypatch):
    monkeypatch.setattr("pointwise.data.pixel_labels.raster._STRIP", most)
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, **options)
    assert found(path) == {(3, 4): 1, (3, 5): 1, (19, 23): 2}


def dense() -> np.ndarray:
    """Labels of nearly all pixels, of which one class is rare."""
    values = np.random.default_rng(0).integers(1, 4, (20, 24)).astype("uint8")
    values[0, :5], values[7, 7] = 0, 9
    return values


def test_of_many_labelled_pixels_some_are_drawn(tmp_path, monkeypatch):
    values = dense()
    path = write_raster(tmp_path / "cover.tif", values, nodata=0, **TILES)
    few = found(path, most=50, seed=3)
    assert len(few) == 50
    assert all(values[place] == label for place, label in few.items())
    assert read_labels(path, GRID, most=50, seed=3).notes == (
        "of 475 labelled pixels 50 are drawn at random",
        f"{path}: too rare to be among those drawn: 9",
    )
    assert found(path, most=50, seed=2) != few
    monkeypatch.setattr("pointwise.data.pixel_labels.raster._STRIP", 40)
    assert found(path, most=50, seed=3) == few  # in whatever parts it is read
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
    whole, few = found(path), found(path, most=200, seed=4)
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
    assert set(found(path, target="new").values()) == {3, 6}
    with pytest.raises(DataError, match=r"has 2 bands: name the one of the labels with --target: "):
        read_labels(path, GRID)
    with pytest.raises(DataError, match=r"--target: old, new; there is no 'mid'$"):
        read_labels(path, GRID, target="mid")


def test_a_raster_may_be_a_hair_off_the_scene(tmp_path):
    near = (10.0, 0.0, 500_000.4, 0.0, -10.0, 5_000_200.0)
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, place=near)
    assert len(found(path)) == 3


def test_a_raster_whose_crs_is_written_differently_is_the_same(tmp_path):
    same = "+proj=tmerc +lat_0=0 +lon_0=9 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, crs=same)
    assert len(found(path)) == 3


def test_a_raster_without_crs_is_taken_to_have_the_scenes(tmp_path):
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0, crs=None)
    with pytest.warns(DataWarning, match=f"^{re.escape(str(path))}: has no CRS: taken to be that"):
        assert len(found(path)) == 3


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


def test_for_a_rotated_scene_the_way_is_another(tmp_path):
    rotated = grid(place=(8.0, 6.0, 500_000.0, 6.0, -8.0, 5_000_200.0))
    path = write_raster(tmp_path / "cover.tif", cover(), nodata=0)
    with pytest.raises(DataError, match=r"with rasterio\.warp\.reproject and Resampling\.nearest$"):
        read_labels(path, rotated)


def test_a_raster_without_labels_is_refused(tmp_path):
    path = write_raster(tmp_path / "cover.tif", 0 * cover())
    with pytest.raises(DataError, match=r"cover\.tif: no pixel has a label: all are 0 or nodata$"):
        read_labels(path, GRID)


# Points.


@pytest.mark.parametrize("name", ["points.gpkg", "points.shp", "points.geojson"])
def test_points_label_the_pixels_that_they_lie_in(name, tmp_path):
    points = [Point(0, 0), Point(4.99, 3.01), Point(23.5, 19.9)]
    kinds = ["water", "forest", "water"]
    to = "EPSG:4326" if name.endswith("json") else None
    path = write_shapes(tmp_path / name, points, id=[7, 8, 9], cover=kinds, to=to)
    got = read_labels(path, GRID)
    assert (got.target, got.source) == ("cover", f"{path}, points and polygons")
    assert found(path) == {(0, 0): "water", (3, 4): "forest", (19, 23): "water"}
    assert got.groups.tolist() == [0, 1, 2]
    assert got.labels.dtype == object


PLACES = {
    "rotated": (8.0, 6.0, 500_000.0, 6.0, -8.0, 5_000_200.0),
    "south up": (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0),
}


@pytest.mark.parametrize("name", PLACES)
def test_rows_and_columns_are_right_on_any_grid(name, tmp_path):
    shapes = [Point(4.5, 3.5), box(10, 6, 12, 7)]
    path = write_shapes(tmp_path / "s.gpkg", shapes, cover=[1, 2], place=PLACES[name])
    assert found(path, on=grid(place=PLACES[name])) == {(3, 4): 1, (6, 10): 2, (6, 11): 2}


def test_points_in_another_crs_are_brought_to_the_scenes(tmp_path):
    points = [Point(4.5, 3.5), Point(20.5, 17.5)]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=["a", "b"], to="EPSG:4326")
    assert found(path) == {(3, 4): "a", (17, 20): "b"}
    note = f"{path}: brought from EPSG:4326 to the scene's CRS, EPSG:32632"
    assert read_labels(path, GRID).notes == (note,)


@pytest.mark.parametrize("lacking", ["points", "scene"])
def test_a_crs_that_one_lacks_is_that_of_the_other(lacking, tmp_path):
    crs = None if lacking == "points" else "EPSG:32632"
    path = write_shapes(tmp_path / "p.shp", [Point(4.5, 3.5)], cover=["a"], crs=crs)
    on = GRID if lacking == "points" else grid(crs=None)
    names = (str(path), "scene.tif") if lacking == "points" else ("scene.tif", str(path))
    with pytest.warns(DataWarning) as warned:
        assert found(path, on=on, scene_name="scene.tif") == {(3, 4): "a"}
    text = f"{names[0]}: has no CRS: taken to be that of {names[1]}"
    assert [str(one.message) for one in warned] == [text]


def test_points_without_any_crs_are_taken_as_they_are(tmp_path):
    path = write_shapes(tmp_path / "p.shp", [Point(4.5, 3.5)], cover=["a"], crs=None)
    assert found(path, on=grid(crs=None)) == {(3, 4): "a"}


def test_what_is_left_out_is_counted(tmp_path):
    points = [Point(-0.1, 3), Point(24, 3), Point(2, 20), Point(1, 1), Point(2, 2), None]
    kinds = ["a", "a", "b", "a", None, "b"]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=kinds)
    got = read_labels(path, GRID)
    assert found(path) == {(1, 1): "a"}
    assert got.notes == (
        f"{path}: 1 shape with no cover: left out",
        f"{path}: 1 shape with no place: left out",
        f"{path}: 3 points and polygons outside of the scene: left out",
    )


def test_empty_text_is_no_label(tmp_path):
    path = write_shapes(tmp_path / "p.gpkg", [Point(1, 1), Point(2, 2)], cover=["", "b"])
    assert found(path) == {(2, 2): "b"}


def test_whole_numbers_with_gaps_are_whole(tmp_path):
    points = [Point(1, 1), Point(2, 2), Point(3, 3)]
    path = write_shapes(tmp_path / "p.shp", points, code=[3.0, None, 5.0])
    assert found(path) == {(1, 1): 3, (3, 3): 5}
    assert read_labels(path, GRID).labels.dtype == np.int64


def test_parts_of_a_multipoint_are_apart(tmp_path):
    shapes = [MultiPoint([(1.5, 1.5), (9.5, 9.5)]), MultiPoint([(5.5, 5.5)])]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b"])
    assert found(path) == {(1, 1): "a", (9, 9): "a", (5, 5): "b"}
    assert read_labels(path, GRID).groups.tolist() == [0, 2, 1]


def test_a_pixel_with_the_same_label_twice_counts_once_and_one_with_two_not_at_all(tmp_path):
    points = [Point(1.2, 1.2), Point(1.8, 1.8), Point(5, 5), Point(5.5, 5.5), Point(7, 7)]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=["a", "a", "a", "b", "b"])
    assert found(path) == {(1, 1): "a", (7, 7): "b"}
    assert read_labels(path, GRID).notes == (f"{path}: 1 pixel has labels that differ: left out",)


MEANS = {
    "fractions": ([1.5, 2.5, 4.25], None, {(1, 1): 2.0, (5, 5): 4.25}),
    "whole numbers": ([1, 2, 4], None, {(5, 5): 4}),
    "whole numbers measured": ([1, 2, 4], True, {(1, 1): 1.5, (5, 5): 4.0}),
    "fractions as classes": ([1.5, 2.5, 4.25], False, {(5, 5): 4.25}),
}


@pytest.mark.parametrize("name", MEANS)
def test_numbers_that_differ_in_one_pixel_are_averaged_if_measured(name, tmp_path):
    numbers, average, expected = MEANS[name]
    points = [Point(1.2, 1.2), Point(1.8, 1.8), Point(5, 5)]
    path = write_shapes(tmp_path / "p.gpkg", points, carbon=numbers)
    assert found(path, average=average) == expected
    how = "left out" if (1, 1) not in expected else "their mean is taken"
    notes = read_labels(path, GRID, average=average).notes
    assert notes == (f"{path}: 1 pixel has labels that differ: {how}",)


# Polygons.


def test_polygons_label_the_pixels_whose_centres_they_cover(tmp_path):
    shapes = [box(2.4, 3.4, 4.6, 4.6), box(10.6, 10.6, 11.4, 11.6), box(-3, 17.5, 2, 40)]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b", "c"])
    first = {(row, column): "a" for row in (3, 4) for column in (2, 3, 4)}
    last = {(row, column): "c" for row in (18, 19) for column in (0, 1)}
    got = found(path)
    got = {place: label for place, label in got.items() if place[0] != 17}  # centres on the edge
    assert got == first | last
    note = "1 polygon without the centre of a pixel (smaller than one, or at the edge): left out"
    assert read_labels(path, GRID).notes == (f"{path}: {note}",)


def test_polygons_agree_with_their_definition(tmp_path):
    rng = np.random.default_rng(0)
    shape = shapely.convex_hull(MultiPoint(rng.uniform(-2, 22, (9, 2))))
    path = write_shapes(tmp_path / "p.gpkg", [shape], cover=["a"])
    rows, columns = np.divmod(np.arange(20 * 24), 24)
    inside = shapely.contains_xy(shape, columns + 0.5, rows + 0.5)
    places = zip(rows[inside].tolist(), columns[inside].tolist(), strict=True)
    assert set(found(path)) == set(places)


def test_large_polygons_are_gone_through_in_strips(tmp_path, monkeypatch):
    path = write_shapes(tmp_path / "p.gpkg", [box(2, 1, 20, 19)], cover=["a"])
    whole = found(path)
    monkeypatch.setattr("pointwise.data.pixel_labels.shapes._STRIP", 40)
    assert found(path) == whole
    assert len(whole) == 18 * 18


def test_pixels_under_two_polygons_of_different_labels_have_none(tmp_path):
    shapes = [box(0, 0, 4, 2), box(2, 0, 6, 2), box(0, 0, 1, 1)]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b", "a"])
    left = {(row, column): "a" for row in (0, 1) for column in (0, 1)}
    right = {(row, column): "b" for row in (0, 1) for column in (4, 5)}
    assert found(path) == left | right
    got = read_labels(path, GRID)
    assert got.notes == (f"{path}: 4 pixels have labels that differ: left out",)
    assert got.groups.tolist() == [0, 0, 1, 1] * 2


def test_parts_of_a_multipolygon_are_apart(tmp_path):
    shape = MultiPolygon([box(0, 0, 1, 1), box(8, 8, 9, 9)])
    path = write_shapes(tmp_path / "p.gpkg", [shape, box(4, 4, 5, 5)], cover=["a", "b"])
    assert read_labels(path, GRID).groups.tolist() == [0, 2, 1]


# Refusals of points and polygons.


def test_the_target_is_named_where_it_is_not_clear(tmp_path):
    path = write_shapes(tmp_path / "p.gpkg", [Point(1, 1)], id=[1], cover=["a"], age=[3])
    message = r"p\.gpkg: name the attribute with the labels with --target: it has id, cover, age$"
    with pytest.raises(DataError, match=message):
        read_labels(path, GRID)
    with pytest.raises(
        DataError, match=r"has no attribute 'height' \(--target\): it has id, cover, age$"
    ):
        read_labels(path, GRID, target="height")
    assert found(path, target="id") == {(1, 1): 1}


def test_all_outside_says_where_both_are(tmp_path):
    path = write_shapes(tmp_path / "p.gpkg", [Point(30, 3), Point(40, 5)], cover=["a", "b"])
    with pytest.raises(DataError) as error:
        read_labels(path, GRID, scene_name="scene.tif")
    assert str(error.value) == (
        f"{path}: none of its 2 points and polygons lies in the scene: they lie at x 500300 to "
        "500400, y 5000150 to 5000170, scene.tif at x 500000 to 500240, y 5000000 to 5000200, in "
        "the scene's CRS: is the CRS of one of them wrong?"
    )


BAD_SHAPES = {
    "lines": (
        [shapely.LineString([(0, 0), (3, 3)])],
        {"cover": ["a"]},
        "labels come from points and polygons, got LineString: buffer them",
    ),
    "specks": (
        [box(1.1, 1.1, 1.2, 1.2)],
        {"cover": ["a"]},
        "none of its polygons covers the centre of a pixel: draw them larger, or give points",
    ),
    "no labels": (
        [Point(1, 1), Point(2, 2)],
        {"cover": [None, ""]},
        "none of its 2 shapes has both cover and a place",
    ),
    "all differ": (
        [Point(1, 1), Point(1, 1)],
        {"cover": ["a", "b"]},
        "no pixel keeps a label: 1 pixel has labels that differ: left out",
    ),
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_shapes_that_label_nothing_are_refused(name, tmp_path):
    shapes, attributes, message = BAD_SHAPES[name]
    path = write_shapes(tmp_path / "p.gpkg", shapes, **attributes)
    with pytest.raises(DataError) as error:
        read_labels(path, GRID)
    assert str(error.value) == f"{path}: {message}"


def test_of_several_layers_the_one_with_the_target_is_read(tmp_path):
    import geopandas

    path = tmp_path / "p.gpkg"
    for layer, attribute in (("plots", "cover"), ("roads", "name")):
        frame = geopandas.GeoDataFrame(
            {attribute: ["a"]}, geometry=[Point(500_005, 5_000_195)], crs="EPSG:32632"
        )
        frame.to_file(path, layer=layer, engine="pyogrio")
    assert found(path, target="cover") == {(0, 0): "a"}
    with pytest.raises(
        DataError,
        match=r"several layers \(plots, roads\), of which none has the attribute of --target: ",
    ):
        read_labels(path, GRID)


def test_files_that_are_no_labels_are_refused(tmp_path):
    (tmp_path / "p.shp").write_bytes(b"no shapes")
    (tmp_path / "p.csv").write_text("x,y,cover\n")
    with pytest.raises(DataError, match=r"p\.shp: cannot be read as points or polygons: not such"):
        read_labels(tmp_path / "p.shp", GRID)
    with pytest.raises(DataError, match=r"p\.csv: labels of pixels are a raster, or points or pol"):
        read_labels(tmp_path / "p.csv", GRID)
    with pytest.raises(DataError, match=r"^no file of labels '.*p\.shq': did you mean '.*p\.shp'"):
        read_labels(tmp_path / "p.shq", GRID)


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
