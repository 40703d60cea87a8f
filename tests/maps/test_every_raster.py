"""Whatever a raster is like, its map is right at every pixel, or one clear error says what is not.

The right map is written down pixel by pixel from the values and what is missing of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from map_models import predict_pixels, table_model
from map_rasters import write_raster
from rasterio.enums import ColorInterp, Resampling

from pointwise.data.scenes import open_scene
from pointwise.errors import DataError
from pointwise.maps import (
    InputBand,
    Output,
    PixelModel,
    as_pixel_model,
    map_files,
    plan_output,
    predict_map,
)
from pointwise.nn import MLP
from pointwise.studies.rasters import labelled_table

LANDSAT = Path(__file__).parents[3] / "shared" / "data" / "nc-landsat"
HEIGHT, WIDTH = 37, 53
SOUTH_UP = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_600_000.0)
ROTATED = (8.0, 3.0, 500_000.0, 3.0, -8.0, 5_600_000.0)


def model() -> PixelModel:
    """The last of three bands may be missing."""
    return table_model((False, False, True), classes=("a", "b", "c"), seed=3)


def numbers(dtype: str = "int16") -> np.ndarray:
    """Small numbers, of which none is 9."""
    draws = np.random.default_rng(1).integers(0, 5, (3, HEIGHT, WIDTH))
    return draws.astype(dtype)


def gone(values: np.ndarray, number: Any) -> np.ndarray:
    return values == number


@dataclass
class Made:
    """A raster: its files, and what its pixels are."""

    files: Any
    values: np.ndarray
    missing: np.ndarray


def names(count: int = 3) -> tuple[str, ...]:
    return tuple(f"b{i}" for i in range(count))


def plain(folder: Path, *, dtype: str = "int16", nodata: Any = 4, **profile: Any) -> Made:
    values = numbers(dtype)
    file = write_raster(folder / "scene.tif", values, names=names(), nodata=nodata, **profile)
    return Made(file, values, gone(values, nodata))


def masked(folder: Path) -> Made:
    values, mask = numbers(), np.random.default_rng(2).random((HEIGHT, WIDTH)) < 0.8
    file = write_raster(folder / "scene.tif", values, names=names(), nodata=None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(file, "r+") as dataset,
    ):
        dataset.write_mask(mask)
    return Made(file, values, np.broadcast_to(~mask, values.shape))


def with_alpha(folder: Path) -> Made:
    values = numbers("uint8")
    alpha = np.where(np.random.default_rng(2).random((1, HEIGHT, WIDTH)) < 0.8, 255, 0)
    both = np.concatenate([values, alpha.astype(np.uint8)])
    file = write_raster(folder / "scene.tif", both, names=names(), nodata=None, alpha="yes")
    with rasterio.open(file, "r+") as dataset:
        dataset.colorinterp = [*dataset.colorinterp[:3], ColorInterp.alpha]
    return Made(file, values, np.broadcast_to(alpha == 0, values.shape))


def with_overviews(folder: Path) -> Made:
    made = plain(folder, tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(made.files, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    return made


def in_files(folder: Path) -> Made:
    """A band each, with a nodata value each, in another order."""
    values, files = numbers(), []
    for i in (2, 0, 1):
        file = folder / f"b{i}.tif"
        files.append(write_raster(file, values[[i]], names=(), nodata=i))
    missing = [gone(values[i], i) for i in range(3)]
    return Made(files, values, np.stack(missing))


def in_a_vrt(folder: Path) -> Made:
    """Each band from a file of its own, with its nodata value."""
    made = in_files(folder)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{i + 1}"><Description>b{i}</Description>'
        f"<NoDataValue>{i}</NoDataValue><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">b{i}.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i in range(3)
    )
    place = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5600000, 0, -10</GeoTransform>"
    vrt = folder / "scene.vrt"
    size = f'rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}"'
    vrt.write_text(f"<VRTDataset {size}>{place}{bands}</VRTDataset>")
    return Made(vrt, made.values, made.missing)


def in_a_store(folder: Path) -> Made:
    import xarray as xr

    values = numbers("float32")
    values[values == 4] = np.nan
    texts = np.array(names(), dtype=object)
    places = {"band": texts, "y": -10.0 * np.arange(HEIGHT), "x": 10.0 * np.arange(WIDTH)}
    cube = xr.DataArray(values, places, ("band", "y", "x"), name="cube")
    cube.chunk(y=16, x=16).to_zarr(folder / "scene.zarr", consolidated=False)
    return Made(folder / "scene.zarr", values, np.isnan(values))


def in_other_order(folder: Path) -> Made:
    """Swapped names, and a band that nobody asked for."""
    values = numbers()
    stored = np.concatenate([values[[2, 0]], values[[1]] + 7, values[[1]]])
    write_raster(folder / "scene.tif", stored, names=("B2", "b0", "other", "b1"), nodata=4)
    return Made(folder / "scene.tif", values, gone(values, 4))


RASTERS: dict[str, Callable[[Path], Made]] = {
    "strips": lambda f: plain(f, blockysize=3, interleave="band"),
    "strips, pixel by pixel": lambda f: plain(f, blockysize=3, interleave="pixel"),
    "tiles": lambda f: plain(f, tiled=True, blockxsize=16, blockysize=16),
    "tiles, band by band": lambda f: plain(
        f, tiled=True, blockxsize=16, blockysize=32, interleave="band"
    ),
    "tiles, compressed": lambda f: plain(
        f, tiled=True, blockxsize=16, blockysize=16, compress="deflate"
    ),
    "bytes in the other order": lambda f: plain(f, ENDIANNESS="BIG"),
    "tiles that were never written": lambda f: plain(
        f, tiled=True, blockxsize=16, blockysize=16, SPARSE_OK=True
    ),
    "BigTIFF": lambda f: plain(f, BIGTIFF="YES"),
    "rotated": lambda f: plain(f, transform=ROTATED),
    "south up": lambda f: plain(f, transform=SOUTH_UP),
    "bands in separate files, a nodata value each": in_files,
    "a VRT with a nodata value per band": in_a_vrt,
    "Zarr": in_a_store,
    "a mask band": masked,
    "an alpha band": with_alpha,
    "internal overviews": with_overviews,
    "swapped names, and a band more": in_other_order,
    **{
        dtype: lambda f, dtype=dtype: plain(f, dtype=dtype)
        for dtype in ("uint8", "int8", "uint16", "uint32", "int32", "float32", "float64")
    },
    "float32 with NaN": lambda f: plain(f, dtype="float32", nodata=np.nan),
}


@pytest.mark.parametrize("asked", ["class", "proba"])
@pytest.mark.parametrize("name", RASTERS)
def test_the_map_is_right_at_every_pixel(name, asked, tmp_path):
    made = RASTERS[name](tmp_path)
    plan = plan_output(model(), asked)
    with open_scene(made.files) as scene:
        summary = map_files(model(), scene, tmp_path / "map.tif", output=plan, engine="chunks")
        grid = scene.grid
    with rasterio.open(tmp_path / "map.tif") as file:
        found = file.read()
        assert file.crs is None or file.crs.to_wkt() == grid.crs
        assert (file.height, file.width, file.transform[:6]) == (HEIGHT, WIDTH, grid.transform)
    check_map(found, made, plan)
    empty = found[0] == 0 if asked == "class" else np.isnan(found[0])
    assert summary.nodata_pixels == empty.sum()


def check_map(found: np.ndarray, made: Made, plan: Output) -> None:
    pixels, missing = (v.reshape(3, -1) for v in (made.values, made.missing))
    lost = missing[0] | missing[1]  # the third had gaps in training
    some = np.unique(np.concatenate([np.arange(0, pixels.shape[1], 7), np.flatnonzero(lost)[:20]]))
    expected = predict_pixels(model(), plan, pixels[:, some], missing[:, some])
    np.testing.assert_allclose(found.reshape(len(found), -1)[:, some], expected, rtol=1e-4)
    empty = np.isnan(found[0]) if plan.kind == "proba" else found[0] == plan.nodata
    np.testing.assert_array_equal(empty.ravel(), lost)


# --- Errors ---


def truncated(folder: Path) -> Any:
    file = Path(plain(folder).files)
    file.write_bytes(file.read_bytes()[:-4000])
    return lambda: predict_map(model(), file, out=folder / "map.tif")


def band_missing(folder: Path) -> Any:
    write_raster(folder / "scene.tif", numbers()[:2], names=("b0", "b2"))
    return lambda: predict_map(model(), folder / "scene.tif", out=folder / "map.tif")


def too_few_bands(folder: Path) -> Any:
    write_raster(folder / "scene.tif", numbers()[:2], names=())
    return lambda: predict_map(model(), folder / "scene.tif", out=folder / "map.tif")


def other_sizes(folder: Path) -> Any:
    for i, values in enumerate((numbers(), numbers()[:, 1:], numbers())):
        write_raster(folder / f"b{i}.tif", values[[0]], names=())
    files = [folder / f"b{i}.tif" for i in range(3)]
    return lambda: predict_map(model(), files, out=folder / "map.tif")


def labels_elsewhere(folder: Path) -> Any:
    made = plain(folder)
    cover = numbers("uint8")[:1]
    write_raster(folder / "cover.tif", cover, names=("cover",), nodata=0, crs="EPSG:32632")
    return lambda: labelled_table(made.files, folder / "cover.tif")


ERRORS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a truncated file": (truncated, r"scene\.tif: the file is truncated: its pixels reach to byte"),
    "a missing band": (band_missing, r"scene\.tif has no band 'b1': the model needs 'b0', 'b1'"),
    "too few bands": (too_few_bands, r"scene\.tif has 2 bands without names, the model takes 3"),
    "files of two sizes": (other_sizes, r"files of one scene have the same grid: the size is"),
    "labels in another CRS": (
        labels_elsewhere,
        r"cover\.tif: labels must lie on the pixels of the scene .*its CRS is EPSG:32632, the "
        r"scene's EPSG:32633",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_or_one_clear_error(name, tmp_path):
    make, words = ERRORS[name]
    call = make(tmp_path)
    with pytest.raises(DataError, match=words):
        call()
    assert not list(tmp_path.glob("*map.tif*"))


# --- A real scene ---


@pytest.mark.skipif(not LANDSAT.is_dir(), reason="NC Landsat is not here")
@pytest.mark.parametrize(("gaps", "band"), [(True, 0), (False, 5)], ids=["gaps", "no gaps"])
def test_as_many_pixels_of_landsat_are_nodata_as_in_its_files(gaps, band, tmp_path):
    files = sorted(LANDSAT.glob("lsat7_2000_*.tif"))
    bands = [InputBand(path.stem, gaps=gaps and i == 5) for i, path in enumerate(files)]
    landsat = as_pixel_model(MLP([6, 8, 7]), bands=bands, classes=range(1, 8))
    summary = predict_map(landsat, files, out=tmp_path / "map.tif")
    with rasterio.open(files[band]) as file:  # the last one covers less than the others
        empty = int((file.read_masks(1) == 0).sum())
    assert summary.nodata_pixels == empty
    assert empty == (33_209 if gaps else 81_535)
