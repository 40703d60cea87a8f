"""Names of columns: each has one, no two the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def unique_names(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Check the names of columns, and name those that have none by their number.

    Args:
        names: As written.

    Returns:
        All names, and those that were made up.

    Raises:
        DataError: If a name is there twice.

    Example:
        >>> unique_names(["a", "", "b"])
        (['a', 'column_2', 'b'], ['column_2'])
    """
    given = [name.strip() for name in names]
    filled = [name or f"column_{number}" for number, name in enumerate(given, 1)]
    twice = [repr(name) for name, times in Counter(filled).items() if times > 1]
    if twice:
        raise DataError(
            f"every column needs a name of its own, {shorten(twice, 10)} is there more than once: "
            "rename it in the file, or name all columns with --columns a,b,c,..."
        )
    return filled, [name for name, old in zip(filled, given, strict=True) if not old]


def settle_unnamed(frame: pd.DataFrame, unnamed: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Drop the empty ones of the columns that had no name, and tell of the others.

    Args:
        frame: A table.
        unnamed: The columns whose names were made up.

    Returns:
        The table, and notes.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"column_1": [0, 1], "a": [5, 7]})
        >>> settle_unnamed(frame, ["column_1"])[1]
        ['no name, called so: column_1', 'counts the rows, a saved index?: column_1']
    """
    empty = [name for name in unnamed if bool(frame[name].isna().all())]
    kept = [name for name in unnamed if name not in empty]
    counting = [name for name in kept if name == frame.columns[0] and _counts_rows(frame[name])]
    facts = {
        "neither name nor values, dropped": empty,
        "no name, called so": kept,
        "counts the rows, a saved index?": counting,
    }
    notes = [f"{fact}: {shorten(names, 8)}" for fact, names in facts.items() if names]
    return frame.drop(columns=empty), notes


def shorten(texts: Sequence[str], most: int = 3, width: int = 30) -> str:
    """Show the first few of several texts.

    Args:
        texts: The texts.
        most: How many to show.
        width: Characters to show of each.

    Returns:
        A part of a sentence.

    Example:
        >>> shorten(["39", "State-gov", "77516", "Bachelors"])
        '39, State-gov, 77516, ...'
    """
    shown = [text if len(text) <= width else text[:width] + "..." for text in texts[:most]]
    return ", ".join([*shown, "..."] if len(texts) > most else shown)


def _counts_rows(column: pd.Series) -> bool:
    values = column.to_numpy()
    if values.dtype.kind not in "iu" or values[0] not in (0, 1):
        return False
    return bool((values == np.arange(values[0], values[0] + len(values))).all())
