"""Labels from a raster on the scene's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.names import shorten
from pointwise.data.pixel_labels.grid import check_same_grid
from pointwise.data.pixel_labels.marks import Marks, as_whole, counted
from pointwise.data.scenes import open_scene
from pointwise.data.scenes.parts import Grid
from pointwise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pointwise.data.scenes import Scene

_STRIP = 4_000_000
"""Pixels of the labels that are looked at together."""


def read_label_raster(path: Path, grid: Grid, *, target: str | None, scene_name: str) -> Marks:
    """Read the labelled pixels of a raster; it is gone through strip by strip.

    Pixels without a value are unlabelled. Where the file names no value for them and all pixels
    have one, 0 stands for unlabelled.

    Args:
        path: The file.
        grid: The scene's grid, which must be the labels', too.
        target: Name of the band, where there are several; else what to call the labels.
        scene_name: For messages.

    Returns:
        The pixels; their label is a number.

    Raises:
        DataError: If the grids differ, the band is not clear, or no pixel has a label.
    """
    with open_scene(path) as raster:
        check_same_grid(raster.grid, grid, labels_name=str(path), scene_name=scene_name)
        band = _choose_band(raster, path, target)
        declared = raster.bands[band].nodata
        pixels, labels, zeros, missing = _collect(raster, band, zeros_too=declared is not None)
        notes: tuple[str, ...] = ()
        if declared is None and zeros and missing:  # what is missing is the unlabelled, 0 a class
            pixels, labels, zeros, missing = _collect(raster, band, zeros_too=True)
        elif declared is None and zeros:
            notes = (
                f"{path}: names no nodata value, so 0 is taken for unlabelled "
                f"({counted(zeros, 'pixel')})",
            )
        name = target or raster.names[band] or path.stem
    if len(pixels) == 0:
        raise DataError(f"{path}: no pixel has a label: all are 0 or nodata")
    parts = np.full(len(pixels), -1)
    return Marks(pixels, as_whole(labels), parts, name, notes)


def _choose_band(raster: Scene, path: Path, target: str | None) -> int:
    names = [name or f"band_{number}" for number, name in enumerate(raster.names, 1)]
    if len(names) == 1:
        return 0
    if target in names:
        return names.index(target)
    raise DataError(
        f"{path}: has {len(names)} bands: name the one of the labels with --target: "
        f"{shorten(names, 20)}" + (f"; there is no {target!r}" if target else "")
    )


def _collect(
    raster: Scene, band: int, *, zeros_too: bool
) -> tuple[NDArray[np.int64], NDArray[Any], int, int]:
    """Labelled pixels and their labels, and how many are 0 and how many missing."""
    pixels, labels, zeros, missing = [], [], 0, 0
    for top, values, gaps in _strips(raster, band):
        zero = (values == 0) & ~gaps
        zeros, missing = zeros + int(zero.sum()), missing + int(gaps.sum())
        found = np.flatnonzero(~gaps if zeros_too else ~gaps & ~zero)
        pixels.append(found + top * raster.grid.width)
        labels.append(values.ravel()[found])
    return np.concatenate(pixels), np.concatenate(labels), zeros, missing


def _strips(raster: Scene, band: int) -> Iterator[tuple[int, NDArray[Any], NDArray[np.bool_]]]:
    """First row, values and gaps of strips of whole rows, cut where the file's blocks are."""
    height, width = raster.grid.height, raster.grid.width
    tall = raster.block[0]
    step = max(1, _STRIP // (width * tall)) * tall
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        values, missing = raster.read(rows, slice(0, width), [band])
        gaps = np.zeros(values[0].shape, bool) if missing is None else missing[0]
        yield top, values[0], gaps
