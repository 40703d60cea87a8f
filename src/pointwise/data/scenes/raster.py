"""One file that GDAL reads, through rasterio: values, nodata, masks and alpha by windows."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes.damage import check_whole
from pointwise.data.scenes.header import (
    alpha_and_bands,
    band_of,
    block_of,
    grid_of_raster,
    is_plain_pixelwise,
    warn_of_scales,
)
from pointwise.data.scenes.parts import Window, is_full, mark_value, need
from pointwise.errors import DataError, first_line


class RasterFile:
    """A file opened by rasterio.

    GDAL lets a dataset be used by one thread at a time, so each thread that reads has a dataset of
    its own. Files without a place on the ground share one dataset and a lock: rasterio warns
    whenever it opens one of those, and warnings cannot be silenced in one thread alone.

    Args:
        file: A path, or a name that GDAL knows.

    Raises:
        DataError: If the file cannot be opened, is damaged, or holds no bands of real numbers.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._datasets: dict[int, Any] = {}
        self._closed = False
        dataset, self._placed = _open_first(file)
        self._datasets[threading.get_ident()] = dataset
        try:
            check_whole(file, dataset)
            self._alpha, self._indexes = alpha_and_bands(file, dataset)
            alone = len(self._indexes) == 1
            self.bands = tuple(
                band_of(file, dataset, index, alone=alone) for index in self._indexes
            )
            self.grid = grid_of_raster(file, dataset, placed=self._placed)
            self.block = block_of(dataset)
            self._masks = [_mask_of(dataset, index) for index in self._indexes]
            warn_of_scales(file, dataset, self._indexes)
            self.pixelwise = self._alpha is None and is_plain_pixelwise(dataset)
        except BaseException:
            self.close()
            raise
        masked = self._alpha is not None or any(self._masks)
        self.full = not masked and all(is_full(band) for band in self.bands)
        self.notes = self._notes()

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
            DataError: If the file is damaged there; the message names the file and the window.
        """
        with self._dataset() as dataset:
            try:
                self._read(dataset, window, bands, values, missing)
            except need("rasterio").errors.RasterioError as error:
                raise DataError(
                    f"{self.file}: {window} cannot be read: the file is damaged or truncated "
                    f"({first_line(error.__cause__ or error)})"
                ) from error

    def close(self) -> None:
        """Close the datasets of all threads; reading afterwards is refused."""
        with self._lock:
            self._closed = True
            for dataset in self._datasets.values():
                dataset.close()
            self._datasets.clear()

    def _read(
        self,
        dataset: Any,
        window: Window,
        bands: Sequence[int],
        values: NDArray[Any],
        missing: NDArray[np.bool_],
    ) -> None:
        place = need("rasterio.windows").Window(
            window.left, window.top, window.width, window.height
        )
        for dtype in dict.fromkeys(self.bands[band].dtype for band in bands):
            at = [n for n, band in enumerate(bands) if self.bands[band].dtype == dtype]
            indexes = [self._indexes[bands[n]] for n in at]
            direct = values.dtype == dtype and len(at) == len(bands)
            got = dataset.read(indexes, window=place, out=values if direct else None)
            for n, plane in zip(at, got, strict=True):
                by_value = self._masks[bands[n]] != "exact"
                mark_value(plane, self.bands[bands[n]].nodata if by_value else None, missing[n])
                if not direct:
                    values[n] = plane
        if self._alpha is not None:
            missing |= dataset.read(self._alpha, window=place) == 0
        self._read_masks(dataset, place, bands, missing)

    def _read_masks(
        self, dataset: Any, place: Any, bands: Sequence[int], missing: NDArray[np.bool_]
    ) -> None:
        shared: NDArray[np.bool_] | None = None
        for n, band in enumerate(bands):
            if self._masks[band] in ("band", "exact"):
                missing[n] |= dataset.read_masks(self._indexes[band], window=place) == 0
            elif self._masks[band] == "dataset":
                if shared is None:
                    shared = dataset.read_masks(self._indexes[band], window=place) == 0
                missing[n] |= shared

    def _notes(self) -> tuple[str, ...]:
        if self._alpha is None:
            return ()
        return (f"{self.file}: band {self._alpha} is alpha: where it is 0, nothing has a value",)

    @contextmanager
    def _dataset(self) -> Iterator[Any]:
        """Give this thread a dataset that no other thread uses meanwhile."""
        if not self._placed:
            with self._lock:
                self._refuse_closed()
                yield next(iter(self._datasets.values()))
            return
        with self._lock:
            self._refuse_closed()
            mine = self._datasets.get(threading.get_ident())
            if mine is None:
                self._close_abandoned()
                mine = _open(self.file)
                self._datasets[threading.get_ident()] = mine
        yield mine

    def _close_abandoned(self) -> None:
        """Close the datasets of threads that have ended."""
        alive = {thread.ident for thread in threading.enumerate()}
        for ident in [ident for ident in self._datasets if ident not in alive]:
            self._datasets.pop(ident).close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise DataError(f"{self.file}: the scene is closed: read it inside its with block")


def _open_first(file: str) -> tuple[Any, bool]:
    """Open a file, and tell whether it has a place on the ground."""
    unplaced = need("rasterio").errors.NotGeoreferencedWarning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = _open(file)
    placed = True
    for warning in caught:
        if issubclass(warning.category, unplaced):
            placed = False
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return dataset, placed


def _open(file: str) -> Any:
    rasterio = need("rasterio")
    try:
        with rasterio.Env(GTIFF_DIRECT_IO=True):  # what is not compressed needs no cache of blocks
            return rasterio.open(file)
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"{file}: cannot be opened: no raster, or damaged or truncated ({first_line(error)})"
        ) from error


def _mask_of(dataset: Any, index: int) -> str:
    """Tell which mask of GDAL says what has a value, beside nodata and alpha."""
    flags = [flag.name for flag in dataset.mask_flag_enums[index - 1]]
    if not flags:
        return "band"
    if "per_dataset" in flags and "alpha" not in flags:
        return "dataset"
    # Of integers of 64 bits the mask also says what is nodata: rasterio gives that as a float.
    return "exact" if "nodata" in flags and dataset.dtypes[index - 1].endswith("int64") else ""
