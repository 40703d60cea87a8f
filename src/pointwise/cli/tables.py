"""Reading a table for a model: its columns in its order, and a word on what is too much."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.estimators.persistence import TableModel


def read_for_model(
    folder: Path, model: "TableModel", data: str, others: Sequence[str], **reading: Any
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Read a table and pick a model's columns out of it.

    Args:
        folder: Model folder, which keeps what stood for no value in training.
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
    from pointwise.modelfiles import read_config

    if reading.get("missing") is None:
        reading["missing"] = read_config(folder).get("missing")
    table = read_table(data, **reading)
    for note in table.notes:
        say(note)
    coded = model.coding_.columns
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
