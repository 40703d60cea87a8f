"""Which axes of an array are rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointwise.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

_ROWS = ("y", "lat", "latitude", "row", "rows", "northing", "line", "lines", "nlat", "height")
_COLUMNS = (
    *("x", "lon", "longitude", "long", "column", "columns", "col", "cols", "easting"),
    *("sample", "samples", "pixel", "nlon", "width"),
)
_STANDARD = {
    "projection_y_coordinate": "Y",
    "projection_x_coordinate": "X",
    "latitude": "Y",
    "longitude": "X",
    "grid_latitude": "Y",
    "grid_longitude": "X",
}


def find_axes(file: str, array: xr.DataArray) -> tuple[str, str]:
    """Name the axes of rows and columns.

    Attributes of the coordinates (``axis``, ``standard_name``) say it, or the names of the axes;
    of an array with two axes of other names the first one is the rows.

    Args:
        file: The file, for messages.
        array: The array.

    Returns:
        The axis of the rows, and that of the columns.

    Raises:
        DataError: If an array of three axes does not tell.
    """
    found = spatial_axes(array)
    if found is None:
        axes = ", ".join(map(str, array.dims))
        raise DataError(
            f"{file}: rows and columns of {array.name!r} are axes named y and x, lat and lon, row "
            f"and column, or marked by axis= or standard_name=, got {axes}: rename them"
        )
    return found


def spatial_axes(array: xr.DataArray) -> tuple[str, str] | None:
    """Name the axes of rows and columns, or nothing.

    Args:
        array: The array.

    Returns:
        Their names; ``None`` if they are not told.
    """
    long = [str(dim) for dim in array.dims]
    rows = next((dim for dim in long if _direction(array, dim) == "Y"), None)
    columns = next((dim for dim in long if _direction(array, dim) == "X"), None)
    if rows is not None and columns is not None:
        return rows, columns
    return (long[0], long[1]) if rows is columns is None and len(long) == 2 else None


def _direction(array: xr.DataArray, dim: str) -> str | None:
    attributes = array.coords[dim].attrs if dim in array.coords else {}
    axis = str(attributes.get("axis", "")).upper()
    if axis in ("X", "Y"):
        return axis
    standard = _STANDARD.get(str(attributes.get("standard_name", "")))
    if standard is not None:
        return standard
    return "Y" if dim.lower() in _ROWS else "X" if dim.lower() in _COLUMNS else None
