"""Reading a table for a model: its columns in its order, and a word on what is too much."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.estimators.persistence import Estimator


def read_for_model(
    model: "Estimator",
    data: str,
    targets: Sequence[str],
    columns: Sequence[str] | None,
    separator: str | None,
    decimal: str | None,
    encoding: str | None,
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Read a table and pick a model's columns out of it.

    Args:
        model: The fitted estimator.
        data: File or bundled name.
        targets: Names of the model's targets, which the table may hold.
        columns: Names for a file without a header.
        separator: Between fields.
        decimal: Decimal mark.
        encoding: Of the file.

    Returns:
        The whole table, and the model's columns in the model's order.

    Raises:
        DataError: If a column of the model is missing.
    """
    from pointwise.data.files import read_table

    table = read_table(
        data, columns=columns, separator=separator, decimal=decimal, encoding=encoding
    )
    for note in table.notes:
        say(note)
    wanted = [column.name for column in model.coding_.columns]
    found = [str(c) for c in table.frame.columns]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"{data} lacks {len(missing)} of the model's {len(wanted)} columns: "
            f"{', '.join(map(repr, missing[:10]))}; it has {', '.join(map(repr, found[:20]))}"
        )
    extra = [name for name in found if name not in (*wanted, *targets)]
    if extra:
        say(f"columns that the model does not use: {', '.join(extra[:20])}")
    return table.frame, table.frame[wanted]


@contextmanager
def warnings_said() -> Iterator[None]:
    """Turn warnings into sentences on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        say(str(one.message))
