"""Tables of any make (arrays, pandas, polars and others) as one list of typed columns."""

import datetime
import numbers
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

Kind: TypeAlias = Literal["number", "boolean", "category", "date"]
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        kind: What its values are.
        values: ``(N,)``: float64 with NaN (number, boolean), str or ``None`` (category), or
            datetime64[us] with NaT (date).
    """

    name: str
    kind: Kind
    values: Array

    def missing(self) -> NDArray[np.bool_]:
        """Which values are missing, ``(N,)``."""
        return missing_in(self.values)


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        columns: The columns, in order.
        rows: Number of rows.
    """

    columns: tuple[Column, ...]
    rows: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)


def is_frame(x: object) -> bool:
    """Whether ``x`` is a data frame that brings its own column names."""
    return bool(nw.dependencies.is_into_dataframe(x)) and not isinstance(x, np.ndarray)


def as_table(x: Any, names: Sequence[str] | None = None) -> Table:
    """Read a data frame or a two-dimensional array as columns.

    Columns of a categorical type are categories, whatever their levels are. Durations and times of
    the day become seconds.

    Args:
        x: A pandas, polars, pyarrow or other data frame, or an array ``(N, columns)``.
        names: Names of an array's columns. Default: ``x0``, ``x1``, ...

    Returns:
        The table; missing values of every make become NaN, ``None`` or NaT.

    Raises:
        DataError: If a column holds something that is no number, text, truth value or date, or two
            columns have one name.

    Example:
        >>> import pandas as pd
        >>> table = as_table(pd.DataFrame({"age": [31, None], "job": ["smith", "baker"]}))
        >>> [(column.name, column.kind) for column in table.columns]
        [('age', 'number'), ('job', 'category')]
    """
    if is_frame(x):
        frame = _named_once(x)
        columns = tuple(_from_series(str(s.name), s) for s in frame.iter_columns())
        return Table(columns, len(frame))
    array = np.asarray(x)
    names = names or [f"x{i}" for i in range(array.shape[1])]
    columns = tuple(_from_array(name, array[:, i]) for i, name in enumerate(names))
    return Table(columns, len(array))


def _named_once(x: Any) -> nw.DataFrame[Any]:
    """A frame whose columns have names of their own, as text too."""
    try:
        frame: nw.DataFrame[Any] = nw.from_native(x, eager_only=True)
        twice = [name for name, n in Counter(map(str, frame.columns)).items() if n > 1]
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"every column needs a name of its own: {error}; rename them") from error
    if twice:
        raise DataError(f"every column needs a name of its own, {twice[0]!r} is there twice")
    return frame


def _from_series(name: str, series: nw.Series[Any]) -> Column:
    dtype = series.dtype
    if isinstance(dtype, nw.Categorical | nw.Enum):
        return Column(name, "category", as_text(series.to_list()))
    if dtype.is_numeric() or dtype == nw.Boolean:
        values = series.cast(nw.Float64()).to_numpy().astype(np.float64)
        return Column(name, "boolean" if dtype == nw.Boolean else "number", values)
    if isinstance(dtype, nw.Datetime):
        if dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Column(name, "date", series.to_numpy().astype("datetime64[us]"))
    if dtype == nw.Date:
        return Column(name, "date", series.to_numpy().astype("datetime64[us]"))
    if isinstance(dtype, nw.Duration):
        seconds = series.dt.total_microseconds().cast(nw.Float64()).to_numpy() / 1e6
        return Column(name, "number", seconds.astype(np.float64))
    return _from_objects(name, series.to_list())


def _from_array(name: str, values: Array) -> Column:
    if values.dtype.kind == "b":
        return Column(name, "boolean", values.astype(np.float64))
    if values.dtype.kind in "iuf":
        return Column(name, "number", values.astype(np.float64))
    if values.dtype.kind == "M":
        return Column(name, "date", values.astype("datetime64[us]"))
    if values.dtype.kind == "m":
        return Column(name, "number", values / np.timedelta64(1, "s"))
    return _from_objects(name, values.tolist())


def _from_objects(name: str, values: Iterable[Any]) -> Column:
    """Tell the kind of a column of Python objects from the values themselves."""
    known = [None if _is_missing(v) else v for v in values]
    present = [v for v in known if v is not None]
    if present and all(isinstance(v, (bool, np.bool_)) for v in present):
        return Column(name, "boolean", _floats(known))
    if all(isinstance(v, numbers.Real | Decimal) for v in present):
        return Column(name, "number", _floats(known))
    if all(isinstance(v, datetime.time) for v in present):
        return Column(name, "number", _floats([None if v is None else _seconds(v) for v in known]))
    if all(hasattr(v, "isoformat") or isinstance(v, np.datetime64) for v in present):
        return Column(name, "date", np.array([_utc(v) for v in known], dtype="datetime64[us]"))
    for value in present:
        if not isinstance(value, str | numbers.Real):
            raise DataError(
                f"column {name!r} must hold numbers, text, truth values or dates: "
                f"got {value!r} of type {type(value).__name__}"
            )
    return Column(name, "category", as_text(known))


def as_text(values: Iterable[Any]) -> Array:
    """Values as text, whole numbers without a decimal point; missing ones as ``None``."""
    texts = [None if _is_missing(v) else _text(v) for v in values]
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


def as_level(text: Any, levels: Collection[str]) -> Any:
    """Spell a text as one of several levels is, if both are the same number.

    Args:
        text: The text, or a missing value.
        levels: The levels.

    Returns:
        The level; the text itself where it is none.

    Example:
        >>> as_level("3.0", ["3", "x"]), as_level("4.0", ["3", "x"])
        ('3', '4.0')
    """
    if not isinstance(text, str) or text in levels:
        return text
    try:
        spelt = _text(float(text))
    except (ValueError, OverflowError):
        return text
    return spelt if spelt in levels else text


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return str(int(value))  # float64 would round long ones
    number = float(value)
    return str(int(number)) if number.is_integer() else str(value)


def _floats(values: Sequence[Any]) -> Array:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def _utc(date: Any) -> Any:
    """A date without a time zone; NumPy has none."""
    if getattr(date, "tzinfo", None) is None:
        return date
    return date.astimezone(datetime.UTC).replace(tzinfo=None)


def _seconds(time: datetime.time) -> float:
    """Seconds since midnight."""
    return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6


def missing_in(values: Array) -> NDArray[np.bool_]:
    """Tell which values stand for none.

    Args:
        values: Values ``(N,)`` of any type.

    Returns:
        Which are ``None``, NaN, NaT or pandas' NA, ``(N,)``.

    Example:
        >>> missing_in(np.array(["", None, float("nan")], dtype=object))
        array([False,  True,  True])
    """
    if values.dtype.kind == "O":
        return np.array([_is_missing(value) for value in values], dtype=bool)
    gaps: NDArray[np.bool_] = values != values
    return gaps


def _is_missing(value: Any) -> bool:
    """What is not equal to itself, or cannot say."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return True
