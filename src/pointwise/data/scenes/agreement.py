"""Several files are one scene if their pixels are the same; their bands need names of their own."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointwise.data.names import shorten
from pointwise.data.scenes.parts import (
    Grid,
    SceneBand,
    SceneFile,
    common_dtype,
    loses_integers,
    need,
)
from pointwise.errors import DataError, DataWarning

_OF_A_PIXEL = 1e-3


def same_grid(files: Sequence[SceneFile]) -> Grid:
    """Give the grid that all files have.

    Args:
        files: One at least.

    Returns:
        The grid of the first.

    Raises:
        DataError: If one has another size, CRS or transform; the message names both files.
    """
    first = files[0]
    for other in files[1:]:
        difference = grid_difference(first.grid, other.grid)
        if difference:
            raise DataError(
                f"files of one scene have the same grid: {difference} in {first.file} and "
                f"{other.file}: gdalwarp or gdalbuildvrt brings them together"
            )
    return first.grid


def grid_difference(one: Grid, other: Grid) -> str | None:
    """Say in what two grids differ.

    Args:
        one: A grid.
        other: Another; corners that lie within a thousandth of a pixel are the same.

    Returns:
        What differs, the values of ``one`` first; ``None`` if nothing does.

    Example:
        >>> grid_difference(Grid(2, 3), Grid(2, 4))
        'the size is 2 x 3 and 2 x 4 (height x width)'
        >>> grid_difference(Grid(2, 3), Grid(2, 3)) is None
        True
    """
    if (one.height, one.width) != (other.height, other.width):
        return (
            f"the size is {one.height} x {one.width} and {other.height} x {other.width} "
            "(height x width)"
        )
    if one.crs != other.crs and (one.crs is None or other.crs is None or not _same_crs(one, other)):
        return f"the CRS is {show_crs(one.crs)} and {show_crs(other.crs)}"
    a, b, _, d, e, _ = one.transform
    near = _OF_A_PIXEL * min(math.hypot(a, d), math.hypot(b, e))
    corners = zip(one.corners(), other.corners(), strict=True)
    if any(math.dist(p, q) > near for p, q in corners):
        return f"the transform is {_show_transform(one)} and {_show_transform(other)}"
    return None


def show_crs(crs: str | None) -> str:
    """Name a CRS shortly.

    Args:
        crs: WKT, or ``None``.

    Returns:
        Its code where it has one, else its name.

    Example:
        >>> show_crs(None)
        'none'
    """
    if crs is None:
        return "none"
    parsed = _crs(crs)
    code = parsed.to_authority()
    return ":".join(code) if code else str(parsed.to_dict(projjson=True).get("name", crs))


def own_names(bands: Sequence[SceneBand], *, files: int) -> tuple[SceneBand, ...]:
    """Keep the names that tell bands apart.

    Args:
        bands: Bands of all files.
        files: Number of files. Of files of one band each whose descriptions repeat, the stems are
            the names.

    Returns:
        The bands; a name that is there twice is taken away, with a warning.

    Example:
        >>> import numpy as np
        >>> bands = [SceneBand("gray", np.dtype("uint8"), None, f"b{n}.tif") for n in (1, 2)]
        >>> [band.name for band in own_names(bands, files=2)]
        ['b1', 'b2']
    """
    if files == len(bands) and _repeated(bands):
        bands = [replace(band, name=Path(band.file).stem) for band in bands]
    twice = _repeated(bands)
    if twice:
        warnings.warn(
            f"bands of one scene have names of their own, {shorten(list(map(repr, twice)))} is "
            "there more than once: these bands count as unnamed",
            DataWarning,
            stacklevel=3,
        )
    return tuple(replace(band, name=None) if band.name in twice else band for band in bands)


def name_all(names: Sequence[str | None]) -> list[str]:
    """Name the bands that have no name by their place in the scene.

    Args:
        names: As the scene has them.

    Returns:
        A name for each; no two made here and no made and given one are the same.

    Example:
        >>> name_all(["red", None, "nir"]), name_all([None, "band_1"])
        (['red', 'band_2', 'nir'], ['unnamed_band_1', 'band_1'])
    """
    named = []
    for number, name in enumerate(names, 1):
        made = f"band_{number}"
        while made in names:
            made = f"unnamed_{made}"
        named.append(name or made)
    return named


def warn_of_rounding(bands: Sequence[SceneBand]) -> None:
    """Say that large integers are rounded, where the bands have no common type that holds all.

    Args:
        bands: All bands of a scene.
    """
    dtypes: list[Any] = [band.dtype for band in bands]
    if loses_integers(dtypes):
        shown = ", ".join(dict.fromkeys(map(str, dtypes)))
        warnings.warn(
            f"bands of {shown} are read together as {common_dtype(dtypes)}: integers beyond 2**53 "
            "are rounded",
            DataWarning,
            stacklevel=3,
        )


def _repeated(bands: Sequence[SceneBand]) -> list[str]:
    counts = Counter(band.name for band in bands if band.name is not None)
    return [name for name, times in counts.items() if times > 1]


def _same_crs(one: Grid, other: Grid) -> bool:
    return bool(_crs(one.crs) == _crs(other.crs))


def _crs(wkt: str | None) -> Any:
    return need("rasterio.crs").CRS.from_wkt(wkt)


def _show_transform(grid: Grid) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in grid.transform) + ")"
