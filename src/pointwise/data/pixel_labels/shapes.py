"""Points and polygons to the pixels of a scene."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.pixel_labels.grid import to_pixels
from pointwise.data.pixel_labels.thinning import Thinned
from pointwise.data.scenes.parts import Grid, need

_STRIP = 2_000_000
"""Pixels of a polygon's box that are burnt together."""


@dataclass(frozen=True)
class Covered:
    """Pixels under shapes; one may be there several times.

    Args:
        pixels: Number of each pixel, row after row.
        shapes: Number of the shape over it.
        outside: Whether each shape lies outside of the scene.
        empty: Whether each covers no pixel.
        total: Pixels under all shapes, before some were drawn.
    """

    pixels: NDArray[np.int64]
    shapes: NDArray[np.int64]
    outside: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    total: int


def cover(shapes: NDArray[Any], grid: Grid, *, most: int | None = None, seed: int = 0) -> Covered:
    """Find the pixels that points lie in, or whose centres polygons cover.

    Args:
        shapes: Points and polygons of shapely, in the scene's CRS, of one part each.
        grid: The scene's grid.
        most: Pixels to draw at random where there are more; one under several shapes is drawn with
            all of them.
        seed: Seed of the draw.

    Returns:
        The pixels.

    Example:
        >>> import shapely
        >>> found = cover(np.array([shapely.box(0, 0, 2, 1), shapely.Point(2.5, 1.5)]), Grid(2, 3))
        >>> found.pixels, found.shapes
        (array([5, 0, 1]), array([1, 0, 0]))
    """
    shapely = need("shapely")
    local = shapely.transform(
        shapely.force_2d(shapes), lambda xy: to_pixels(grid, xy[:, 0], xy[:, 1])
    )
    left, top, right, bottom = shapely.bounds(local).T
    finite = np.isfinite(left + top + right + bottom)
    inside = (left < grid.width) & (right >= 0) & (top < grid.height) & (bottom >= 0) & finite
    is_point = shapely.get_type_id(local) == 0
    at = np.flatnonzero(inside & is_point)
    thinned, empty = Thinned(most, seed), np.ones(len(shapes), bool)
    thinned.add(
        np.floor(top[at]).astype(np.int64) * grid.width + np.floor(left[at]).astype(np.int64), at
    )
    empty[at] = False
    for number in np.flatnonzero(inside & ~is_point):
        for found in _burn(local[number], (left[number], top[number], bottom[number]), grid):
            thinned.add(found, np.full(len(found), number))
            empty[number] &= len(found) == 0
    return Covered(*thinned.take(), ~inside, empty, thinned.total)


def _burn(
    polygon: Any, ends: tuple[float, float, float], grid: Grid
) -> Iterator[NDArray[np.int64]]:
    """Pixels whose centres a polygon covers: its box, strip by strip."""
    rasterize, affine = need("rasterio.features").rasterize, need("rasterio").Affine
    left, top, bottom = ends
    right = polygon.bounds[2]
    first, last = max(0, math.floor(left)), min(grid.width, math.ceil(right))
    upper, lower = max(0, math.floor(top)), min(grid.height, math.ceil(bottom))
    step = max(1, _STRIP // max(1, last - first))
    for row in range(upper, lower if last > first else upper, step):
        shape = (min(step, lower - row), last - first)
        burnt = rasterize(
            [(polygon, 1)],
            out_shape=shape,
            transform=affine.translation(first, row),
            dtype="uint8",
            all_touched=False,
        )
        rows, columns = np.nonzero(burnt)
        yield (rows + row).astype(np.int64) * grid.width + columns + first
