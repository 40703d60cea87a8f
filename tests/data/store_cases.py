"""Zarr and NetCDF stores on disk for the tests of reading them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

xr = pytest.importorskip("xarray")

X = 500_000.0 + 30 * (np.arange(41) + 0.5)
Y = 5_000_000.0 - 30 * (np.arange(37) + 0.5)


def to_zarr(data: Any, path: Path, version: int = 2) -> Path:
    path = path.with_suffix(".zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the store is written by others, only reading is tested
        data.to_zarr(path, zarr_format=version, consolidated=version == 2)
    return path


def to_zarr_3(data: Any, path: Path) -> Path:
    return to_zarr(data, path, 3)


def to_netcdf(data: Any, path: Path) -> Path:
    pytest.importorskip("h5py")
    path = path.with_suffix(".nc")
    data.to_netcdf(path, engine="h5netcdf")
    return path


def to_classic(data: Any, path: Path) -> Path:
    path = path.with_suffix(".nc")
    data.to_netcdf(path, engine="scipy")
    return path


STORES: dict[str, Callable[[Any, Path], Path]] = {
    "zarr 2": to_zarr,
    "zarr 3": to_zarr_3,
    "netcdf": to_netcdf,
    "classic netcdf": to_classic,
}


def place(data: Any, epsg: int | None = 32633) -> Any:
    data = data.assign_coords(x=("x", X), y=("y", Y))
    return data if epsg is None else data.rio.write_crs(epsg)


def variables(values: Any, names: tuple[str, ...] = ("blue", "nir"), **attributes: Any) -> Any:
    planes = zip(names, values, strict=True)
    return place(xr.Dataset({n: (("y", "x"), plane, attributes) for n, plane in planes}))


def cube(values: Any, axis: Any = None, **attributes: Any) -> Any:
    array = xr.DataArray(values, dims=("band", "y", "x"), name="cube", attrs=attributes)
    if axis is not None:
        array = array.assign_coords(band=axis)
    return place(array.to_dataset())
