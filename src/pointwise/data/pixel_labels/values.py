"""The values of single pixels of a scene, however large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pointwise.data.scenes import Scene

_LEAST = 256
"""Rows and columns of a window at least: fewer would be many calls for little."""


def take_pixels(
    scene: Scene, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Read the values of some pixels; only windows that hold one are read.

    Args:
        scene: An open scene.
        rows: Row of each pixel, ``(N,)``.
        columns: Column of each.

    Returns:
        Values ``(N, C)``, NaN where one is missing.
    """
    tall, wide = (_whole(block) for block in scene.block)
    across = -(-scene.grid.width // wide)
    window = (rows // tall) * across + columns // wide
    order = np.argsort(window, kind="stable")
    starts = np.flatnonzero(np.diff(window[order], prepend=-1))
    values = np.empty((len(rows), len(scene.bands)))
    for members in np.split(order, starts[1:]) if len(order) else ():
        r, c = rows[members], columns[members]
        top, left = int(r.min()), int(c.min())
        block, missing = scene.read(slice(top, int(r.max()) + 1), slice(left, int(c.max()) + 1))
        found = block[:, r - top, c - left].astype(np.float64)  # (C, n)
        if missing is not None:
            found[missing[:, r - top, c - left]] = np.nan
        values[members] = found.T
    return values


def _whole(block: int) -> int:
    """A window's side: whole blocks, small ones together."""
    return -(-_LEAST // block) * block
