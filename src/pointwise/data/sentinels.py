"""Values such as -999 that stand for no value: taken out where a caller names them, or pointed out.

A file says nothing of them, and a guess would take true values away: only the caller knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise.data.names import shorten
from pointwise.data.table import Column

if TYPE_CHECKING:
    import pandas as pd

_EXACT = 2**53
_NINES = re.compile(r"-?999+")
_FEWEST = 20
"""Different values that a column needs beside one, before that one can look strange."""
_GAP = 0.5
"""How far a strange value lies from all others, as a share of their range."""
_OFTEN = 0.01
"""Share of the rows that hold it, where it does not consist of nines."""


def take_out(column: pd.Series[Any], missing: Sequence[str]) -> tuple[pd.Series[Any], list[str]]:
    """Make the values of a column that stand for none missing.

    Args:
        column: Numbers, which are compared as numbers, or texts. Others stay as they are.
        missing: What stands for no value.

    Returns:
        The column, whole numbers as float64 where some are taken out, or as text where float64
        would round the others; and which of ``missing`` were found.

    Example:
        >>> import pandas as pd
        >>> column, found = take_out(pd.Series([1, -999, 3]), ["-999", "?"])
        >>> column.tolist(), found
        ([1.0, nan, 3.0], ['-999'])
    """
    from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype

    if is_bool_dtype(column.dtype):
        return column, []
    if is_numeric_dtype(column.dtype):
        numbers = {text: _number(text) for text in missing}
        masks = {text: column == value for text, value in numbers.items() if value is not None}
    elif column.dtype == object or str(column.dtype) in ("str", "string"):
        masks = {text: column == text for text in missing}
    else:
        return column, []
    found = {text: mask for text, mask in masks.items() if mask.any()}
    if not found:
        return column, []
    gone = np.logical_or.reduce([mask.to_numpy(dtype=bool) for mask in found.values()])
    if is_integer_dtype(column.dtype):
        whole = column[~gone]
        long = len(whole) and max(abs(int(whole.min())), abs(int(whole.max()))) > _EXACT
        column = column.astype("str" if long else "float64")
    return column.mask(gone), list(found)


def take_out_all(frame: pd.DataFrame, missing: Sequence[str]) -> list[str]:
    """Make the values of a table that stand for none missing, in place.

    Args:
        frame: The table.
        missing: What stands for no value.

    Returns:
        Notes on which were found where.

    Example:
        >>> import pandas as pd
        >>> take_out_all(pd.DataFrame({"a": [1, -999], "b": [-999.0, 2.5]}), ["-999"])
        ["'-999' read as missing: a, b"]
    """
    where: dict[str, list[str]] = {}
    for position, name in enumerate(frame.columns if missing else ()):
        column, found = take_out(frame.iloc[:, position], missing)
        if found:
            frame.isetitem(position, column.array)
        for text in found:
            where.setdefault(text, []).append(str(name))
    return [f"{text!r} read as missing: {shorten(names, 8)}" for text, names in where.items()]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


@dataclass(frozen=True)
class Strange:
    """A value that looks as if it stood for none.

    Attributes:
        value: As it would be written.
        rows: How many rows hold it.
        low: The least of all others.
        high: The largest of all others.
    """

    value: str
    rows: int
    low: float
    high: float

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' * (self.rows > 1)}"
        return f"{self.value} in {rows}, where all others are {self.low:g} to {self.high:g}"


def strange_value(column: Column) -> Strange | None:
    """Look for a number at the end of a column that may stand for no value.

    It lies far from all others, by half of their range or more, and consists of nines or stands in
    a hundredth of the rows.

    Args:
        column: A column.

    Returns:
        The value; ``None`` if there is none.

    Example:
        >>> values = np.r_[np.linspace(5, 25, 60), -999, -999]
        >>> print(strange_value(Column("heat", "number", values)))
        -999 in 2 rows, where all others are 5 to 25
    """
    if column.kind != "number":
        return None
    known = column.values[~column.missing()]
    values, counts = np.unique(known, return_counts=True)
    if len(values) <= _FEWEST:
        return None
    often = max(2, _OFTEN * len(known))
    for end, low, high in ((0, values[1], values[-1]), (-1, values[0], values[-2])):
        value, rows = f"{values[end]:.15g}", int(counts[end])
        gap = max(low - values[end], values[end] - high)
        if gap >= _GAP * (high - low) and (rows >= often or _NINES.fullmatch(value)):
            return Strange(value, rows, float(low), float(high))
    return None
