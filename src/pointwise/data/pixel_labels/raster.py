"""Labels from a raster on the scene's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import LARGEST
from pointwise.data.names import shorten
from pointwise.data.pixel_labels.grid import check_same_grid
from pointwise.data.pixel_labels.marks import Marks, as_whole, counted, drawn_note
from pointwise.data.pixel_labels.thinning import Thinned
from pointwise.data.scenes import open_scene
from pointwise.data.scenes.agreement import name_all
from pointwise.data.scenes.parts import Grid, Window
from pointwise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pointwise.data.scenes import Scene

Array = NDArray[Any]

_STRIP = 2_000_000
"""Pixels of the labels that are looked at together."""

_SMALL = 2
"""Bytes of a type whose numbers are all counted."""


def read_label_raster(
    path: Path,
    grid: Grid,
    *,
    target: str | None,
    scene_name: str,
    most: int | None = None,
    seed: int = 0,
) -> Marks:
    """Read the labelled pixels of a raster; it is gone through part by part.

    Pixels without a value, or with one that is infinite or too large for float32, are unlabelled.
    Where the file names no value for them and all pixels have one, 0 stands for unlabelled.

    Args:
        path: The file.
        grid: The scene's grid, which must be the labels', too.
        target: Name of the band, where there are several; else what to call the labels.
        scene_name: For messages.
        most: Pixels to draw at random where more have a label.
        seed: Seed of the draw.

    Returns:
        The pixels; their label is a number.

    Raises:
        DataError: If the grids differ, the band is not clear, or no pixel has a label.
    """
    with open_scene(path) as raster:
        check_same_grid(raster.grid, grid, labels_name=str(path), scene_name=scene_name)
        band = _choose_band(raster, path, target)
        declared = raster.bands[band].nodata
        found = _collect(raster, band, Thinned(most, seed), zeros_too=declared is not None)
        notes: list[str] = []
        if declared is None and found.zeros and found.missing:  # 0 is a class: others have gaps
            found = _collect(raster, band, Thinned(most, seed), zeros_too=True)
        elif declared is None and found.zeros:
            notes.append(
                f"{path}: names no nodata value, so 0 is taken for unlabelled "
                f"({counted(found.zeros, 'pixel')})"
            )
        if found.strange:
            notes.append(
                f"{path}: {counted(found.strange, 'pixel')} infinite or too large for float32: "
                "taken for unlabelled"
            )
        name = target or raster.names[band] or path.stem
    pixels, labels = found.thinned.take()
    if len(pixels) == 0:
        raise DataError(f"{path}: no pixel has a label: all are 0 or nodata")
    if found.thinned.drawn:
        notes += _notes_of_draw(path, found, labels)
    return Marks(pixels, as_whole(labels), np.full(len(pixels), -1), name, tuple(notes))


@dataclass
class _Found:
    """What was found in a raster.

    Attributes:
        thinned: The labelled pixels and their labels.
        zeros: Pixels that are 0.
        missing: Pixels without a value.
        strange: Those of them that are infinite or too large.
        counts: Pixels of each label, of small integers: how often each number of the type is there.
    """

    thinned: Thinned
    counts: NDArray[np.int64]
    zeros: int = 0
    missing: int = 0
    strange: int = 0


def _notes_of_draw(path: Path, found: _Found, labels: NDArray[Any]) -> list[str]:
    notes = [drawn_note(found.thinned.total, len(labels))]
    lost = sorted(set(np.flatnonzero(found.counts).tolist()) - set(labels.tolist()))
    if lost:
        notes.append(
            f"{path}: too rare to be among those drawn: {shorten([str(n) for n in lost], 20)}"
        )
    return notes


def _choose_band(raster: Scene, path: Path, target: str | None) -> int:
    names = name_all(raster.names)
    if len(names) == 1:
        return 0
    if target in names:
        return names.index(target)
    raise DataError(
        f"{path}: has {len(names)} bands: name the one of the labels with --target: "
        f"{shorten(names, 20)}" + (f"; there is no {target!r}" if target else "")
    )


def _collect(raster: Scene, band: int, thinned: Thinned, *, zeros_too: bool) -> _Found:
    """Labelled pixels and their labels, and how many are 0 and how many missing."""
    dtype = raster.bands[band].dtype
    small = dtype.kind == "u" and dtype.itemsize <= _SMALL
    found = _Found(thinned, np.zeros(np.iinfo(dtype).max + 1 if small else 0, np.int64))
    for window, values, gaps in _parts(raster, band):
        if dtype.kind == "f":
            strange = (np.abs(values.astype(np.float64)) > LARGEST) & ~gaps
            found.strange += int(strange.sum())
            gaps = gaps | strange
        zero = (values == 0) & ~gaps
        found.zeros, found.missing = found.zeros + int(zero.sum()), found.missing + int(gaps.sum())
        at = np.flatnonzero(~gaps if zeros_too else ~gaps & ~zero)
        labels = values.ravel()[at]
        if small:
            found.counts += np.bincount(labels, minlength=len(found.counts))
        rows, columns = np.divmod(at, window.width)
        thinned.add((rows + window.top) * raster.grid.width + columns + window.left, labels)
    return found


def _parts(raster: Scene, band: int) -> Iterator[tuple[Window, Array, NDArray[np.bool_]]]:
    """Values and gaps part by part, cut where the file's blocks are if those are not too large."""
    height, width = raster.grid.height, raster.grid.width
    tall, wide = (min(n, size) for n, size in zip(raster.block, (height, width), strict=True))
    if tall * width <= _STRIP:
        down, across = _STRIP // (tall * width) * tall, width
    else:
        across = max(1, _STRIP // (tall * wide)) * wide
        down = min(tall, max(1, _STRIP // across))
    for top in range(0, height, down):
        for left in range(0, width, across):
            window = Window(top, left, min(down, height - top), min(across, width - left))
            values, missing = raster.read(window.rows, window.columns, [band])
            gaps = np.zeros(values[0].shape, bool) if missing is None else missing[0]
            yield window, values[0], gaps
