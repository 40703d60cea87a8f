"""How a large map is cut: into sheets, written at once, and pieces of them, read at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pointwise.data.scenes.parts import Window

TILE = 256
"""Rows and columns of a tile of the map."""

SHEET_PIXELS, PIECE_PIXELS = 1 << 22, 1 << 19
"""More at once would not be faster."""

PIECES_ALIVE, SHEETS_ALIVE = 4, 2
"""Read ahead: two, one that is computed, and what reading makes on the way; filled and written."""


@dataclass(frozen=True)
class Sheet:
    """Whole tiles of a map, written at once.

    Attributes:
        window: Which pixels.
        pieces: The same pixels as they are read.
    """

    window: Window
    pieces: tuple[Window, ...]


@dataclass(frozen=True)
class Cut:
    """How a map is cut.

    Attributes:
        tile: Rows and columns of the map's tiles.
        sheet_pixels: Most pixels of a sheet, if a tile has not more.
        piece_pixels: Most pixels of a piece.
        cache_bytes: What GDAL may keep of blocks.
    """

    tile: tuple[int, int]
    sheet_pixels: int
    piece_pixels: int
    cache_bytes: int


def plan_cut(
    height: int,
    width: int,
    *,
    block: tuple[int, int],
    in_bytes: int,
    out_bytes: int,
    memory_bytes: int,
) -> Cut:
    """Share the memory out between what is read, what is written and GDAL.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        block: Rows and columns of a block of the files that are read.
        in_bytes: Bytes of a pixel of those files, with what is missing.
        out_bytes: Bytes of a pixel of the map.
        memory_bytes: Most bytes in flight.

    Returns:
        The cut. The tiles are lower than usual if a whole row of them would not fit and the blocks
        are as wide as the raster: each of them would be read several times otherwise.

    Example:
        >>> plan_cut(
        ...     20000, 20000, block=(1, 20000), in_bytes=18, out_bytes=1, memory_bytes=192 << 20
        ... ).tile
        (256, 256)
    """
    in_block = min(block[0], height) * min(block[1], width) * in_bytes
    cache = min(max(memory_bytes // 8, 2 * in_block), memory_bytes // 4)
    sheet = memory_bytes * 3 // 8 // SHEETS_ALIVE // out_bytes
    piece = (memory_bytes * 5 // 8 - cache) // PIECES_ALIVE // in_bytes
    tile_rows, tile_columns = min(TILE, _up(height, 16)), min(TILE, _up(width, 16))
    needed = width if block[1] >= width else tile_columns
    while tile_rows > 16 and tile_rows * needed > sheet:
        tile_rows = max(tile_rows // 32 * 16, 16)
    return Cut(
        tile=(tile_rows, tile_columns),
        sheet_pixels=max(sheet, 1),
        piece_pixels=min(max(piece, 1), PIECE_PIXELS),
        cache_bytes=cache,
    )


def cut_sheets(height: int, width: int, *, block: tuple[int, int], cut: Cut) -> Iterator[Sheet]:
    """Cut a map into sheets, from the top left on.

    Sheets are whole tiles, and whole blocks too where those fit; pieces are whole blocks.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        block: Rows and columns of a block of the files that are read.
        cut: From ``plan_cut``.

    Yields:
        The sheets. They cover every pixel once, and so do their pieces.

    Example:
        >>> cut = Cut(tile=(16, 16), sheet_pixels=800, piece_pixels=400, cache_bytes=0)
        >>> sheet, *more = cut_sheets(30, 40, block=(4, 40), cut=cut)
        >>> str(sheet.window), len(more)
        ('rows 0 to 15, columns 0 to 39', 1)
        >>> [str(piece) for piece in sheet.pieces]
        ['rows 0 to 7, columns 0 to 39', 'rows 8 to 15, columns 0 to 39']
    """
    rows, columns = _sheet_shape(height, width, block, cut)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            window = Window(top, left, min(rows, height - top), min(columns, width - left))
            yield Sheet(window, tuple(_pieces(window, block, cut.piece_pixels)))


def _sheet_shape(height: int, width: int, block: tuple[int, int], cut: Cut) -> tuple[int, int]:
    """Rows and columns of a sheet: multiples of the tile's, or all of the map's."""
    most, usual = cut.sheet_pixels, min(cut.sheet_pixels, SHEET_PIXELS)
    tile_rows, tile_columns = cut.tile
    both = math.lcm(tile_rows, block[0])
    if tile_rows * width <= most:
        if min(both, height) * width <= most:
            return min(height, both * max(1, usual // (both * width))), width
        # Blocks on the edge of a sheet are read twice: the larger the sheets, the fewer are.
        return most // width // tile_rows * tile_rows, width
    across = math.lcm(tile_columns, block[1])
    if tile_rows * across > most:
        across = tile_columns
    rows = both if both * across <= most else tile_rows
    return rows, across * max(1, usual // (rows * across))


def _pieces(sheet: Window, block: tuple[int, int], most: int) -> Iterator[Window]:
    """Cut a sheet along the edges of blocks; a block too large for a piece is cut into rows."""
    high, wide = min(block[0], sheet.height), min(block[1], sheet.width)
    rows = columns = 0
    if high * sheet.width <= most:
        rows, columns = most // (high * sheet.width) * block[0], sheet.width
    else:
        rows, columns = block[0], max(1, most // (high * wide)) * block[1]
    columns = min(columns, max(most, 1))
    lines = max(1, most // min(columns, sheet.width))
    for top, bottom in _steps(sheet.top, sheet.height, rows, block[0]):
        for left, right in _steps(sheet.left, sheet.width, columns, block[1]):
            for start in range(top, bottom, lines):
                yield Window(start, left, min(lines, bottom - start), right - left)


def _steps(start: int, size: int, step: int, block: int) -> Iterator[tuple[int, int]]:
    """Starts and ends of steps over ``size`` pixels, the ends on edges of blocks if they can be."""
    stop = start + size
    while start < stop:
        end = start // block * block + step if step >= block else start + step
        yield start, min(end, stop)
        start = end


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
