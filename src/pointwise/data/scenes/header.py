"""What the header of a raster says: its bands, its place, its blocks, and what to warn of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointwise.data.scenes.parts import (
    IDENTITY,
    Grid,
    SceneBand,
    fitting_nodata,
    need,
    refuse_complex,
    show_nodata,
)
from pointwise.errors import DataError, DataWarning


def alpha_and_bands(file: str, dataset: Any) -> tuple[int | None, list[int]]:
    """Tell the alpha band from the others; one that is described as something else is a band.

    Args:
        file: The file, for messages.
        dataset: The same, opened by rasterio.

    Returns:
        The number of the alpha band, and those of the bands, counted from 1.

    Raises:
        DataError: If there are no bands.
    """
    alpha = None
    for index, colour in enumerate(dataset.colorinterp, 1):
        if colour.name != "alpha":
            continue
        described = dataset.descriptions[index - 1]
        if described and not any(word in described.lower() for word in ("alpha", "mask")):
            _warn(
                f"{file}: band {index} is marked as alpha and described as {described!r}: it is "
                "read as a band, not as a mask"
            )
        elif alpha is None:
            alpha = index
    indexes = [index for index in dataset.indexes if index != alpha]
    if not indexes:
        raise DataError(_without_bands(file, dataset, alpha))
    if len(dataset.subdatasets) > 1:
        _warn(
            f"{file}: holds {len(dataset.subdatasets)} rasters, the first is read; others are "
            f"opened by their names: {', '.join(dataset.subdatasets[:3])}"
        )
    if alpha is not None and _holds_values(dataset, alpha):
        _warn(
            f"{file}: band {alpha} is marked as alpha but does not look like a mask, and is used "
            "as one: GDAL marks the fourth of four uint8 bands so; if it is a band, give it a "
            "description"
        )
    return alpha, indexes


def band_of(file: str, dataset: Any, index: int, *, alone: bool) -> SceneBand:
    """Describe a band.

    Args:
        file: The file.
        dataset: The same, opened by rasterio.
        index: Number of the band, counted from 1.
        alone: Whether it is the only one: its file's stem can be its name.

    Returns:
        The band.

    Raises:
        DataError: If its numbers are complex.
    """
    stored = dataset.dtypes[index - 1]
    refuse_complex(file, f"band {index}", stored)
    dtype, declared = np.dtype(stored), dataset.nodatavals[index - 1]
    nodata = fitting_nodata(declared, dtype)
    if declared is not None and dtype.name in ("int64", "uint64"):  # rasterio rounds it to a float
        nodata = min(max(int(declared), int(np.iinfo(dtype).min)), int(np.iinfo(dtype).max))
    elif declared is not None and nodata is None:
        _warn(
            f"{file}: band {index} declares nodata {show_nodata(declared)}, which {dtype} cannot "
            "hold: no pixel is nodata by it"
        )
    name = dataset.descriptions[index - 1] or (Path(file).stem if alone else None)
    return SceneBand(name, dtype, nodata, file)


def grid_of_raster(file: str, dataset: Any, *, placed: bool) -> Grid:
    """Tell where the pixels lie.

    Args:
        file: The file, for messages.
        dataset: The same, opened by rasterio.
        placed: Whether it has a transform.

    Returns:
        The grid; ground control points and rational polynomials are not kept, with a warning.
    """
    crs = dataset.crs.to_wkt() if dataset.crs else None
    points, _ = dataset.gcps
    if points or (dataset.rpcs is not None and not placed):
        how = f"{len(points)} ground control points" if points else "rational polynomials"
        _warn(
            f"{file}: its place is given by {how}, which are not kept: a map lies on the pixel "
            "grid; gdalwarp gives it a place first"
        )
        return Grid(dataset.height, dataset.width)
    if not placed and crs is None:
        _warn(f"{file}: has no CRS and no transform: a map lies on the pixel grid")
    a, b, c, d, e, f = map(float, dataset.transform[:6])
    return Grid(dataset.height, dataset.width, crs, (a, b, c, d, e, f) if placed else IDENTITY)


def block_of(dataset: Any) -> tuple[int, int]:
    """Give rows and columns of a block; of a VRT those of its first file, if that is as wide.

    Args:
        dataset: Opened by rasterio.

    Returns:
        The largest of its bands.
    """
    shapes = dataset.block_shapes
    if dataset.driver == "VRT" and len(dataset.files) > 1:
        rasterio = need("rasterio")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(dataset.files[1]) as first:
                    if first.width == dataset.width:
                        shapes = first.block_shapes
        except rasterio.errors.RasterioError:
            pass  # reading says what is wrong with it
    return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)


def is_plain_pixelwise(dataset: Any) -> bool:
    """Tell whether a file holds the values of each pixel side by side, and GDAL copies them so.

    Args:
        dataset: Opened by rasterio.

    Returns:
        Whether it is a GeoTIFF without compression, of several bands in the order of its pixels.
    """
    tags = dataset.tags(ns="IMAGE_STRUCTURE")
    pixelwise = dataset.count > 1 and tags.get("INTERLEAVE") == "PIXEL"
    return pixelwise and dataset.driver == "GTiff" and "COMPRESSION" not in tags


def warn_of_scales(file: str, dataset: Any, indexes: Sequence[int]) -> None:
    """Say that tags of scale and offset are not applied.

    Args:
        file: The file, for messages.
        dataset: The same, opened by rasterio.
        indexes: Numbers of its bands, counted from 1.
    """
    tags = {(dataset.scales[index - 1], dataset.offsets[index - 1]) for index in indexes}
    found = tags - {(1.0, 0.0)}
    if found:
        shown = ", ".join(f"{scale:g} and {offset:g}" for scale, offset in sorted(found))
        _warn(
            f"{file}: has tags of scale and offset ({shown}): values are read as they are stored, "
            "so a model has to be fitted on stored values too"
        )


def _holds_values(dataset: Any, alpha: int) -> bool:
    """Tell from pixels in the middle whether an alpha band looks like any other band."""
    height, width = min(64, dataset.height), min(64, dataset.width)
    top, left = (dataset.height - height) // 2, (dataset.width - width) // 2
    place = need("rasterio.windows").Window(left, top, width, height)
    try:
        values = dataset.read(alpha, window=place)
    except need("rasterio").errors.RasterioError:
        return False  # reading says what is wrong with it
    most = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return bool(((values != 0) & (values != most)).mean() > 0.5)


def _without_bands(file: str, dataset: Any, alpha: int | None) -> str:
    if dataset.subdatasets:
        inside = ", ".join(dataset.subdatasets[:5])
        return f"{file}: holds several rasters: open one of them by its name: {inside}"
    return f"{file}: a raster has one band at least, got {'alpha alone' if alpha else 'none'}"


def _warn(words: str) -> None:
    warnings.warn(words, DataWarning, stacklevel=3)
