"""Reading a table for a model: its columns in its order, and a word on what is too much."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise._atomic import why_no_file
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.estimators.persistence import TableModel


def check_table(out: Path, data: str) -> None:
    """Refuse a table that cannot be written, before the work for it is done.

    Args:
        out: Table to write.
        data: What is read.

    Raises:
        DataError: If no table is called so, there is no folder for it, or it is what is read.
    """
    from pointwise.data.files import suffix_to_write

    suffix_to_write(out)
    if why := why_no_file(out):
        raise DataError(f"{out}: {why}")
    if out.exists() and Path(data).exists() and out.samefile(data):
        raise DataError(f"{out}: is read for these predictions: give them another name")


def read_for_model(
    folder: Path, model: "TableModel", data: str, others: Sequence[str], **reading: Any
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Read a table and pick a model's columns out of it.

    Args:
        folder: Model folder, which keeps how the file of its training was read.
        model: The fitted estimator in it.
        data: File or bundled name.
        others: Columns that the table may hold beside the model's, its targets for instance.
        reading: As ``read_table`` takes it.

    Returns:
        The whole table, and the model's columns in the model's order; those that it leaves out may
        be missing.

    Raises:
        DataError: If a column of the model is missing.
    """
    from pointwise.data.files import read_table
    from pointwise.data.names import shorten
    from pointwise.data.table import as_level
    from pointwise.modelfiles import read_config

    coded, classes = model.coding_.columns, getattr(model, "classes_", None)
    levels = {c.name: frozenset(c.levels) for c in coded if c.kind == "category"}
    config = read_config(folder)
    named = classes is not None and classes.dtype.kind in "OU"  # classes are texts
    texts = [*levels, *(config["targets"] if named else [])]
    asked = {name: value for name, value in reading.items() if value is not None}
    table = read_table(data, **{**config.get("reading", {}), **asked}, texts=texts)
    for note in table.notes:
        say(note)
    for name in levels.keys() & table.frame.columns:
        table.frame[name] = table.frame[name].map(partial(as_level, levels=levels[name]))
    wanted = [column.name for column in coded]
    found = [str(c) for c in table.frame.columns]
    missing = [c.name for c in coded if c.name not in found and not c.ignored]
    if missing:
        raise DataError(
            f"{data} lacks {len(missing)} of the model's {len(wanted)} columns: "
            f"{shorten(list(map(repr, missing)), 10)}; it has {shorten(list(map(repr, found)), 20)}"
        )
    extra = [name for name in found if name not in (*wanted, *others)]
    if extra:
        say(f"columns that the model does not use: {shorten(extra, 20)}")
    return table.frame, table.frame.reindex(columns=wanted)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Turn warnings into sentences on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        say(str(one.message))
