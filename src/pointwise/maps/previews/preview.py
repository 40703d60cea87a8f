"""A map file as a picture with its legend, to look at what a model has made of a scene."""

import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise._atomic import write_bytes
from pointwise.data.names import shorten
from pointwise.data.scenes.parts import refuse_complex
from pointwise.data.scenes.paths import OUTPUT_TAG
from pointwise.errors import DataError, first_line
from pointwise.maps.files.writer import TARGET_TAG
from pointwise.maps.previews.classes import read_classes
from pointwise.maps.previews.drawing import Sheet, hatch
from pointwise.maps.previews.legends import draw_classes, draw_numbers, planned_legend
from pointwise.maps.previews.reading import middles, read_small

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo
    from rasterio.io import DatasetReader

NARROWEST, WIDEST = 400, 8000
"""Pixels that a picture may be wide."""

TALLEST = 1.25
"""Most rows of the map in a picture, in widths of the picture."""


def write_preview(
    map_path: str | Path,
    out_png: str | Path,
    *,
    title: str = "",
    width: int = 1200,
    band: int | str | None = None,
) -> Path:
    """Draw a map file with its legend.

    Classes are drawn in the colours of the file, with their names and their shares of the pixels
    that have one, which are counted over the whole file. Numbers are drawn in viridis, beside a
    colour bar. Pixels without a value are striped. A map of any size is read once, block by
    block, and north is up where the file's axes are those of the map.

    Args:
        map_path: Map that ``map_files`` wrote, or any raster that GDAL reads.
        out_png: Picture to write; one that is there is replaced.
        title: Line above the map. Default: none.
        width: Pixels that the picture is wide, from 400 to 8000; that of a tall map is narrower.
        band: Band to draw, by its name or its number from 1 on. Default: the first.

    Returns:
        The picture's path.

    Raises:
        DataError: If the map cannot be read, has no such band, or the picture is asked for in
            another format or size.
        ImportError: If rasterio is not installed.

    Example:
        >>> import tempfile
        >>> import rasterio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "map.tif"
        ...     with rasterio.open(
        ...         file, "w", driver="GTiff", width=30, height=20, count=1, dtype="float32",
        ...         transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        ...     ) as out:
        ...         out.write(np.linspace(0, 1, 600, dtype=np.float32).reshape(1, 20, 30))
        ...     write_preview(file, Path(folder) / "map.png").name
        'map.png'
    """
    out = Path(out_png)
    if out.suffix.lower() != ".png":
        raise DataError(f"a preview is a PNG picture: its name must end in .png, got {out}")
    if not NARROWEST <= width <= WIDEST:
        raise DataError(
            f"a preview must be {NARROWEST} to {WIDEST:,} pixels wide, got width={width}"
        )
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("rasterio is not installed: pip install 'pointwise[raster]'") from error
    try:
        with warnings.catch_warnings():
            # A map without coordinates is drawn as it lies.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(map_path) as dataset:
                image = _draw(dataset, _band_number(dataset, band), title, width)
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{map_path} cannot be read as a raster: {first_line(error)}") from error
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True, pnginfo=_tags())
    write_bytes(out, file.getvalue())
    return out


def _tags() -> "PngInfo":
    """What tells a preview from a picture that is a band."""
    from PIL.PngImagePlugin import PngInfo

    tags = PngInfo()
    tags.add_text(OUTPUT_TAG, "preview")
    return tags


def _draw(dataset: "DatasetReader", band: int, title: str, width: int) -> "Image":
    refuse_complex(dataset.name, f"band {band}", dataset.dtypes[band - 1])
    whole = np.dtype(dataset.dtypes[band - 1]).kind in "iu"
    names, colours = read_classes(dataset, band) if whole else ({}, None)
    heading, note = _heading(dataset, band), _note(dataset)
    # How much room a legend leaves for the map is known before the counts that stand in it.
    planned = Sheet(width, planned_legend(names, heading), title, note)
    rows, columns = _size(dataset, planned.map_width, round(width * TALLEST))
    is_classes = bool(names) or colours is not None
    small = read_small(dataset, band, rows, columns, classes=is_classes)
    if is_classes:
        picture, legend = draw_classes(small, names, colours, heading)
    else:
        picture, legend = draw_numbers(small, heading)
    place = _places(dataset.transform, small.values.shape, rows, columns)
    picture = picture[place]
    hatch(picture, small.missing[place])
    sheet = Sheet(width, legend, title, note)
    return sheet.draw(picture, narrower=columns < planned.map_width)


def _band_number(dataset: "DatasetReader", band: int | str | None) -> int:
    names = dataset.descriptions
    if band is None:
        return 1
    if isinstance(band, str):
        if names.count(band) == 1:
            return int(names.index(band)) + 1
    elif 1 <= band <= dataset.count:
        return band
    known = [f"{i} {name!r}" if name else str(i) for i, name in enumerate(names, 1)]
    raise DataError(f"{dataset.name} has no band {band!r}: it has {shorten(known, 20)}")


def _size(dataset: "DatasetReader", most_columns: int, most_rows: int) -> tuple[int, int]:
    """Rows and columns of the map in the picture: as wide as there is room, pixels in shape."""
    step = dataset.transform
    across, down = math.hypot(step.a, step.d), math.hypot(step.b, step.e)
    tall = dataset.height * (down / across if across and down else 1.0) / dataset.width
    columns = min(most_columns, max(1, round(most_rows / tall)))
    return min(most_rows, max(1, round(columns * tall))), columns


def _places(
    transform: Any, shape: tuple[int, ...], rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells to draw: larger where there are few, north up and west left where axes are straight."""
    down, across = middles(shape[0], rows), middles(shape[1], columns)
    if not transform.b and not transform.d:
        down = down[::-1] if transform.e > 0 and transform != transform.identity() else down
        across = across[::-1] if transform.a < 0 else across
    return np.ix_(down, across)  # type: ignore[return-value]


def _heading(dataset: "DatasetReader", band: int) -> str:
    """What a band holds: its name, with its unit; of classes what they are."""
    name, unit = dataset.descriptions[band - 1] or "", dataset.units[band - 1]
    tags = dataset.tags()
    if tags.get(OUTPUT_TAG) == "class":
        name = tags.get(TARGET_TAG, name)
    return f"{name} ({unit})" if name and unit else name


def _note(dataset: "DatasetReader") -> str:
    """A line on the grid: size, size of a pixel, and coordinate system."""
    parts = [f"{dataset.width:,} \N{MULTIPLICATION SIGN} {dataset.height:,} pixels"]
    if dataset.crs is not None:
        step = dataset.transform
        size = math.hypot(step.a, step.d)
        metres = dataset.crs.linear_units_factor if dataset.crs.is_projected else None
        unit = {"metre": " m", "degree": "\N{DEGREE SIGN}"}
        if metres and metres[0] in unit:
            parts[0] += f" of {size:g}{unit[metres[0]]}"
        code = dataset.crs.to_epsg()
        parts.append(f"EPSG:{code}" if code else str(dataset.crs.to_dict().get("proj", "")))
    return ", ".join(part for part in parts if part)
