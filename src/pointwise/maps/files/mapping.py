"""Maps of files: window by window to a GeoTIFF, in bounded memory."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes import Scene
from pointwise.data.scenes.parts import Window, common_dtype, need
from pointwise.data.scenes.paths import store_engine
from pointwise.errors import DataError
from pointwise.maps.arrays import is_small
from pointwise.maps.files.overlapping import overlap
from pointwise.maps.files.windows import Cut, Sheet, cut_sheets, plan_cut
from pointwise.maps.files.writer import (
    COMPRESSIONS,
    Compression,
    MapWriter,
    check_out,
    replace_map,
)
from pointwise.maps.matching import match_bands
from pointwise.maps.outputs import Output
from pointwise.maps.pixel_model import PixelModel
from pointwise.maps.predictor import Predictor
from pointwise.maps.ranges import warn_of_far_pixels
from pointwise.runtime.compiled import Engine

Array = NDArray[Any]

_Read: TypeAlias = tuple[Array, NDArray[np.bool_] | None]
"""Values of a piece, and where they are missing."""

LEAST_MEMORY = 16
"""Megabytes. With less, pieces would be too small to be worth a call."""

SIDE = 64
"""Rows and columns that are looked at before: are they in the units of the training?"""

_COUNTED = 1 << 16


@dataclass(frozen=True)
class MapSummary:
    """What a map turned out to be.

    Attributes:
        out: The file.
        height: Its rows.
        width: Its columns.
        bands: Names of its bands.
        nodata_pixels: Pixels without a prediction.
        class_pixels: Pixels of each number of a class map; empty for others.
        seconds: How long it took.
        megapixels_per_second: How fast that was.
    """

    out: str
    height: int
    width: int
    bands: tuple[str, ...]
    nodata_pixels: int
    class_pixels: dict[int, int]
    seconds: float
    megapixels_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.out}: {self.height} x {self.width} (height x width), "
            f"{self.nodata_pixels:,} of {self.height * self.width:,} pixels nodata, "
            f"{self.seconds:.1f} s, {self.megapixels_per_second:.1f} Mpx/s"
        )


def map_files(
    model: PixelModel,
    scene: Scene,
    out: str | Path,
    *,
    output: Output,
    compress: Compression = "deflate",
    memory_mb: int = 192,
    engine: Engine = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> MapSummary:
    """Predict every pixel of a scene and write the map to a GeoTIFF.

    Reading and writing go on while the network computes. The map is written under a hidden name
    beside ``out`` and moved into place when it is whole: until then a map that was there stays, and
    whatever interrupts this leaves it. What a killed run has left is removed by the next one, which
    begins anew; the same call gives the same bytes.

    Args:
        model: The model.
        scene: An open scene; its bands are matched by name, else by order with a warning.
        out: The file to write, ``.tif`` or ``.tiff``.
        output: What the map holds, from ``plan_output``.
        compress: ``"deflate"``, ``"zstd"``, ``"lzw"`` or ``"none"``.
        memory_mb: Most megabytes of pixels in flight. Files whose blocks are too large for it are
            read in parts, which is slow for compressed ones: give more memory then.
        engine: As for ``Predictor``.
        progress: Called with the pixels done and the pixels of all.

    Returns:
        Counts of pixels, and the time it took.

    Raises:
        DataError: If the bands do not fit the model, a file is damaged, or the map cannot be
            written there.
        ImportError: If rasterio is not installed.

    Example:
        >>> import tempfile
        >>> import rasterio
        >>> from pointwise.data.scenes import open_scene
        >>> from pointwise.maps import as_pixel_model, plan_output
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([1, 8, 3]), bands=["red"], classes=[1, 2, 3])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = folder + "/red.tif"
        ...     size = {"height": 2, "width": 3, "count": 1, "dtype": "uint8", "nodata": 255}
        ...     place = rasterio.Affine(10, 0, 0, 0, -10, 0)
        ...     with rasterio.open(file, "w", driver="GTiff", transform=place, **size) as dataset:
        ...         dataset.write(np.full((1, 2, 3), 255, np.uint8))
        ...     with open_scene(file) as scene:
        ...         map_files(
        ...             model, scene, folder + "/map.tif", output=plan_output(model)
        ...         ).nodata_pixels
        6
    """
    began = time.perf_counter()
    _check(compress, memory_mb)
    path = check_out(out, files_read(scene))
    order = match_bands(model, scene.names, where=_where(scene))
    height, width = scene.grid.height, scene.grid.width
    warn_of_far_pixels(model, *_sample(scene, order), where=_where(scene))
    if engine == "auto" and is_small(model, height * width):
        engine = "chunks"
    work = _Work(Predictor(model, output, engine=engine), scene, order, progress)
    cut = plan_cut(
        height,
        width,
        block=scene.block,
        in_bytes=work.bytes_of_a_pixel(),
        out_bytes=output.dtype.itemsize * len(output.bands),
        memory_bytes=memory_mb << 20,
    )
    with (
        _gdal(cut.cache_bytes),
        replace_map(path) as temporary,
        MapWriter(
            path,
            temporary,
            scene.grid,
            output,
            tile=cut.tile,
            compress=compress,
            model_name=model.name,
        ) as writer,
    ):
        work.run(writer, cut)
    seconds = time.perf_counter() - began
    counts = work.counts
    return MapSummary(
        out=str(out),
        height=height,
        width=width,
        bands=output.bands,
        nodata_pixels=counts.nodata,
        class_pixels={code: int(counts.codes[code]) for code in output.codes},
        seconds=seconds,
        megapixels_per_second=height * width / 1e6 / seconds,
    )


@dataclass
class _Counts:
    """Pixels of a map, as they are written.

    Attributes:
        output: What the map holds.
        codes: Pixels of every number of its type.
        nodata: Pixels without a prediction.
    """

    output: Output
    codes: NDArray[np.int64] = field(init=False)
    nodata: int = 0

    def __post_init__(self) -> None:
        classes = self.output.kind == "class"
        self.codes = np.zeros(np.iinfo(self.output.dtype).max + 1 if classes else 0, np.int64)

    def add(self, values: Array) -> None:
        """Count the pixels of ``(B, h, w)``."""
        flat, nodata = values[0].reshape(-1), self.output.nodata
        for start in range(0, len(flat), _COUNTED):
            some = flat[start : start + _COUNTED]
            if len(self.codes):
                self.codes += np.bincount(some, minlength=len(self.codes))
            elif not np.isnan(nodata):
                self.nodata += int(np.count_nonzero(some == nodata))
            elif np.isnan(some.min()):  # one pass, and of most maps almost always the last
                self.nodata += int(np.count_nonzero(np.isnan(some)))
        if len(self.codes):
            self.nodata = int(self.codes[int(nodata)])


class _Work:
    """Reads, predicts and writes the pieces of one map.

    GDAL's cache of blocks is one for all files: while pieces are read, blocks of the map could be
    put out in between and in another order. So GDAL either reads or writes; computing goes on
    during both.
    """

    def __init__(
        self,
        predictor: Predictor,
        scene: Scene,
        order: tuple[int, ...],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.predictor, self.scene, self.order = predictor, scene, order
        self.progress = progress
        self.counts = _Counts(predictor.output)
        self._lock = threading.Lock()
        self._done = 0
        self._sheet: Array | None = None

    def bytes_of_a_pixel(self) -> int:
        """What a pixel takes that was read: its values, and whether each is missing."""
        kind = common_dtype([self.scene.bands[band].dtype for band in self.order])
        return (kind.itemsize + 1) * len(self.order)

    def run(self, writer: MapWriter, cut: Cut) -> None:
        """Make the map."""

        def write(made: tuple[Window, Array]) -> None:
            window, values = made
            writer.write(window, values, lock=self._lock)
            self.counts.add(values)

        grid = self.scene.grid
        sheets = cut_sheets(grid.height, grid.width, block=self.scene.block, cut=cut)
        overlap(_jobs(sheets), self._read, self._predict, write)

    def _read(self, job: tuple[Sheet, Window]) -> _Read:
        _, piece = job
        with self._lock:
            return self.scene.read(piece.rows, piece.columns, self.order)

    def _predict(self, job: tuple[Sheet, Window], read: _Read) -> tuple[Window, Array] | None:
        """Predict a piece; gives the sheet that it completes."""
        sheet, piece = job
        output, whole = self.predictor.output, sheet.window
        if self._sheet is None:
            self._sheet = np.empty((len(output.bands), whole.height, whole.width), output.dtype)
        values = self._sheet
        top, left = piece.top - whole.top, piece.left - whole.left
        part = values[:, top : top + piece.height, left : left + piece.width]
        self.predictor(*read, out=part)
        self._done += piece.height * piece.width
        if self.progress is not None:
            self.progress(self._done, self.scene.grid.height * self.scene.grid.width)
        if piece is not sheet.pieces[-1]:
            return None
        self._sheet = None
        return whole, values


def _sample(scene: Scene, order: tuple[int, ...]) -> tuple[Array, NDArray[np.bool_] | None]:
    """Pixels from the middle of the scene, ``(C, P)``, and which of their values are missing."""
    middle = [
        slice(max(0, size // 2 - SIDE // 2), size // 2 + SIDE // 2 + 1)
        for size in (scene.grid.height, scene.grid.width)
    ]
    values, missing = scene.read(middle[0], middle[1], order)
    flat = None if missing is None else missing.reshape(len(missing), -1)
    return values.reshape(len(values), -1), flat


def _jobs(sheets: Iterable[Sheet]) -> Iterator[tuple[Sheet, Window]]:
    for sheet in sheets:
        for piece in sheet.pieces:
            yield sheet, piece


def _check(compress: str, memory_mb: int) -> None:
    if compress not in COMPRESSIONS:
        raise DataError(f"compress must be one of {', '.join(COMPRESSIONS)}, got {compress!r}")
    if memory_mb < LEAST_MEMORY:
        raise DataError(f"memory_mb must be at least {LEAST_MEMORY}, got {memory_mb}")


def _gdal(cache_bytes: int) -> Any:
    """Bound GDAL's cache of blocks, which is one for all files."""
    return need("rasterio").Env(GDAL_CACHEMAX=cache_bytes)


def files_read(scene: Scene) -> list[str]:
    """Name the files that a map is made of.

    Args:
        scene: An open scene.

    Returns:
        Its files, those behind names that only GDAL knows, and those that a VRT is made of.
    """
    named = list(dict.fromkeys(band.file for band in scene.bands))
    files = list(named)
    rasterio = need("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        for file in files:  # which grows: a VRT may be made of others
            is_vrt = file.lower().endswith(".vrt")
            if is_vrt or (file in named and store_engine(file) is None):
                with rasterio.open(file) as dataset:
                    files.extend(part for part in dataset.files if part not in files)
    return files


def _where(scene: Scene) -> str:
    files = list(dict.fromkeys(band.file for band in scene.bands))
    return files[0] if len(files) == 1 else f"the scene of {files[0]} and {len(files) - 1} more"
