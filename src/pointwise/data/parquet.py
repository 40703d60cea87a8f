"""Tables from Parquet files, in the types that text files give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.data.names import settle_unnamed, unique_names
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MAGIC = b"PAR1"
_SAVED_INDEX = "__index_level_"
_EXACT = 2**53


def read_parquet(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a table from a Parquet file.

    Whole numbers with missing values become float64, or text where float64 would round them;
    decimals float64; truth values with missing ones ``boolean``; timestamps lose their zone and
    are UTC; an index that pandas saved is a column. Columns of lists, records or bytes are left
    out, with a note.

    Args:
        path: An existing file.

    Returns:
        The frame, and notes.

    Raises:
        DataError: If the file is damaged, has no rows, or no column holds plain values.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pd.DataFrame({"a": [1, 2]}).to_parquet(Path(folder) / "a.parquet")
        ...     read_parquet(Path(folder) / "a.parquet")[0]["a"].tolist()
        [1, 2]
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: the Parquet file is truncated or damaged ({error})") from error
    try:
        names, unnamed = unique_names(
            "" if name.startswith(_SAVED_INDEX) else name for name in table.column_names
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not table.num_rows or not names:
        raise DataError(f"{path}: the table has {table.num_rows} rows and {len(names)} columns")
    columns = dict(zip(names, table.columns, strict=True))
    notes = [
        f"column {name!r} holds {column.type}, where a cell holds one value: it is left out"
        for name, column in columns.items()
        if not _is_plain(column)
    ]
    plain = {name: _for_pandas(column) for name, column in columns.items() if _is_plain(column)}
    if not plain:
        raise DataError(f"{path}: {notes[0]}, and so is every other")
    frame = pa.table(plain).to_pandas(date_as_object=False)
    for name in plain:
        frame[name] = _as_from_text(frame[name])
    frame, said = settle_unnamed(frame, [name for name in unnamed if name in plain])
    return frame, [*notes, *said]


def _kind(column: Any) -> Any:
    import pyarrow as pa

    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _is_plain(column: Any) -> bool:
    import pyarrow as pa

    types, kind = pa.types, _kind(column)
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _for_pandas(column: Any) -> Any:
    """Cast what pandas would make Python objects of, or round."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = _kind(column)
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(column.type) and column.null_count and column.null_count < len(column):
        ends = pc.min_max(column).as_py()
        if max(-ends["min"], ends["max"]) > _EXACT:
            return column.cast(pa.string())
    return column


def _as_from_text(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd
    from pandas.api.types import infer_dtype, is_object_dtype

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        naive: pd.Series[Any] = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return naive
    if is_object_dtype(column.dtype) and infer_dtype(column, skipna=True) == "boolean":
        return column.astype("boolean")
    return column
