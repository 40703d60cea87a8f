"""Where the pixels of a store lie: its CRS, and the transform that its coordinates say."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes.parts import Grid, Transform
from pointwise.errors import DataWarning

if TYPE_CHECKING:
    import xarray as xr

_OF_A_PIXEL = 0.01


def grid_of(file: str, data: xr.Dataset, array: xr.DataArray, rows: str, columns: str) -> Grid:
    """Find the grid: the centres that the coordinates name, or a GeoTransform beside the CRS.

    The coordinates go with the values through every cut and flip, and the numbers of a GeoTransform
    do not: they count where they agree, since they are exact, and where there is nothing else.

    Args:
        file: The file, for messages.
        data: The store.
        array: A variable of it.
        rows: Its axis of rows.
        columns: Its axis of columns.

    Returns:
        The grid; without CRS and transform, and with a warning, where the coordinates are missing
        or not regular.
    """
    height, width = int(array.sizes[rows]), int(array.sizes[columns])
    transform = _written_transform(data, array)
    problem = _problem(array, rows, columns)
    if transform is None or not (problem or _agree(transform, array, rows, columns)):
        found = problem or _coordinate_transform(array, rows, columns)
        if isinstance(found, str):
            text = f"{file}: {found}: a map lies on the pixel grid"
            warnings.warn(text, DataWarning, stacklevel=2)
            return Grid(height, width)
        transform = found
    return Grid(height, width, _crs(array), transform)


def _crs(array: xr.DataArray) -> str | None:
    import rioxarray  # noqa: F401  (it gives arrays their .rio)

    crs = array.rio.crs
    return crs.to_wkt() if crs else None


def _written_transform(data: xr.Dataset, array: xr.DataArray) -> Transform | None:
    """Read GDAL's six numbers, which also tell of rotation."""
    mapping = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    if mapping not in data.variables:
        return None
    try:
        c, a, b, f, d, e = map(float, str(data[mapping].attrs["GeoTransform"]).split())
    except (KeyError, ValueError):
        return None
    return a, b, c, d, e, f


def _problem(array: xr.DataArray, rows: str, columns: str) -> str | None:
    """Say why the coordinates tell of no grid."""
    for dim in (columns, rows):
        if dim not in array.coords:
            return f"axis {dim!r} has no coordinates"
        if array.coords[dim].dtype.kind not in "iuf":
            return f"the coordinates {dim!r} are no numbers"
        if not _regular(array.coords[dim].values):
            return f"the coordinates {dim!r} are not regular"
    return None


def _agree(transform: Transform, array: xr.DataArray, rows: str, columns: str) -> bool:
    """Whether the first and the last centre of both axes are where a transform has them."""
    a, b, c, d, e, f = transform
    if b or d:  # the coordinates of a rotated grid cannot say so
        return True
    for dim, first, step in ((columns, c, a), (rows, f, e)):
        values = array.coords[dim].values
        ends = np.array([0.5, len(values) - 0.5])
        apart = np.abs(values[[0, -1]].astype(np.float64) - first - step * ends)
        if apart.max() > _OF_A_PIXEL * abs(step) + _rounding(values):
            return False
    return True


def _coordinate_transform(array: xr.DataArray, rows: str, columns: str) -> Transform | str:
    """Give the transform, or say what is missing."""
    x, y = _axis(array, columns), _axis(array, rows)
    if x[1] is None and y[1] is None:
        return "one pixel does not tell its size"
    across = x[1] if x[1] is not None else abs(y[1] or 0.0)
    down = y[1] if y[1] is not None else -abs(across)
    return across, 0.0, x[0] - across / 2, 0.0, down, y[0] - down / 2


def _axis(array: xr.DataArray, dim: str) -> tuple[float, float | None]:
    """Give the first centre and the step; of a single one the step is not known."""
    values = array.coords[dim].values.astype(np.float64)
    if len(values) == 1:
        return float(values[0]), None
    return float(values[0]), float((values[-1] - values[0]) / (len(values) - 1))


def _regular(values: NDArray[Any]) -> bool:
    """Tell whether centres are even, but for what the rounding of their type does."""
    wide = values.astype(np.float64)
    if len(wide) == 1:
        return bool(np.isfinite(wide[0]))
    even = np.linspace(wide[0], wide[-1], len(wide))
    step = abs(wide[-1] - wide[0]) / (len(wide) - 1)
    return bool(step > 0 and np.abs(wide - even).max() <= _OF_A_PIXEL * step + _rounding(values))


def _rounding(values: NDArray[Any]) -> float:
    """How far the type of coordinates may put them from where they are."""
    if values.dtype.kind != "f":
        return 0.0
    return 2 * float(np.finfo(values.dtype).eps) * float(np.abs(values).max())
