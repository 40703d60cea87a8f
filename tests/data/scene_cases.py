"""Rasters on disk for the tests of reading them; numpy arrays are the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pointwise.data.scenes import Scene, open_scene
from pointwise.errors import DataError, DataWarning

LANDSAT = Path(__file__).parents[3] / "shared" / "data" / "nc-landsat"
CRS = "EPSG:32633"
PLACE = (30.0, 0.0, 500_000.0, 0.0, -30.0, 5_000_000.0)


def numbers(
    bands: int = 3, height: int = 37, width: int = 41, dtype: str = "uint8", seed: int = 0
) -> NDArray[Any]:
    """Random values that use the range of the type."""
    random = np.random.default_rng(seed)
    shape = (bands, height, width)
    if dtype.startswith("float"):
        return (random.standard_normal(shape) * 1000).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def write(
    path: Path,
    values: NDArray[Any],
    *,
    names: Sequence[str] = (),
    crs: str | None = CRS,
    transform: Sequence[float] | None = PLACE,
    mask: NDArray[np.bool_] | None = None,
    colours: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Write a GeoTIFF, or what ``driver`` says; ``mask`` is True where there is a value."""
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import NotGeoreferencedWarning

    path.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("driver", "GTiff")
    if options["driver"] == "GTiff":
        options.setdefault("photometric", "minisblack")
        options.setdefault("alpha", "unspecified")
    if transform is not None:
        options["transform"] = rasterio.Affine(*transform)
    count, height, width = values.shape
    options |= {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", crs=crs, **options) as file:
            if colours:  # before the values: what follows goes to a file beside
                file.colorinterp = [ColorInterp[colour] for colour in colours]
            file.write(values)
            for index, name in enumerate(names, 1):
                file.set_band_description(index, name)
            if mask is not None:
                file.write_mask(mask)
    return path


def read_all(paths: Any, **options: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    with open_scene(paths, **options) as scene:
        return scene.read(slice(None), slice(None))


def assert_reads(
    paths: Any, values: NDArray[Any], missing: NDArray[np.bool_] | None = None, **options: Any
) -> None:
    """The whole raster and windows of it are what the arrays say, types included."""
    if missing is not None:
        missing = np.broadcast_to(missing, values.shape)
    with open_scene(paths, **options) as scene:
        assert len(scene.bands) == len(values)
        assert (scene.grid.height, scene.grid.width) == values.shape[1:]
        height, width = values.shape[1:]
        for rows, columns in [
            (slice(None), slice(None)),
            (slice(0, 1), slice(0, 1)),
            (slice(height // 3, height), slice(width // 4, 1 + width // 2)),
        ]:
            check_window(scene, rows, columns, values, missing)


def check_window(
    scene: Scene,
    rows: slice,
    columns: slice,
    values: NDArray[Any],
    missing: NDArray[np.bool_] | None,
) -> None:
    got, lacking = scene.read(rows, columns)
    want = values[:, rows, columns]
    assert got.dtype == values.dtype
    assert got.dtype.isnative
    gone = np.zeros(want.shape, bool) if missing is None else missing[:, rows, columns]
    np.testing.assert_array_equal(gone if lacking is None else lacking, gone)
    assert (lacking is None) == (not gone.any())
    np.testing.assert_array_equal(got[~gone], want[~gone])


def scene_error(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}/", "").replace(str(folder), "FOLDER")


def scene_warning(call: Callable[[], Any], folder: Path) -> tuple[str, Any]:
    """Give the one warning, the folder left out, and what the call gives."""
    with pytest.warns(DataWarning) as caught:
        result = call()
    assert len(caught) == 1
    return str(caught[0].message).replace(f"{folder}/", ""), result


def write_vrt(path: Path, dtype: str, extra: Sequence[str] = ("", "")) -> Path:
    """A VRT over 0.tif and 1.tif; the first band is described, ``extra`` is added to each."""
    band = (
        '<VRTRasterBand dataType="{dtype}" band="{index}">{text}{extra}<SimpleSource>'
        '<SourceFilename relativeToVRT="1">{file}.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )
    bands = "".join(
        band.format(
            dtype=dtype,
            index=file + 1,
            file=file,
            extra=extra[file],
            text="" if file else "<Description>red</Description>",
        )
        for file in (0, 1)
    )
    a, b, c, d, e, f = PLACE
    path.write_text(
        f'<VRTDataset rasterXSize="41" rasterYSize="37"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>{bands}</VRTDataset>"
    )
    return path
