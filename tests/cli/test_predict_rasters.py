"""``pointwise predict`` over rasters: the map of a scene, its legend, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from bad_input import Bad, assert_refused
from PIL import Image
from rasterio import Affine

from pointwise.cli import maps
from pointwise.data.scenes import open_scene
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, load, save
from pointwise.maps.arrays import map_array
from pointwise.maps.colours import map_colour
from pointwise.maps.files import map_files

BANDS = ("red", "nir", "swir")
ROWS, COLUMNS = 41, 53


def scene():
    """Three bands, with a corner that has no data and a pixel that lacks one band."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 200, (3, ROWS, COLUMNS)).astype(np.uint8)
    values[:, :5, :7] = 0
    values[1, 20, 20] = 0
    return values


def training():
    """Rows of every pixel that has all bands, their classes, and two numbers."""
    values = scene()
    table = pd.DataFrame(values.reshape(3, -1).T, columns=BANDS)
    table = table[(table > 0).all(axis=1)]
    cover = np.where(table["nir"] > 120, "forest", np.where(table["red"] > 100, "town", "lake"))
    return table, cover, np.stack([table["nir"] / 10, table["red"] - 50.0], 1)


@pytest.fixture(scope="session")
def raster_models(tmp_path_factory):
    """Folders ``cover``, ``codes`` (whose classes are 3, 5 and 9), ``volume`` and ``two``."""
    folder = tmp_path_factory.mktemp("raster_models")
    size = {"members": 2, "hidden": (8,), "max_epochs": 3, "random_state": 0}
    x, cover, numbers = training()
    codes = pd.Series(cover).map({"forest": 9, "lake": 3, "town": 5}).to_numpy()
    save(PointwiseClassifier(**size).fit(x, cover), folder / "cover", targets=["cover"])
    save(PointwiseClassifier(**size).fit(x, codes), folder / "codes", targets=["code"])
    volume = PointwiseRegressor(**size).fit(x, numbers[:, 0])
    save(volume.calibrate(x, numbers[:, 0]), folder / "volume", targets=["volume"])
    save(PointwiseRegressor(**size).fit(x, numbers), folder / "two", targets=["volume", "age"])
    return folder


def write_raster(path, values, names=BANDS, nodata=0):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=ROWS,
        width=COLUMNS,
        dtype=values.dtype,
        nodata=nodata,
        crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as out:
        out.write(values)
        out.descriptions = names


@pytest.fixture
def run(pointwise, raster_models):
    """Run a command where ``scene.tif``, its single bands and the models are."""
    for model in ("cover", "codes", "volume", "two"):
        shutil.copytree(raster_models / model, model)
    write_raster("scene.tif", scene())
    for name, band in zip(BANDS, scene(), strict=True):
        write_raster(f"{name}.tif", band[None], (None,))
    return pointwise


def read(path="map.tif"):
    with rasterio.open(path) as file:
        return file.read()


def expected(model, **options):
    """The map of the scene's array."""
    return map_array(load(model), scene(), nodata=0, bands=BANDS, **options)


def test_a_class_map_is_that_of_the_array_and_every_class_is_counted(run):
    ran = run("predict cover scene.tif --out map.tif")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(read()[0], expected("cover"))
    lines = [line.split() for line in ran.out.splitlines()]
    rows = {line[1]: line for line in lines if line[1:2] and line[1].isdecimal()}
    counts = np.bincount(read().ravel(), minlength=4)
    for code, name in enumerate(("forest", "lake", "town"), 1):
        share = 100 * counts[code] / counts[1:].sum()
        row = [code, name, f"{counts[code]:,}", f"{share:.1f}", "%"]
        assert [cell for cell in rows[str(code)] if cell != "│"] == [str(cell) for cell in row]
    last = ran.out.splitlines()[-1]
    assert last.startswith("53 x 41 pixels, 36 without data, ")
    assert last.endswith(" Mpx/s: map.tif")
    assert ran.err == ""


def test_json_says_what_the_map_holds(run):
    ran = run("predict codes scene.tif --out map.tif --preview map.png --json")
    said = json.loads(ran.out)
    assert said.pop("seconds") > 0
    assert said.pop("megapixels_per_second") > 0
    counts = np.bincount(read().ravel(), minlength=10)
    valid = counts[1:].sum()
    assert said == {
        "out": "map.tif",
        "width": COLUMNS,
        "height": ROWS,
        "bands": ["class"],
        "nodata": 0,
        "nodata_pixels": 36,
        "classes": [
            {"code": code, "class": code, "pixels": counts[code], "share": counts[code] / valid}
            for code in (3, 5, 9)
        ],
        "preview": "map.png",
    }


def test_the_preview_shows_the_classes_in_the_colours_of_the_map(run):
    ran = run("predict cover scene.tif --out map.tif --preview map.png")
    assert ran.out.splitlines()[-1] == "preview: map.png"
    with Image.open("map.png") as picture:
        assert picture.width == 1200
        found = dict(map(reversed, picture.getcolors(1 << 20)))
    counts = np.bincount(read().ravel(), minlength=4)[1:]
    drawn = np.array([found[map_colour(place)] for place in range(3)])
    np.testing.assert_allclose(drawn / drawn.sum(), counts / counts.sum(), atol=0.01)


@pytest.mark.parametrize(
    ("line", "names", "options"),
    [
        ("cover --proba", ["proba_forest", "proba_lake", "proba_town"], {"output": "proba"}),
        (
            "cover --proba --spread",
            [f"proba_{c}{s}" for s in ("", "_spread") for c in ("forest", "lake", "town")],
            {"output": "proba", "spread": True},
        ),
        ("volume", ["volume"], {}),
        ("volume --spread", ["volume", "volume_spread"], {"spread": True}),
        (
            "volume --interval 0.9",
            ["volume", "volume_low", "volume_high"],
            {"interval": 0.9},
        ),
        ("two --nodata -1", ["volume", "age"], {"out_nodata": -1}),
    ],
    ids=["shares", "shares and spread", "numbers", "numbers and spread", "ends", "two targets"],
)
def test_bands_of_numbers_are_those_of_the_array(line, names, options, run):
    model, _, rest = line.partition(" ")
    ran = run(f"predict {model} scene.tif --out map.tif {rest} --preview map.png")
    assert ran.code == 0, ran.err
    with rasterio.open("map.tif") as file:
        assert list(file.descriptions) == names
        assert set(file.dtypes) == {"float32"}
        assert file.tags().get("POINTWISE_COVERAGE") == ("0.9" if "interval" in options else None)
    found, wanted = read(), expected(model, **options)
    np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-5, atol=1e-5)
    first = f"bands: {', '.join(names)}" if len(names) > 1 else "53 x 41 pixels, 36 without data"
    assert ran.out.startswith(first)
    assert Path("map.png").is_file()


def test_bands_in_files_of_their_own_make_one_scene_in_any_order(run):
    assert run("predict cover scene.tif --out one.tif").code == 0
    ran = run("predict cover swir.tif red.tif nir.tif --out map.tif")
    assert (ran.code, ran.err) == (0, "")
    np.testing.assert_array_equal(read(), read("one.tif"))


def test_a_map_and_its_preview_in_the_scene_s_folder_are_no_bands_of_it(run):
    Path("bands").mkdir()
    for name in BANDS:
        Path(f"{name}.tif").rename(f"bands/{name}.tif")
    line = "predict cover bands --out bands/map.tif --preview bands/map.png"
    assert run(line).err == ""
    first = read("bands/map.tif")
    ran = run(line)
    left = "bands: made by pointwise and so left out of the scene: map.png, map.tif\n"
    assert (ran.code, ran.err) == (0, left)
    np.testing.assert_array_equal(read("bands/map.tif"), first)


def test_bands_without_names_are_taken_in_order_with_a_word(run):
    write_raster("plain.tif", scene(), (None, None, None))
    ran = run("predict cover plain.tif --out map.tif")
    np.testing.assert_array_equal(read()[0], expected("cover"))
    assert ran.err == (
        "plain.tif: its bands have no names, so they are taken in the order of the training "
        "columns: red, nir, swir\n"
    )


def test_a_netcdf_variable_is_chosen_by_name(run):
    import xarray as xr

    values = np.where(scene() > 0, scene(), np.nan).astype(np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": list(BANDS)})
    cube = cube.assign_coords(y=np.arange(ROWS)[::-1] * 10.0, x=np.arange(COLUMNS) * 10.0)
    xr.Dataset({"a": cube, "b": cube[::-1] * 0}).to_netcdf("cube.nc", engine="scipy")
    ran = run("predict cover cube.nc --out map.tif --variable a")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(read()[0], expected("cover"))


@pytest.mark.parametrize("compress", [*maps.Compress, None])
def test_a_map_is_packed_as_asked(compress, run):
    asked = f"--compress {compress}" if compress else ""
    assert run(f"predict cover scene.tif --out map.tif {asked} --memory 16").code == 0
    with rasterio.open("map.tif") as file:
        packed = file.profile.get("compress")
    assert packed == {None: "deflate", "none": None}.get(compress, compress)
    np.testing.assert_array_equal(read()[0], expected("cover"))


def test_the_model_s_name_and_the_number_for_nodata_are_in_the_file(run):
    assert run("predict cover scene.tif --out map.tif --nodata 200").code == 0
    with rasterio.open("map.tif") as file:
        assert file.nodata == 200
        assert file.tags()["POINTWISE_MODEL"] == "cover"
    assert (read() == 200).sum() == 36


def test_progress_is_given_in_pixels(run, monkeypatch):
    seen = []

    def record(model, data, out, *, progress, **rest):
        def both(done, whole):
            seen.append((done, whole))
            progress(done, whole)

        return map_files(model, data, out, progress=both, **rest)

    monkeypatch.setattr("pointwise.maps.files.map_files", record)
    assert run("predict cover scene.tif --out map.tif").code == 0
    assert seen[-1] == (ROWS * COLUMNS, ROWS * COLUMNS)


def test_many_classes_are_printed_in_part(run, monkeypatch):
    monkeypatch.setattr(maps, "MOST_LINES", 2)
    ran = run("predict cover scene.tif --out map.tif")
    assert "town" not in ran.out
    assert "and 1 classes more" in ran.out


MAP = "predict cover scene.tif --out map.tif"
REFUSED = {
    "a raster to a table": Bad(
        "predict cover scene.tif --out p.csv",
        r"scene\.tif is a raster: its map is a GeoTIFF, so --out must end in \.tif, got p\.csv",
    ),
    "a table to a map": Bad(
        "predict sold-model houses.csv --out map.tif",
        "column 'built' held dates in training, but a raster holds numbers",
    ),
    "no such raster": Bad(
        "predict cover gone.tif --out map.tif", r"gone\.tif: there is no such file"
    ),
    "a raster to be scored": Bad(
        "evaluate cover scene.tif",
        r"cover is a model for tables, scene\.tif is a raster: predict maps it \(--out map\.tif\); "
        "to score the model on its labelled pixels, write them to a table with a column per band",
    ),
    "several tables": Bad(
        "predict price-model houses.csv houses.csv --out p.csv",
        r"tables and images are one DATA, got 2 \(houses\.csv, houses\.csv\): several are for the "
        r"bands of a scene \(\.tif, ",
    ),
    "keep": Bad(f"{MAP} --keep red", r"--keep: for tables only, map\.tif is a map"),
    "separator and columns": Bad(
        f"{MAP} --columns a,b --separator tab",
        r"--columns, --separator: for tables only, map\.tif is a map",
    ),
    "preview of a table": Bad(
        "predict price-model houses.csv --out p.csv --preview p.png --nodata 0 --spread",
        r"--preview, --spread, --nodata: for maps only, and p\.csv is none: a map ends in \.tif",
    ),
    "memory of a table": Bad(
        "predict price-model houses.csv --out p.csv --compress lzw --memory 50 --variable a",
        r"--compress, --memory, --variable: for maps only, and p\.csv is none",
    ),
    "preview in another format": Bad(
        f"{MAP} --preview p.jpg", r"--preview is a PNG picture: it must end in \.png, got p\.jpg"
    ),
    "preview nowhere": Bad(
        f"{MAP} --preview no/p.png", r"--preview no/p\.png: there is no folder no: make it first$"
    ),
    "preview that is a folder": Bad(
        f"{MAP} --preview p.png",
        r"--preview p\.png: is a folder: give the name of a file",
        Path("p.png").mkdir,
    ),
    "preview over the scene": Bad(
        f"{MAP} --preview p.png",
        r"--preview p\.png: is read for this map: give it another name",
        lambda: Path("p.png").symlink_to("scene.tif"),
    ),
    "shares of numbers": Bad(
        "predict volume scene.tif --out map.tif --proba",
        "--proba needs a classifier: this model predicts numbers",
    ),
    "spread of classes": Bad(
        f"{MAP} --spread", "--spread needs --proba here: a class map has no band for it"
    ),
    "interval of classes": Bad(
        f"{MAP} --interval 0.9",
        "--interval needs a model that predicts numbers: this one classifies",
    ),
    "interval without test rows": Bad(
        "predict two scene.tif --out map.tif --interval 0.9",
        r"--interval needs a model that was fitted with test rows \(pointwise fit --test\)",
    ),
    "nodata that is a class": Bad(
        "predict codes scene.tif --out map.tif --nodata 5",
        "--nodata 5 is the number of a class: choose another, such as 0",
    ),
    "nodata that is no number of a class map": Bad(
        f"{MAP} --nodata 0.5",
        r"--nodata of a class map must be a whole number from 0 to 65535, got 0\.5",
    ),
    "nodata that is a share": Bad(
        f"{MAP} --proba --nodata 1",
        r"--nodata of a map of probabilities must lie outside of 0 to 1, or be NaN: got 1\.0",
    ),
    "a band missing": Bad(
        "predict cover red.tif nir.tif --out map.tif", r"has no band 'swir': the model needs"
    ),
    "a model of other columns": Bad("predict iris-model scene.tif --out map.tif", r"scene\.tif"),
    "a file that is no raster": Bad(
        "predict cover houses.csv --out map.tif", r"houses\.csv: .*not a raster|houses\.csv"
    ),
    "the map over its scene": Bad("predict cover scene.tif --out scene.tif", r"scene\.tif"),
    "a folder that is not there": Bad("predict cover scene.tif --out no/map.tif", r"no"),
    "a variable of a GeoTIFF": Bad(
        f"{MAP} --variable a", r"scene\.tif: --variable 'a' can be given for"
    ),
    "another compression": Bad(f"{MAP} --compress zip", "zip", code=2),
    "too little memory": Bad(f"{MAP} --memory 3", "--memory.*16", code=2),
    "nodata that is no number": Bad(f"{MAP} --nodata none", "--nodata", code=2),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_written(case, run):
    before = Path("scene.tif").read_bytes()
    assert_refused(REFUSED[case], run)
    assert not Path("map.tif").exists()
    assert Path("scene.tif").read_bytes() == before


def test_a_model_for_images_takes_no_option_of_maps(run, monkeypatch):
    monkeypatch.setattr("pointwise.modelfiles.read_config", lambda _: {"images": {}})
    ran = run("predict cover scene.tif --out map.tif --spread")
    assert ran.code == 1
    assert "--spread: for maps only" in ran.err


def test_a_scene_is_closed_when_the_map_fails(run, monkeypatch):
    opened = []

    def remember(*args, **rest):
        opened.append(open_scene(*args, **rest))
        return opened[0]

    monkeypatch.setattr("pointwise.data.scenes.open_scene", remember)
    assert run("predict cover red.tif nir.tif --out map.tif").code == 1
    with pytest.raises(Exception, match="closed"):
        opened[0].read(slice(0, 1), slice(0, 1))
