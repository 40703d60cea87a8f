"""``pointwise fit`` on rasters: labelled pixels of a scene to a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pointwise.cli.fit_output import find_checkpoint, keep_study
from pointwise.cli.fit_tables import as_task, read_test_share
from pointwise.cli.options import split_names
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.studies import Options


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
    from pointwise.data.scenes.paths import RASTERS

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
    from pointwise.data.scenes.paths import RASTERS

    if len(data) > 1:
        raise DataError(
            f"tables and images are one DATA, got {len(data)} ({', '.join(data[:5])}): several "
            f"are for the bands of a scene ({', '.join(RASTERS[:3])}, ...)"
        )
    return data[0]


@dataclass(frozen=True)
class AskedScene:
    """What a command line says of a scene.

    Attributes:
        data: Its files, or a folder.
        labels: The labels of its pixels.
        target: Attribute of the labels.
        task: What the target is.
        drop: Bands to leave out, with commas between them.
        valid: A share of the blocks to choose the best epoch with.
        test: A share of the blocks to score on.
        block_size: Rows and columns of the blocks.
        variable: Of a store with several.
    """

    data: Sequence[str]
    labels: Path | None
    target: str | None = None
    task: str | None = None
    drop: str | None = None
    valid: str | None = None
    test: str | None = None
    block_size: int | None = None
    variable: str | None = None


def fit_rasters(
    asked: AskedScene, options: "Options", out: Path, *, resume: bool, as_json: bool
) -> None:
    """Fit a model to the labelled pixels of a scene, score it, and keep it in a folder.

    Args:
        asked: The scene.
        options: How; shares and the checkpoint are filled in here.
        out: Model folder to write.
        resume: Whether to go on where a killed fit of the same command was.
        as_json: Whether to print JSON.

    Raises:
        BadParameter: If the task or ``--test`` is none.
        DataError: If scene, labels or an option are not as they must be.
    """
    from pointwise.modelfiles import check_target
    from pointwise.studies.rasters import study_raster

    if asked.labels is None:
        raise DataError(
            f"{asked.data[0]} is a raster: name its labelled pixels with --labels, a raster on the "
            "same pixels, or points or polygons (.shp, .gpkg, .geojson)"
        )
    test = read_test_share(asked.test)
    valid = _share_of_blocks(asked.valid)
    task = None if asked.task is None else as_task(asked.task)
    drop = split_names(asked.drop) or []
    check_target(out)
    checkpoint = find_checkpoint(out, resume)
    study = study_raster(
        list(asked.data),
        asked.labels,
        replace(
            options,
            valid=valid,
            test=options.test if test is None else test,
            checkpoint=checkpoint,
        ),
        target=asked.target,
        task=task,
        drop=drop,
        block_size=asked.block_size,
        variable=asked.variable,
        say=say,
    )
    keep_study(study, out, checkpoint, as_json=as_json)


def _share_of_blocks(valid: str | None) -> float:
    """A share of the blocks of a scene."""
    try:
        share = 0.15 if valid is None else float(valid)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise DataError(f"--valid of a scene must be a share between 0 and 1, got {valid}")
    return share


def _labels_pixels(labels: Path) -> bool:
    from pointwise.data.pixel_labels import is_vector
    from pointwise.data.scenes.paths import RASTERS

    return is_vector(labels) or labels.suffix.lower() in RASTERS
