"""The values of single pixels of a scene, however large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import LARGEST
from pointwise.data.names import shorten
from pointwise.data.pixel_labels.marks import counted

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


def without_strange(
    values: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], str]:
    """Make missing what a map takes for missing: what is infinite or too large for float32.

    Args:
        values: ``(N, C)``.
        names: Name of each band.

    Returns:
        The values; and a note, empty if there is nothing such.

    Example:
        >>> without_strange(np.array([[1.0, np.inf], [2.0, 3.0]]), ["red", "ratio"])[1]
        '1 labelled pixel is infinite or too large for float32 in ratio: taken for missing there'
    """
    strange = np.abs(values) > LARGEST
    if not strange.any():
        return values, ""
    count = int(strange.any(axis=1).sum())
    where = shorten([names[band] for band in np.flatnonzero(np.any(strange, axis=0)).tolist()])
    return np.where(strange, np.nan, values), (
        f"{counted(count, 'labelled pixel')} {'is' if count == 1 else 'are'} infinite or too large "
        f"for float32 in {where}: taken for missing there"
    )


def _whole(block: int) -> int:
    """A window's side: whole blocks, small ones together."""
    return -(-_LEAST // block) * block
