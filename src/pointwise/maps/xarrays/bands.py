"""What an xarray raster says of its bands: where they are, their names, their fill values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise.data.scenes.variables import coordinate_names
from pointwise.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

BAND_DIMS = ("band", "bands", "channel", "channels", "variable")
"""Names that tell that a dimension holds the bands."""

POSITION_DIMS = ("x", "y", "lon", "lat", "longitude", "latitude", "row", "column", "time", "t")
"""Names of dimensions that hold something else."""

FILL_KEYS = ("_FillValue", "missing_value", "fill_value", "nodata")
"""Where xarray, rioxarray and NetCDF keep the number that means no value."""


@dataclass(frozen=True)
class Bands:
    """The bands of a raster, as xarray holds them.

    Attributes:
        arrays: One array with all bands along ``dim``, or one array for each band.
        dim: The band dimension; ``None`` if each band is an array of its own.
        names: Name of each band, ``None`` where nothing tells.
        where: What to call the raster in messages.
    """

    arrays: tuple["xr.DataArray", ...]
    dim: str | None
    names: tuple[str | None, ...]
    where: str

    @property
    def space(self) -> tuple[str, ...]:
        """The dimensions of the positions, in their order."""
        return tuple(str(dim) for dim in self.arrays[0].dims if dim != self.dim)


def bands_of(raster: Any, band_dim: str | None, known: Iterable[str]) -> Bands:
    """Find the bands of a raster.

    Args:
        raster: An ``xarray.DataArray``, or an ``xarray.Dataset`` whose variables are the bands.
        band_dim: The dimension of the bands. Default: one that is called so, else the first of
            three.
        known: Names that the model knows: numbers along the band dimension are names only if
            they are among these.

    Returns:
        Its bands; nothing is read or computed.

    Raises:
        DataError: If it is not clear where the bands are.
    """
    if hasattr(raster, "data_vars"):
        return _of_dataset(raster, band_dim, tuple(known))
    where = f"the DataArray {raster.name!r}" if raster.name is not None else "the DataArray"
    dim = _band_dim(raster, band_dim, where)
    if dim is None:
        name = None if raster.name is None else str(raster.name)
        return Bands((raster,), None, (name,), where)
    return Bands((raster,), dim, _names(raster, dim, tuple(known)), where)


def fill_values(array: "xr.DataArray", index: int | None) -> tuple[Any, ...]:
    """The numbers that mean "no value" in a band, in the type of its values.

    They come from the attributes and the encoding, by the conventions of CF and rioxarray. Values
    that xarray has decoded by a scale hold NaN in place of the encoded number, which may be a true
    value among them.

    Args:
        array: The array of the band.
        index: The band's index along the band dimension, for numbers given band by band.

    Returns:
        Scalars of the array's type; NaN, which is always missing, is left out.
    """
    sources: list[Mapping[Any, Any]] = [array.attrs]
    if not {"scale_factor", "add_offset"} & array.encoding.keys():
        sources.append(array.encoding)
    found: list[Any] = [source.get(key) for source in sources for key in FILL_KEYS]
    each = array.attrs.get("nodatavals")
    if each is None:  # rioxarray would take the first for all bands
        found.append(_told_to_rioxarray(array))
    elif index is not None and isinstance(each, Sequence) and index < len(each):
        found.append(each[index])
    typed = [_typed(one, array.dtype) for many in found for one in np.ravel(np.asarray(many))]
    return tuple(dict.fromkeys(value for value in typed if value is not None))


def check_numeric(array: "xr.DataArray", where: str) -> None:
    """Refuse values that are no numbers.

    Args:
        array: Some bands.
        where: What to call the raster.

    Raises:
        DataError: If its type is text, dates, complex numbers or objects.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"bands must hold real numbers, {where} holds {array.dtype}")


def _of_dataset(dataset: "xr.Dataset", band_dim: str | None, known: tuple[str, ...]) -> Bands:
    """Variables as bands; those without dimensions, such as ``spatial_ref``, are none."""
    names = [name for name, array in dataset.data_vars.items() if array.ndim > 0]
    if not names:
        raise DataError(
            "the Dataset has no variable with dimensions: its variables are to be the bands"
        )
    if len(names) == 1:
        only = dataset[names[0]].assign_coords(_without_dims(dataset))
        return bands_of(only, band_dim, known)
    if band_dim is not None:
        raise DataError(
            "band_dim is for a raster in one array, the variables of this Dataset are its bands: "
            f"{', '.join(map(str, names))}; leave it out, or give one of them"
        )
    scalars = _without_dims(dataset)
    arrays = tuple(dataset[name].assign_coords(scalars) for name in names)
    return Bands(arrays, None, tuple(str(name) for name in names), "the Dataset")


def _without_dims(dataset: "xr.Dataset") -> dict[Any, Any]:
    """Variables without dimensions: the grid mapping, where it was not decoded as a coordinate."""
    return {name: array for name, array in dataset.data_vars.items() if array.ndim == 0}


def _band_dim(raster: "xr.DataArray", asked: str | None, where: str) -> str | None:
    """The band dimension; ``None`` for a raster of one band without one."""
    dims = [str(dim) for dim in raster.dims]
    if asked is not None:
        if asked not in dims:
            raise DataError(
                f"band_dim must be a dimension of {where}, got {asked!r}; it has {', '.join(dims)}"
            )
        return asked
    for name in BAND_DIMS:
        if name in dims:
            return name
    if len(dims) == 3 and dims[0].lower() not in POSITION_DIMS:
        return dims[0]
    if len(dims) <= 2:
        return None
    raise DataError(
        f"one dimension must hold the bands, {where} has {', '.join(dims)}: rename it to 'band'"
    )


def _names(raster: "xr.DataArray", dim: str, known: tuple[str, ...]) -> tuple[str | None, ...]:
    """Names from the coordinate, or from rioxarray's ``long_name``; bare numbers are none."""
    size = raster.sizes[dim]
    if dim in raster.coords and raster.coords[dim].dims == (dim,):
        coordinate = raster.coords[dim].values
        values = coordinate.tolist()
        if all(isinstance(value, str) for value in values):
            return tuple(values)
        full = tuple(coordinate_names(coordinate))  # as the same bands are called in a file
        short = tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        for texts in (full, short):
            if known and set(known) <= set(texts):
                return texts
    long_name = raster.attrs.get("long_name")
    if isinstance(long_name, str) and size == 1:
        return (long_name,)
    if isinstance(long_name, list | tuple | np.ndarray) and len(long_name) == size:
        return tuple(str(name) for name in long_name)
    return (None,) * size


def _told_to_rioxarray(array: "xr.DataArray") -> Any:
    """What ``rio.set_nodata`` said, which is in no attribute; ``None`` without rioxarray."""
    try:
        return getattr(array, "rio").nodata  # noqa: B009 - an attribute only where it is imported
    except (AttributeError, OverflowError, TypeError, ValueError):  # or not of the array's type
        return None


def _typed(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as the array holds it; ``None`` if it cannot hold it, or if it is NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bytes):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(value)
    if dtype.kind not in "iu" or math.isinf(value) or value != int(value):
        return None
    limits = np.iinfo(dtype)
    return dtype.type(int(value)) if limits.min <= value <= limits.max else None
