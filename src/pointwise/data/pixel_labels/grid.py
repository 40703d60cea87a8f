"""The scene's grid under labels: which pixel a place is in, and whether two grids agree."""

from __future__ import annotations

import shlex
import warnings

import numpy as np
from numpy.typing import NDArray

from pointwise.data.scenes.agreement import show_crs
from pointwise.data.scenes.parts import IDENTITY, Grid, need
from pointwise.errors import DataError, DataWarning

TOLERANCE = 0.1
"""Pixels by which the corners of two grids may lie apart, and the grids still be the same."""


def to_pixels(grid: Grid, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn places on the ground into columns and rows.

    Args:
        grid: The scene's grid.
        x: In the scene's CRS, ``(N,)``.
        y: The same.

    Returns:
        Columns and rows ``(N, 2)``; the upper left pixel reaches from 0 to 1.

    Raises:
        DataError: If the grid's pixels have no size.

    Example:
        >>> grid = Grid(2, 3, None, (10.0, 0.0, 500.0, 0.0, -10.0, 900.0))
        >>> to_pixels(grid, np.array([505.0]), np.array([885.0])).tolist()
        [[0.5, 1.5]]
    """
    a, b, c, d, e, f = grid.transform
    area = a * e - b * d
    if area == 0:
        raise DataError(f"the scene's pixels must have a size, its transform is {grid.transform}")
    x, y = x - c, y - f
    return np.stack([(e * x - b * y) / area, (a * y - d * x) / area], axis=1)


def extent(grid: Grid) -> str:
    """Say where a grid lies.

    Args:
        grid: The grid.

    Returns:
        Part of a sentence.

    Example:
        >>> extent(Grid(2, 3, None, (10.0, 0.0, 500.0, 0.0, -10.0, 900.0)))
        'x 500 to 530, y 880 to 900'
    """
    return box(*np.array(grid.corners()).T)


def box(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Say where points lie.

    Args:
        x: At least one.
        y: As many.

    Returns:
        Part of a sentence.

    Example:
        >>> box(np.array([1.0, 2.5]), np.array([3.0, 4.0]))
        'x 1 to 2.5, y 3 to 4'
    """
    return f"x {_short(x.min())} to {_short(x.max())}, y {_short(y.min())} to {_short(y.max())}"


def check_same_grid(labels: Grid, scene: Grid, *, labels_name: str, scene_name: str) -> None:
    """Refuse a raster of labels whose pixels are not the scene's.

    Coordinate systems that are written differently are the same where they put the corners at the
    same places, to a tenth of a pixel. One that is missing is taken for the other.

    Args:
        labels: Grid of the labels.
        scene: Grid of the scene.
        labels_name: For the message.
        scene_name: The same.

    Raises:
        DataError: Naming both, all that differs, and what brings one onto the other.

    Example:
        >>> check_same_grid(Grid(2, 3), Grid(2, 4), labels_name="a.tif", scene_name="b.tif")
        Traceback (most recent call last):
        pointwise.errors.DataError: a.tif: labels must lie on the pixels of the scene b.tif; ...
    """
    differs = []
    if (labels.height, labels.width) != (scene.height, scene.width):
        differs.append(
            f"it has {labels.height:,} rows x {labels.width:,} columns, the scene "
            f"{scene.height:,} x {scene.width:,}"
        )
    if _crs_differs(labels, scene):
        differs.append(f"its CRS is {show_crs(labels.crs)}, the scene's {show_crs(scene.crs)}")
    elif not _corners_agree(labels, scene):
        differs.append(f"it lies at {extent(labels)}, the scene at {extent(scene)}")
    if differs:
        raise DataError(
            f"{labels_name}: labels must lie on the pixels of the scene {scene_name}; "
            f"{'; '.join(differs)}: {_way(labels, scene, shlex.quote(labels_name))}"
        )
    warn_without_crs(labels.crs, scene.crs, labels_name, scene_name)


def warn_without_crs(labels: str | None, scene: str | None, *names: str) -> None:
    """Warn where one of two has no coordinate reference system: it is taken for the other's.

    Args:
        labels: CRS of the labels.
        scene: CRS of the scene.
        names: What the two are called.

    Example:
        >>> warn_without_crs(None, None, "a.tif", "b.tif")
    """
    if (labels is None) != (scene is None):
        lacking, other = names if labels is None else names[::-1]
        warnings.warn(
            f"{lacking}: has no CRS: taken to be that of {other}", DataWarning, stacklevel=3
        )


def _corners_agree(labels: Grid, scene: Grid) -> bool:
    """Whether the first and last pixels lie where the scene's do; sizes are compared apart."""
    ends = Grid(scene.height, scene.width, None, labels.transform)
    return _apart(np.array(ends.corners()), scene) <= TOLERANCE


def _crs_differs(labels: Grid, scene: Grid) -> bool:
    if labels.crs is None or scene.crs is None or labels.crs == scene.crs:
        return False
    pyproj = need("pyproj")
    x, y = np.array(scene.corners()).T
    try:
        way = pyproj.Transformer.from_crs(labels.crs, scene.crs, always_xy=True)
    except pyproj.exceptions.ProjError:  # no way from one to the other
        return True
    moved = np.array(way.transform(x, y)).T  # infinite where there is none for a place
    return not _apart(moved, scene) <= TOLERANCE


def _apart(corners: NDArray[np.float64], scene: Grid) -> float:
    """Pixels between places and the scene's corners; not finite where there is no such place."""
    with np.errstate(invalid="ignore"):
        found = to_pixels(scene, corners[:, 0], corners[:, 1])
    ends = np.array(Grid(scene.height, scene.width).corners())
    return float(np.abs(found - ends).max())


def _way(labels: Grid, scene: Grid, name: str) -> str:
    """Say what brings labels onto the scene's pixels; ``name`` as a shell takes it."""
    if labels.crs is None and labels.transform == IDENTITY:
        return f"they have no place of their own: {_placing(labels, scene, name)}"
    bring = "bring them there without mixing classes, "
    a, b, _, d, e, _ = scene.transform
    if b or d or a < 0 or e > 0:
        return f"{bring}with rasterio.warp.reproject and Resampling.nearest"
    (left, top), *_, (right, bottom) = scene.corners()
    code = _epsg(scene.crs) if scene.crs else None
    target = f"-t_srs EPSG:{code} " if code and _crs_differs(labels, scene) else ""
    ends = " ".join(map(_short, (left, bottom, right, top)))
    size = f"{scene.width} {scene.height}"
    return (
        f"{bring}such as: gdalwarp -r near {target}-te {ends} -ts {size} {name} labels-on-scene.tif"
    )


def _placing(labels: Grid, scene: Grid, name: str) -> str:
    """How labels get the scene's place: gdalwarp would look for them far away."""
    _, b, _, d, _, _ = scene.transform
    if b or d:
        return "if they cover the scene, write its crs and transform to them with rasterio"
    options = []
    if (labels.height, labels.width) != (scene.height, scene.width):
        options.append(f"-r nearest -outsize {scene.width} {scene.height}")
    if code := _epsg(scene.crs) if scene.crs else None:
        options.append(f"-a_srs EPSG:{code}")
    if scene.transform != IDENTITY:
        (left, top), *_, (right, bottom) = scene.corners()
        options.append(f"-a_ullr {' '.join(map(_short, (left, top, right, bottom)))}")
    way = f"gdal_translate {' '.join(options)} {name} labels-on-scene.tif"
    return f"if they cover the scene, bring them onto it, such as: {way}"


def _epsg(wkt: str) -> int | None:
    rasterio = need("rasterio")
    try:
        code: int | None = need("rasterio.crs").CRS.from_wkt(wkt).to_epsg()
    except rasterio.errors.CRSError:
        return None
    return code


def _short(value: float) -> str:
    return f"{value:.10g}"
