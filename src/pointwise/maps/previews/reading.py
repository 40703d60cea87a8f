"""One pass over a map file of any size that leaves a small picture of it, and exact counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_PIXELS = 2_000_000
"""Most pixels in memory at once."""


@dataclass(frozen=True)
class SmallMap:
    """A band brought down to the size of a picture.

    Attributes:
        values: One value per cell: of classes that of the pixel in the cell's middle, of numbers
            the mean of those that are there.
        missing: Cells without a value.
        counts: Pixels of each class in the whole file; of numbers empty.
        nodata: Pixels without a value in the whole file.
        pixels: Pixels in the whole file.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]
    counts: dict[int, int]
    nodata: int
    pixels: int


def read_small(dataset: Any, band: int, rows: int, columns: int, *, classes: bool) -> SmallMap:
    """Read a band at a smaller size, block by block.

    Args:
        dataset: Open rasterio dataset.
        band: Number of the band, from 1 on.
        rows: Most rows of the result; a smaller map keeps its own.
        columns: Most columns of the result.
        classes: Whether values are classes, of which there is no mean.

    Returns:
        The small map.
    """
    height, width = dataset.shape
    shape = min(rows, height), min(columns, width)
    total = np.zeros(shape, dataset.dtypes[band - 1] if classes else np.float64)
    found = np.zeros(shape, np.int64)
    counts: dict[int, int] = {}
    valid = 0
    for down, across in _windows(dataset, band):
        window = ((down.start, down.stop), (across.start, across.stop))
        read = dataset.read(band, window=window, masked=True)
        values, there = np.asarray(read.data), ~np.ma.getmaskarray(read)
        if values.dtype.kind == "f":
            there &= np.isfinite(values)
        valid += int(np.count_nonzero(there))
        if classes:
            for code, count in _counted(values[there]):
                counts[code] = counts.get(code, 0) + count
            _sample(total, values, down, across, height, width)
            _sample(found, there, down, across, height, width)
        else:
            cells = (_cells(down, height, shape[0]), _cells(across, width, shape[1]))
            _add(total, np.where(there, values, np.float64(0)), *cells)
            _add(found, there.astype(np.int64), *cells)
    if not classes:
        total /= np.maximum(found, 1)
    return SmallMap(total, found == 0, counts, height * width - valid, height * width)


def _windows(dataset: Any, band: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of whole blocks, as many as fit into memory."""
    height, width = dataset.shape
    high, wide = dataset.block_shapes[band - 1]
    across = min(width, max(wide, WINDOW_PIXELS // 1000 // wide * wide))
    down = min(height, max(1, WINDOW_PIXELS // across))
    if down > high:
        down -= down % high
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield (
                slice(top, min(top + down, height)),
                slice(left, min(left + across, width)),
            )


def _counted(codes: NDArray[Any]) -> list[tuple[int, int]]:
    """How often each number is there."""
    if codes.dtype in (np.uint8, np.uint16):  # several times as fast as sorting
        counts = np.bincount(codes)
        found = np.flatnonzero(counts)
        return list(zip(found.tolist(), counts[found].tolist(), strict=True))
    values, several = np.unique(codes, return_counts=True)
    return list(zip(values.tolist(), several.tolist(), strict=True))


def _sample(
    out: NDArray[Any], values: NDArray[Any], down: slice, across: slice, height: int, width: int
) -> None:
    """Put the pixels in the middle of the cells into ``out``, of those that lie in a window."""
    rows = middles(height, out.shape[0])
    columns = middles(width, out.shape[1])
    i = np.flatnonzero((rows >= down.start) & (rows < down.stop))
    j = np.flatnonzero((columns >= across.start) & (columns < across.stop))
    out[np.ix_(i, j)] = values[np.ix_(rows[i] - down.start, columns[j] - across.start)]


def middles(size: int, cells: int) -> NDArray[np.int64]:
    """Give the pixel in the middle of each of ``cells`` equal parts of ``size`` pixels.

    Args:
        size: Number of pixels.
        cells: Number of parts, which may be more.

    Returns:
        An index per part.

    Example:
        >>> middles(6, 3).tolist(), middles(2, 4).tolist()
        ([1, 3, 5], [0, 0, 1, 1])
    """
    return (2 * np.arange(cells) + 1) * size // (2 * cells)


def _cells(pixels: slice, size: int, cells: int) -> NDArray[np.int64]:
    """The cell that each pixel of a window lies in."""
    return np.arange(pixels.start, pixels.stop) * cells // size


def _add(
    out: NDArray[Any], values: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> None:
    """Add pixels to their cells."""
    i = np.flatnonzero(np.diff(rows, prepend=-1))
    j = np.flatnonzero(np.diff(columns, prepend=-1))
    sums = np.add.reduceat(np.add.reduceat(values, i, axis=0), j, axis=1)
    out[np.ix_(rows[i], columns[j])] += sums
