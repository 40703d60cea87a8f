"""``pointwise predict``: a model and a table, images or rasters, to predictions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import options
from pointwise.cli.fit_rasters import only_one
from pointwise.cli.images import image_model, predict_images, refuse_given, table_model
from pointwise.cli.maps import (
    Compress,
    MapOptions,
    check_interval,
    predict_rasters,
    wants_map,
)
from pointwise.cli.tables import check_table, read_for_model, warnings_said
from pointwise.cli.words import print_json, print_line

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.estimators.persistence import TableModel


def predict(
    model: options.Model,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="CSV (also .gz), Parquet, or a bundled name such as diabetes; a folder of images "
            "or an idx file; rasters of one scene: GeoTIFF, VRT, NetCDF, Zarr, one or several.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .csv, .csv.gz, .tsv or .parquet, told by suffix; .tif for the map "
            "of a raster. A folder of PNG masks for a model that segments."
        ),
    ],
    keep: Annotated[
        str | None,
        typer.Option(help="Columns of DATA to write beside the predictions, with commas."),
    ] = None,
    proba: Annotated[
        bool,
        typer.Option(
            "--proba",
            help="Write the probability of every class too: columns, or .npy files beside masks. "
            "Of a map: in place of the classes, a band each.",
        ),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the map with its legend, too."),
    ] = None,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread",
            help="Further bands of a map: the standard deviation over the members of the ensemble.",
        ),
    ] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Of numbers: the ends of the interval that this share of the true values lies in, "
            "such as 0.9: further columns, or bands of a map. Its width comes of the test rows.",
        ),
    ] = None,
    nodata: Annotated[
        float | None,
        typer.Option(
            help="Of a map: what stands where there is no prediction. Default: a number that is "
            "no class; NaN of numbers."
        ),
    ] = None,
    compress: Annotated[
        Compress | None, typer.Option(help="How a map is packed. Default: deflate.")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=16, metavar="MB", help="Megabytes that a map's windows may take. Default: 192."
        ),
    ] = None,
    variable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Variable of a NetCDF or Zarr raster with several."),
    ] = None,
    columns: options.Columns = None,
    separator: options.Separator = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing: options.Missing = None,
    json: options.Json = False,
) -> None:
    """Predict the targets of a table's rows, of images, or of the pixels of rasters.

    Example: `pointwise predict houses-model new.csv --out prices.csv --keep address`
    """
    from pointwise.data.files import write_table
    from pointwise.errors import DataError
    from pointwise.modelfiles import read_config
    from pointwise.studies import check_columns

    reading = options.as_reading(columns, separator, decimal, encoding, missing)
    only_tables = {"--keep": keep, **{f"--{name}": value for name, value in reading.items()}}
    asked = MapOptions(proba, spread, interval, nodata, compress, memory, variable, preview)
    if "images" not in read_config(model) and wants_map(data, out):
        refuse_given(only_tables, f"for tables only, {out} is a map")
        predict_rasters(model, data, out, asked, as_json=json)
        return
    one = only_one(data)
    refuse_given(asked.only_maps(), f"for maps only, and {out} is none: a map ends in .tif")
    if image_model(model, one, only_tables | {"--interval": interval}):
        predict_images(model, one, out, proba=proba, as_json=json)
        return
    check_table(out, one)
    estimator, targets = table_model(model), read_config(model)["targets"]
    if proba and not hasattr(estimator, "classes_"):
        raise DataError("--proba needs a classifier: this model predicts numbers")
    if interval is not None:
        known, classifies = (hasattr(estimator, n) for n in ("held_out_errors_", "classes_"))
        check_interval(interval, known=known, classifies=classifies)
    kept = list(dict.fromkeys(options.split_names(keep) or []))
    frame, x = read_for_model(model, estimator, one, [*targets, *kept], **reading)
    check_columns(frame, kept, "--keep")
    with warnings_said():
        predictions = _predictions(estimator, x, targets, proba, interval)
    result = frame[kept].reset_index(drop=True)
    for name, values in predictions.items():
        while name in result:
            name = f"predicted_{name}"
        result[name] = values
    write_table(result, out)
    if json:
        print_json({"rows": len(result), "columns": list(result.columns), "out": str(out)})
    else:
        print_line(f"{len(result):,} predictions: {out}")


def _predictions(
    estimator: "TableModel",
    x: "pd.DataFrame",
    targets: list[str],
    proba: bool,
    interval: float | None,
) -> "dict[str, pd.Series[Any]]":
    import pandas as pd

    if hasattr(estimator, "classes_"):
        shares = estimator.predict_proba(x)
        columns = {targets[0]: pd.Series(estimator.classes_[shares.argmax(1)])}
        if proba:
            for label, values in zip(estimator.classes_, shares.T, strict=True):
                columns[_free("class_", f"probability_{label}", columns)] = pd.Series(values)
        return columns
    predicted = estimator.predict(x).reshape(len(x), -1)
    columns = {name: pd.Series(predicted[:, i]) for i, name in enumerate(targets)}
    if interval is not None:
        half = estimator.held_out_errors_.half_widths(interval)
        for i, name in enumerate(targets):
            columns[_free("interval_", f"{name}_low", columns)] = pd.Series(
                predicted[:, i] - half[i]
            )
            columns[_free("interval_", f"{name}_high", columns)] = pd.Series(
                predicted[:, i] + half[i]
            )
    return columns


def _free(start: str, name: str, taken: "dict[str, pd.Series[Any]]") -> str:
    """A name for a column beside the targets, none of which it may replace."""
    while name in taken:
        name = start + name
    return name
