"""Options that several commands share."""

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from pointwise.errors import DataError

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="CSV (also .gz), Parquet, or a bundled name such as diabetes; a folder of images or "
        "an idx file.",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `fit` wrote.")]
Network = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A folder that `fit` wrote, a published network such as resnet50, or "
        "module:function: code of yours, here or installed, that builds the network.",
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Masks of the images in DATA. Default: DATA holds the folders images and masks.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Classes of the images: a table of file and class for a folder, an idx file for one. "
        "Default: the names of the folders, or the idx file of that name.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights to load first: safetensors, or a checkpoint of which only weights are read. "
        "Not for a folder, which has its own.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(help="Names of the columns, with commas, for a file without a header."),
]
Separator = Annotated[
    str | None,
    typer.Option(help="Between fields: one character, 'tab' or 'blanks'. Default: recognised."),
]
Decimal = Annotated[str | None, typer.Option(help="Decimal mark, '.' or ','. Default: recognised.")]
Encoding = Annotated[str | None, typer.Option(help="Such as utf-8 or cp1252. Default: recognised.")]
Missing = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE,...",
        help="Further values that stand for none, with commas, such as -999. Those of a fit are "
        "kept with the model.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]


def as_reading(
    columns: str | None,
    separator: str | None,
    decimal: str | None,
    encoding: str | None,
    missing: str | None,
) -> dict[str, Any]:
    """Put together what a command line says of a table's file.

    Args:
        columns: Names of the columns, with commas between them.
        separator: Between fields.
        decimal: Decimal mark.
        encoding: Of its text.
        missing: Further values that stand for none, with commas between them.

    Returns:
        The arguments of ``read_table``.

    Example:
        >>> as_reading("a,b", None, None, None, "-999")["missing"]
        ['-999']
    """
    return {
        "columns": split_names(columns),
        "separator": separator,
        "decimal": decimal,
        "encoding": encoding,
        "missing": split_names(missing),
    }


def split_names(text: str | None) -> list[str] | None:
    """Names with commas between them as a list; one that holds a comma stands in double quotes."""
    if text is None:
        return None
    try:
        names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True))]
    except csv.Error:  # a line break in a name
        names = []
    if not names or not all(names):
        raise DataError(f"names must be separated by single commas, got {text!r}")
    return names
