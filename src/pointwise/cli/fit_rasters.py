"""``pointwise fit`` on rasters: labelled pixels of a scene to a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pointwise.cli.images import refuse_given
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.studies import Options, TableStudy

RASTERS = (
    *(".tif", ".tiff", ".vrt", ".img", ".jp2", ".asc", ".bil", ".bip", ".bsq"),
    *(".nc", ".nc4", ".h5", ".hdf5", ".zarr"),
)
"""Suffixes of files and stores that hold a scene."""


def is_raster(data: Sequence[str], labels: Path | None) -> bool:
    """Tell whether DATA is a scene: by its suffix, or because the labels are those of pixels.

    A folder of images by class stays one whatever the labels are: a scene's holds rasters itself.

    Args:
        data: What was given.
        labels: The labels, if any: of pixels they are a raster, points or polygons.

    Returns:
        Whether it is; several are if the first one is.

    Example:
        >>> is_raster(["scene.tif"], None), is_raster(["houses.csv"], None)
        (True, False)
    """
    first = Path(data[0])
    if first.suffix.lower() in RASTERS:
        return True
    if labels is None or not _labels_pixels(labels):
        return False
    return not first.is_dir() or any(one.suffix.lower() in RASTERS for one in first.iterdir())


def only_one(data: Sequence[str]) -> str:
    """Take the one DATA of a table or of images.

    Args:
        data: What was given.

    Returns:
        The only one.

    Raises:
        DataError: If several were given.

    Example:
        >>> only_one(["houses.csv"])
        'houses.csv'
    """
    if len(data) > 1:
        raise DataError(
            f"tables and images are one DATA, got {len(data)} ({', '.join(data[:5])}): several "
            f"are for the bands of a scene ({', '.join(RASTERS[:3])}, ...)"
        )
    return data[0]


def fit_rasters(
    data: Sequence[str],
    labels: Path | None,
    options: "Options",
    *,
    target: str | None,
    task: Any,
    drop: Sequence[str],
    block_size: int | None,
    variable: str | None,
    refused: Mapping[str, Any],
) -> "TableStudy":
    """Fit a model to the labelled pixels of a scene.

    Args:
        data: Files of the scene, or a folder.
        labels: The labels.
        options: How, as for a table.
        target: Attribute of the labels.
        task: ``"regression"``, ``"classification"`` or ``None``.
        drop: Bands to leave out.
        block_size: Rows and columns of the blocks that are held out.
        variable: Of a store with several.
        refused: Options that are for tables or images alone, with what was given.

    Returns:
        The study.

    Raises:
        DataError: If scene, labels or an option are not as they must be.
    """
    from pointwise.studies.rasters import study_raster

    refuse_given(refused, f"for tables or images only, {data[0]} is a raster")
    if labels is None:
        raise DataError(
            f"{data[0]} is a raster: name its labelled pixels with --labels, a raster on the same "
            "pixels, or points or polygons (.shp, .gpkg, .geojson)"
        )
    if task not in (None, "regression", "classification"):
        raise typer.BadParameter(f"must be regression or classification, got {task!r}")
    return study_raster(
        list(data),
        labels,
        options,
        target=target,
        task=task,
        drop=drop,
        block_size=block_size,
        variable=variable,
        say=say,
    )


def share_of_blocks(valid: str | None) -> float:
    """Read ``--valid`` of a scene: a share of the blocks.

    Args:
        valid: As given.

    Returns:
        The share, 0.15 by default.

    Raises:
        DataError: If it is none.

    Example:
        >>> share_of_blocks(None), share_of_blocks("0.3")
        (0.15, 0.3)
    """
    try:
        share = 0.15 if valid is None else float(valid)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise DataError(f"--valid of a scene must be a share between 0 and 1, got {valid}")
    return share


def _labels_pixels(labels: Path) -> bool:
    from pointwise.data.pixel_labels import is_vector

    return is_vector(labels) or labels.suffix.lower() in RASTERS
