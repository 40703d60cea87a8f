"""Maps on the command line: a model for tables over rasters, with progress and a legend."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pointwise._atomic import why_no_file
from pointwise.cli.tables import warnings_said
from pointwise.cli.words import print_json, print_line, say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.data.scenes import Scene
    from pointwise.maps.files import MapSummary
    from pointwise.maps.outputs import Output
    from pointwise.maps.pixel_model import PixelModel

MAPS = (".tif", ".tiff")
"""Endings of --out that ask for a map."""

MEMORY = 192
"""Megabytes, unless --memory says otherwise."""

MOST_LINES = 30
"""Classes that are printed; the others are in the map's legend and in --json."""


class Compress(StrEnum):
    """How a map file is packed."""

    deflate = "deflate"
    zstd = "zstd"
    lzw = "lzw"
    none = "none"


@dataclass(frozen=True)
class MapOptions:
    """How a map is asked for.

    Attributes:
        proba: Whether bands are the probabilities of the classes.
        spread: Whether the members' standard deviations follow as bands.
        interval: Share of the pixels that are to lie in their interval, whose ends follow as bands.
        nodata: What stands where there is no prediction.
        compress: How the file is packed.
        memory: Megabytes that the windows in work may take.
        variable: Variable of a NetCDF, HDF5 or Zarr file.
        preview: Picture to draw.
    """

    proba: bool = False
    spread: bool = False
    interval: float | None = None
    nodata: float | None = None
    compress: Compress | None = None
    memory: int | None = None
    variable: str | None = None
    preview: Path | None = None

    def only_maps(self) -> dict[str, Any]:
        """The options that only maps have, ``None`` where they were not given."""
        return {
            "--preview": self.preview,
            "--spread": self.spread or None,
            "--nodata": self.nodata,
            "--compress": self.compress,
            "--memory": self.memory,
            "--variable": self.variable,
        }


def wants_map(data: Sequence[str], out: Path) -> bool:
    """Tell whether a map is asked for, by the ending of --out.

    Args:
        data: What was given.
        out: File to write.

    Returns:
        Whether it is.

    Raises:
        DataError: If a raster was given with an --out that is no map.
    """
    from pointwise.data.scenes.paths import RASTERS

    if out.suffix.lower() in MAPS:
        return True
    if rasters := [one for one in data if Path(one).suffix.lower() in RASTERS]:
        raise DataError(
            f"{rasters[0]} is a raster: its map is a GeoTIFF, so --out must end in .tif, got {out}"
        )
    return False


def predict_rasters(
    model: Path, data: Sequence[str], out: Path, asked: MapOptions, *, as_json: bool
) -> None:
    """Map a model over rasters, say what came of it, and draw it.

    Args:
        model: Folder of a model for tables.
        data: Files of one scene.
        out: GeoTIFF to write.
        asked: How.
        as_json: Whether to print JSON.

    Raises:
        DataError: If an option does not fit the model, or a raster not the model.
    """
    from pointwise.maps.files import map_files
    from pointwise.maps.previews import write_preview

    _check_preview(asked.preview)
    made = _pixel_model(model)
    plan = _plan(made, asked)
    compress: Any = (asked.compress or Compress.deflate).value
    memory = asked.memory or MEMORY
    with warnings_said(), _scene(data, asked.variable) as scene:
        for note in scene.notes:
            say(note)
        _check_not_read(asked.preview, scene)
        with progress_bar() as advance:
            summary = map_files(
                made,
                scene,
                out,
                output=plan,
                compress=compress,
                memory_mb=memory,
                progress=advance,
            )
    if asked.preview is not None:
        write_preview(out, asked.preview)
    if as_json:
        print_json(_as_json(summary, plan, asked.preview))
    else:
        _print(summary, plan, asked.preview)


def _check_preview(preview: Path | None) -> None:
    """Refuse before the work is done what could not be drawn after it."""
    if preview is None:
        return
    if preview.suffix.lower() != ".png":
        raise DataError(f"--preview is a PNG picture: it must end in .png, got {preview}")
    if why := why_no_file(preview):
        raise DataError(f"--preview {preview}: {why}")


def _check_not_read(preview: Path | None, scene: "Scene") -> None:
    """Refuse a preview in the place of a file of the scene."""
    from pointwise.maps.files.mapping import files_read
    from pointwise.maps.files.writer import is_among

    if preview is not None and is_among(preview, files_read(scene)):
        raise DataError(f"--preview {preview}: is read for this map: give it another name")


def _scene(data: Sequence[str], variable: str | None) -> "Scene":
    """Open a scene, and speak of the option as the command line calls it."""
    from pointwise.data.scenes import open_scene

    try:
        return open_scene(data, variable=variable)
    except DataError as error:
        said = str(error).replace("variable='", "--variable '").replace("variable=", "--variable")
        raise DataError(said) from error


def _pixel_model(model: Path) -> "PixelModel":
    """The model of a folder, with the name that the folder has."""
    from pointwise.cli.images import table_model

    return replace(table_model(model).pixel_model(), name=model.resolve().name)


def _plan(model: "PixelModel", asked: MapOptions) -> "Output":
    from pointwise.maps.outputs import plan_output

    classifies = model.classes is not None
    if asked.proba and not classifies:
        raise DataError("--proba needs a classifier: this model predicts numbers")
    if asked.spread and classifies and not asked.proba:
        raise DataError("--spread needs --proba here: a class map has no band for it")
    if asked.interval is not None:
        check_interval(asked.interval, known=model.half_widths is not None, classifies=classifies)
    output: Any = "proba" if asked.proba else "auto"
    try:
        return plan_output(
            model, output, spread=asked.spread, interval=asked.interval, nodata=asked.nodata
        )
    except DataError as error:
        raise DataError(str(error).replace("nodata", "--nodata", 1)) from error


def check_interval(coverage: float, *, known: bool, classifies: bool) -> None:
    """Refuse an interval that a model cannot give.

    Args:
        coverage: Share of the predictions that are to lie in theirs.
        known: Whether the model knows its errors on rows that it has not seen.
        classifies: Whether it predicts classes.

    Raises:
        DataError: If it cannot.
        BadParameter: If it is no share.
    """
    if not 0 < coverage < 1:
        raise typer.BadParameter(
            f"it must be a share above 0 and below 1, got {coverage:g}", param_hint="--interval"
        )
    if classifies:
        raise DataError("--interval needs a model that predicts numbers: this one classifies")
    if not known:
        raise DataError(
            "--interval needs a model that was fitted with test rows (pointwise fit --test), whose "
            "errors say how wide it is"
        )


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, where that is a terminal, with the speed in pixels.

    Yields:
        What to call with the pixels done and the pixels of all.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.completed:.1f} of {task.total:.1f} Mpx"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]:.1f} Mpx/s"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, emoji=False)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("map", total=0.0, speed=0.0)

        def advance(done: int, whole: int) -> None:
            elapsed = bar.tasks[task].elapsed or 0.0
            speed = done / 1e6 / elapsed if elapsed else 0.0
            bar.update(task, completed=done / 1e6, total=whole / 1e6, speed=speed)

        yield advance


def _as_json(summary: "MapSummary", plan: "Output", preview: Path | None) -> dict[str, Any]:
    classes = [
        {"code": code, "class": plan.codes[code], "pixels": count, "share": share}
        for code, count, share in _shares(summary, plan)
    ]
    return {
        "out": str(summary.out),
        "width": summary.width,
        "height": summary.height,
        "bands": list(summary.bands),
        "nodata": plan.nodata,
        "nodata_pixels": summary.nodata_pixels,
        **({"classes": classes} if plan.codes else {}),
        "seconds": summary.seconds,
        "megapixels_per_second": summary.megapixels_per_second,
        "preview": None if preview is None else str(preview),
    }


def _print(summary: "MapSummary", plan: "Output", preview: Path | None) -> None:
    if plan.codes:
        _print_classes(summary, plan)
    elif len(summary.bands) > 1:
        print_line(f"bands: {', '.join(summary.bands)}")
    print_line(
        f"{summary.width:,} x {summary.height:,} pixels, {summary.nodata_pixels:,} without data, "
        f"{summary.megapixels_per_second:.3g} Mpx/s: {summary.out}"
    )
    if preview is not None:
        print_line(f"preview: {preview}")


def _print_classes(summary: "MapSummary", plan: "Output") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pointwise.maps.previews.legends import share

    table = Table()
    for name in ("number", "class", "pixels", "share"):
        table.add_column(name, justify="left" if name == "class" else "right")
    rows = _shares(summary, plan)
    valid = sum(count for _, count, _ in rows)
    for code, count, _ in rows[:MOST_LINES]:
        shown = escape(str(plan.codes[code]))
        table.add_row(str(code), shown, f"{count:,}", share(count, valid) if valid else "-")
    Console(highlight=False, emoji=False).print(table)
    if len(rows) > MOST_LINES:
        print_line(f"and {len(rows) - MOST_LINES} classes more")


def _shares(summary: "MapSummary", plan: "Output") -> list[tuple[int, int, float]]:
    """Number, pixels and share of each class; the shares are of the pixels that have one."""
    counts = [(code, summary.class_pixels.get(code, 0)) for code in plan.codes]
    valid = sum(count for _, count in counts)
    return [(code, count, count / valid if valid else float("nan")) for code, count in counts]
