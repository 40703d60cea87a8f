"""Labelled pixels to rows, spatial blocks, and the study of a scene."""

import re

import numpy as np
import pytest
from shapely import Point, box

from labelled_scenes import LANDSAT, patches, write_raster, write_shapes
from pointwise.data.scenes import open_scene
from pointwise.errors import DataError, DataWarning
from pointwise.studies.holdout import hold_out
from pointwise.studies.parts import Part
from pointwise.studies.rasters import BLOCK, labelled_table, study_raster
from pointwise.studies.spatial_blocks import (
    SpatialBlocks,
    describe_blocks,
    hold_blocks,
    make_blocks,
)
from pointwise.studies.spatial_flattery import compare_holdouts
from pointwise.studies.tables import Options

QUICK = Options(members=1, time_limit=1.0)


@pytest.fixture
def scene(tmp_path):
    """A scene of two named bands, a corner without values, and its classes."""
    bands, cover = patches()
    bands[:, :5, :5] = -1
    bands[1, 7, 7] = -1
    path = write_raster(tmp_path / "scene.tif", bands, nodata=-1, names=["red", "nir"])
    return path, bands, write_raster(tmp_path / "cover.tif", cover, nodata=0), cover


@pytest.fixture
def alone(monkeypatch):
    """The study without the other models, which have tests of their own."""
    monkeypatch.setattr("pointwise.studies.tables.fit_baselines", lambda *_, **__: iter(()))
    monkeypatch.setattr("pointwise.studies.rasters.compare_holdouts", lambda *_: None)


# Rows.


def test_rows_are_the_values_of_the_labelled_pixels(scene):
    path, bands, labels, cover = scene
    table = labelled_table(path, labels)
    assert list(table.frame.columns) == ["red", "nir"]
    assert table.target == "cover"
    rows, columns = table.pixels.rows, table.pixels.columns
    expected = bands[:, rows, columns].T.astype(float)
    expected[expected == -1] = np.nan
    np.testing.assert_array_equal(table.frame.to_numpy(), expected)
    np.testing.assert_array_equal(table.labels, cover[rows, columns])
    assert len(table.labels) == 3600 - 25  # the corner has no value in any band
    assert table.frame["nir"].isna().sum() == 1
    assert table.notes == ("25 labelled pixels without a value in any band: left out",)
    np.testing.assert_array_equal(table.groups, table.blocks.numbers)


def test_an_open_scene_and_files_of_single_bands_do_too(scene, tmp_path):
    path, bands, labels, _ = scene
    files = [
        write_raster(tmp_path / f"b{number}.tif", band, nodata=-1)
        for number, band in enumerate(bands)
    ]
    whole = labelled_table(path, labels)
    apart = labelled_table(files, labels)
    assert list(apart.frame.columns) == ["b0", "b1"]
    np.testing.assert_array_equal(apart.frame.to_numpy(), whole.frame.to_numpy())
    with open_scene(path) as opened:
        again = labelled_table(opened, labels)
        opened.read(slice(0, 1), slice(0, 1))  # still open
    np.testing.assert_array_equal(again.labels, whole.labels)


def test_bands_without_names_are_numbered(scene, tmp_path):
    _, bands, labels, _ = scene
    path = write_raster(tmp_path / "plain.tif", bands, nodata=-1)
    assert list(labelled_table(path, labels).frame.columns) == ["band_1", "band_2"]
    path = write_raster(tmp_path / "half.tif", bands, nodata=-1, names=["", "band_1"])
    assert list(labelled_table(path, labels).frame.columns) == ["unnamed_band_1", "band_1"]


@pytest.mark.parametrize("strange", [np.inf, -1.7976931348623157e308])
def test_what_a_map_takes_for_missing_is_missing_in_rows_too(strange, scene, tmp_path):
    _, bands, labels, _ = scene
    bands = bands.astype("float64")
    bands[1, 30, 31] = strange
    path = write_raster(tmp_path / "strange.tif", bands, nodata=-1, names=["red", "nir"])
    table = labelled_table(path, labels)
    at = (table.pixels.rows == 30) & (table.pixels.columns == 31)
    assert table.frame["nir"].isna().sum() == 2
    assert np.isnan(table.frame["nir"][at].item())
    assert table.notes[0] == (
        "1 labelled pixel is infinite or too large for float32 in nir: taken for missing there"
    )


def test_a_target_called_like_a_band_gets_another_name(scene, tmp_path):
    path = scene[0]
    points = [Point(10 + 4 * k % 49, 10 + k % 50) for k in range(60)]
    labels = write_shapes(tmp_path / "p.gpkg", points, red=[f"{k % 2}" for k in range(60)])
    assert labelled_table(path, labels).target == "red label"


def test_of_very_many_pixels_some_are_drawn(scene, monkeypatch):
    monkeypatch.setattr("pointwise.studies.rasters.MOST_ROWS", 500)
    path, _, labels, cover = scene
    table = labelled_table(path, labels, seed=3)
    assert table.notes[0] == "of 3,600 labelled pixels 500 are drawn at random"
    assert len(table.labels) <= 500
    np.testing.assert_array_equal(table.labels, cover[table.pixels.rows, table.pixels.columns])


def test_labels_where_the_scene_has_no_value_are_refused(scene, tmp_path):
    path = scene[0]
    labels = write_shapes(tmp_path / "p.gpkg", [Point(1, 1), Point(3, 3)], cover=["a", "b"])
    with pytest.raises(DataError) as error:
        labelled_table(path, labels)
    assert str(error.value) == (
        f"none of the 2 labelled pixels of {labels} has a value in any band of the scene: do "
        "labels and scene lie at the same place?"
    )


# Blocks.


def test_blocks_are_squares_of_the_scene():
    rows, columns = np.divmod(np.arange(30 * 40), 40)
    blocks = make_blocks(rows, columns, np.full(1200, -1), side=10)
    assert (blocks.side, blocks.count) == (10, 12)
    np.testing.assert_array_equal(blocks.numbers, rows // 10 * 4 + columns // 10)


def test_the_side_is_the_largest_with_enough_blocks():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 5000, (2, 4000))
    none = np.full(4000, -1)
    blocks = make_blocks(rows, columns, none)
    assert 25 <= blocks.count <= 49
    assert make_blocks(rows, columns, none, side=int(blocks.side / 0.85) + 1).count < 25


def test_polygons_stay_whole_and_larger_ones_are_cut():
    # Two polygons of 6 x 6 pixels across the border of a block, and one of 30 x 6.
    rows, columns = np.divmod(np.arange(6 * 42), 42)
    shapes = np.where(columns < 6, 0, np.where(columns < 12, 1, 2))
    blocks = make_blocks(rows, columns, shapes, side=8)
    of = [np.unique(blocks.numbers[shapes == number]) for number in range(3)]
    assert [len(found) for found in of] == [1, 1, 5]
    large = shapes == 2
    np.testing.assert_array_equal(
        np.unique(columns[large] // 8, return_inverse=True)[1],
        np.unique(blocks.numbers[large], return_inverse=True)[1],
    )


@pytest.mark.parametrize(("count", "test", "least"), [(1, 0.0, 2), (2, 0.2, 3)])
def test_too_few_blocks_are_refused(count, test, least):
    blocks = SpatialBlocks(np.arange(20) % count, 10)
    with pytest.raises(DataError) as error:
        hold_blocks(blocks, np.arange(20) % 2, valid=0.15, test=test, seed=0)
    assert str(error.value) == (
        f"labelled pixels must lie in {least} blocks at least to hold some out, they lie in "
        f"{count} of 10 x 10 pixels: give a smaller --block-size, or labels from more places"
    )


@pytest.mark.parametrize("test", [0.2, 0.0])
def test_the_seed_holds_out_what_was_looked_at(test):
    rng = np.random.default_rng(1)
    numbers = np.unique(rng.integers(0, 27, 900), return_inverse=True)[1]
    labels = np.where(numbers % 9 == 4, "rare", np.where(numbers % 2, "a", "b"))
    blocks = SpatialBlocks(numbers, 10)
    held = hold_blocks(blocks, labels, valid=0.15, test=test, seed=5)
    import pandas as pd

    part = Part(pd.DataFrame(index=range(900)), labels, numbers)
    split = hold_out(part, None, "classification", valid=0.15, test=test, seed=held.seed)
    for rows in (split.learn, split.valid, split.test):
        assert set(rows.y) == {"a", "b", "rare"}
    assert len(np.unique(split.test.groups)) == held.test
    assert not set(split.learn.groups) & set(split.test.groups)
    assert held.unscored == ()
    assert len(split.test.y) / 900 == pytest.approx(test or 0.15, abs=0.03)


def test_a_class_in_one_block_is_learnt_and_said():
    numbers = np.arange(300) // 10
    labels = np.where(numbers == 7, "sediment", np.where(numbers % 2, "a", "b"))
    blocks = SpatialBlocks(numbers, 4)
    held = hold_blocks(blocks, labels, valid=0.15, test=0.2, seed=0)
    assert held.unscored == ("sediment",)
    said = describe_blocks(blocks, held, held.unscored)
    assert said[0] == (
        "whole blocks of 4 x 4 pixels are held out, not pixels at random: neighbouring pixels "
        "resemble each other, so a model would be scored on what it has all but seen; 30 blocks "
        "hold labels, 6 of them are scored on"
    )
    assert said[1].startswith("blocks of 4 x 4 pixels keep few neighbours apart, so the figures ma")
    assert said[2] == (
        "the blocks that are scored on hold no pixel of sediment: the figures do not tell of it, "
        "labels from more places would"
    )


def test_numbers_are_spread_over_the_parts():
    numbers = np.arange(400) // 10
    values = numbers + np.linspace(0, 1, 400)  # rises across the scene
    blocks = SpatialBlocks(numbers, 10)
    held = hold_blocks(blocks, values, valid=0.15, test=0.2, seed=0)
    rng = np.random.RandomState(held.seed)
    tested = values[np.isin(numbers, rng.permutation(40)[:8])]
    assert set(np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), tested)) == set(range(5))


def test_classes_in_too_few_blocks_are_refused():
    numbers = np.arange(40) // 10  # a class for each block: some would be held out, unlearnt
    with pytest.raises(DataError) as error:
        hold_blocks(SpatialBlocks(numbers, 9), numbers, valid=0.15, test=0.2, seed=0)
    assert str(error.value) == (
        "labels lie in too few blocks (4 of 9 x 9 pixels) to learn all 4 classes and hold blocks "
        "out: give a smaller --block-size, or labels from more places"
    )


def test_random_pixels_flatter_where_neighbours_are_alike():
    import pandas as pd

    bands, cover = patches(side=100)
    rows, columns = np.divmod(np.arange(0, 10_000, 7), 100)
    x = pd.DataFrame(bands[1:, rows, columns].T)  # this band tells the patch, not the class
    blocks = make_blocks(rows, columns, np.full(len(rows), -1), side=20)
    said = compare_holdouts(x, cover[rows, columns], blocks.numbers)
    assert said is not None
    easy, fair = (float(one) for one in re.findall(r"([0-9.]+)%", said))
    assert easy > fair + 10
    assert said.endswith("of the same pixels in five folds: so much would random pixels flatter")
    rng = np.random.default_rng(0)
    anywhere = pd.DataFrame({"a": rng.uniform(size=500)})
    said = compare_holdouts(anywhere, 3 * anywhere["a"].to_numpy(), np.arange(500) % 25)
    assert said is not None
    assert said.startswith("a random forest has an R2 of ")
    assert said.endswith("random pixels would flatter little here")


def test_few_blocks_are_not_compared():
    import pandas as pd

    x = pd.DataFrame({"a": np.arange(100.0)})
    assert compare_holdouts(x, np.arange(100) % 2, np.arange(100) // 20) is None


# Studies.


def test_a_study_holds_out_whole_blocks_and_says_why(scene, alone):
    path, _, labels, _ = scene
    said = []
    study = study_raster(path, labels, QUICK, block_size=10, say=said.append)
    table = labelled_table(path, labels, block_size=10)
    assert study.task == "classification"
    assert study.targets == ("cover",)
    assert study.where == study.report.metrics_rows
    assert study.where.endswith(" test pixels in 7 whole blocks of 10 x 10 pixels")
    assert sum(study.report.rows.values()) == len(table.labels)
    assert [column.name for column in study.model.coding_.columns] == ["red", "nir"]
    held = hold_blocks(table.blocks, table.labels, valid=0.15, test=0.2, seed=0)
    tested = np.random.RandomState(held.seed).permutation(table.blocks.count)[:7]
    assert study.report.rows["test"] == np.isin(table.groups, tested).sum()
    why = next(line for line in said if line.startswith("whole blocks of 10 x 10 pixels are held"))
    assert why in study.report.warnings
    assert said[0] == "25 labelled pixels without a value in any band: left out"
    assert said[1:4] == [
        f"3,575 labelled pixels from {labels}, a raster; classification of cover from",
        "  red",
        "  nir, 1 missing",
    ]
    assert not any(BLOCK in line for line in said)


def test_a_study_of_numbers_takes_means_and_drops_bands(scene, alone, tmp_path):
    path, bands, _, _ = scene
    rng = np.random.default_rng(0)
    places = rng.uniform(5, 60, (300, 2))
    noise = 0.01 * rng.normal(size=300)  # two points in one pixel are never the same
    values = [float(bands[0, int(y), int(x)]) for x, y in places] + noise
    labels = write_shapes(tmp_path / "p.gpkg", [Point(*place) for place in places], carbon=values)
    said = []
    study = study_raster(path, labels, QUICK, drop=["nir"], say=said.append)
    assert (study.task, study.targets) == ("regression", ("carbon",))
    assert [column.name for column in study.model.coding_.columns] == ["red"]
    assert study.report.title == "scene.tif"
    assert any(line.endswith("labels that differ: their mean is taken") for line in said)


def test_a_missing_crs_is_said_not_warned_of(scene, alone, tmp_path):
    path = scene[0]
    points = [Point(5.5 + k % 50, 5.5 + 7 * k % 53) for k in range(200)]
    kinds = [f"{k % 2}" for k in range(200)]
    labels = write_shapes(tmp_path / "p.shp", points, kind=kinds, crs=None)
    said = []
    study = study_raster(path, labels, QUICK, say=said.append)
    note = f"{labels}: has no CRS: taken to be that of {path}"
    assert note in said
    assert note in study.report.warnings
    with pytest.warns(DataWarning, match="has no CRS: taken to be that of"):
        labelled_table(path, labels)


def test_a_class_of_one_polygon_is_learnt_but_not_scored(scene, alone, tmp_path):
    path = scene[0]
    spots = [(6 + 9 * k % 50, 6 + 9 * (k // 6)) for k in range(30)]
    shapes = [box(x, y, x + 3, y + 3) for x, y in spots]
    kinds = ["rock" if k == 11 else "ab"[k % 2] for k in range(30)]
    labels = write_shapes(tmp_path / "p.gpkg", shapes, kind=kinds)
    study = study_raster(path, labels, QUICK)
    assert list(study.model.classes_) == ["a", "b", "rock"]
    assert any("hold no pixel of rock" in line for line in study.report.warnings)


def test_groups_and_times_are_for_tables(scene):
    path, _, labels, _ = scene
    with pytest.raises(
        DataError, match=r"^rasters are held out by spatial blocks: give neither gr"
    ):
        study_raster(path, labels, Options(groups="red"))
    with pytest.raises(DataError, match="no --drop column 'rde': did you mean 'red'"):
        study_raster(path, labels, QUICK, drop=["rde"])


def test_text_is_no_number_to_predict(scene, tmp_path):
    points = [Point(5.5 + k % 50, 5.5 + 7 * k % 53) for k in range(40)]
    labels = write_shapes(tmp_path / "p.gpkg", points, kind=["a", "b"] * 20)
    with pytest.raises(DataError, match=r"^target 'kind' must hold numbers for regression, holds"):
        study_raster(scene[0], labels, QUICK, task="regression")


@pytest.mark.skipif(not LANDSAT.is_dir(), reason="NC Landsat is not here")
@pytest.mark.parametrize("name", ["labelled_pixels.tif", "points.shp", "polygons.shp"])
def test_north_carolina_is_studied_from_all_three_labels(name, alone):
    files = sorted(LANDSAT.glob("lsat7_2000_*.tif"))
    target = None if name.endswith("tif") else "label"
    study = study_raster(files, LANDSAT / f"landsat96_{name}", QUICK, target=target)
    assert list(study.metrics) == ["accuracy", "log_loss", "roc_auc"]
    assert len(study.model.classes_) == 7
    assert study.model.coding_.columns[0].name == "lsat7_2000_10"
    pixels = {"labelled_pixels.tif": 2704, "points.shp": 751, "polygons.shp": 2121}
    assert sum(study.report.rows.values()) == pixels[name]
    assert study.report.rows["test"] / pixels[name] == pytest.approx(0.2, abs=0.06)
    why = next(line for line in study.report.warnings if line.startswith("whole blocks of "))
    assert 25 <= int(re.findall(r"; ([0-9]+) blocks hold labels", why)[0]) <= 40
