"""Labels from points and polygons: shapefiles, GeoPackages, GeoJSON."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.names import shorten
from pointwise.data.pixel_labels.grid import box, extent, warn_without_crs
from pointwise.data.pixel_labels.marks import Marks, as_whole, counted, drawn_note
from pointwise.data.pixel_labels.shapes import Covered, cover
from pointwise.data.scenes.agreement import show_crs
from pointwise.data.scenes.parts import Grid, need
from pointwise.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

_IDS = frozenset(("id", "fid", "ogc_fid", "gid", "uid", "objectid", "index", "feature_id"))
"""Names of attributes that number the shapes."""

_LINES = frozenset(("LineString", "LinearRing"))


def read_label_vectors(
    path: Path,
    grid: Grid,
    *,
    target: str | None,
    scene_name: str,
    most: int | None = None,
    seed: int = 0,
) -> Marks:
    """Read the pixels under points and polygons.

    A point labels the pixel it lies in, a polygon those whose centres it covers. The parts of a
    multipoint or multipolygon count as shapes of their own.

    Args:
        path: The file.
        grid: The scene's grid; shapes in another CRS are brought to its CRS.
        target: Attribute with the labels; by default the only one that is no number of the shapes.
        scene_name: For messages.
        most: Pixels to draw at random where there are more.
        seed: Seed of the draw.

    Returns:
        The pixels, of each the number of the point or polygon.

    Raises:
        DataError: If the file cannot be read, the attribute is not clear, or no shape with a label
            is in the scene.
    """
    frame = _read(path, target)
    name = _choose_target(frame, path, target)
    notes: list[str] = []
    frame = _with_labels(frame, name, path, notes)
    frame = _on_scene(frame, grid, path, scene_name, notes)
    parts = frame.explode(index_parts=False, ignore_index=True)
    strange = sorted(set(parts.geom_type) - {"Point", "Polygon"})
    if strange:
        hint = "buffer them" if _LINES & set(strange) else "give others"
        raise DataError(
            f"{path}: labels come from points and polygons, got {', '.join(strange)}: {hint}"
        )
    covered = cover(parts.geometry.to_numpy(), grid, most=most, seed=seed)
    _check_covered(covered, parts, grid, path, scene_name, notes)
    labels = as_whole(_plain(parts[name]))
    if covered.total > len(covered.pixels):
        notes.append(drawn_note(covered.total, len(covered.pixels)))
    return Marks(covered.pixels, labels[covered.shapes], covered.shapes, name, tuple(notes))


def _read(path: Path, target: str | None) -> Any:
    """Read the layer of shapes; of several the one that has the attribute."""
    geopandas, pyogrio = need("geopandas"), need("pyogrio")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if not layers:
            raise DataError(f"{path}: holds no layer of points or polygons")
        if len(layers) > 1:
            fields = {
                layer: list(pyogrio.read_info(path, layer=layer)["fields"]) for layer in layers
            }
            having = [layer for layer in layers if target in fields[layer]]
            if len(having) != 1:
                raise DataError(
                    f"{path}: has several layers ({shorten(layers, 10)}), of which "
                    f"{len(having) or 'none'} has the attribute of --target: write the one with "
                    "the labels into a file of its own"
                )
            layers = having
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of drivers, about fields that are not used
            return geopandas.read_file(path, layer=layers[0], engine="pyogrio")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"{path}: cannot be read as points or polygons: not such a file, or damaged "
            f"({first_line(error)})"
        ) from error


def _choose_target(frame: Any, path: Path, target: str | None) -> str:
    known = [str(name) for name in frame.columns if name != frame.geometry.name]
    if target is not None:
        if target in known:
            return target
        raise DataError(
            f"{path}: has no attribute {target!r} (--target): it has {shorten(known, 20) or 'none'}"
        )
    telling = [name for name in known if name.lower() not in _IDS]
    if len(telling) == 1:
        return telling[0]
    raise DataError(
        f"{path}: name the attribute with the labels with --target: "
        f"it has {shorten(known, 20) or 'none'}"
    )


def _with_labels(frame: Any, name: str, path: Path, notes: list[str]) -> Any:
    """Leave out shapes without a label, or without a place."""
    unlabelled = frame[name].isna() | (frame[name].astype("object") == "")
    empty = (frame.geometry.isna() | frame.geometry.is_empty) & ~unlabelled
    for count, what in ((unlabelled.sum(), f"no {name}"), (empty.sum(), "no place")):
        if count:
            notes.append(f"{path}: {counted(int(count), 'shape')} with {what}: left out")
    kept = frame[~unlabelled & ~empty]
    if len(kept) == 0:
        raise DataError(f"{path}: none of its {len(frame):,} shapes has both {name} and a place")
    return kept


def _on_scene(frame: Any, grid: Grid, path: Path, scene_name: str, notes: list[str]) -> Any:
    """Bring shapes to the scene's CRS."""
    if frame.crs is None or grid.crs is None:
        theirs = frame.crs.to_wkt() if frame.crs else None
        warn_without_crs(theirs, grid.crs, str(path), scene_name)
        return frame
    if frame.crs == need("pyproj").CRS.from_wkt(grid.crs):
        return frame
    notes.append(
        f"{path}: brought from {show_crs(frame.crs.to_wkt())} to the scene's CRS, "
        f"{show_crs(grid.crs)}"
    )
    return frame.to_crs(grid.crs)


def _check_covered(
    covered: Covered, parts: Any, grid: Grid, path: Path, scene_name: str, notes: list[str]
) -> None:
    """Count shapes that label no pixel, and refuse that none does."""
    out = int(covered.outside.sum())
    if out == len(parts):
        x0, y0, x1, y1 = parts.total_bounds
        theirs = box(np.array([x0, x1]), np.array([y0, y1]))
        raise DataError(
            f"{path}: none of its {counted(out, 'point or polygon', 'points and polygons')} lies "
            f"in the scene: they lie at {theirs}, {scene_name} at {extent(grid)}, in the scene's "
            "CRS: is the CRS of one of them wrong?"
        )
    small = int((covered.empty & ~covered.outside).sum())
    if small == len(parts) - out:
        raise DataError(
            f"{path}: none of its polygons covers the centre of a pixel: draw them larger, or give "
            "points"
        )
    if out:
        what = counted(out, "point or polygon", "points and polygons")
        notes.append(f"{path}: {what} outside of the scene: left out")
    if small:
        notes.append(
            f"{path}: {counted(small, 'polygon')} without the centre of a pixel (smaller than one, "
            "or at the edge): left out"
        )


def _plain(column: pd.Series[Any]) -> NDArray[Any]:
    """Labels as numbers, truth values or Python's texts."""
    values = column.to_numpy()
    if values.dtype.kind in "biufM":
        return values
    kinds = {type(value) for value in values.tolist()}
    if kinds <= {bool} or kinds <= {int} or kinds <= {int, float}:
        return np.array(values.tolist())
    return np.array([str(value) for value in values.tolist()], dtype=object)
