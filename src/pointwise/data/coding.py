"""How a table's columns become the numbers that a network takes, and nothing learned beyond that.

Text becomes the number of its level, dates become days and calendar parts, and offsets are
subtracted in float64 before the cast: in float32 a thousand minutes of 2026 keep 469 values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.cells import WORDS
from pointwise.data.days import DatePart, date_part, day_text, days_since_1970
from pointwise.data.table import Array, Column, Kind, Table, as_text
from pointwise.errors import DataError
from pointwise.nn.encoding import UNSEEN

LARGEST = float(np.finfo(np.float32).max) / 2
"""Numbers beyond this are refused in a table and missing in a raster: float32 holds differences."""

MAX_LEVELS = 1000
"""Levels of a category that are told apart, the most frequent ones; the others count as unseen."""

FEW_LEVELS = 20
"""More levels than this, each in less than two rows, are texts that tell rows apart, not levels."""

MANY_UNSEEN = 0.1
"""Where more of a category's values than this share are unseen, something is spelt differently."""

FAR_OFFSET = 100.0
"""An offset is subtracted where the median lies this many interquartile ranges from zero."""


@dataclass(frozen=True)
class ColumnCoding:
    """How one column is coded.

    Attributes:
        name: Name of the column.
        kind: What its values are.
        levels: A category's levels; level ``i`` has the code ``i``.
        offset: Subtracted from a number in float64; a date's is in days since 1970.
        parts: A date's channels.
        ignored: Why the column is left out, or empty.
        low: Least value of a number in training; a date's is in days since 1970.
        high: Greatest value in training, likewise.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    offset: float = 0.0
    parts: tuple[DatePart, ...] = ()
    ignored: str = ""
    low: float = 0.0
    high: float = 0.0

    @property
    def span(self) -> str:
        """The least and the greatest value in training, for people."""
        ends = (self.low, self.high)
        return " to ".join(day_text(end) if self.kind == "date" else f"{end:g}" for end in ends)


@dataclass(frozen=True)
class TableCoding:
    """How a table is coded: first all channels that are numbers, then one per category.

    Attributes:
        columns: The columns, in the order of the training table.
    """

    columns: tuple[ColumnCoding, ...]
    _index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {c.name: i for i, c in enumerate(self.columns)})

    @property
    def numbers(self) -> tuple[ColumnCoding, ...]:
        """Columns that become number channels: numbers, truth values and dates."""
        return tuple(c for c in self.columns if c.kind != "category" and not c.ignored)

    @property
    def categories(self) -> tuple[ColumnCoding, ...]:
        """Columns that become category channels."""
        return tuple(c for c in self.columns if c.kind == "category" and not c.ignored)

    def encode(self, table: Table, dtype: type[np.floating[Any]] = np.float32) -> Array:
        """Code a table with the same columns, in the same order, as the training table.

        Args:
            table: The table.
            dtype: Type of the result; offsets are subtracted in float64 before.

        Returns:
            ``(rows, channels)``, NaN where a value is missing, ``UNSEEN`` for an unseen level.

        Raises:
            DataError: If a column holds what it did not hold in training: text for numbers, say.
        """
        by_name = dict(zip((c.name for c in self.columns), table.columns, strict=True))
        channels: list[Array] = []
        for coding in (*self.numbers, *self.categories):
            channels += _channels(coding, by_name[coding.name])
        coded = np.empty((table.rows, len(channels)), dtype=dtype)
        with np.errstate(over="ignore"):
            for i, channel in enumerate(channels):
                coded[:, i] = channel
        return coded

    def far_outside(self, table: Table) -> dict[str, int]:
        """Count values that lie more than half the training range outside of it.

        Args:
            table: A table of the same columns.

        Returns:
            The count per column, columns without such values left out.
        """
        counts = {}
        for coding, column in zip(self.columns, table.columns, strict=True):
            if coding.kind not in ("number", "date") or coding.ignored:
                continue
            margin = (coding.high - coding.low) / 2
            values = (
                days_since_1970(_as_dates(column))
                if coding.kind == "date"
                else _numbers(coding, column)
            )
            outside = (values < coding.low - margin) | (values > coding.high + margin)
            if outside.any():
                counts[coding.name] = int(outside.sum())
        return counts

    def many_unseen(self, coded: Array) -> dict[str, NDArray[np.bool_]]:
        """Tell which categories hold many levels that training did not have.

        A few are to be expected where levels are rare. A column of more than ``MAX_LEVELS`` of
        them had others in training that are not told apart, so it is left out.

        Args:
            coded: What ``encode`` made of a table ``(rows, channels)``.

        Returns:
            Per such column in which rows they are ``(rows,)``.
        """
        categories = self.categories
        found = {}
        codes = coded[:, coded.shape[1] - len(categories) :].T
        for coding, code in zip(categories, codes, strict=True):
            unseen = code == UNSEEN
            if len(coding.levels) < MAX_LEVELS and (
                unseen.sum() > MANY_UNSEEN * (~np.isnan(code)).sum()
            ):
                found[coding.name] = unseen
        return found


def code_table(table: Table) -> TableCoding:
    """Decide how a training table is coded.

    Args:
        table: The training rows.

    Returns:
        The coding. Columns that say nothing (constant, empty, a text of its own in almost every
        row) are marked as ignored, with the reason.

    Raises:
        DataError: If a number is infinite, or every column would be ignored.

    Example:
        >>> from pointwise.data.table import as_table
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [31.0, 64.0], "job": ["smith", "baker"]})
        >>> coding = code_table(as_table(frame))
        >>> coding.encode(as_table(frame))
        array([[31.,  1.],
               [64.,  0.]], dtype=float32)
    """
    coding = TableCoding(tuple(_code_column(column) for column in table.columns))
    if all(c.ignored for c in coding.columns):
        reasons = "; ".join(f"{c.name!r} {c.ignored}" for c in coding.columns[:5])
        raise DataError(f"no column says anything: {reasons}. Give at least one column that varies")
    return coding


def _code_column(column: Column) -> ColumnCoding:
    gaps = column.missing()
    if gaps.all():
        return ColumnCoding(column.name, column.kind, ignored="has no values")
    present = column.values[~gaps]
    if column.kind == "category":
        return _code_category(column.name, present, complete=not gaps.any())
    if column.kind == "date":
        return _code_date(column.name, present)
    check_finite(column)
    low, high = float(present.min()), float(present.max())
    if low == high and not gaps.any():
        return ColumnCoding(column.name, column.kind, ignored=f"is constant ({low:g})")
    offset = _far_offset(present) if column.kind == "number" else 0.0
    return ColumnCoding(column.name, column.kind, offset=offset, low=low, high=high)


def _code_category(name: str, present: Array, *, complete: bool) -> ColumnCoding:
    levels, counts = np.unique(present.astype(str), return_counts=True)
    if len(levels) == 1 and complete:
        return ColumnCoding(name, "category", ignored=f"is constant ({str(levels[0])!r})")
    if len(levels) > FEW_LEVELS and len(levels) > len(present) / 2:
        reason = f"has {len(levels)} different texts in {len(present)} rows"
        return ColumnCoding(name, "category", ignored=reason)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS])
    return ColumnCoding(name, "category", levels=tuple(str(v) for v in levels[kept]))


def _code_date(name: str, present: Array) -> ColumnCoding:
    days = days_since_1970(present)
    if days.min() == days.max():
        return ColumnCoding(name, "date", ignored=f"is constant ({present[0]})")
    names: tuple[DatePart, ...] = ("month", "day", "weekday", "hour")
    varying = [part for part in names if len(np.unique(date_part(present, part))) > 1]
    return ColumnCoding(
        name,
        "date",
        offset=float(np.median(days)),
        parts=("elapsed", *varying),
        low=float(days.min()),
        high=float(days.max()),
    )


def check_finite(column: Column) -> None:
    """Refuse infinite values and values that float32 cannot hold, or not their differences.

    Args:
        column: A column of any kind; only numbers are looked at.

    Raises:
        DataError: Naming the column and the first such row.
    """
    if column.kind != "number":
        return
    bad = np.abs(column.values) > LARGEST
    if bad.any():
        row = int(bad.argmax())
        value = column.values[row]
        what = "infinite" if np.isinf(value) else f"{value:g}, too large for dtype('float32')"
        raise DataError(
            f"column {column.name!r} must hold finite numbers: row {row} is {what} "
            "(infinity or a value too large); remove the row, or make the value missing (NaN)"
        )


def first_misfit(column: Column, kind: Kind) -> int:
    """Find the first value that cannot be read as a number, a truth value or a date.

    Args:
        column: A column that holds a value, usually text.
        kind: What its values should be.

    Returns:
        The row; that of the first value if all can be read.

    Example:
        >>> from pointwise.data.table import as_table
        >>> first_misfit(as_table(np.array([["1"], ["2e3"], ["many"]])).columns[0], "number")
        2
    """
    rows = np.flatnonzero(~column.missing()).tolist()
    return next((row for row in rows if not _reads_as(kind, column.values[row])), rows[0])


def _reads_as(kind: Kind, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if kind == "boolean":
        return value.lower() in ("true", "false")
    try:
        return not (np.isnat(np.datetime64(value)) if kind == "date" else np.isnan(float(value)))
    except ValueError:
        return False


def _far_offset(values: Array) -> float:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = high - low
    return float(median) if abs(median) > FAR_OFFSET * spread else 0.0


def typed_values(coding: ColumnCoding, column: Column) -> Array:
    """The values of a column in the type that they had in training, before they are coded.

    Args:
        coding: How the column was coded in training.
        column: A column of that name, of any kind.

    Returns:
        ``(N,)``: of a category text or ``None``, of a date datetime64[us], else float64.

    Raises:
        DataError: If a value cannot be read so: text where training had numbers, say.

    Example:
        >>> from pointwise.data.table import as_table
        >>> column = as_table(np.array([[1.0], [2.5]])).columns[0]
        >>> typed_values(ColumnCoding("x0", "category", levels=("1", "2.5")), column).tolist()
        ['1', '2.5']
    """
    if coding.kind == "category":
        return as_text(_objects(column))
    return _as_dates(column) if coding.kind == "date" else _numbers(coding, column)


def _channels(coding: ColumnCoding, column: Column) -> list[Array]:
    """The channels of one column, in float64."""
    values = typed_values(coding, column)
    if coding.kind == "category":
        return [_codes(coding.levels, values)]
    if coding.kind == "date":
        parts = [(date_part(values, part), part) for part in coding.parts]
        return [v - coding.offset if part == "elapsed" else v for v, part in parts]
    return [values - coding.offset]


def _numbers(coding: ColumnCoding, column: Column) -> Array:
    """The values of a column that held numbers or truth values in training."""
    if column.kind not in ("category", "date"):
        check_finite(column)
        return column.values
    if _holds_nothing(column):
        return np.full(len(column.values), np.nan)
    what = "truth values" if coding.kind == "boolean" else "numbers"
    row = first_misfit(column, coding.kind)
    raise DataError(
        f"column {coding.name!r} held {what} in training: got {str(column.values[row])!r} in row "
        f"{row}; correct the value, or leave it empty if it is missing"
    )


def _holds_nothing(column: Column) -> bool:
    """Whether all values are missing, or words that say so where numbers or dates are expected."""
    return bool((column.missing() | np.isin(column.values.astype(str), WORDS)).all())


def _codes(levels: Sequence[str], texts: Array) -> NDArray[np.float64]:
    index = {level: float(i) for i, level in enumerate(levels)}
    codes = (np.nan if text is None else index.get(text, UNSEEN) for text in texts)
    return np.fromiter(codes, dtype=np.float64, count=len(texts))


def _objects(column: Column) -> Iterable[Any]:
    if column.kind == "boolean":
        return (None if np.isnan(v) else bool(v) for v in column.values)
    return column.values


def _as_dates(column: Column) -> Array:
    if column.kind == "date":
        return column.values
    if _holds_nothing(column):
        return np.full(len(column.values), np.datetime64("NaT", "us"))
    try:
        if column.kind == "category":
            return np.array(column.values, dtype="datetime64[us]")
    except ValueError:
        pass
    row = first_misfit(column, "date")
    raise DataError(
        f"column {column.name!r} held dates in training: got {str(column.values[row])!r} in row "
        f"{row}; write dates as 2026-11-21 or 2026-11-21T08:30"
    )
