"""Labels of pixels from points and polygons, every rule and every refusal."""

import numpy as np
import pytest
import shapely
from shapely import MultiPoint, MultiPolygon, Point, box

from labelled_scenes import grid, labels_found, write_shapes
from pointwise.data.pixel_labels import read_labels
from pointwise.errors import DataError, DataWarning

GRID = grid()


# Points.


@pytest.mark.parametrize("name", ["points.gpkg", "points.shp", "points.geojson"])
def test_points_label_the_pixels_that_they_lie_in(name, tmp_path):
    points = [Point(0, 0), Point(4.99, 3.01), Point(23.5, 19.9)]
    kinds = ["water", "forest", "water"]
    to = "EPSG:4326" if name.endswith("json") else None
    path = write_shapes(tmp_path / name, points, id=[7, 8, 9], cover=kinds, to=to)
    got = read_labels(path, GRID)
    assert (got.target, got.source) == ("cover", f"{path}, points and polygons")
    assert labels_found(path) == {(0, 0): "water", (3, 4): "forest", (19, 23): "water"}
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
    assert labels_found(path, on=grid(place=PLACES[name])) == {(3, 4): 1, (6, 10): 2, (6, 11): 2}


def test_points_in_another_crs_are_brought_to_the_scenes(tmp_path):
    points = [Point(4.5, 3.5), Point(20.5, 17.5)]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=["a", "b"], to="EPSG:4326")
    assert labels_found(path) == {(3, 4): "a", (17, 20): "b"}
    note = f"{path}: brought from EPSG:4326 to the scene's CRS, EPSG:32632"
    assert read_labels(path, GRID).notes == (note,)


@pytest.mark.parametrize("lacking", ["points", "scene"])
def test_a_crs_that_one_lacks_is_that_of_the_other(lacking, tmp_path):
    crs = None if lacking == "points" else "EPSG:32632"
    path = write_shapes(tmp_path / "p.shp", [Point(4.5, 3.5)], cover=["a"], crs=crs)
    on = GRID if lacking == "points" else grid(crs=None)
    names = (str(path), "scene.tif") if lacking == "points" else ("scene.tif", str(path))
    with pytest.warns(DataWarning) as warned:
        assert labels_found(path, on=on, scene_name="scene.tif") == {(3, 4): "a"}
    text = f"{names[0]}: has no CRS: taken to be that of {names[1]}"
    assert [str(one.message) for one in warned] == [text]


def test_points_without_any_crs_are_taken_as_they_are(tmp_path):
    path = write_shapes(tmp_path / "p.shp", [Point(4.5, 3.5)], cover=["a"], crs=None)
    assert labels_found(path, on=grid(crs=None)) == {(3, 4): "a"}


def test_what_is_left_out_is_counted(tmp_path):
    points = [Point(-0.1, 3), Point(24, 3), Point(2, 20), Point(1, 1), Point(2, 2), None]
    kinds = ["a", "a", "b", "a", None, "b"]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=kinds)
    got = read_labels(path, GRID)
    assert labels_found(path) == {(1, 1): "a"}
    assert got.notes == (
        f"{path}: 1 shape with no cover: left out",
        f"{path}: 1 shape with no place: left out",
        f"{path}: 3 points and polygons outside of the scene: left out",
    )


def test_empty_text_is_no_label(tmp_path):
    path = write_shapes(tmp_path / "p.gpkg", [Point(1, 1), Point(2, 2)], cover=["", "b"])
    assert labels_found(path) == {(2, 2): "b"}


def test_whole_numbers_with_gaps_are_whole(tmp_path):
    points = [Point(1, 1), Point(2, 2), Point(3, 3)]
    path = write_shapes(tmp_path / "p.shp", points, code=[3.0, None, 5.0])
    assert labels_found(path) == {(1, 1): 3, (3, 3): 5}
    assert read_labels(path, GRID).labels.dtype == np.int64


def test_parts_of_a_multipoint_are_apart(tmp_path):
    shapes = [MultiPoint([(1.5, 1.5), (9.5, 9.5)]), MultiPoint([(5.5, 5.5)])]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b"])
    assert labels_found(path) == {(1, 1): "a", (9, 9): "a", (5, 5): "b"}
    assert read_labels(path, GRID).groups.tolist() == [0, 2, 1]


def test_a_pixel_with_the_same_label_twice_counts_once_and_one_with_two_not_at_all(tmp_path):
    points = [Point(1.2, 1.2), Point(1.8, 1.8), Point(5, 5), Point(5.5, 5.5), Point(7, 7)]
    path = write_shapes(tmp_path / "p.gpkg", points, cover=["a", "a", "a", "b", "b"])
    assert labels_found(path) == {(1, 1): "a", (7, 7): "b"}
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
    assert labels_found(path, average=average) == expected
    how = "left out" if (1, 1) not in expected else "their mean is taken"
    notes = read_labels(path, GRID, average=average).notes
    assert notes == (f"{path}: 1 pixel has labels that differ: {how}",)


# Polygons.


def test_polygons_label_the_pixels_whose_centres_they_cover(tmp_path):
    shapes = [box(2.4, 3.4, 4.6, 4.6), box(10.6, 10.6, 11.4, 11.6), box(-3, 17.5, 2, 40)]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b", "c"])
    first = {(row, column): "a" for row in (3, 4) for column in (2, 3, 4)}
    last = {(row, column): "c" for row in (18, 19) for column in (0, 1)}
    got = labels_found(path)
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
    assert set(labels_found(path)) == set(places)


def test_large_polygons_are_gone_through_in_strips(tmp_path, monkeypatch):
    path = write_shapes(tmp_path / "p.gpkg", [box(2, 1, 20, 19)], cover=["a"])
    whole = labels_found(path)
    monkeypatch.setattr("pointwise.data.pixel_labels.shapes._STRIP", 40)
    assert labels_found(path) == whole
    assert len(whole) == 18 * 18


def test_pixels_under_two_polygons_of_different_labels_have_none(tmp_path):
    shapes = [box(0, 0, 4, 2), box(2, 0, 6, 2), box(0, 0, 1, 1)]
    path = write_shapes(tmp_path / "p.gpkg", shapes, cover=["a", "b", "a"])
    left = {(row, column): "a" for row in (0, 1) for column in (0, 1)}
    right = {(row, column): "b" for row in (0, 1) for column in (4, 5)}
    assert labels_found(path) == left | right
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
    assert labels_found(path, target="id") == {(1, 1): 1}


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
    assert labels_found(path, target="cover") == {(0, 0): "a"}
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
