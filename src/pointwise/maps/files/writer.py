"""A map as a GeoTIFF: what stands in its header, its pixels, and its moving into place."""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from pointwise._atomic import replace_file, why_no_file
from pointwise.data.scenes.damage import count_lost_blocks
from pointwise.data.scenes.parts import IDENTITY, Grid, Window, need
from pointwise.data.scenes.paths import OUTPUT_TAG
from pointwise.errors import DataError, first_line
from pointwise.maps.outputs import Output

Compression: TypeAlias = Literal["deflate", "zstd", "lzw", "none"]

COMPRESSIONS = ("deflate", "zstd", "lzw", "none")

CLASSES_TAG, MODEL_TAG = "POINTWISE_CLASSES", "POINTWISE_MODEL"
VERSION_TAG, TARGET_TAG = "POINTWISE_VERSION", "POINTWISE_TARGET"
COVERAGE_TAG = "POINTWISE_COVERAGE"

_BESIDE = (".ovr", ".msk", ".aux.xml")
"""What GDAL keeps beside a raster: it tells of the pixels of the file that was there before."""


class MapWriter:
    """Writes one map under a temporary name; a context manager that closes it.

    The header is the same whenever the map is: it holds no time and no path. The tags are
    ``POINTWISE_MODEL`` (the model's name), ``POINTWISE_VERSION``, ``POINTWISE_OUTPUT`` (``class``,
    ``proba`` or ``value``), ``POINTWISE_TARGET`` (what the classes are, where that is known),
    ``POINTWISE_COVERAGE`` (the share of pixels that are to lie in their interval, where there is
    one) and, of a class map, ``POINTWISE_CLASSES``, a JSON object from each number to its class;
    its band also has a tag ``CLASS_<number>`` for each, and a colour table.

    Args:
        out: What the map will be called, for messages.
        temporary: The file to write.
        grid: Where the pixels lie.
        output: What the map holds.
        tile: Rows and columns of its tiles.
        compress: How its tiles are compressed.
        model_name: What it was made with.

    Raises:
        DataError: If the file cannot be made.
    """

    def __init__(
        self,
        out: Path,
        temporary: Path,
        grid: Grid,
        output: Output,
        *,
        tile: tuple[int, int],
        compress: Compression,
        model_name: str,
    ) -> None:
        self.out, self._temporary, self._tile_rows = out, temporary, tile[0]
        self._sent = 0
        rasterio = need("rasterio")
        self._window: Any = need("rasterio.windows").Window
        self._error: Any = rasterio.errors.RasterioError
        with self._in_words():
            with warnings.catch_warnings():
                # Of a transform that says nothing: the scene has said so already.
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                self._dataset: Any = rasterio.open(
                    temporary, "w", **_profile(grid, output, tile, compress)
                )
            try:
                _describe(self._dataset, output, model_name)
            except BaseException:
                self._dataset.close()
                raise

    def write(self, window: Window, values: NDArray[Any], *, lock: Any) -> None:
        """Write whole tiles.

        Args:
            window: Where; its edges are those of tiles, or the map's.
            values: The bands there, ``(B, h, w)``.
            lock: Held while a row of tiles is written.

        Raises:
            DataError: If they cannot be written.
        """
        for start in range(0, window.height, self._tile_rows):
            part = values[:, start : start + self._tile_rows]
            place = self._window(window.left, window.top + start, window.width, part.shape[1])
            with lock, self._in_words():
                self._dataset.write(part, window=place)
        self._sent = _start_writing(self._temporary, self._sent)

    def __enter__(self) -> MapWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with self._in_words():
                self._dataset.close()
                if kind is None:
                    self._check_whole()
        except DataError:
            if kind is None:  # else the map is lost already, and for another reason
                raise

    def _check_whole(self) -> None:
        """Look at the file: GDAL does not tell of every tile that a full disk has no room for.

        Raises:
            OSError: If tiles are missing.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", need("rasterio").errors.NotGeoreferencedWarning)
            with need("rasterio").open(self._temporary) as dataset:
                lost = count_lost_blocks(self._temporary, dataset)
        if lost:
            raise OSError(f"{lost:,} of its tiles are not on the disk, which may be full")

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._error) as error:
            reason = _refusal(self.out, error.__cause__ or error, self._temporary)
            raise DataError(reason) from error


@contextlib.contextmanager
def replace_map(out: Path) -> Iterator[Path]:
    """Give a name to write a map under; when the block ends well, the map moves into place.

    Args:
        out: What the map will be called.

    Yields:
        A hidden name beside it.

    Raises:
        DataError: If the folder cannot be written to.
        OSError: What the block raises, as it is.
    """
    body: BaseException | None = None
    try:
        with replace_file(out) as temporary:
            try:
                yield temporary
            except BaseException as error:
                body = error
                raise
            for ending in _BESIDE:
                Path(f"{os.path.realpath(out)}{ending}").unlink(missing_ok=True)
    except OSError as error:
        if error is body:
            raise
        raise DataError(_refusal(out, error)) from error


def check_out(out: str | Path, inputs: list[str]) -> Path:
    """Refuse a name that a map cannot have.

    Args:
        out: The name.
        inputs: The files that are read.

    Returns:
        The name as a path.

    Raises:
        DataError: If it does not end in ``.tif`` or ``.tiff``, is a folder or in none, or is one of
            the files that are read.
    """
    path = Path(out)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise DataError(f"{path}: a map is a GeoTIFF, its name must end in .tif or .tiff")
    if why := why_no_file(path):
        raise DataError(f"{path}: {why}")
    if is_among(path, inputs):
        raise DataError(f"{path}: is read for this map: give the map another name")
    return path


def is_among(path: Path, files: Iterable[str]) -> bool:
    """Tell whether a name is that of a file in use.

    Args:
        path: The name.
        files: The files, some of which may be names that only GDAL knows.

    Returns:
        Whether it is, links followed.
    """
    for file in files:
        with contextlib.suppress(OSError):  # not there, or no file at all
            if path.samefile(file):
                return True
    return False


def _start_writing(file: Path, sent: int) -> int:
    """Have the system begin to write what it holds of a file, and do not wait for it.

    Else it may hold all of a map until the end, which then waits for the disk.

    Args:
        file: The file.
        sent: How much of it this has been done for.

    Returns:
        How much of it this is done for now.
    """
    if not hasattr(os, "posix_fadvise"):  # only some systems can be asked
        return sent
    with contextlib.suppress(OSError):  # nothing is lost: the end waits for what is not written
        descriptor = os.open(file, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            # On Linux this writes pages that are new, and leaves them in memory.
            os.posix_fadvise(descriptor, sent, size - sent, os.POSIX_FADV_DONTNEED)
            return size
        finally:
            os.close(descriptor)
    return sent


def _refusal(out: Path, error: BaseException, temporary: Path | None = None) -> str:
    """Say why a map cannot be written; its temporary name is not the user's business."""
    reason = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
    if temporary is not None:
        reason = reason.replace(str(temporary), str(out)).replace(temporary.name, out.name)
    return f"{out}: the map cannot be written ({reason}); nothing was put there"


def _profile(
    grid: Grid, output: Output, tile: tuple[int, int], compress: Compression
) -> dict[str, Any]:
    from rasterio.crs import CRS
    from rasterio.transform import Affine

    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": len(output.bands),
        "dtype": output.dtype.name,
        "nodata": output.nodata,
        "crs": None if grid.crs is None else CRS.from_wkt(grid.crs),
        "transform": None if grid.transform == IDENTITY else Affine(*grid.transform),
        "tiled": True,
        "blockysize": tile[0],
        "blockxsize": tile[1],
        "interleave": "band",
        "bigtiff": "IF_SAFER",
    }
    if compress != "none":
        profile |= {"compress": compress, "num_threads": "ALL_CPUS"}
        if output.dtype.kind == "f":  # numbers of classes are no slope: differences say nothing
            profile["predictor"] = 3
    return profile


def _describe(dataset: Any, output: Output, model_name: str) -> None:
    """Write names, tags and colours, before any pixel: they stay at the front of the file."""
    tags = {OUTPUT_TAG: output.kind, VERSION_TAG: _version()}
    if model_name:
        tags[MODEL_TAG] = _printable(model_name)
    if output.target:
        tags[TARGET_TAG] = _printable(output.target)
    if output.coverage is not None:
        tags[COVERAGE_TAG] = f"{output.coverage:g}"
    if output.codes:
        names = {str(code): str(label) for code, label in output.codes.items()}
        tags[CLASSES_TAG] = json.dumps(names)
        each = {f"CLASS_{code}": _printable(name) for code, name in names.items()}
        dataset.update_tags(1, **each)
        colours = {code: (*colour, 255) for code, colour in output.colours.items()}
        if not math.isnan(output.nodata):
            colours[int(output.nodata)] = (0, 0, 0, 0)
        dataset.write_colormap(1, colours)
    dataset.update_tags(**tags)
    for number, name in enumerate(output.bands, 1):
        dataset.set_band_description(number, _printable(name))


def _printable(text: str) -> str:
    """Tags are XML, which cannot hold every character."""
    return "".join(character if character.isprintable() else " " for character in text)


def _version() -> str:
    try:
        return metadata.version("pointwise")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"
