"""``pointwise fit`` on scenes: what is a scene, what it writes, and every refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
from bad_input import Bad, assert_refused
from shapely import Point

from labelled_scenes import patches, write_raster, write_shapes
from pointwise.cli.fit_rasters import is_raster
from pointwise.estimators import load

QUICK = "--members 1 --time-limit 1 --out m"


def write_scene() -> None:
    """A scene of two bands, the same as a folder and as two files, and labels of it."""
    bands, cover = patches()
    write_raster("scene.tif", bands, names=["red", "nir"])
    Path("bands").mkdir()
    for name, band in zip(("red", "nir"), bands, strict=True):
        write_raster(f"bands/{name}.tif", band)
    write_raster("cover.tif", cover, nodata=0)
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 60, (400, 2))
    kinds = [["", "water", "forest"][cover[int(y), int(x)]] for x, y in places]
    numbers = list(range(400))
    shapes = [Point(*place) for place in places]
    write_shapes("points.gpkg", shapes, kind=kinds, count=numbers, to="EPSG:4326")


@pytest.fixture
def quick(monkeypatch, no_baselines) -> None:
    """No other models: they have tests of their own."""
    monkeypatch.setattr("pointwise.studies.rasters.compare_holdouts", lambda *_: None)


def test_a_scene_and_a_raster_of_labels_make_a_model(pointwise, quick):
    write_scene()
    ran = pointwise(f"fit scene.tif --labels cover.tif --block-size 10 {QUICK} --json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert (result["task"], result["target"]) == ("classification", ["cover"])
    assert result["metrics_rows"].endswith(" test pixels in 7 whole blocks of 10 x 10 pixels")
    assert list(result["metrics"]) == ["accuracy", "log_loss", "roc_auc"]
    assert "whole blocks of 10 x 10 pixels are held out, not pixels at random: " in ran.err
    assert "3,600 labelled pixels from cover.tif, a raster; classification of cover" in ran.err
    model = load("m")
    assert [column.name for column in model.coding_.columns] == ["red", "nir"]
    assert list(model.classes_) == [1, 2]
    assert sorted(path.name for path in Path().glob("m*")) == ["m"]
    report = json.loads(Path("m/report.json").read_text())
    assert report["title"] == "scene.tif"
    assert any("neighbouring pixels resemble each other" in line for line in report["warnings"])


@pytest.mark.parametrize("data", ["bands/red.tif bands/nir.tif", "bands"])
def test_several_files_or_a_folder_are_one_scene(data, pointwise, quick):
    write_scene()
    line = f"fit {data} --labels points.gpkg --target kind --drop nir {QUICK}"
    ran = pointwise(line)
    assert ran.code == 0, ran.err
    assert "kind: " in ran.out
    assert "test pixels in 5 whole blocks of " in " ".join(ran.out.split())
    assert "brought from EPSG:4326 to the scene's CRS, EPSG:32632" in ran.err
    model = load("m")
    assert [column.name for column in model.coding_.columns] == ["red"]
    assert list(model.classes_) == ["forest", "water"]


def test_labels_in_the_scene_s_folder_are_no_band_of_it(pointwise, quick):
    write_scene()
    Path("cover.tif").rename("bands/cover.tif")
    ran = pointwise(f"fit bands --labels bands/cover.tif {QUICK}")
    assert ran.code == 0, ran.err
    assert "bands: cover.tif holds the labels: left out of the scene\n" in ran.err
    assert [column.name for column in load("m").coding_.columns] == ["nir", "red"]


def test_a_band_of_the_scene_may_be_the_labels_if_it_is_dropped(pointwise, quick):
    write_scene()
    bands, cover = patches()
    write_raster("all.tif", np.stack([*bands, cover]), names=["red", "nir", "kind"])
    ran = pointwise(f"fit all.tif --labels all.tif --target kind --drop kind {QUICK}")
    assert ran.code == 0, ran.err
    assert [column.name for column in load("m").coding_.columns] == ["red", "nir"]


@pytest.mark.parametrize("drop", ["", "--drop band_1"])
def test_a_model_maps_the_scene_that_it_was_fitted_on_though_bands_have_no_names(
    drop, pointwise, quick
):
    write_scene()
    write_raster("plain.tif", patches()[0])
    data = "plain.tif bands/red.tif"
    ran = pointwise(f"fit {data} --labels cover.tif {drop} {QUICK}")
    assert ran.code == 0, ran.err
    ran = pointwise(f"predict m {data} --out map.tif")
    assert ran.code == 0, ran.err
    taken = "band_2" if drop else "band_1, band_2"
    assert ran.err.endswith(f"are taken by their place in the scene: {taken}\n")


def test_the_model_is_named_after_the_first_file(pointwise, quick):
    write_scene()
    line = "fit bands/red.tif bands/nir.tif --labels cover.tif --members 1 --time-limit 1"
    assert pointwise(line).code == 0
    assert (Path("red-model") / "config.json").is_file()


BAD = {
    "no labels": Bad(
        "fit scene.tif --target kind",
        "scene.tif is a raster: name its labelled pixels with --labels, a raster on the same "
        r"pixels, or points or polygons \(.shp, .gpkg, .geojson\)",
        write_scene,
    ),
    "labels are not there": Bad(
        "fit scene.tif --labels point.gpkg",
        "no file of labels 'point.gpkg': did you mean 'points.gpkg'",
        write_scene,
    ),
    "target unclear": Bad(
        "fit scene.tif --labels points.gpkg",
        "points.gpkg: name the attribute with the labels with --target: it has kind, count",
        write_scene,
    ),
    "options of tables and images": Bad(
        "fit scene.tif --labels cover.tif --groups a --separator , --epochs 3",
        "--groups, --separator, --epochs: for tables or images only, scene.tif is a raster",
        write_scene,
    ),
    "blocks too large": Bad(
        "fit scene.tif --labels cover.tif --block-size 60",
        "labelled pixels must lie in 3 blocks at least to hold some out, they lie in 1 of 60 x 60 "
        "pixels: give a smaller --block-size",
        write_scene,
    ),
    "validation rows of a file": Bad(
        "fit scene.tif --labels cover.tif --valid houses.csv",
        "--valid of a scene must be a share between 0 and 1, got houses.csv",
        write_scene,
    ),
    "band to drop": Bad(
        "fit scene.tif --labels cover.tif --drop blue",
        "the table has no --drop column 'blue'",
        write_scene,
    ),
    "variable of a GeoTIFF": Bad(
        "fit scene.tif --labels cover.tif --variable t",
        "scene.tif: variable='t' can be given for NetCDF, HDF5 and Zarr only",
        write_scene,
    ),
    "labels that are a file of the scene": Bad(
        "fit bands/red.tif cover.tif --labels ./cover.tif --target kind",
        "cover.tif: is given both as labels and as a file of the scene, so that the model would "
        "see what it is to predict: leave it out of the scene, or --drop cover$",
        write_scene,
    ),
    "labels that are a band of the scene": Bad(
        "fit scene.tif --labels scene.tif --target nir",
        "scene.tif: is given both as labels .*, or --drop nir$",
        write_scene,
    ),
    "several tables": Bad(
        "fit houses.csv scene.tif --target price",
        r"tables and images are one DATA, got 2 \(houses.csv, scene.tif\): several are for the "
        r"bands of a scene \(.tif, .tiff, .vrt, ...\)",
        write_scene,
    ),
    "a block size of a table": Bad(
        "fit houses.csv --target price --block-size 5",
        "--block-size: for scenes only, houses.csv is no raster",
    ),
    "task": Bad(
        "fit scene.tif --labels cover.tif --task classify",
        "must be regression or classification, got 'classify'",
        write_scene,
        code=2,
    ),
    "scene is not there": Bad(
        "fit scen.tif --labels cover.tif", "scen.tif: there is no such file", write_scene
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals(name, pointwise):
    assert_refused(BAD[name], pointwise)


def images_by_class(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()


KINDS: dict[str, tuple[list[str], str | None, bool]] = {
    "GeoTIFF": (["a.TIF"], None, True),
    "NetCDF": (["a.nc"], None, True),
    "Zarr folder": (["a.zarr"], None, True),
    "pictures with labels of pixels": (["a.png", "b.png"], "labels.tif", True),
    "table": (["a.csv"], None, False),
    "idx file with its labels": (["a-ubyte"], "b-ubyte", False),
    "bundled": (["iris"], None, False),
    "folder of images by class": (["classes"], None, False),
    "folder of images with a table of labels": (["tiffs"], "labels.csv", False),
    "folder of tiffs without labels": (["tiffs"], None, False),
    "folder of tiffs with labels of pixels": (["tiffs"], "labels.shp", True),
    "folder of images by class with labels of pixels": (["classes"], "labels.shp", False),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_a_scene(name, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("classes", "tiffs", "a.zarr"):
        Path(folder).mkdir()
    images_by_class(Path("classes"))
    Path("tiffs/b1.tif").touch()
    data, labels, expected = KINDS[name]
    assert is_raster(data, labels and Path(labels)) is expected
