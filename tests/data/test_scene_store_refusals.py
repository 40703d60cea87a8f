"""Stores that are no scene, or damaged: one clear error each."""

import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_cases import numbers, read_all, scene_error
from store_cases import to_classic, to_netcdf, to_zarr, variables

from pointwise.data.scenes import open_scene

xr = pytest.importorskip("xarray")
for library in ("rasterio", "rioxarray", "zarr", "h5netcdf"):
    pytest.importorskip(library)


# --- Refusals ---


def flat(**parts: Any) -> Any:
    return xr.Dataset(parts)


REFUSED: dict[str, tuple[Any, str | None, str]] = {
    "no variable": (
        flat(a=("x", np.arange(3)), name=((), "words")),
        None,
        "a.zarr: no variable holds numbers over rows and columns, found a, name",
    ),
    "four axes": (
        flat(a=(("t", "band", "y", "x"), np.zeros((2, 3, 4, 5), np.float32))),
        None,
        "a.zarr: bands are numbers over rows, columns and one more axis at most, got float32 over "
        "t 2 x band 3 x y 4 x x 5 in 'a'",
    ),
    "a line": (
        flat(a=("x", np.arange(3)), b=(("y", "x"), np.zeros((2, 3)))),
        "a",
        "a.zarr: bands are numbers over rows, columns and one more axis at most, got int64 over "
        "x 3 in 'a'",
    ),
    "axes unknown": (
        flat(a=(("p", "q", "r"), np.zeros((2, 3, 4)))),
        None,
        "a.zarr: rows and columns of 'a' are axes named y and x, lat and lon, row and column, or "
        "marked by axis= or standard_name=, got p, q, r: rename them",
    ),
    "two sizes": (
        flat(
            a=(("y", "x"), np.zeros((4, 5))),
            b=(("y_2", "x_2"), np.zeros((8, 9))),
        ),
        None,
        "a.zarr: several variables may be meant, name one with variable=: a, b",
    ),
    "complex": (
        flat(a=(("y", "x"), np.zeros((4, 5), np.complex64))),
        None,
        "a.zarr: bands hold real numbers, got complex64 in 'a': write amplitude, or real and "
        "imaginary part, as bands of their own",
    ),
}


@pytest.mark.parametrize(("data", "variable", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_stores(data: Any, variable: str | None, words: str, tmp_path: Path) -> None:
    path = to_zarr(data, tmp_path / "a")
    assert scene_error(lambda: open_scene(path, variable=variable), tmp_path) == words


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_truncated_netcdf(share: float, tmp_path: Path) -> None:
    path = to_netcdf(variables(numbers(2, dtype="int16")), tmp_path / "a")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    words = scene_error(lambda: open_scene(path), tmp_path)
    assert words.startswith(
        "a.nc: cannot be opened: damaged, truncated, or not written for xarray ("
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_truncated_classic_netcdf(share: float, tmp_path: Path) -> None:
    path = to_classic(variables(numbers(2, dtype="int16")), tmp_path / "a")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert scene_error(lambda: read_all(path), tmp_path).startswith(
        "a.nc: cannot be opened: damaged, truncated, or not written for xarray ("
    )
    gc.collect()  # scipy complains when it is cleared away, not when it fails


@pytest.mark.parametrize("length", [0, 10, 20, 500])
@pytest.mark.parametrize("version", [2, 3])
def test_blosc_chunks_that_are_cut_are_seen_when_opened(
    length: int, version: int, tmp_path: Path
) -> None:
    path = chunked(tmp_path / "a.zarr", version, "blosc")
    name = "cube/1.2.0" if version == 2 else "cube/c/1/2/0"
    cut_to(path / name, length)
    assert scene_error(lambda: open_scene(path), tmp_path) == (
        f"a.zarr: chunk {name} is truncated: it has {length:,} bytes"
    )


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_other_chunks_that_are_cut_are_seen_when_read(codec: str, tmp_path: Path) -> None:
    path = chunked(tmp_path / "a.zarr", 3, codec)
    cut_to(path / "cube" / "c" / "1" / "2" / "0", 20)
    with open_scene(path) as scene:
        assert scene.read(slice(0, 40), slice(0, 90))[0].shape == (2, 40, 90)
        words = scene_error(lambda: scene.read(slice(79, 85), slice(0, 5)), tmp_path)
    assert words.startswith(
        "a.zarr: rows 79 to 84, columns 0 to 4 cannot be read: the store is damaged or truncated ("
    )


def test_a_zarr_store_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zgroup").write_text("{}")
    words = scene_error(lambda: open_scene(tmp_path / "a.zarr"), tmp_path)
    assert words.startswith("a.zarr: ")


def test_a_closed_store(tmp_path: Path) -> None:
    with open_scene(to_netcdf(variables(numbers(2)), tmp_path / "a")) as scene:
        pass
    assert scene_error(lambda: scene.read(slice(None), slice(None)), tmp_path) == (
        "a.nc: the scene is closed: read it inside its with block"
    )


@pytest.mark.parametrize("library", ["xarray", "rioxarray", "zarr"])
def test_not_installed(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = to_zarr(variables(numbers(2)), tmp_path / "a")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError) as caught:
        open_scene(path)
    assert str(caught.value) == f"{library} is not installed: pip install 'pointwise[raster]'"


def chunked(path: Path, version: int, codec: str) -> Path:
    """A store of chunks of 1 x 40 x 50 pixels that do not shrink."""
    import zarr

    if version == 2:
        import numcodecs

        compressors: Any = numcodecs.Blosc()
    else:
        compressors = {
            "blosc": zarr.codecs.BloscCodec(typesize=2),
            "zstd": zarr.codecs.ZstdCodec(),
            "gzip": zarr.codecs.GzipCodec(),
        }[codec]
    array = xr.DataArray(numbers(2, 90, 90, "int16"), dims=("band", "y", "x"), name="cube")
    array = array.assign_coords(y=-np.arange(90.0), x=np.arange(90.0))
    array.to_dataset().to_zarr(
        path,
        zarr_format=version,
        consolidated=False,
        encoding={"cube": {"chunks": (1, 40, 50), "compressors": (compressors,)}},
    )
    return path


def cut_to(path: Path, length: int) -> None:
    content = path.read_bytes()
    assert len(content) > length
    path.write_bytes(content[:length])
