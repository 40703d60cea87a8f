"""What a person names as a scene: a file, several, a folder of files, a store."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from pointwise.data.names import shorten
from pointwise.data.scenes.parts import need
from pointwise.errors import DataError, DataWarning

RASTERS = (
    *(".tif", ".tiff", ".vrt", ".img", ".jp2", ".asc", ".bil", ".bip", ".bsq"),
    *(".nc", ".nc4", ".h5", ".hdf5", ".zarr"),
)
"""Suffixes of files and stores that hold a scene."""

OUTPUT_TAG = "POINTWISE_OUTPUT"
"""Tag of what pointwise has written: it is no band of the scene whose folder it lies in."""

_TAGGED = (".tif", ".tiff", ".png")
_IN_FOLDERS = (*RASTERS, ".png")
_ZARR = (".zgroup", ".zarray", ".zmetadata", "zarr.json")
_GDAL_NAME = re.compile(r"/vsi|[a-zA-Z][a-zA-Z0-9+.-]+://|[A-Za-z][A-Za-z0-9_]+:")
_HDF = b"\x89HDF\r\n\x1a\n"
_CLASSIC = (b"CDF\x01", b"CDF\x02")
_HDF_OF_GDAL = (".bag", ".kea")


def scene_files(
    paths: str | Path | Sequence[str | Path], *, labels: str | Path | None = None
) -> list[str]:
    """Name the files and stores of a scene.

    Args:
        paths: One, or several; a folder stands for the rasters in it, in the order of their names
            (numbers by value), without maps and previews that pointwise has written, with a
            warning; a Zarr store stands for itself.
        labels: Left out of a folder, with a warning.

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
    return [file for path in given for file in _expand(str(path), labels)]


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


def _expand(name: str, labels: str | Path | None) -> list[str]:
    path = Path(name)
    if path.is_file():
        return [name]
    if path.is_dir():
        return [name] if _is_zarr(path) else _in_folder(path, labels)
    if _GDAL_NAME.match(name):
        return [name]
    raise DataError(f"{name}: there is no such file")


def _in_folder(folder: Path, labels: str | Path | None) -> list[str]:
    rasters = sorted(map(str, filter(_is_raster, folder.iterdir())), key=by_number)
    if labels is not None and Path(labels).exists():
        given = [file for file in rasters if Path(file).samefile(labels)]
        if given:
            rasters = [file for file in rasters if file not in given]
            warnings.warn(
                f"{folder}: {_names(given)} holds the labels: left out of the scene",
                DataWarning,
                stacklevel=5,
            )
    made = [file for file in rasters if _is_output(file)]
    files = [file for file in rasters if file not in made]
    if files and made:
        warnings.warn(
            f"{folder}: made by pointwise and so left out of the scene: {_names(made)}",
            DataWarning,
            stacklevel=5,
        )
    if files:
        return files
    if made:
        raise DataError(
            f"{folder}: holds no raster but what pointwise has made ({_names(made)}): if that is "
            "the scene, name the files themselves"
        )
    if any(path.suffix.lower() == ".adf" for path in folder.iterdir()):
        return [str(folder)]  # an Arc grid: the folder is the raster
    found = shorten(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise DataError(f"{folder}: holds no raster ({', '.join(_IN_FOLDERS)}), found {found}")


def _names(files: Sequence[str]) -> str:
    return shorten([Path(file).name for file in files])


def _is_raster(path: Path) -> bool:
    """Tell whether a file or folder in a scene's folder is one of its rasters."""
    named = path.suffix.lower() in _IN_FOLDERS and not path.name.startswith(".")
    return named and (path.is_file() or _is_zarr(path))


def _is_output(file: str) -> bool:
    if not file.lower().endswith(_TAGGED):
        return False
    rasterio = need("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(file) as dataset:
                return OUTPUT_TAG in dataset.tags()
        except rasterio.errors.RasterioError:  # opening it as a band says what is wrong with it
            return False


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _ZARR)
