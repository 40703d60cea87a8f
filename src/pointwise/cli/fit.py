"""``pointwise fit``: a table, images or the labelled pixels of rasters, to a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import options
from pointwise.cli.fit_images import Training, as_widths, find_checkpoint, fit_images
from pointwise.cli.fit_rasters import fit_rasters, is_raster, only_one, share_of_blocks
from pointwise.cli.image_sets import Asked
from pointwise.cli.images import is_images, refuse_given
from pointwise.cli.words import print_json, print_line, print_scores, say
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.studies import TableStudy

MOST_TESTED = 0.9
"""Share of the rows that are scored on, at most."""


def fit(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="CSV (also .gz), Parquet, or a bundled name such as diabetes; a folder of images "
            "or an idx file; a scene: a raster, several of the same pixels, or a folder of them.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="Column to predict; several numbers with commas between their names. Of a scene "
            "the attribute of the shapes of --labels."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Model folder to write. Default: NAME-model here.")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, help="Networks in the ensemble. Default: 16.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed; the same one gives the same model.")
    ] = 0,
    time_limit: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds after which training stops.")
    ] = None,
    valid: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FRACTION",
            help="Rows to choose the best epoch with: a file, or a share of DATA. Default: 0.15; "
            "of images 0.1.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="FRACTION|FILE",
            help="Share of DATA to score on, which no model sees before; of images a folder or "
            "file, too. Default: 0.2; 0 where --valid is a file, which is then scored on.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="regression or classification. Default: told from the target."),
    ] = None,
    drop: Annotated[
        str | None, typer.Option(help="Columns to leave out, with commas between them.")
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATTERN",
            help="Column that says which rows belong together; never split, not used. Of images a "
            "regular expression that finds it in a file's name, such as [^_]+, or 'folder'.",
        ),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column with times: the latest rows are held out.")
    ] = None,
    columns: options.Columns = None,
    separator: options.Separator = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    masks: options.Masks = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of the masks' classes, with commas, from number 0 on. Default: numbers."
        ),
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(min=0, max=255, help="Number of the masks' pixels whose class is unknown."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Classes of the images: a table of file and class for a folder, an idx file for "
            "one. Default: the names of the folders, or the idx file of that name. Of a scene its "
            "labelled pixels: a raster, points or polygons.",
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Rows and columns of the blocks of a scene that are held out whole. Default: "
            "so that 25 of them hold labels.",
        ),
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="Variable of a scene in NetCDF, HDF5 or Zarr with several.")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Times that every image is seen, images only. Default: 20, with masks 40."
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Channels of the network for masks at each size. Default: 16,32,64,128,256.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Bring images to so many rows and columns, images only. Default: as they are.",
        ),
    ] = None,
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable", help="Leave out damaged files and name them, images only."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed fit of the same command was.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Fit a model to a table, images or rasters, score it beside usual models, keep it in a folder.

    Example: `pointwise fit houses.csv --target price --out houses-model`
    """
    from pointwise.data.files import read_table
    from pointwise.modelfiles import check_target
    from pointwise.studies import Options, check_columns, study_table

    if is_raster(data, labels):
        out = out or Path(f"{Path(data[0]).resolve().name.split('.')[0]}-model")
        test_share = _test_share(test)
        check_target(out)
        checkpoint = find_checkpoint(out, resume)
        scene_study = fit_rasters(
            data,
            labels,
            Options(
                members=members or 16,
                seed=seed,
                time_limit=time_limit,
                valid=share_of_blocks(valid),
                test=0.2 if test_share is None else test_share,
                progress=not json,
                checkpoint=checkpoint,
            ),
            target=target,
            task=task,
            drop=options.split_names(drop) or [],
            block_size=block_size,
            variable=variable,
            refused={
                "--groups": groups,
                "--time": time,
                "--columns": columns,
                "--separator": separator,
                "--decimal": decimal,
                "--encoding": encoding,
                "--masks": masks,
                "--classes": classes,
                "--ignore": ignore,
                "--epochs": epochs,
                "--widths": widths,
                "--size": size,
                "--skip-unreadable": skip_unreadable or None,
            },
        )
        _keep(scene_study, out)
        checkpoint.unlink(missing_ok=True)
        _print(scene_study, out, json)
        return
    source = only_one(data)
    only_scenes = {"--block-size": block_size, "--variable": variable}
    refuse_given(only_scenes, f"for scenes only, {source} is no raster")
    if is_images(source, single=False):
        kind = "a folder of images" if Path(source).is_dir() else "an idx file of images"
        refuse_given(
            {
                "--target": target,
                "--members": members,
                "--task": task,
                "--drop": drop,
                "--time": time,
                "--columns": columns,
                "--separator": separator,
                "--decimal": decimal,
                "--encoding": encoding,
            },
            f"for tables only, {source} is {kind}",
        )
        out = out or Path(f"{Path(source).resolve().name.split('.')[0]}-model")
        asked = Asked(
            data=source,
            masks=masks,
            classes=options.split_names(classes),
            ignore=ignore,
            labels=labels,
            size=size,
            skip=skip_unreadable,
            valid=valid,
            test=test,
            groups=groups,
        )
        training = Training(seed, time_limit, epochs, as_widths(widths), resume)
        fit_images(asked, training, out, as_json=json)
        return
    only_images = {
        "--masks": masks,
        "--classes": classes,
        "--ignore": ignore,
        "--labels": labels,
        "--epochs": epochs,
        "--widths": widths,
        "--size": size,
        "--skip-unreadable": skip_unreadable or None,
    }
    if given := [option for option, value in only_images.items() if value is not None]:
        raise typer.BadParameter(f"for images only, {source} is none", param_hint=", ".join(given))
    out = out or Path(f"{Path(source).name.split('.')[0]}-model")
    test_share = _test_share(test)
    check_target(out)
    reading: dict[str, Any] = {
        "columns": options.split_names(columns),
        "separator": separator,
        "decimal": decimal,
        "encoding": encoding,
    }
    table = read_table(source, **reading)
    for note in table.notes:
        say(note)
    targets = options.split_names(target or table.default_target)
    if targets is None:
        known = ", ".join(map(str, table.frame.columns))
        raise DataError(f"name the column to predict with --target: {source} has {known}")
    check_columns(table.frame, targets, "target")
    fraction, valid_frame = _read_valid(valid, reading)
    dropped = options.split_names(drop) or []
    check_columns(table.frame, dropped, "--drop")
    if both := [name for name in targets if name in dropped]:
        raise DataError(f"column {both[0]!r} is both --target and --drop: leave out one of them")
    kind = _task(task, table.frame, targets)
    frames = [table.frame] if valid_frame is None else [table.frame, valid_frame]
    frame, *rest = (f.drop(columns=dropped, errors="ignore") for f in frames)
    _say_columns(frame, targets, kind)
    checkpoint = find_checkpoint(out, resume)
    study = study_table(
        frame,
        targets,
        kind,
        Options(
            members=members or 16,
            seed=seed,
            time_limit=time_limit,
            valid=fraction,
            test=(0.2 if valid_frame is None else 0.0) if test_share is None else test_share,
            groups=groups,
            times=time,
            progress=not json,
            checkpoint=checkpoint,
        ),
        valid=rest[0] if rest else None,
        title=Path(source).name,
        say=say,
    )
    _keep(study, out)
    checkpoint.unlink(missing_ok=True)
    _print(study, out, json)


def _read_valid(valid: str | None, reading: dict[str, Any]) -> "tuple[float, pd.DataFrame | None]":
    """A share of the rows, or a file of its own."""
    from pointwise.data.files import read_table

    if valid is None:
        return 0.15, None
    try:
        fraction = float(valid)
    except ValueError:
        return 0.15, read_table(valid, **reading).frame
    if not 0 < fraction < 1:
        raise DataError(f"--valid must be a file or a share between 0 and 1, got {valid}")
    return fraction, None


def _test_share(test: str | None) -> float | None:
    """A share of the rows; of tables nothing else."""
    try:
        share = None if test is None else float(test)
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= MOST_TESTED:
        raise typer.BadParameter(
            f"must be a share of the rows from 0 to {MOST_TESTED}, got {test!r}",
            param_hint="'--test'",
        )
    return share


def _task(given: str | None, frame: "pd.DataFrame", targets: list[str]) -> Any:
    from pointwise.studies import choose_task

    if given is None:
        return "regression" if len(targets) > 1 else choose_task(frame[targets[0]])
    if given not in ("regression", "classification"):
        raise typer.BadParameter(f"must be regression or classification, got {given!r}")
    return given


def _say_columns(frame: "pd.DataFrame", targets: list[str], task: str) -> None:
    """Say what was understood of every column."""
    from pointwise.data.table import as_table

    say(f"{len(frame):,} rows; {task} of {', '.join(targets)} from")
    for column in as_table(frame.drop(columns=targets)).columns[:50]:
        missing = int(column.missing().sum())
        gaps = f", {missing:,} missing" if missing else ""
        levels = (
            f" of {len(set(column.values) - {None}):,} levels" if column.kind == "category" else ""
        )
        say(f"  {column.name}: {column.kind}{levels}{gaps}")
    if frame.shape[1] - len(targets) > 50:
        say(f"  and {frame.shape[1] - len(targets) - 50} more columns")


def _keep(study: "TableStudy", out: Path) -> None:
    import json

    from pointwise.estimators import save

    save(
        study.model,
        out,
        targets=study.targets,
        metrics=study.metrics,
        baselines=study.baselines,
        report=json.loads(study.report.to_json()),
        rows={part: count for part, count in study.report.rows.items() if count},
    )


def _print(study: "TableStudy", out: Path, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "task": study.task,
                "target": list(study.targets),
                "metrics": study.metrics,
                "metrics_rows": study.where,
                "baselines": {one["key"]: one["metrics"] for one in study.baselines},
                "seconds": study.seconds,
                "parameters": study.report.parameters,
                "epochs": len(study.model.history_),
                "best_epoch": study.model.best_epoch_,
                "rows": study.report.rows,
                "warnings": study.report.warnings,
                "model": str(out),
            }
        )
        return
    rows = [("pointwise", study.metrics, study.seconds)]
    rows += [(one["name"], one["metrics"], one["seconds"]) for one in study.baselines]
    print_scores(f"{', '.join(study.targets)}: {study.where}", rows)
    print_line(f"model: {out}")
