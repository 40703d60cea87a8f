"""Rasters on disk, read window by window: what is opened here is only read, nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.names import shorten
from pointwise.data.scenes.agreement import own_names, same_grid, show_crs, warn_of_rounding
from pointwise.data.scenes.parts import (
    Grid,
    SceneBand,
    SceneFile,
    Window,
    common_dtype,
    show_nodata,
)
from pointwise.data.scenes.paths import scene_files, store_engine
from pointwise.data.scenes.raster import RasterFile
from pointwise.errors import DataError

__all__ = ["Grid", "Scene", "SceneBand", "open_scene"]


class Scene:
    """Bands over one grid, in one file or several; ``open_scene`` makes it.

    A context manager that closes its files. It may be read from several threads at once.

    Args:
        files: The files, opened.

    Raises:
        DataError: If their grids differ.
    """

    bands: tuple[SceneBand, ...]
    """The bands of all files, in their order."""

    grid: Grid
    """Where the pixels lie."""

    block: tuple[int, int]
    """Rows and columns of the blocks that the files are stored in, the largest of them."""

    def __init__(self, files: Sequence[SceneFile]) -> None:
        self._files = tuple(files)
        self.grid = same_grid(files)
        found = [band for file in files for band in file.bands]
        warn_of_rounding(found)
        self.bands = own_names(found, files=len(files))
        self.block = (max(file.block[0] for file in files), max(file.block[1] for file in files))
        self._places = [(n, k) for n, file in enumerate(files) for k in range(len(file.bands))]

    @property
    def names(self) -> tuple[str | None, ...]:
        """The names of the bands, ``None`` for those that have none."""
        return tuple(band.name for band in self.bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds the values of all bands."""
        return common_dtype([band.dtype for band in self.bands])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the files, a line each."""
        return tuple(note for file in self._files for note in file.notes)

    def read(
        self, rows: slice, columns: slice, bands: Sequence[int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read a window at full resolution.

        Args:
            rows: Rows ``start:stop``; ends are cut as in any slice.
            columns: Columns, likewise.
            bands: Numbers of the bands, counted from 0, in the order to give them. Default: all.

        Returns:
            Values of shape ``(C, h, w)`` in the smallest type that holds those of these bands, as
            they are stored, in any memory order; and, of the same shape, where there is none:
            nodata, NaN, masked, alpha 0. ``None`` if every pixel of the window has a value.

        Raises:
            ValueError: If the window is empty or has steps, or there is no such band.
            DataError: If a file is damaged there; the message names the file and the window.
        """
        top, height = _span(rows, self.grid.height, "rows")
        left, width = _span(columns, self.grid.width, "columns")
        window = Window(top, left, height, width)
        chosen = self._chosen(bands)
        shape = (len(chosen), window.height, window.width)
        dtype = common_dtype([self.bands[band].dtype for band in chosen])
        if self._is_pixelwise(chosen):
            values = np.empty((*shape[1:], shape[0]), dtype).transpose(2, 0, 1)
        else:
            values = np.empty(shape, dtype)
        full = all(self._files[self._places[band][0]].full for band in chosen)
        missing = np.broadcast_to(np.False_, shape) if full else np.zeros(shape, bool)
        for number, file in enumerate(self._files):
            at = [n for n, band in enumerate(chosen) if self._places[band][0] == number]
            if at:
                inner = [self._places[chosen[n]][1] for n in at]
                _read_planes(file, window, inner, at, values, missing)
        return values, None if full or not missing.any() else missing

    def describe(self) -> str:
        """Say in one line what the scene is.

        Returns:
            Files, bands, size, type, CRS and nodata.
        """
        first = Path(self._files[0].file).name
        files = first if len(self._files) == 1 else f"{len(self._files)} files from {first}"
        count = "1 band" if len(self.bands) == 1 else f"{len(self.bands)} bands"
        names = [name for name in self.names if name is not None]
        named = f" ({shorten(names, 8)})" if names else ""
        crs = "no CRS" if self.grid.crs is None else show_crs(self.grid.crs)
        nodata = dict.fromkeys(
            "none" if band.nodata is None else show_nodata(band.nodata) for band in self.bands
        )
        size = f"{self.grid.height} x {self.grid.width} (height x width)"
        return (
            f"{files}: {count}{named}, {size}, {self.dtype}, {crs}, nodata {' and '.join(nodata)}"
        )

    def close(self) -> None:
        """Close the files; reading afterwards is refused."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return self.describe()

    def _is_pixelwise(self, chosen: Sequence[int]) -> bool:
        """Whether these are all bands of a file that holds them pixel by pixel."""
        every = list(chosen) == list(range(len(self.bands)))
        return every and len(self._files) == 1 and self._files[0].pixelwise

    def _chosen(self, bands: Sequence[int] | None) -> list[int]:
        chosen = list(range(len(self.bands))) if bands is None else [int(band) for band in bands]
        if not chosen or min(chosen) < 0 or max(chosen) >= len(self.bands):
            raise ValueError(
                f"bands are numbers from 0 to {len(self.bands) - 1}, one at least, got {chosen}"
            )
        return chosen


def open_scene(
    paths: str | Path | Sequence[str | Path],
    *,
    variable: str | None = None,
    labels: str | Path | None = None,
) -> Scene:
    """Open rasters as one scene: GeoTIFF, VRT and all that GDAL reads, NetCDF, HDF5 and Zarr.

    Values are given at full resolution, as they are stored: tags of scale and offset are not
    applied, with a warning. Packed variables of NetCDF and Zarr are unpacked, as the CF conventions
    say and xarray does. An alpha band is a mask, no band. Overviews are not used. Files without CRS
    or transform are read as they are, with a warning where both are missing; ground control points
    are not kept, with a warning.

    Args:
        paths: A file; several, whose bands follow one another and whose grids are the same; a
            folder of rasters; or a Zarr store.
        variable: Name of the variable of a NetCDF, HDF5 or Zarr file, where several fit.
        labels: Raster that is no band of the scene though it may lie in its folder.

    Returns:
        The scene, to be used in a ``with`` block.

    Raises:
        ImportError: If rasterio, or what reads NetCDF and Zarr, is not installed.
        DataError: If a file is missing, damaged or no raster, holds complex numbers, or the grids
            differ.

    Example:
        >>> open_scene("no_such.tif")
        Traceback (most recent call last):
        pointwise.errors.DataError: no_such.tif: there is no such file
    """
    opened: list[SceneFile] = []
    try:
        for file in scene_files(paths, labels=labels):
            opened.append(_open_file(file, variable))
        return Scene(opened)
    except BaseException:
        for one in opened:
            one.close()
        raise


def _open_file(file: str, variable: str | None) -> SceneFile:
    engine = store_engine(file)
    if engine is not None:
        from pointwise.data.scenes.store import StoreFile

        return StoreFile(file, engine, variable)
    if variable is not None:
        raise DataError(
            f"{file}: variable={variable!r} can be given for NetCDF, HDF5 and Zarr only"
        )
    return RasterFile(file)


def _span(part: slice, size: int, what: str) -> tuple[int, int]:
    start, stop, step = part.indices(size)
    if step != 1 or stop <= start:
        raise ValueError(f"a window has {what} start:stop within 0:{size}, got {part}")
    return start, stop - start


def _read_planes(
    file: SceneFile,
    window: Window,
    inner: Sequence[int],
    at: Sequence[int],
    values: NDArray[Any],
    missing: NDArray[np.bool_],
) -> None:
    """Read bands of one file to where they stand among the bands asked for."""
    if at[-1] - at[0] + 1 == len(at):  # side by side: read in place
        stand = slice(at[0], at[-1] + 1)
        file.read(window, inner, values[stand], missing[stand])
        return
    some = np.empty((len(at), *values.shape[1:]), values.dtype)
    lacking = np.zeros(some.shape, bool)
    file.read(window, inner, some, lacking)
    values[at] = some
    if missing.flags.writeable:
        missing[at] = lacking
