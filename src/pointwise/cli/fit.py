"""``pointwise fit``: a table, images or the labelled pixels of rasters, to a model."""

from pathlib import Path
from typing import Annotated

import typer

from pointwise.cli import options
from pointwise.cli.fit_images import Training, as_widths, fit_images
from pointwise.cli.fit_rasters import AskedScene, fit_rasters, is_raster, only_one
from pointwise.cli.fit_tables import AskedTable, fit_table
from pointwise.cli.image_sets import Asked
from pointwise.cli.images import is_images, refuse_given


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
    missing: options.Missing = None,
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
    from pointwise.studies import Options

    out = out or Path(f"{Path(data[0]).resolve().name.split('.')[0]}-model")
    usual = Options(
        members=members or 16,
        seed=seed,
        time_limit=time_limit,
        groups=groups,
        times=time,
        progress=not json,
    )
    reading = options.as_reading(columns, separator, decimal, encoding, missing)
    of_tables = {"--time": time, **{f"--{name}": value for name, value in reading.items()}}
    of_images = {
        "--masks": masks,
        "--classes": classes,
        "--ignore": ignore,
        "--epochs": epochs,
        "--widths": widths,
        "--size": size,
        "--skip-unreadable": skip_unreadable or None,
    }
    if is_raster(data, labels):
        why = f"for tables or images only, {data[0]} is a raster"
        refuse_given({"--groups": groups, **of_tables, **of_images}, why)
        scene = AskedScene(data, labels, target, task, drop, valid, test, block_size, variable)
        fit_rasters(scene, usual, out, resume=resume, as_json=json)
        return
    source = only_one(data)
    of_scenes = {"--block-size": block_size, "--variable": variable}
    refuse_given(of_scenes, f"for scenes only, {source} is no raster")
    if is_images(source, single=False):
        kind = "a folder of images" if Path(source).is_dir() else "an idx file of images"
        other = {"--target": target, "--members": members, "--task": task, "--drop": drop}
        refuse_given({**other, **of_tables}, f"for tables only, {source} is {kind}")
        images = Asked(
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
        fit_images(images, training, out, as_json=json)
        return
    refuse_given({**of_images, "--labels": labels}, f"for images only, {source} is none")
    table = AskedTable(source, reading, target, task, drop, valid, test)
    fit_table(table, usual, out, resume=resume, as_json=json)
