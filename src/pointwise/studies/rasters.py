"""The main job on a raster: labelled pixels to rows, and whole spatial blocks held out."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.pixel_labels import LabelledPixels, read_labels
from pointwise.data.pixel_labels.marks import counted
from pointwise.data.pixel_labels.values import take_pixels, without_strange
from pointwise.data.scenes import Scene, open_scene
from pointwise.data.scenes.agreement import name_all
from pointwise.errors import DataError
from pointwise.studies.parts import Say, Task, check_columns, choose_task, take_apart
from pointwise.studies.spatial_blocks import (
    HeldBlocks,
    SpatialBlocks,
    describe_blocks,
    hold_blocks,
    make_blocks,
)
from pointwise.studies.spatial_flattery import compare_holdouts
from pointwise.studies.study import Study
from pointwise.studies.tables import Model, Options, study_table

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 1_000_000
"""Labelled pixels that become rows at most; of more some are drawn."""

BLOCK = "spatial block"
"""Name of the column of blocks, while rows are held out by it."""


@dataclass(frozen=True)
class LabelledTable:
    """Labelled pixels of a scene as rows.

    Attributes:
        frame: A column per band, NaN where a value is missing.
        labels: Label of each row.
        groups: Spatial block of each row.
        pixels: Where each row comes from.
        blocks: The blocks, and their size.
        target: Name of what the labels are; no band has it.
        notes: What a person should know, a sentence each.
        leaks: Bands that are the labels themselves, where these lie in a file of the scene.
    """

    frame: "pd.DataFrame"
    labels: NDArray[Any]
    groups: NDArray[np.int64]
    pixels: LabelledPixels
    blocks: SpatialBlocks
    target: str
    notes: tuple[str, ...]
    leaks: tuple[str, ...] = ()


def labelled_table(
    scene: Scene | str | Path | Sequence[str | Path],
    labels: str | Path,
    *,
    target: str | None = None,
    average: bool | None = None,
    block_size: int | None = None,
    variable: str | None = None,
    seed: int = 0,
) -> LabelledTable:
    """Make rows of the labelled pixels of a scene; only windows with labels are read.

    Pixels without a value in any band are left out; as in maps, what is infinite or too large for
    float32 is no value. Bands without a name are called by their place in the scene: ``band_1``,
    ``band_2`` and so on.

    Args:
        scene: An open scene, or its files.
        labels: Raster on the scene's pixels, points or polygons; see ``data.read_labels``.
        target: Attribute with the labels, where there are several.
        average: Whether numbers that differ in one pixel are averaged.
        block_size: Rows and columns of the spatial blocks; by default chosen from where labels lie.
        variable: Of a NetCDF, HDF5 or Zarr scene with several.
        seed: Seed of the pixels that are drawn where there are more than a million.

    Returns:
        The rows, their labels and their blocks.

    Raises:
        DataError: If scene and labels do not fit, or no labelled pixel has values.

    Example:
        >>> import rasterio, tempfile
        >>> def write(path, values, **more):
        ...     c, h, w = values.shape
        ...     place = {"transform": rasterio.Affine(1, 0, 0, 0, -1, h), "crs": "EPSG:32632"}
        ...     size = {"count": c, "height": h, "width": w, "dtype": values.dtype}
        ...     with rasterio.open(path, "w", driver="GTiff", **size, **place, **more) as file:
        ...         file.write(values)
        >>> bands = np.arange(72, dtype="uint8").reshape(2, 6, 6)
        >>> cover = np.zeros((1, 6, 6), "uint8")
        >>> cover[0, 1, 2], cover[0, 4, 5] = 7, 9
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/scene.tif", bands)
        ...     write(f"{folder}/cover.tif", cover, nodata=0)
        ...     table = labelled_table(f"{folder}/scene.tif", f"{folder}/cover.tif")
        >>> table.frame.to_numpy().tolist(), table.labels, table.target
        ([[8.0, 44.0], [29.0, 65.0]], array([7, 9]), 'cover')
    """
    import pandas as pd

    opened = (
        nullcontext(scene)
        if isinstance(scene, Scene)
        else open_scene(scene, variable=variable, labels=labels)
    )
    with opened as source:
        found = read_labels(
            labels,
            source.grid,
            target=target,
            average=average,
            scene_name=source.bands[0].file,
            most=MOST_ROWS,
            seed=seed,
        )
        notes = [*source.notes, *found.notes]
        names = name_all(source.names)
        values, note = without_strange(take_pixels(source, found.rows, found.columns), names)
        notes += [note] if note else []
        leaks = _leaks(source, names, labels, found.target)
    empty = np.asarray(np.isnan(values).all(axis=1))
    if empty.all():
        raise DataError(
            f"none of the {counted(len(found), 'labelled pixel')} of {labels} has a value in any "
            "band of the scene: do labels and scene lie at the same place?"
        )
    if empty.any():
        count = counted(int(empty.sum()), "labelled pixel")
        notes.append(f"{count} without a value in any band: left out")
        found, values = found.take(~empty), values[~empty]
    blocks = make_blocks(found.rows, found.columns, found.groups, side=block_size)
    name = found.target
    while name in (*names, BLOCK):
        name = f"{name} label"
    frame = pd.DataFrame(values, columns=names)
    return LabelledTable(
        frame, found.labels, blocks.numbers, found, blocks, name, tuple(notes), leaks
    )


def _leaks(scene: Scene, names: Sequence[str], labels: str | Path, target: str) -> tuple[str, ...]:
    """The bands that are the labels: the only one of the labels' file, or the one of that name."""
    same = [
        name
        for name, band in zip(names, scene.bands, strict=True)
        if Path(band.file).exists() and Path(band.file).samefile(labels)
    ]
    return tuple(same if len(same) == 1 else [name for name in same if name == target])


def study_raster(
    scene: str | Path | Sequence[str | Path],
    labels: str | Path,
    options: Options | None = None,
    *,
    target: str | None = None,
    task: Task | None = None,
    drop: Sequence[str] = (),
    block_size: int | None = None,
    variable: str | None = None,
    title: str | None = None,
    say: Say = lambda _: None,
) -> Study[Model]:
    """Fit a model to the labelled pixels of a scene and score it on whole blocks held out.

    Neighbouring pixels resemble each other: of pixels drawn at random nearly each has a neighbour
    that the model has learnt, and is all but known. Blocks that are held out whole are as new to it
    as the rest of the scene. Shares of test and validation are shares of the blocks.

    Args:
        scene: File, several files of the same grid, or a folder of them.
        labels: Raster on the scene's pixels, points or polygons.
        options: How, as for a table; groups and times are not for rasters.
        target: Attribute with the labels, where there are several.
        task: What the labels are; by default told from them.
        drop: Bands to leave out.
        block_size: Rows and columns of a block; by default chosen from where labels lie.
        variable: Of a NetCDF, HDF5 or Zarr scene with several.
        title: Name of the data, for the report.
        say: Told in a sentence what a person should know, as it is found.

    Returns:
        The fitted model, figures and report, as of a table. The model maps rasters.

    Raises:
        DataError: If scene and labels do not fit, or labels are too few to hold some out.

    Reference:
        Roberts et al., Cross-validation strategies for data with temporal, spatial, hierarchical,
        or phylogenetic structure, Ecography 2017; Ploton et al., Spatial validation reveals poor
        predictive performance of large-scale ecological mapping models, Nature Communications 2020.
    """
    options = options or Options()
    if options.groups is not None or options.times is not None:
        raise DataError("rasters are held out by spatial blocks: give neither groups nor times")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = labelled_table(
            scene,
            labels,
            target=target,
            average=None if task is None else task == "regression",
            block_size=block_size,
            variable=variable,
            seed=options.seed,
        )
    notes = [*(str(one.message) for one in caught), *table.notes]
    check_columns(table.frame, drop, "--drop")
    if leaks := [name for name in table.leaks if name not in drop]:
        raise DataError(
            f"{labels}: is given both as labels and as a file of the scene, so that the model "
            "would see what it is to predict: leave it out of the scene, or "
            f"--drop {','.join(leaks)}"
        )
    frame = table.frame.drop(columns=list(drop))
    frame = frame.assign(**{table.target: table.labels, BLOCK: table.groups})
    task = task or choose_task(frame[table.target])
    for note in notes:
        say(note)
    _say_pixels(table, frame.drop(columns=[table.target, BLOCK]), task, say)
    whole = take_apart(frame, [table.target], task, groups=BLOCK)
    held = hold_blocks(
        table.blocks, whole.y, valid=options.valid, test=options.test, seed=options.seed
    )
    unscored = held.unscored if task == "classification" else ()
    how = describe_blocks(table.blocks, held, unscored)
    for sentence in how:
        say(sentence)
    flattery = compare_holdouts(whole.x, whole.y, table.groups)
    if flattery:
        say(flattery)
    study = study_table(
        frame,
        [table.target],
        task,
        replace(options, seed=held.seed, groups=BLOCK),
        title=title or _title(scene),
        say=say,
    )
    return _named(study, table.blocks, held, [*notes, *how, *([flattery] if flattery else [])])


def _say_pixels(table: LabelledTable, bands: "pd.DataFrame", task: Task, say: Say) -> None:
    """Say what is predicted from what."""
    say(
        f"{counted(len(table.labels), 'labelled pixel')} from {table.pixels.source}; {task} of "
        f"{table.target} from"
    )
    gaps = bands.isna().sum()
    for name in list(bands.columns)[:50]:
        say(f"  {name}" + (f", {int(gaps[name]):,} missing" if gaps[name] else ""))
    if bands.shape[1] > 50:
        say(f"  and {bands.shape[1] - 50} more bands")


def _named(
    study: Study[Model], blocks: SpatialBlocks, held: HeldBlocks, notes: Sequence[str]
) -> Study[Model]:
    """Say in the report which rows those are, and how they were held out."""
    words = study.where.replace(" rows", " pixels")
    where = f"{words} in {held.test} whole blocks of {blocks.side} x {blocks.side} pixels"
    report = replace(study.report, metrics_rows=where, warnings=[*notes, *study.report.warnings])
    return replace(study, where=where, report=report)


def _title(scene: str | Path | Sequence[str | Path]) -> str:
    paths = [scene] if isinstance(scene, str | Path) else list(scene)
    first = Path(paths[0]).name
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
