"""Where a raster has no value: nodata, NaN, masks and alpha, each band for itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scene_cases import assert_reads, numbers, read_all, scene_warning, write, write_vrt

from pointwise.data.scenes import open_scene

rasterio = pytest.importorskip("rasterio")

HOLES = np.random.default_rng(1).random((37, 41)) < 0.3
"""Where the tests take values away."""


def with_holes(dtype: str, nodata: float, bands: int = 3) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values of which some are nodata, of each band others."""
    values = numbers(bands, dtype=dtype)
    values[values == nodata] = 1
    holes = np.stack([np.roll(HOLES, band, axis=1) for band in range(bands)])
    values[holes] = nodata
    return values, holes


# --- nodata ---

NODATA: dict[str, tuple[str, float]] = {
    "uint8 0": ("uint8", 0),
    "uint8 255": ("uint8", 255),
    "int8": ("int8", -128),
    "int16": ("int16", -9999),
    "uint16": ("uint16", 65535),
    "int32": ("int32", -(2**31)),
    "uint32": ("uint32", 2**32 - 1),
    "int64": ("int64", -9999),
    "uint64": ("uint64", 0),
    "float32": ("float32", -99999.0),
    "float32 rounded": ("float32", 0.1),
    "float32 lowest": ("float32", float(np.finfo("float32").min)),
    "float32 nan": ("float32", float("nan")),
    "float64": ("float64", -1e300),
    "float64 nan": ("float64", float("nan")),
}


@pytest.mark.parametrize(("dtype", "nodata"), NODATA.values(), ids=NODATA.keys())
def test_nodata(dtype: str, nodata: float, tmp_path: Path) -> None:
    values, holes = with_holes(dtype, nodata)
    path = write(tmp_path / "a.tif", values, nodata=nodata)
    assert_reads(path, values, holes)
    with open_scene(path) as scene:
        assert scene.bands[0].nodata == pytest.approx(nodata, rel=1e-6, nan_ok=True)


def test_nan_is_missing_beside_nodata(tmp_path: Path) -> None:
    values, holes = with_holes("float32", -1.0)
    values[0, 3], holes[0, 3] = np.nan, True
    values[1, 4], holes[1, 4] = np.inf, False
    assert_reads(write(tmp_path / "a.tif", values, nodata=-1.0), values, holes)
    assert_reads(write(tmp_path / "b.tif", values), values, np.isnan(values))


def test_all_is_missing(tmp_path: Path) -> None:
    values = np.full((2, 5, 5), 7, np.uint8)
    got, missing = read_all(write(tmp_path / "a.tif", values, nodata=7))
    assert missing is not None
    assert missing.all()
    assert got.shape == (2, 5, 5)


def test_large_integers_are_compared_exactly(tmp_path: Path) -> None:
    nodata = 2**53 + 1  # as a float: 2**53, which is a value here
    values = np.array([[[nodata, 2**53, 2**53 + 2]]], np.int64)
    path = tag_nodata(write(tmp_path / "a.tif", values, nodata=1e15), b"1000000000000000", nodata)
    assert_reads(path, values, values == nodata)


def test_each_band_of_a_vrt_has_its_nodata(tmp_path: Path) -> None:
    values = numbers(2, dtype="int16") % 5
    for number, plane in enumerate(values):
        write(tmp_path / f"{number}.tif", plane[None])
    extra = ["<NoDataValue>3</NoDataValue>", "<NoDataValue>4</NoDataValue>"]
    holes = np.stack([values[0] == 3, values[1] == 4])
    assert_reads(write_vrt(tmp_path / "a.vrt", "Int16", extra), values, holes)


def test_each_file_has_its_nodata(tmp_path: Path) -> None:
    values = numbers(3) % 5
    paths = [
        write(tmp_path / f"{band}.tif", values[band : band + 1], nodata=nodata)
        for band, nodata in enumerate([3, 4, None])
    ]
    assert_reads(paths, values, np.stack([values[0] == 3, values[1] == 4, HOLES & False]))


def test_nodata_is_compared_in_the_type_of_the_file(tmp_path: Path) -> None:
    small, large = numbers(1, dtype="float32"), numbers(1, dtype="float64")
    small[0, 3] = 0.1
    paths = [
        write(tmp_path / "a.tif", small, nodata=0.1),
        write(tmp_path / "b.tif", large, nodata=0.1),
    ]
    values = np.concatenate([small.astype(np.float64), large])
    missing = np.zeros(values.shape, bool)
    missing[0, 3] = True
    assert_reads(paths, values, missing)


UNFIT: dict[str, tuple[str, str, str]] = {
    "a fraction": ("int16", "0.5", "0.5"),
    "a fraction, unsigned": ("uint8", "7.5", "7.5"),
}


@pytest.mark.parametrize(("dtype", "written", "shown"), UNFIT.values(), ids=UNFIT.keys())
def test_nodata_that_no_pixel_can_have(
    dtype: str, written: str, shown: str, tmp_path: Path
) -> None:
    values = numbers(1, dtype=dtype)
    path = tag_nodata(write(tmp_path / "a.tif", values, nodata=111), b"111", written)
    words, (got, missing) = scene_warning(lambda: read_all(path), tmp_path)
    assert words == (
        f"a.tif: band 1 declares nodata {shown}, which {dtype} cannot hold: no pixel is nodata by "
        "it"
    )
    np.testing.assert_array_equal(got, values)
    assert missing is None


@pytest.mark.parametrize("written", ["-99", "999", "nan"])
def test_nodata_out_of_range_is_no_value(written: str, tmp_path: Path) -> None:
    values = numbers(1)
    path = tag_nodata(write(tmp_path / "a.tif", values, nodata=111), b"111", written)
    assert_reads(path, values)


# --- Masks ---


@pytest.mark.parametrize("internal", [True, False], ids=["inside", "beside"])
@pytest.mark.parametrize("nodata", [None, 9], ids=["mask", "mask and nodata"])
def test_masks_of_a_dataset(internal: bool, nodata: int | None, tmp_path: Path) -> None:
    values = numbers(3) % 20
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write(tmp_path / "a.tif", values, mask=~HOLES, nodata=nodata)
    assert (tmp_path / "a.tif.msk").exists() != internal
    holes = np.broadcast_to(HOLES, values.shape)
    assert_reads(path, values, holes if nodata is None else holes | (values == nodata))


def test_masks_of_single_bands(tmp_path: Path) -> None:
    values = numbers(2)
    for number, plane in enumerate(values):
        write(tmp_path / f"{number}.tif", plane[None])
    write(tmp_path / "mask.tif", (~HOLES[None]).astype(np.uint8) * 255)
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">'
        "mask.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</MaskBand>"
    )
    holes = np.stack([HOLES & False, HOLES])
    assert_reads(write_vrt(tmp_path / "a.vrt", "Byte", ["", mask]), values, holes)


# --- Alpha ---

ALPHA: dict[str, tuple[str, int, str]] = {
    "colours": ("uint8", 3, "rgb"),
    "grey": ("uint8", 1, "minisblack"),
    "16 bits": ("uint16", 3, "rgb"),
    "many bands": ("uint16", 6, "minisblack"),
}


@pytest.mark.parametrize(("dtype", "bands", "photometric"), ALPHA.values(), ids=ALPHA.keys())
def test_alpha_is_a_mask(dtype: str, bands: int, photometric: str, tmp_path: Path) -> None:
    values = numbers(bands, dtype=dtype)
    stored = np.concatenate([values, alpha(dtype)[None]])
    if photometric == "rgb":
        marked: dict[str, Any] = {"alpha": "yes"}
    else:
        marked = {"colours": ["gray", *["undefined"] * (bands - 1), "alpha"]}
    path = write(tmp_path / "a.tif", stored, photometric=photometric, **marked)
    assert_reads(path, values, HOLES)
    with open_scene(path) as scene:
        note = f"{path}: band {bands + 1} is alpha: where it is 0, nothing has a value"
        assert scene.notes == (note,)


def test_alpha_of_a_png(tmp_path: Path) -> None:
    values = numbers(3)
    path = write(tmp_path / "a.png", np.concatenate([values, alpha("uint8")[None]]), driver="PNG")
    assert_reads(path, values, HOLES)


def test_alpha_and_nodata(tmp_path: Path) -> None:
    values = numbers(3) % 20
    stored = np.concatenate([values, alpha("uint8")[None]])
    path = write(tmp_path / "a.tif", stored, photometric="rgb", alpha="yes", nodata=9)
    assert_reads(path, values, HOLES | (values == 9))


def test_half_transparent_pixels_have_values(tmp_path: Path) -> None:
    values, shades = numbers(3), alpha("uint8")
    shades[:3] = np.arange(41) + 1
    stored = np.concatenate([values, shades[None]])
    missing = HOLES.copy()
    missing[:3] = False
    assert_reads(write(tmp_path / "a.tif", stored, photometric="rgb", alpha="yes"), values, missing)


def test_alpha_belongs_to_its_file(tmp_path: Path) -> None:
    values = numbers(2)
    paths = [
        write(tmp_path / "a.tif", np.stack([values[0], alpha("uint8")]), alpha="yes"),
        write(tmp_path / "b.tif", values[1:]),
    ]
    assert_reads(paths, values, np.stack([HOLES, HOLES & False]))


def test_a_described_band_is_no_alpha(tmp_path: Path) -> None:
    values = numbers(4)
    path = write(
        tmp_path / "a.tif", values, names=["r", "g", "b", "nir"], photometric="rgb", alpha="yes"
    )
    words, (got, missing) = scene_warning(lambda: read_all(path), tmp_path)
    assert words == (
        "a.tif: band 4 is marked as alpha and described as 'nir': it is read as a band, not as a "
        "mask"
    )
    np.testing.assert_array_equal(got, values)
    assert missing is None


def test_alpha_that_looks_like_a_band_is_told(tmp_path: Path) -> None:
    values = numbers(4)
    path = write(tmp_path / "a.tif", values, photometric="rgb", alpha="yes")
    words, (got, missing) = scene_warning(lambda: read_all(path), tmp_path)
    assert words == (
        "a.tif: band 4 is marked as alpha but does not look like a mask, and is used as one: GDAL "
        "marks the fourth of four uint8 bands so; if it is a band, give it a description"
    )
    assert got.shape == (3, 37, 41)
    np.testing.assert_array_equal(missing[0], values[3] == 0)


def alpha(dtype: str) -> NDArray[Any]:
    return (~HOLES).astype(dtype) * np.iinfo(dtype).max


def tag_nodata(path: Path, old: bytes, new: object) -> Path:
    """Change the text of the nodata tag, which rasterio would not write so."""
    data = path.read_bytes()
    assert data.count(old + b"\0") == 1
    text = str(new).encode()
    assert len(text) <= len(old)
    path.write_bytes(data.replace(old + b"\0", text.ljust(len(old) + 1, b"\0")))
    return path
