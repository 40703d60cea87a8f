"""Which variables of a store are bands, and how the bands are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise.data.names import shorten
from pointwise.data.scenes.axes import spatial_axes
from pointwise.data.scenes.parts import refuse_complex
from pointwise.data.scenes.paths import by_number
from pointwise.errors import DataError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Layers:
    """Where the bands of a store lie.

    Args:
        variables: A variable for each band; or one whose third axis holds them.
        along: That axis; ``None`` where each variable is a band.

    Example:
        >>> Layers(("red", "nir")).along is None
        True
    """

    variables: tuple[str, ...]
    along: str | None = None


def pick_layers(file: str, data: xr.Dataset, variable: str | None, *, ordered: bool) -> Layers:
    """Choose the variables that are bands.

    All variables over the same two axes, or the one that has a third; axes of length 1 are left
    out of the count.

    Args:
        file: The file, for messages.
        data: The store.
        variable: The variable that is wanted, where several fit.
        ordered: Whether the store keeps the order of its variables; else that of their names is
            taken, numbers by value.

    Returns:
        Where the bands lie.

    Raises:
        DataError: If none fits, several do and none is named, or the named one is not there or
            has more than three axes.
    """
    fitting = {str(name): long_axes(array) for name, array in data.data_vars.items()}
    fitting = {name: axes for name, axes in fitting.items() if _fits(data[name])}
    if variable is not None:
        return _named(file, data, variable)
    if not fitting:
        found = shorten(sorted(map(str, data.variables))) or "nothing"
        raise DataError(f"{file}: no variable holds numbers over rows and columns, found {found}")
    flat = [name for name, axes in fitting.items() if len(axes) == 2]
    if len(fitting) == 1:
        return _named(file, data, next(iter(fitting)))
    if len(flat) == len(fitting) and len({frozenset(axes) for axes in fitting.values()}) == 1:
        for name in flat:
            refuse_complex(file, repr(name), str(data[name].dtype))
        return Layers(tuple(flat if ordered else sorted(flat, key=by_number)))
    several = shorten(sorted(fitting))
    raise DataError(f"{file}: several variables may be meant, name one with variable=: {several}")


def band_names(data: xr.Dataset, layers: Layers) -> list[str | None]:
    """Name the bands: by their variables, or by the coordinate of the third axis.

    Args:
        data: The store.
        layers: Where the bands lie.

    Returns:
        A name for each band; ``None`` where the coordinate only counts.
    """
    if layers.along is None:
        return list(layers.variables)
    array = data[layers.variables[0]]
    size = array.sizes[layers.along]
    long_name = array.attrs.get("long_name")
    if isinstance(long_name, list | tuple | np.ndarray) and len(long_name) == size:
        return [str(name) for name in long_name]
    if layers.along not in array.coords:
        return [None] * size
    return coordinate_names(array.coords[layers.along].values)


def coordinate_names(values: Any) -> list[str | None]:
    """Name bands by their coordinate: texts, numbers in full, days.

    Args:
        values: The coordinate, an array.

    Returns:
        A name for each; ``None`` where the coordinate only counts.

    Example:
        >>> coordinate_names(np.array([1000.125, 1000.375])), coordinate_names(np.array([1, 2]))
        (['1000.125', '1000.375'], [None, None])
    """
    numbers = values.dtype.kind in "iu"
    if numbers and any(
        np.array_equal(values, np.arange(start, start + len(values))) for start in (0, 1)
    ):
        return [None] * len(values)
    if values.dtype.kind == "M":
        days = values.astype("datetime64[D]")
        return [str(day) for day in (days if (days == values).all() else values)]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def long_axes(array: xr.DataArray) -> tuple[str, ...]:
    """Name the axes that count: rows, columns, and others longer than 1.

    Args:
        array: The array.

    Returns:
        Their names.
    """
    spatial = spatial_axes(array) or ()
    return tuple(str(dim) for dim in array.dims if dim in spatial or array.sizes[dim] > 1)


def _named(file: str, data: xr.Dataset, variable: str) -> Layers:
    if variable not in data.data_vars:
        found = shorten(sorted(map(str, data.data_vars))) or "nothing"
        raise DataError(f"{file}: has no variable {variable!r}, it holds {found}")
    array = data[variable]
    refuse_complex(file, repr(variable), str(array.dtype))
    axes = long_axes(array)
    spatial = spatial_axes(array)
    others = [dim for dim in axes if dim not in (spatial or ())]
    if array.dtype.kind not in "iufb" or array.ndim < 2 or (spatial and len(others) > 1):
        shown = " x ".join(f"{dim} {array.sizes[dim]}" for dim in map(str, array.dims))
        raise DataError(
            f"{file}: bands are numbers over rows, columns and one more axis at most, got "
            f"{array.dtype} over {shown or 'no axes'} in {variable!r}"
        )
    return Layers((variable,), others[0] if spatial and others else None)


def _fits(array: xr.DataArray) -> bool:
    """Tell whether a variable may be meant: numbers, or complex ones to be refused."""
    return array.dtype.kind in "iufbc" and array.ndim >= 2 and not str(array.name).endswith("_bnds")
