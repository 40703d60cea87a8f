"""One call for every kind of raster: arrays, labelled arrays and files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointwise.errors import DataError
from pointwise.maps.arrays import map_array
from pointwise.maps.files.writer import Compression
from pointwise.maps.outputs import Asked, plan_output
from pointwise.maps.pixel_model import as_pixel_model


def predict_map(
    model: Any,
    raster: Any,
    *,
    out: Any = None,
    output: Asked = "auto",
    spread: bool = False,
    interval: float | None = None,
    nodata: float | Sequence[float | None] | None = None,
    bands: Sequence[str | None] | None = None,
    out_nodata: float | None = None,
    compress: Compression = "deflate",
    memory_mb: int = 192,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Predict every pixel of a raster.

    A pixel is nodata in the map where all its bands are missing, or one is missing that had no
    missing value in training.

    Args:
        model: A fitted estimator for tables, or what else ``as_pixel_model`` takes.
        raster: An array ``(bands, rows, columns)``, an ``xarray.DataArray``, or the path of a file
            or the paths of several.
        out: Of an array: where to put the map. Of files: the GeoTIFF to write, which is needed.
        output: Class numbers, probabilities of the classes, or values of the targets; ``"auto"``
            is class numbers of a classifier and values of a regressor.
        spread: Whether bands follow that hold the standard deviation over the members.
        interval: Share of the pixels that are to lie in their interval, whose ends follow as bands
            (of a calibrated regressor).
        nodata: Of an array: the number that stands for a missing value, or one for each band.
            The others know it themselves.
        bands: Of an array: names of its bands. The others know them themselves.
        out_nodata: What stands where there is no prediction. Default: see ``plan_output``.
        compress: Of files: ``"deflate"``, ``"zstd"``, ``"lzw"`` or ``"none"``.
        memory_mb: Of files: most megabytes of pixels in flight.
        progress: Of files: called with the pixels done and the pixels of all.

    Returns:
        Of an array ``(rows, columns)``, or ``(B, rows, columns)`` if the map has several bands; of
        a ``DataArray`` another one, lazy if it is; of files a ``MapSummary``.

    Raises:
        DataError: If the raster has not the model's bands, or an argument does not fit.

    Example:
        >>> import numpy as np
        >>> from pointwise.nn import MLP
        >>> predict_map(MLP([3, 8, 1]), np.ones((3, 4, 5), np.uint16)).shape
        (4, 5)
    """
    paths = _paths(raster)
    if paths is None and not _is_labelled(raster):
        return map_array(
            model,
            raster,
            nodata=nodata,
            bands=bands,
            output=output,
            spread=spread,
            interval=interval,
            out_nodata=out_nodata,
            out=out,
        )
    for name, given in (("nodata", nodata), ("bands", bands)):
        if given is not None:
            raise DataError(f"{name} is for arrays: files and DataArrays bring their own")
    made = as_pixel_model(model)
    plan = plan_output(made, output, spread=spread, interval=interval, nodata=out_nodata)
    if paths is None:
        from pointwise.maps.xarrays import map_dataarray

        if out is not None:
            raise DataError("out is for arrays and files: assign the DataArray that comes back")
        return map_dataarray(made, raster, output=plan)
    if out is None:
        raise DataError("a map of files is written to a file: give out='map.tif'")
    from pointwise.data.scenes import open_scene
    from pointwise.maps.files import map_files

    with open_scene(paths) as scene:
        return map_files(
            made,
            scene,
            out,
            output=plan,
            compress=compress,
            memory_mb=memory_mb,
            progress=progress,
        )


def _is_labelled(raster: Any) -> bool:
    """Whether it is an ``xarray.DataArray`` or ``Dataset``, told without importing xarray."""
    labelled = all(hasattr(raster, name) for name in ("dims", "coords", "attrs"))
    return labelled and (hasattr(raster, "data") or hasattr(raster, "data_vars"))


def _paths(raster: Any) -> list[str | Path] | None:
    """The paths of files, if it is any."""
    if isinstance(raster, str | Path):
        return [raster]
    listed = isinstance(raster, list | tuple) and len(raster) > 0
    if listed and all(isinstance(part, str | Path) for part in raster):
        return list(raster)
    return None
