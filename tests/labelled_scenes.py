"""Scenes and labels written by tests: rasters by rasterio, points and polygons by geopandas."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes.parts import Grid

CRS = "EPSG:32632"
PLACE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_200.0)
LANDSAT = Path(__file__).parents[2] / "shared" / "data" / "nc-landsat"


def wkt(crs: str = CRS) -> str:
    import rasterio

    return str(rasterio.CRS.from_string(crs).to_wkt())


def grid(height: int = 20, width: int = 24, crs: str | None = CRS, place: Any = PLACE) -> Grid:
    return Grid(height, width, None if crs is None else wkt(crs), place)


def write_raster(
    path: str | Path,
    values: NDArray[Any],
    *,
    crs: str | None = CRS,
    place: Sequence[float] = PLACE,
    names: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Write bands (C, H, W), or one (H, W), as a GeoTIFF."""
    import rasterio

    bands = values[None] if values.ndim == 2 else values
    count, height, width = bands.shape
    options |= {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    affine = rasterio.Affine(*place)
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=affine, **options) as file:
        file.write(bands)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return Path(path)


def write_shapes(
    path: str | Path,
    shapes: Sequence[Any],
    *,
    crs: str | None = CRS,
    to: str | None = None,
    place: Sequence[float] = PLACE,
    **attributes: Sequence[Any],
) -> Path:
    """Write shapes whose places are columns and rows of the scene, in the scene's CRS or ``to``."""
    import geopandas
    import shapely

    a, b, c, d, e, f = place
    placed = [
        shape and shapely.transform(shape, lambda xy: xy @ np.array([[a, d], [b, e]]) + [c, f])
        for shape in shapes
    ]
    frame = geopandas.GeoDataFrame(attributes, geometry=placed, crs=crs)
    if to is not None:
        frame = frame.to_crs(to)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drivers, on names and missing CRS
        frame.to_file(path, engine="pyogrio")
    return Path(path)


def patches(side: int = 60, patch: int = 10, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two bands (2, H, W) and classes 1 and 2 (H, W) of patches; the bands tell them, with noise.

    Each patch has an offset of its own in both bands: pixels beside one another are alike.
    """
    rng = np.random.default_rng(seed)
    across = side // patch
    classes = rng.permutation(np.arange(across**2) % 2 + 1).reshape(across, across)
    offsets = rng.normal(size=(2, across, across))
    large = np.ones((patch, patch))
    cover = np.kron(classes, large)
    bands = np.stack([np.kron(one, large) for one in offsets])
    bands[0] += 2 * cover
    return (bands + 0.1 * rng.normal(size=bands.shape)).astype("float32"), cover.astype("uint8")


def labels_found(path: Path, **options: Any) -> dict[tuple[int, int], Any]:
    """The labels of the small grid, or of another, by row and column."""
    from pointwise.data.pixel_labels import read_labels

    got = read_labels(path, options.pop("on", None) or grid(), **options)
    assert len(got) == len(got.rows) == len(got.columns) == len(got.labels) == len(got.groups)
    places = zip(got.rows.tolist(), got.columns.tolist(), strict=True)
    return dict(zip(places, got.labels.tolist(), strict=True))
