"""Points and polygons to the pixels of a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.pixel_labels.grid import to_pixels
from pointwise.data.scenes.parts import Grid, need

_STRIP = 4_000_000
"""Pixels of a polygon's box that are burnt together."""


@dataclass(frozen=True)
class Covered:
    """Pixels under shapes; one may be there several times.

    Args:
        pixels: Number of each pixel, row after row.
        shapes: Number of the shape over it.
        outside: Whether each shape lies outside of the scene.
    """

    pixels: NDArray[np.int64]
    shapes: NDArray[np.int64]
    outside: NDArray[np.bool_]


def cover(shapes: NDArray[Any], grid: Grid) -> Covered:
    """Find the pixels that points lie in, or whose centres polygons cover.

    Args:
        shapes: Points and polygons of shapely, in the scene's CRS, of one part each.
        grid: The scene's grid.

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
    pixels = [np.floor(top[at]).astype(np.int64) * grid.width + np.floor(left[at]).astype(np.int64)]
    numbers = [at]
    for number in np.flatnonzero(inside & ~is_point):
        for found in _burn(local[number], (left[number], top[number], bottom[number]), grid):
            pixels.append(found)
            numbers.append(np.full(len(found), number))
    return Covered(np.concatenate(pixels), np.concatenate(numbers), ~inside)


def _burn(polygon: Any, ends: tuple[float, float, float], grid: Grid) -> list[NDArray[np.int64]]:
    """Pixels whose centres a polygon covers: its box, strip by strip."""
    rasterize, affine = need("rasterio.features").rasterize, need("rasterio").Affine
    left, top, bottom = ends
    right = polygon.bounds[2]
    first, last = max(0, math.floor(left)), min(grid.width, math.ceil(right))
    upper, lower = max(0, math.floor(top)), min(grid.height, math.ceil(bottom))
    found = []
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
        found.append((rows + row).astype(np.int64) * grid.width + columns + first)
    return found
