"""Maps of files equal those of arrays, whatever way the pixels lie on disk."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from map_rasters import (
    BANDS,
    array_map,
    map_to,
    pixels,
    read_map,
    small_model,
    write_raster,
)

from pointwise.data.scenes import open_scene
from pointwise.errors import DataError, DataWarning
from pointwise.maps import InputBand, as_pixel_model, plan_output, predict_map
from pointwise.maps.files import MapSummary, map_files
from pointwise.nn import MLP

ROTATED = (8.0, 3.0, 500_000.0, 3.0, -8.0, 5_600_000.0)
SOUTH_UP = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_600_000.0)

LAYOUTS = {
    "strips": (300, 211, {"blockysize": 4, "interleave": "pixel"}),
    "strips of one row, band after band": (300, 211, {"blockysize": 1, "interleave": "band"}),
    "one strip, compressed": (300, 211, {"blockysize": 300, "compress": "deflate"}),
    "tiles": (300, 530, {"tiled": True, "blockxsize": 128, "blockysize": 128}),
    "tiles, band after band": (
        *(530, 300),
        {"tiled": True, "blockxsize": 64, "blockysize": 256, "interleave": "band"},
    ),
    "odd sizes": (257, 513, {"blockysize": 7}),
    "one pixel": (1, 1, {}),
    "one row": (1, 700, {}),
    "one column": (700, 1, {}),
    "south up": (40, 30, {"transform": SOUTH_UP}),
    "rotated": (40, 30, {"transform": ROTATED}),
    "no CRS": (40, 30, {"crs": None}),
}


@pytest.mark.parametrize(("height", "width", "profile"), LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("asked", ["class", "proba"])
def test_the_map_is_that_of_the_array_on_the_same_grid(tmp_path, height, width, profile, asked):
    values = pixels(height, width)
    scene = write_raster(tmp_path / "scene.tif", values, **profile)
    summary = map_to(tmp_path / "map.tif", scene, asked=asked, memory_mb=16)
    expected = array_map(small_model(), values, asked=asked)
    share = 0 if asked == "class" else 1e-6  # products of other sizes may sum in another order
    np.testing.assert_allclose(read_map(tmp_path / "map.tif"), expected, rtol=share, atol=0)
    with rasterio.open(scene) as given, rasterio.open(tmp_path / "map.tif") as made:
        assert (made.crs, made.transform, made.shape) == (given.crs, given.transform, given.shape)
        assert [size % 16 for size in made.block_shapes[0]] == [0, 0]
    empty = np.isnan(expected[0]) if asked == "proba" else expected[0] == 0
    assert summary.nodata_pixels == empty.sum()
    counts = {code: (expected[0] == code).sum() for code in (1, 2, 3, 4)}
    assert summary.class_pixels == (counts if asked == "class" else {})
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif", "map.tif"}


def test_bands_in_files_of_their_own_in_another_order(tmp_path):
    values = pixels(60, 50)
    files = [write_raster(tmp_path / f"{BANDS[n]}.tif", values[[n]], names=()) for n in (2, 0, 1)]
    map_to(tmp_path / "map.tif", files)
    expected = array_map(small_model(), values)
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected)


@pytest.mark.parametrize("block", [(1, 3000), (64, 64)], ids=["strips", "tiles"])
def test_a_map_in_many_sheets_and_pieces(tmp_path, monkeypatch, block):
    monkeypatch.setattr("pointwise.maps.files.windows.SHEET_PIXELS", 40_000)
    monkeypatch.setattr("pointwise.maps.files.windows.PIECE_PIXELS", 7_000)
    values = pixels(300, 3000)
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64} if block[1] == 64 else {}
    scene = write_raster(tmp_path / "scene.tif", values, **{"blockysize": 1, **tiles})
    done = []
    map_to(tmp_path / "map.tif", scene, progress=lambda now, total: done.append((now, total)))
    expected = array_map(small_model(), values)
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected)
    assert len(done) > 100
    assert done == sorted(done)
    assert done[-1] == (900_000, 900_000)


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw", "none"])
@pytest.mark.parametrize("asked", ["class", "proba"])
def test_the_same_call_gives_the_same_bytes(tmp_path, monkeypatch, compress, asked):
    monkeypatch.setattr("pointwise.maps.files.windows.SHEET_PIXELS", 40_000)
    scene = write_raster(tmp_path / "scene.tif", pixels(700, 600))
    files = [tmp_path / f"map{n}.tif" for n in range(3)]
    for file in files:
        map_to(file, scene, asked=asked, compress=compress)
    assert len({file.read_bytes() for file in files}) == 1
    with rasterio.open(files[0]) as made:
        assert made.profile.get("compress", "none") == compress
        predictor = made.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR")
        assert predictor == ("3" if asked == "proba" and compress != "none" else None)


def test_the_system_is_told_early_to_write_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr("pointwise.maps.files.windows.SHEET_PIXELS", 40_000)
    scene, told = write_raster(tmp_path / "scene.tif", pixels(700, 600)), []

    def note(descriptor, start, length, advice):
        told.append((start, length))

    monkeypatch.setattr(os, "posix_fadvise", note, raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    map_to(tmp_path / "told.tif", scene, asked="proba", compress="none", memory_mb=16)
    starts, lengths = zip(*told, strict=True)
    assert len(told) > 2
    assert starts == (0, *np.cumsum(lengths)[:-1])
    assert sum(lengths) <= (tmp_path / "told.tif").stat().st_size
    monkeypatch.delattr(os, "posix_fadvise")
    map_to(tmp_path / "alone.tif", scene, asked="proba", compress="none", memory_mb=16)
    assert (tmp_path / "told.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()


def test_a_class_map_names_its_classes(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(20, 20))
    map_to(tmp_path / "map.tif", scene)
    plan = plan_output(small_model())
    with rasterio.open(tmp_path / "map.tif") as made:
        assert (made.dtypes, made.nodata, made.descriptions) == (("uint8",), 0, ("class",))
        tags = made.tags()
        assert tags["POINTWISE_MODEL"] == "model-a"
        assert tags["POINTWISE_OUTPUT"] == "class"
        assert tags["POINTWISE_VERSION"]
        names = {"1": "water", "2": "forest", "3": "town & <field>", "4": "Düne"}
        assert json.loads(tags["POINTWISE_CLASSES"]) == names
        assert {f"CLASS_{k}": name for k, name in names.items()}.items() <= made.tags(1).items()
        table = made.colormap(1)
        assert {code: table[code][:3] for code in plan.colours} == plan.colours
        assert table[0] == (0, 0, 0, 0)


def test_a_map_says_what_its_classes_are(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(20, 20))
    for target, kind in (("", "class"), ("land cover", "class"), ("land cover", "proba")):
        map_to(tmp_path / "map.tif", scene, replace(small_model(), target=target), asked=kind)
        with rasterio.open(tmp_path / "map.tif") as made:
            assert made.tags().get("POINTWISE_TARGET", "") == target


def test_values_have_a_band_for_each_target(tmp_path):
    values = pixels(50, 40)
    scene = write_raster(tmp_path / "scene.tif", values)
    summary = map_to(tmp_path / "map.tif", scene, small_model(kind="value"))
    with rasterio.open(tmp_path / "map.tif") as made:
        assert (made.dtypes, made.descriptions) == (("float32",) * 2, ("height", "age"))
        assert np.isnan(made.nodata)
        got = made.read()
    expected = array_map(small_model(kind="value"), values)
    np.testing.assert_array_equal(got, expected)
    assert summary.bands == ("height", "age")


def test_the_summary_says_what_was_made():
    summary = MapSummary("map.tif", 20, 30, ("class",), 1, {1: 599}, 2.0, 1234.5)
    assert str(summary) == (
        "map.tif: 20 x 30 (height x width), 1 of 600 pixels nodata, 2.0 s, 1234.5 Mpx/s"
    )


def test_what_lay_beside_the_old_map_goes_with_it(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(20, 20))
    for ending in ("", ".ovr", ".msk", ".aux.xml", ".txt"):
        (tmp_path / f"map.tif{ending}").write_text("of the old map")
    map_to(tmp_path / "map.tif", scene)
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif", "map.tif", "map.tif.txt"}


def test_what_lay_beside_the_old_map_goes_with_it_where_the_name_is_a_link(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(20, 20))
    (tmp_path / "real").mkdir()
    (tmp_path / "real/map.tif.ovr").write_text("of the old map")
    (tmp_path / "link.tif").symlink_to(tmp_path / "real/map.tif")
    map_to(tmp_path / "link.tif", scene)
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["map.tif"]


# --- Refusals ---


def test_names_that_a_map_cannot_have(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(9, 9))
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "link.tif").symlink_to(scene)
    refused = {
        "map.png": "a map is a GeoTIFF, its name must end in .tif or .tiff",
        "map": "a map is a GeoTIFF, its name must end in .tif or .tiff",
        "folder.tif": "is a folder: give the name of a file",
        "none/map.tif": f"there is no folder {tmp_path / 'none'}: make it first",
        "scene.tif": "is read for this map: give the map another name",
        "link.tif": "is read for this map: give the map another name",
    }
    for name, words in refused.items():
        with pytest.raises(DataError) as caught:
            map_to(tmp_path / name, scene)
        assert str(caught.value) == f"{tmp_path / name}: {words}"


def test_a_file_that_a_vrt_is_made_of_is_not_written(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", pixels(9, 9))
    band = '<VRTRasterBand dataType="UInt16" band="{0}"><SimpleSource>'
    band += '<SourceFilename relativeToVRT="1">scene.tif</SourceFilename>'
    band += "<SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"
    bands = "".join(band.format(number) for number in (1, 2, 3))
    place = "<GeoTransform>0, 10, 0, 0, 0, -10</GeoTransform>"
    vrt = tmp_path / "scene.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="9" rasterYSize="9">{place}{bands}</VRTDataset>')
    with pytest.raises(DataError, match="is read for this map"):
        map_to(scene, vrt)
    outer = tmp_path / "outer.vrt"
    outer.write_text(vrt.read_text().replace("scene.tif", "scene.vrt"))
    with pytest.raises(DataError, match="is read for this map"):
        map_to(scene, outer)


@pytest.mark.parametrize("name", ["file://{}", "GTIFF_DIR:1:{}", "vrt://{}"])
def test_a_file_that_is_read_by_another_name_is_not_written(tmp_path, name):
    scene = write_raster(tmp_path / "scene.tif", pixels(9, 9))
    with pytest.raises(DataError, match="is read for this map"):
        map_to(scene, name.format(scene))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compress": "jpeg"}, "compress must be one of deflate, zstd, lzw, none, got 'jpeg'"),
        ({"memory_mb": 8}, "memory_mb must be at least 16, got 8"),
    ],
    ids=["compress", "memory_mb"],
)
def test_options_that_are_refused(tmp_path, options, words):
    scene = write_raster(tmp_path / "scene.tif", pixels(9, 9))
    with pytest.raises(DataError) as caught:
        map_to(tmp_path / "map.tif", scene, **options)
    assert str(caught.value) == words


@pytest.mark.parametrize("there", [True, False], ids=["an old map", "no map"])
@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_what_interrupts_a_map_leaves_the_old_one(tmp_path, there, error):
    def interrupt(done, total):
        raise error

    scene = write_raster(tmp_path / "scene.tif", pixels(30, 30))
    if there:
        (tmp_path / "map.tif").write_text("old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(type(error)) as caught:
        map_to(tmp_path / "map.tif", scene, progress=interrupt)
    assert caught.value is error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_error_of_reading_arrives_as_it_is(tmp_path, monkeypatch):
    scene = write_raster(tmp_path / "scene.tif", pixels(30, 30))
    model = small_model()
    with open_scene(scene) as opened:
        failure = OSError("the disk of the scene is gone")

        def read(*args):
            raise failure

        monkeypatch.setattr(opened, "read", read)
        with pytest.raises(OSError, match="is gone") as caught:
            map_files(model, opened, tmp_path / "map.tif", output=plan_output(model))
    assert caught.value is failure
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_an_error_of_moving_the_map_into_place(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    scene = write_raster(tmp_path / "scene.tif", pixels(30, 30))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError) as caught:
        map_to(tmp_path / "map.tif", scene)
    assert str(caught.value) == (
        f"{tmp_path / 'map.tif'}: the map cannot be written (No space left on device); "
        "nothing was put there"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def in_a_process(tmp_path, script: str) -> str:
    """Run a script beside ``map_rasters``; gives what it prints."""
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="limits of file sizes as on Linux")
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_disk_that_is_full_is_an_error_and_leaves_the_old_map(tmp_path, compress):
    (tmp_path / "map.tif").write_text("old")
    write_raster(tmp_path / "scene.tif", pixels(900, 900))
    said = in_a_process(
        tmp_path,
        f"""
        import resource, signal
        from pathlib import Path
        from map_rasters import map_to
        from pointwise.errors import DataError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            map_to(Path("map.tif"), "scene.tif", compress={compress!r}, asked="proba")
        except DataError as error:
            print(error)
        """,
    )
    assert said.startswith("map.tif: the map cannot be written (")
    assert said.endswith("); nothing was put there\n")
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif", "map.tif"}
    assert (tmp_path / "map.tif").read_text() == "old"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory in the units of Linux")
@pytest.mark.parametrize("asked", ["class", "proba"])
def test_memory_does_not_grow_with_the_scene(tmp_path, asked):
    draws = np.random.default_rng(0)
    write_raster(tmp_path / "small.tif", pixels(600, 600))
    large = np.tile(draws.integers(0, 9, (3, 500, 5000)).astype(np.uint16), (1, 10, 1))
    write_raster(tmp_path / "large.tif", large, blockysize=1)  # 150 MB, the map 25 or 400 MB
    said = in_a_process(
        tmp_path,
        f"""
        import resource
        from pathlib import Path
        from map_rasters import map_to

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        options = dict(asked={asked!r}, compress="none", memory_mb=32)
        map_to(Path("map.tif"), "small.tif", **options)
        before = peak()
        map_to(Path("map.tif"), "large.tif", **options)
        print(peak() - before)
        """,
    )
    assert float(said) < 64


def test_a_scene_in_other_units_is_said(tmp_path):
    write_raster(tmp_path / "scene.tif", pixels(40, 50))
    bands = [InputBand(name, low=0.0, high=1e-3) for name in BANDS]
    model = as_pixel_model(MLP([len(BANDS), 4, 1]), bands=bands)
    with pytest.warns(DataWarning, match=r"scene\.tif: \d+ % of a sample of band '.*' lie far"):
        map_to(tmp_path / "map.tif", tmp_path / "scene.tif", model)


def test_predict_map_hands_on_how_files_are_written(tmp_path):
    write_raster(tmp_path / "scene.tif", pixels(40, 50))
    model = as_pixel_model(MLP([len(BANDS), 4, 1]), bands=BANDS)
    predict_map(model, tmp_path / "scene.tif", out=tmp_path / "map.tif", compress="lzw")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.compression.name == "lzw"
    with pytest.raises(DataError, match="memory_mb must be at least 16, got 1"):
        predict_map(model, tmp_path / "scene.tif", out=tmp_path / "map.tif", memory_mb=1)
