"""What a map in xarray says of itself, by the conventions of CF and rioxarray."""

import re
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise.maps.outputs import Output

if TYPE_CHECKING:
    import xarray as xr

KEPT = ("AREA_OR_POINT",)
"""Attributes of the input that hold for the map too: they tell of the grid, not of the values."""


def map_attrs(output: Output, *, model_name: str, source: "xr.DataArray") -> dict[str, Any]:
    """Attributes of a map.

    A class map has its numbers in ``flag_values``, their labels as words in ``flag_meanings`` and
    their colours in ``flag_colors``. ``long_name`` holds the names of the bands, which rioxarray
    writes into files.

    Args:
        output: What the map holds.
        model_name: What it was made with.
        source: The raster.

    Returns:
        The attributes; of the raster's own, only those that tell of its grid.
    """
    attrs = {key: source.attrs[key] for key in KEPT if key in source.attrs}
    one = len(output.bands) == 1
    attrs["long_name"] = output.bands[0] if one else tuple(output.bands)
    attrs["_FillValue"] = output.dtype.type(output.nodata)
    if output.codes:
        attrs["flag_values"] = np.array(list(output.codes), output.dtype)
        attrs["flag_meanings"] = " ".join(flag_words(list(output.codes.values())))
        attrs["flag_colors"] = " ".join(
            "#" + bytes(output.colours[code]).hex() for code in output.codes
        )
    if output.target:
        attrs["pointwise_target"] = output.target
    if model_name:
        attrs["pointwise_model"] = model_name
    attrs["pointwise_version"] = _version()
    return attrs


def flag_words(labels: Sequence[Any]) -> list[str]:
    """Labels as words that CF allows in ``flag_meanings``, each a word of its own.

    Args:
        labels: Class labels.

    Returns:
        One word for each label, without blanks; numbered where two would be the same.

    Example:
        >>> flag_words(["open water", "forest (dry)", 7, "open_water"])
        ['open_water', 'forest_dry', '7', 'open_water_2']
    """
    words: list[str] = []
    for label in labels:
        word = re.sub(r"[^\w.+@-]+", "_", str(label)).strip("_") or "_"
        same, number = word, 2
        while word in words:
            word, number = f"{same}_{number}", number + 1
        words.append(word)
    return words


def dress(
    data: Any,
    dims: Sequence[str],
    *,
    output: Output,
    model_name: str,
    template: "xr.DataArray",
    source: "xr.DataArray",
) -> "xr.DataArray":
    """Give the numbers of a map its coordinates, reference system, name and attributes.

    Args:
        data: The numbers, a NumPy or a dask array.
        dims: The dimensions, with the bands of the map among them if it has several.
        output: What the map holds.
        model_name: What it was made with.
        template: An array with the coordinates of the positions.
        source: The raster, whose reference system it keeps.

    Returns:
        The map.
    """
    import xarray as xr

    band = next((dim for dim in dims if dim not in template.dims), None)
    coords = template.coords
    if band is not None and band in coords:
        coords = template.drop_vars(band).coords
    made = xr.DataArray(
        data,
        coords=coords,
        dims=dims,
        attrs=map_attrs(output, model_name=model_name, source=source),
    )
    if band is not None:  # objects: fixed-width text is no part of Zarr's specification
        made = made.assign_coords({band: (band, np.array(output.bands, dtype=object))})
    name = output.bands[0] if len(output.bands) == 1 else output.kind
    made.name = f"{name}_map" if name in made.coords or name in made.dims else name
    return _referenced(made, source)


def _referenced(made: "xr.DataArray", source: "xr.DataArray") -> "xr.DataArray":
    """With the coordinate that holds the reference system, if the raster names one."""
    key = "grid_mapping"
    mapping = source.encoding.get(key, source.attrs.get(key))
    if mapping in made.coords:
        made.encoding[key] = mapping
    return made


def _version() -> str:
    try:
        return metadata.version("pointwise")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "0+unknown"
