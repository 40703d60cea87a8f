"""NetCDF, HDF5 and Zarr through xarray: variables over two axes, or one over three, are bands."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes.axes import find_axes
from pointwise.data.scenes.damage import check_chunks
from pointwise.data.scenes.parts import SceneBand, Window, fitting_nodata, is_full, mark_value, need
from pointwise.data.scenes.place import grid_of
from pointwise.data.scenes.variables import Layers, band_names, pick_layers
from pointwise.errors import DataError, first_line

if TYPE_CHECKING:
    import xarray as xr

_LIBRARIES = {"zarr": ("zarr",), "h5netcdf": ("h5py", "h5netcdf"), "scipy": ()}
_PACKED = ("scale_factor", "add_offset", "_Unsigned")
_FILL = ("_FillValue", "missing_value")


class StoreFile:
    """A store opened by xarray, without dask: a window is read when it is asked for.

    Zarr is read by several threads at once; HDF5 and classic NetCDF by one at a time.

    Args:
        file: Its path.
        engine: The engine of xarray: ``"zarr"``, ``"h5netcdf"`` or ``"scipy"``.
        variable: The variable to read, where several fit.

    Raises:
        ImportError: If xarray or the engine is not installed.
        DataError: If it cannot be opened, or does not say which of its variables are bands.
    """

    def __init__(self, file: str, engine: str, variable: str | None) -> None:
        self.file = file
        self.notes: tuple[str, ...] = ()
        self.full = self.pixelwise = False
        self._lock = threading.Lock() if engine != "zarr" else None
        self._closed = False
        for library in ("xarray", "rioxarray", *_LIBRARIES[engine]):
            need(library)
        data = _open(file, engine, {})
        packed = {
            str(name): any(key in part.attrs for key in _PACKED)
            for name, part in data.variables.items()
        }
        if any(packed.values()):
            data.close()
            data = _open(file, engine, packed)
        self._data = data
        try:
            self._layers = pick_layers(file, data, variable, ordered=engine != "zarr")
            if engine == "zarr":
                for name in self._layers.variables:
                    check_chunks(file, name)
            first = data[self._layers.variables[0]]
            rows, columns = find_axes(file, first)
            self._axes = (rows, columns)
            self.bands = _bands(file, data, self._layers)
            held = [data[name] for name in self._layers.variables]
            self._fills = [_fills(one) for one in held] * (len(self.bands) // len(held))
            self.grid = grid_of(file, data, first, rows, columns)
            self.block = _block(first, rows, columns)
            self.full = all(is_full(band) for band in self.bands)
        except BaseException:
            self.close()
            raise

    def read(
        self,
        window: Window,
        bands: Sequence[int],
        values: NDArray[Any],
        missing: NDArray[np.bool_],
    ) -> None:
        """Fill ``values`` and set ``missing``.

        Args:
            window: Which pixels.
            bands: Which bands, counted from 0.
            values: Written to, ``(C, h, w)``, of a type that holds those of the bands.
            missing: Set to ``True`` where there is no value, ``(C, h, w)``.

        Raises:
            DataError: If the store is damaged there; the message names it and the window.
        """
        if self._closed:
            raise DataError(f"{self.file}: the scene is closed: read it inside its with block")
        try:
            planes = self._planes(window, bands)
        except Exception as error:  # each codec has errors of its own
            raise DataError(
                f"{self.file}: {window} cannot be read: the store is damaged or truncated "
                f"({first_line(error)})"
            ) from error
        for n, plane in enumerate(planes):
            for fill in self._fills[bands[n]]:
                mark_value(plane, fill, missing[n])
            values[n] = plane

    def close(self) -> None:
        """Close the store; reading afterwards is refused."""
        self._closed = True
        self._data.close()

    def _planes(self, window: Window, bands: Sequence[int]) -> Sequence[NDArray[Any]]:
        if self._lock is None:
            return self._load(window, bands)
        with self._lock:
            return self._load(window, bands)

    def _load(self, window: Window, bands: Sequence[int]) -> Sequence[NDArray[Any]]:
        rows, columns = self._axes
        part = {rows: window.rows, columns: window.columns}
        names, along = self._layers.variables, self._layers.along
        if along is None:
            found = [self._data[names[band]].variable.isel(part) for band in bands]
            found = [one.isel(dict.fromkeys(set(one.dims) - {rows, columns}, 0)) for one in found]
            return [one.transpose(rows, columns).values for one in found]
        whole = self._data[names[0]].variable
        chosen = list(bands)
        if chosen == list(range(chosen[0], chosen[0] + len(chosen))):
            cut = whole.isel({**part, along: slice(chosen[0], chosen[0] + len(chosen))})
        else:
            cut = whole.isel({**part, along: chosen})
        cut = cut.isel(dict.fromkeys(set(cut.dims) - {along, rows, columns}, 0))
        return list(cut.transpose(along, rows, columns).values)


def _open(file: str, engine: str, packed: dict[str, bool]) -> xr.Dataset:
    """Open without dask; values stay as stored, but for packed ones."""
    xr = need("xarray")
    options: dict[str, Any] = {"engine": engine, "chunks": None, "cache": False}
    options |= {"decode_coords": "all", "mask_and_scale": packed or False}
    if engine == "zarr":  # on a disk the one file of all metadata saves nothing
        options["consolidated"] = False
    try:
        with warnings.catch_warnings():  # other files may lie beside those of a store
            warnings.filterwarnings("ignore", ".* is not recognized as a component of a Zarr")
            try:
                return xr.open_dataset(file, **options)  # type: ignore[no-any-return]
            except ValueError:  # dates of no calendar: their numbers will do as names
                return xr.open_dataset(file, decode_times=False, **options)  # type: ignore[no-any-return]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: cannot be opened: damaged, truncated, or not written for xarray "
            f"({first_line(error)})"
        ) from error


def _bands(file: str, data: xr.Dataset, layers: Layers) -> tuple[SceneBand, ...]:
    names = band_names(data, layers)
    if layers.along is not None:
        only = data[layers.variables[0]]
        nodata = _nodata(only)
        return tuple(SceneBand(name, _dtype(only), nodata, file) for name in names)
    return tuple(
        SceneBand(name, _dtype(data[variable]), _nodata(data[variable]), file)
        for name, variable in zip(names, layers.variables, strict=True)
    )


def _dtype(array: xr.DataArray) -> np.dtype[Any]:
    """Give the type in the byte order of this machine."""
    return array.dtype.newbyteorder("=")


def _nodata(array: xr.DataArray) -> float | None:
    """Give the first fill value that is no NaN, which is missing anyway."""
    fills = _fills(array)
    return next((fill for fill in fills if fill is None or not math.isnan(fill)), fills[0])


def _fills(array: xr.DataArray) -> tuple[float | None, ...]:
    """Give all fill values, none as ``None``; unpacked values are NaN there."""
    told = [np.ravel(array.attrs[key]).tolist() for key in _FILL if key in array.attrs]
    numbers = [one for some in told for one in some if isinstance(one, int | float)]
    fills = (fitting_nodata(number, array.dtype) for number in numbers)
    return tuple(dict.fromkeys(fill for fill in fills if fill is not None)) or (None,)


def _block(array: xr.DataArray, rows: str, columns: str) -> tuple[int, int]:
    """Give rows and columns of a chunk; what is not in chunks lies row by row."""
    chunks = array.encoding.get("preferred_chunks") or {}
    if rows in chunks and columns in chunks:
        return int(chunks[rows]), int(chunks[columns])
    sizes = array.encoding.get("chunksizes")
    if sizes and len(sizes) == array.ndim:
        return int(sizes[array.dims.index(rows)]), int(sizes[array.dims.index(columns)])
    return 1, int(array.sizes[columns])
