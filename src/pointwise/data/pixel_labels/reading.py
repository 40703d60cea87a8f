"""Labels of a scene's pixels, from a raster of the same grid, points or polygons."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.pixel_labels.marks import settle
from pointwise.data.pixel_labels.raster import read_label_raster
from pointwise.data.pixel_labels.vectors import read_label_vectors
from pointwise.data.scenes.parts import Grid
from pointwise.errors import DataError

VECTORS = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".zip")
"""Suffixes of files that hold points and polygons."""

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".xls")


@dataclass(frozen=True)
class LabelledPixels:
    """Pixels of a scene whose label is known, each once, row after row.

    Args:
        rows: Row of each pixel, ``(N,)``.
        columns: Column of each.
        labels: Label of each: integers, floats, truth values or texts (as objects).
        source: What was read, in words.
        groups: Number of the point or polygon that each comes from, parts of a multipolygon
            counted apart; -1 for rasters.
        target: Name of what the labels are: the attribute, the band or the file.
        notes: What a person should know of them, a sentence each.

    Example:
        >>> one = np.array([0])
        >>> len(LabelledPixels(one, one, np.array(["forest"]), "a.shp", one, "cover"))
        1
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    labels: NDArray[Any]
    source: str
    groups: NDArray[np.int64]
    target: str = "label"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of pixels."""
        return len(self.rows)

    def take(self, index: NDArray[Any]) -> LabelledPixels:
        """The pixels of these numbers."""
        return LabelledPixels(
            self.rows[index],
            self.columns[index],
            self.labels[index],
            self.source,
            self.groups[index],
            self.target,
            self.notes,
        )


def is_vector(path: str | Path) -> bool:
    """Tell by its suffix whether a file holds points and polygons.

    Args:
        path: The file.

    Returns:
        Whether it does; else it is taken for a raster.

    Example:
        >>> is_vector("points.gpkg"), is_vector("labels.tif")
        (True, False)
    """
    return Path(path).suffix.lower() in VECTORS


def read_labels(
    path: str | Path,
    grid: Grid,
    *,
    target: str | None = None,
    average: bool | None = None,
    scene_name: str = "the scene",
    most: int | None = None,
    seed: int = 0,
) -> LabelledPixels:
    """Read the labels of a scene's pixels.

    A raster has to lie on the scene's pixels. What it holds no value for is unlabelled; where it
    names no such value, 0 is. A point labels the pixel that it lies in, a polygon all those whose
    centres it covers. Shapes are brought to the scene's CRS.

    A pixel has one label: where several shapes put the same one there, it counts once; where they
    put different ones, numbers with fractions are averaged, and of all others the pixel is left
    out. Everything that is left out is counted in the notes.

    Args:
        path: GeoTIFF or any other raster; shapefile, GeoPackage, GeoJSON, KML, GML or FlatGeobuf.
        grid: The scene's grid.
        target: Attribute of the shapes that holds the labels; by default the only one that does
            not number the shapes. Of a raster the band, where there are several, else a name.
        average: Whether numbers that differ in one pixel are averaged; ``None`` decides as said.
        scene_name: The scene, for messages.
        most: Pixels to take at most, however many are labelled: of more, so many are drawn at
            random, and no others are held in memory. Default: all.
        seed: Seed of the draw.

    Returns:
        The pixels.

    Raises:
        DataError: If the file cannot be read, does not fit the scene or leaves no label.

    Example:
        >>> import json, pathlib, tempfile
        >>> from rasterio.crs import CRS
        >>> def at(x, y, cover):
        ...     point = {"type": "Point", "coordinates": [x, y]}
        ...     return {"type": "Feature", "properties": {"cover": cover}, "geometry": point}
        >>> points = [at(1.5, 0.2, "water"), at(1.6, 0.4, "water"), at(2.5, 1.5, "forest")]
        >>> content = json.dumps({"type": "FeatureCollection", "features": points})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "points.geojson")
        ...     _ = file.write_text(content)
        ...     found = read_labels(file, Grid(2, 3, CRS.from_epsg(4326).to_wkt()))
        >>> found.rows, found.columns, found.labels.tolist()
        (array([0, 1]), array([1, 2]), ['water', 'forest'])
    """
    path = Path(path)
    _check_there(path)
    read = read_label_vectors if is_vector(path) else read_label_raster
    marks = read(path, grid, target=target, scene_name=scene_name, most=most, seed=seed)
    marks, note = settle(marks, average=average)
    if len(marks.pixels) == 0:
        raise DataError(f"{path}: no pixel keeps a label: {note}")
    notes = (*marks.notes, f"{path}: {note}") if note else marks.notes
    rows, columns = np.divmod(marks.pixels, grid.width)
    kind = "points and polygons" if is_vector(path) else "a raster"
    return LabelledPixels(
        rows, columns, marks.labels, f"{path}, {kind}", marks.parts, marks.target, notes
    )


def _check_there(path: Path) -> None:
    if not path.exists():
        folder = path.parent
        others = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        near = get_close_matches(path.name, others, n=1, cutoff=0.6)
        hint = f": did you mean {str(path.with_name(near[0]))!r}?" if near else ""
        raise DataError(f"no file of labels {str(path)!r}{hint}")
    if path.suffix.lower() in _TABLES:
        raise DataError(
            f"{path}: labels of pixels are a raster, or points or polygons "
            f"({', '.join(VECTORS[:3])}), this is a table: write its places as points"
        )
