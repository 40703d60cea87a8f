"""Cuts cover every pixel once, along the edges of tiles and blocks."""

from itertools import islice

import numpy as np
import pytest

from pointwise.maps.files.windows import Cut, cut_sheets, plan_cut

MB = 1 << 20


def cases() -> dict[str, tuple[int, int, tuple[int, int], Cut]]:
    small = Cut((16, 16), 1000, 300, 0)
    return {
        "one pixel": (1, 1, (1, 1), Cut((16, 16), 1000, 300, 0)),
        "one row": (1, 700, (1, 700), small),
        "one column": (700, 1, (8, 1), small),
        "strips": (100, 50, (4, 50), small),
        "strips of one row": (100, 50, (1, 50), small),
        "one strip": (100, 50, (100, 50), small),
        "tiles": (100, 130, (16, 16), small),
        "tiles wider than a piece": (100, 130, (32, 32), small),
        "odd blocks": (100, 90, (7, 13), small),
        "rows of tiles beyond a sheet": (40, 500, (16, 16), small),
        "strips beyond a piece": (40, 500, (1, 500), small),
        "blocks beyond a sheet": (100, 130, (64, 64), small),
        "blocks beyond the raster": (30, 40, (512, 512), Cut((32, 48), 10**6, 10**6, 0)),
        "a pixel a piece": (20, 20, (5, 5), Cut((16, 16), 1, 1, 0)),
    }


CASES = pytest.mark.parametrize(
    ("height", "width", "block", "cut"), cases().values(), ids=cases().keys()
)


@CASES
def test_every_pixel_is_written_and_read_once(height, width, block, cut):
    written, read = np.zeros((height, width), int), np.zeros((height, width), int)
    for sheet in cut_sheets(height, width, block=block, cut=cut):
        written[sheet.window.rows, sheet.window.columns] += 1
        here = np.zeros((height, width), int)
        for piece in sheet.pieces:
            here[piece.rows, piece.columns] += 1
        assert here.sum() == sheet.window.height * sheet.window.width
        assert here[sheet.window.rows, sheet.window.columns].all()
        read += here
    assert (written == 1).all()
    assert (read == 1).all()


@CASES
def test_sheets_are_whole_tiles_and_pieces_are_small(height, width, block, cut):
    down, across = cut.tile
    for sheet in cut_sheets(height, width, block=block, cut=cut):
        window = sheet.window
        assert window.top % down == window.left % across == 0
        assert (window.top + window.height) % down == 0 or window.top + window.height == height
        assert (window.left + window.width) % across == 0 or window.left + window.width == width
        assert window.height * window.width <= max(cut.sheet_pixels, down * across)
        for piece in sheet.pieces:
            assert 0 < piece.height * piece.width <= cut.piece_pixels


@pytest.mark.parametrize(
    ("height", "width", "block"),
    [
        pytest.param(5000, 6000, (1, 6000), id="strips"),
        pytest.param(5000, 6000, (24, 6000), id="strips of 24 rows"),
        pytest.param(5000, 6000, (256, 256), id="tiles"),
        pytest.param(5000, 6000, (512, 512), id="large tiles"),
    ],
)
def test_blocks_are_read_whole(height, width, block):
    cut = plan_cut(height, width, block=block, in_bytes=18, out_bytes=1, memory_bytes=192 * MB)
    for sheet in cut_sheets(height, width, block=block, cut=cut):
        for piece in sheet.pieces:
            bottom, right = piece.top + piece.height, piece.left + piece.width
            edge = sheet.window.top + sheet.window.height
            assert piece.top % block[0] == 0 or piece.top == sheet.window.top
            assert bottom % block[0] == 0 or bottom in (height, edge)
            assert piece.left % block[1] == 0
            assert right % block[1] == 0 or right == width


@pytest.mark.parametrize(
    ("size", "block", "out_bytes", "tile"),
    [
        pytest.param((1, 1), (1, 1), 1, (16, 16), id="one pixel"),
        pytest.param((100, 3000), (1, 3000), 1, (112, 256), id="few rows"),
        pytest.param((20000, 20000), (1, 20000), 1, (256, 256), id="classes"),
        pytest.param((20000, 20000), (256, 256), 40, (256, 256), id="ten probabilities, tiles"),
        pytest.param((20000, 20000), (1, 20000), 40, (32, 256), id="ten probabilities, strips"),
        pytest.param((20000, 20000), (256, 256), 4000, (32, 256), id="a thousand probabilities"),
    ],
)
def test_tiles_are_lower_where_a_row_of_them_would_not_fit(size, block, out_bytes, tile):
    cut = plan_cut(*size, block=block, in_bytes=18, out_bytes=out_bytes, memory_bytes=192 * MB)
    assert cut.tile == tile


@pytest.mark.parametrize("block", [(1, 20000), (512, 512), (4096, 4096)], ids=str)
@pytest.mark.parametrize("in_bytes", [2, 18, 672])
@pytest.mark.parametrize("out_bytes", [1, 40])
@pytest.mark.parametrize("memory", [16, 64, 192])
def test_what_is_in_flight_stays_below_the_bound(block, in_bytes, out_bytes, memory):
    cut = plan_cut(
        20000,
        20000,
        block=block,
        in_bytes=in_bytes,
        out_bytes=out_bytes,
        memory_bytes=memory * MB,
    )
    sheets = list(islice(cut_sheets(20000, 20000, block=block, cut=cut), 10))
    sheet = max(s.window.height * s.window.width for s in sheets)
    piece = max(p.height * p.width for s in sheets for p in s.pieces)
    assert 2 * sheet * out_bytes + 4 * piece * in_bytes + cut.cache_bytes <= memory * MB
