"""What a person names as a scene: a file, several, a folder of files, a store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pointwise.data.names import shorten
from pointwise.errors import DataError

RASTERS = (
    *(".tif", ".tiff", ".vrt", ".img", ".jp2", ".asc", ".bil", ".bip", ".bsq"),
    *(".nc", ".nc4", ".h5", ".hdf5", ".zarr"),
)
"""Suffixes of files and stores that hold a scene."""

_IN_FOLDERS = (*RASTERS, ".png")
_ZARR = (".zgroup", ".zarray", ".zmetadata", "zarr.json")
_GDAL_NAME = re.compile(r"/vsi|[a-zA-Z][a-zA-Z0-9+.-]+://|[A-Za-z][A-Za-z0-9_]+:")
_HDF = b"\x89HDF\r\n\x1a\n"
_CLASSIC = (b"CDF\x01", b"CDF\x02")
_HDF_OF_GDAL = (".bag", ".kea")


def scene_files(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """Name the files and stores of a scene.

    Args:
        paths: One, or several; a folder stands for the rasters in it, in the order of their names
            (numbers by value), a Zarr store for itself.

    Returns:
        The files.

    Raises:
        DataError: If there are none, or one does not exist.

    Example:
        >>> scene_files("no_such.tif")
        Traceback (most recent call last):
        pointwise.errors.DataError: no_such.tif: there is no such file
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("a scene is one file at least, got none")
    return [file for path in given for file in _expand(str(path))]


def store_engine(file: str) -> str | None:
    """Tell which engine of xarray reads a file or store.

    Args:
        file: A path.

    Returns:
        ``"zarr"``, ``"h5netcdf"`` or ``"scipy"``; ``None`` for what GDAL reads.

    Example:
        >>> store_engine("no_such.tif") is None
        True
    """
    path = Path(file)
    if path.is_dir():
        return "zarr" if _is_zarr(path) else None
    if not path.is_file() or path.suffix.lower() in _HDF_OF_GDAL:
        return None
    with path.open("rb") as stream:
        head = stream.read(len(_HDF))
    if head == _HDF:
        return "h5netcdf"
    return "scipy" if head[:4] in _CLASSIC else None


def by_number(name: str) -> list[tuple[int, str]]:
    """Give a key that sorts B2 before B10.

    Args:
        name: A name.

    Returns:
        The key.

    Example:
        >>> sorted(["B10", "B2", "B1"], key=by_number)
        ['B1', 'B2', 'B10']
    """
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", name)]


def _expand(name: str) -> list[str]:
    path = Path(name)
    if path.is_file():
        return [name]
    if path.is_dir():
        return [name] if _is_zarr(path) else _in_folder(path)
    if _GDAL_NAME.match(name):
        return [name]
    raise DataError(f"{name}: there is no such file")


def _in_folder(folder: Path) -> list[str]:
    files = [str(path) for path in folder.iterdir() if _is_raster(path)]
    if files:
        return sorted(files, key=by_number)
    if any(path.suffix.lower() == ".adf" for path in folder.iterdir()):
        return [str(folder)]  # an Arc grid: the folder is the raster
    found = shorten(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise DataError(f"{folder}: holds no raster ({', '.join(_IN_FOLDERS)}), found {found}")


def _is_raster(path: Path) -> bool:
    """Tell whether a file or folder in a scene's folder is one of its rasters."""
    named = path.suffix.lower() in _IN_FOLDERS and not path.name.startswith(".")
    return named and (path.is_file() or _is_zarr(path))


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _ZARR)
