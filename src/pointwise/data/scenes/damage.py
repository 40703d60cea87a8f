"""Rasters that are cut short: found when they are opened, not hours later."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from pointwise.errors import DataError

_MOST_BLOCKS = 200_000
_PNG_END = b"IEND\xaeB`\x82"
_TAIL = 1 << 16
_MOST_CHUNKS = 20_000
_BLOSC_HEADER = 16


def check_whole(file: str, dataset: Any) -> None:
    """Refuse a file that ends before its pixels do, where its format tells at once.

    Of a GeoTIFF the places of all blocks are compared with the size of the file (of a sample, and
    the last ones, where there are very many); a PNG ends with a mark. Other formats fail, with the
    window's name, when they are read.

    Args:
        file: The file.
        dataset: The same, opened by rasterio.

    Raises:
        DataError: If pixels are missing.
    """
    path = Path(file)
    if not path.is_file():
        return
    if dataset.driver in ("GTiff", "COG"):
        end, size = _end_of_blocks(dataset), path.stat().st_size
        if end > size:
            raise DataError(
                f"{file}: the file is truncated: its pixels reach to byte {end:,}, it ends at "
                f"byte {size:,}"
            )
    elif dataset.driver == "PNG":
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL))
            if _PNG_END not in stream.read():
                raise DataError(f"{file}: the file is truncated: the end of the image is missing")


def check_chunks(store: str, variable: str) -> None:
    """Refuse a Zarr array with a chunk that is cut short, where nobody else would see it.

    Other codecs fail when they read such a chunk; Blosc gives whatever lies behind it in memory. It
    writes the length of a chunk into its head, which is compared here, for 20,000 chunks at most.

    Args:
        store: Folder of the store.
        variable: Name of the array.

    Raises:
        DataError: If a chunk is shorter than it says.
    """
    folder = Path(store, variable)
    if not _is_blosc(folder):
        return
    chunks = (path for path in folder.rglob("*") if path.name[0].isdigit() and path.is_file())
    for path in islice(chunks, _MOST_CHUNKS):
        with path.open("rb") as stream:
            head = stream.read(_BLOSC_HEADER)
        size = path.stat().st_size
        if len(head) < _BLOSC_HEADER or size < int.from_bytes(head[12:16], "little"):
            name = path.relative_to(store).as_posix()
            raise DataError(f"{store}: chunk {name} is truncated: it has {size:,} bytes")


def count_lost_blocks(file: str | Path, dataset: Any) -> int:
    """Count the blocks of a GeoTIFF that were never written, or reach beyond the file's end.

    Args:
        file: The file.
        dataset: The same, opened by rasterio; each band has blocks of its own.

    Returns:
        How many.
    """
    size = Path(file).stat().st_size
    height, width = dataset.block_shapes[0]
    down, across = -(-dataset.height // height), -(-dataset.width // width)
    ends = (
        _end_of_block(dataset, band, f"{column}_{row}")
        for band in dataset.indexes
        for row in range(down)
        for column in range(across)
    )
    return sum(not 0 < end <= size for end in ends)


def _is_blosc(folder: Path) -> bool:
    """Tell whether Blosc is the last step of writing a chunk."""
    try:
        if (folder / ".zarray").is_file():
            old = json.loads((folder / ".zarray").read_text("utf-8"))
            return bool((old["compressor"] or {}).get("id") == "blosc")
        new = json.loads((folder / "zarr.json").read_text("utf-8"))
        return bool(new["codecs"][-1]["name"] == "blosc")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _end_of_blocks(dataset: Any) -> int:
    """Give the last byte that a block of pixels needs."""
    height, width = dataset.block_shapes[0]
    down, across = -(-dataset.height // height), -(-dataset.width // width)
    pixelwise = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE", "PIXEL") == "PIXEL"
    bands = [1] if pixelwise else list(dataset.indexes)
    step = 1 + down * across * len(bands) // _MOST_BLOCKS
    end = 0
    for band in bands:
        for row in {*range(0, down, step), down - 1}:
            for column in range(across):
                end = max(end, _end_of_block(dataset, band, f"{column}_{row}"))
    return end


def _end_of_block(dataset: Any, band: int, block: str) -> int:
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{block}", "TIFF", bidx=band)
    if offset is None:  # never written: all of it is nodata or 0
        return 0
    return int(offset) + int(dataset.get_tag_item(f"BLOCK_SIZE_{block}", "TIFF", bidx=band) or 0)
