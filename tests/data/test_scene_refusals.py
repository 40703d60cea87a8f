"""Files that are no scene: one clear error each, when they are opened or when they are read."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_cases import numbers, read_all, scene_error, write, write_vrt

from pointwise.data.scenes import open_scene

rasterio = pytest.importorskip("rasterio")

# --- Truncated files ---

TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}
CUT: dict[str, dict[str, Any]] = {
    "strips": {},
    "tiles": TILES,
    "band by band": {**TILES, "interleave": "band"},
    "deflate": {"compress": "deflate"},
    "lzw": {**TILES, "compress": "lzw"},
    "zstd": {"compress": "zstd"},
    "jpeg": {**TILES, "compress": "jpeg"},
    "bigtiff": {**TILES, "bigtiff": "yes", "compress": "deflate"},
}


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("options", CUT.values(), ids=CUT.keys())
def test_truncated_geotiffs_are_seen_when_opened(
    options: dict[str, Any], share: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", numbers(3, 300, 200), **options)
    whole = path.stat().st_size
    cut(path, share)
    words = scene_error(lambda: open_scene(path), tmp_path)
    left = path.stat().st_size
    assert words == (
        f"a.tif: the file is truncated: its pixels reach to byte {whole:,}, it ends at byte "
        f"{left:,}"
    )


def test_a_truncated_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(3, 300, 200))
    path.write_bytes(path.read_bytes()[:100])
    words = scene_error(lambda: open_scene(path), tmp_path)
    assert words.startswith("a.tif: cannot be opened: no raster, or damaged or truncated (")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_pngs_are_seen_when_opened(share: float, tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.png", numbers(3, 300, 200), driver="PNG"), share)
    assert scene_error(lambda: open_scene(path), tmp_path) == (
        "a.png: the file is truncated: the end of the image is missing"
    )


@pytest.mark.parametrize(("ending", "driver"), [("jpg", "JPEG"), ("jp2", "JP2OpenJPEG")])
def test_truncated_pictures_are_seen_when_read(ending: str, driver: str, tmp_path: Path) -> None:
    path = cut(write(tmp_path / f"a.{ending}", numbers(3, 300, 200), driver=driver), 0.6)
    words = scene_error(lambda: read_all(path), tmp_path)
    assert words.startswith(
        f"a.{ending}: rows 0 to 299, columns 0 to 199 cannot be read: the file is damaged or "
        "truncated ("
    )


def test_damage_is_named_by_its_window(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(1, 300, 200), **TILES, compress="deflate")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_3", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(data)
    with open_scene(path) as scene:
        got, _ = scene.read(slice(0, 192), slice(None))
        np.testing.assert_array_equal(got, numbers(1, 300, 200)[:, :192])
        words = scene_error(lambda: scene.read(slice(192, 256), slice(128, 192)), tmp_path)
    assert words.startswith(
        "a.tif: rows 192 to 255, columns 128 to 191 cannot be read: the file is damaged or "
        "truncated ("
    )


def test_a_vrt_names_the_file_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "0.tif", numbers(1))
    words = scene_error(lambda: read_all(write_vrt(tmp_path / "a.vrt", "Byte")), tmp_path)
    assert words.startswith("a.vrt: rows 0 to 36, columns 0 to 40 cannot be read: ")
    assert "1.tif" in words


# --- No raster ---


def test_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(1))
    assert scene_error(lambda: open_scene([path, tmp_path / "b.tif"]), tmp_path) == (
        "b.tif: there is no such file"
    )


def test_no_files() -> None:
    assert scene_error(lambda: open_scene([]), Path("x")) == (
        "a scene is one file at least, got none"
    )


NO_RASTER = {"text": b"red,green\n1,2\n", "empty": b"", "random": bytes(range(256)) * 8}


@pytest.mark.parametrize("content", NO_RASTER.values(), ids=NO_RASTER.keys())
def test_files_that_are_no_rasters(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    words = scene_error(lambda: open_scene(tmp_path / "a.tif"), tmp_path)
    assert words.startswith("a.tif: cannot be opened: no raster, or damaged or truncated (")


def test_a_folder_without_rasters(tmp_path: Path) -> None:
    for name in ("notes.txt", "a.tif.aux.xml", ".b.tif"):
        (tmp_path / name).write_text("")
    assert scene_error(lambda: open_scene(tmp_path), tmp_path) == (
        "FOLDER: holds no raster (.tif, .tiff, .vrt, .img, .jp2, .asc, .bil, .bip, .bsq, .nc, "
        ".nc4, .h5, .hdf5, .zarr, .png), found .b.tif, a.tif.aux.xml, notes.txt"
    )


def test_a_folder_of_maps_alone(tmp_path: Path) -> None:
    with rasterio.open(write(tmp_path / "map.tif", numbers(1)), "r+") as file:
        file.update_tags(POINTWISE_OUTPUT="class")
    assert scene_error(lambda: open_scene(tmp_path), tmp_path) == (
        "FOLDER: holds no raster but what pointwise has made (map.tif): if that is the scene, name "
        "the files themselves"
    )
    open_scene(tmp_path / "map.tif").close()


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_numbers(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", "GTiff", 5, 5, 1, crs="EPSG:4326", dtype=dtype, transform=(1, 0, 9, 0, -1, 9)
    ):
        pass
    assert scene_error(lambda: open_scene(path), tmp_path) == (
        f"a.tif: bands hold real numbers, got {dtype} in band 1: write amplitude, or real and "
        "imaginary part, as bands of their own"
    )


def test_alpha_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(1), colours=["alpha"])
    assert scene_error(lambda: open_scene(path), tmp_path) == (
        "a.tif: a raster has one band at least, got alpha alone"
    )


def test_variable_of_a_geotiff(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(1))
    assert scene_error(lambda: open_scene(path, variable="red"), tmp_path) == (
        "a.tif: variable='red' can be given for NetCDF, HDF5 and Zarr only"
    )


def test_rasterio_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", numbers(1))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImportError) as caught:
        open_scene(path)
    assert str(caught.value) == "rasterio is not installed: pip install 'pointwise[raster]'"


def test_a_closed_scene(tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", numbers(1))) as scene:
        scene.close()
    assert scene_error(lambda: scene.read(slice(None), slice(None)), tmp_path) == (
        "a.tif: the scene is closed: read it inside its with block"
    )


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path
