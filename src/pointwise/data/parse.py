"""Rows of text to a frame by pandas, with what pandas alone lets pass: short rows, lost zeros."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from pointwise.data.cells import MISSING
from pointwise.data.dialect import records
from pointwise.data.streams import open_bytes
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 100_000
_CHUNK_CHARACTERS = 1 << 20
_EXACT = 2.0**53
_CODE = re.compile(r"0[0-9]+\s*$")


@dataclass(frozen=True)
class Layout:
    """Where the rows of a file stand and how they are spelt.

    Args:
        path: The file, packed or not.
        encoding: Of its text.
        separator: One character, or ``BLANKS``.
        decimal: "." or ",".
        width: Fields of a row.
        skip: Lines before the first row.
    """

    path: Path
    encoding: str
    separator: str
    decimal: str
    width: int
    skip: int

    @contextmanager
    def open(self) -> Iterator[io.TextIOBase]:
        """Open the file at its first row.

        Yields:
            The text from there on, with its line ends as they are.
        """
        with open_bytes(self.path) as stream:
            text = io.TextIOWrapper(cast(BinaryIO, stream), encoding=self.encoding, newline="")
            for _ in range(self.skip):
                text.readline()
            yield text


def parse_rows(layout: Layout, codes: Collection[int]) -> pd.DataFrame:
    """Read all rows; numbers become numbers, the rest stays text.

    Args:
        layout: Where they stand.
        codes: Positions of columns known to be read as text. Columns of digits with leading zeros,
            and whole numbers beyond float64, are read so wherever in the file they appear.

    Returns:
        A frame whose columns are named by position.

    Raises:
        DataError: If a row has too few or too many fields, or a quote is not closed.
    """
    import pandas as pd

    try:
        frame = _read_csv(layout, codes)
    except pd.errors.ParserError as error:
        _check_quotes(layout, str(error))
        check_widths(layout)
        raise DataError(f"{layout.path}: {error}") from error
    if layout.width > 1 and bool(frame[layout.width - 1].isna().any()):
        check_widths(layout)  # pandas fills short rows with missing values
    late = _late_codes(layout, frame)
    return _read_csv(layout, {*codes, *late}) if late else frame


def _read_csv(layout: Layout, text_columns: Collection[int]) -> pd.DataFrame:
    import pandas as pd

    with layout.open() as text:
        return pd.read_csv(
            text,
            sep=layout.separator,
            decimal=layout.decimal,
            header=None,
            names=range(layout.width),
            index_col=False,
            dtype=dict.fromkeys(text_columns, "str"),
            skipinitialspace=True,
            keep_default_na=False,
            na_values=list(MISSING),
            low_memory=False,  # one type for the whole column
        )


def _check_quotes(layout: Layout, problem: str) -> None:
    if "EOF inside string" not in problem:
        return
    line = 0
    with suppress(csv.Error), layout.open() as text:  # a field may be beyond csv's limit
        for line, _ in records(text, layout.separator):  # noqa: B007
            pass
    near = max(line, 1) + layout.skip
    raise DataError(f"{layout.path}: a quote is opened near line {near} and never closed")


def check_widths(layout: Layout) -> None:
    """Name the first row that has too few or too many fields.

    Args:
        layout: Where the rows stand.

    Raises:
        DataError: If there is one.
    """
    with suppress(csv.Error), layout.open() as text:
        for line, cells in records(text, layout.separator):
            if len(cells) != layout.width:
                raise DataError(
                    f"{layout.path}: every row needs {layout.width} fields, one per column: "
                    f"line {line + layout.skip} has {len(cells)}"
                )


def _late_codes(layout: Layout, frame: pd.DataFrame) -> set[int]:
    """Find number columns whose text says more: leading zeros, or digits that float64 drops."""
    whole: set[int] = set()
    long: set[int] = set()
    for position in range(layout.width):
        values = frame[position].to_numpy()
        if values.dtype.kind in "iu":
            whole.add(position)
        elif values.dtype.kind == "f":
            known = values[np.isfinite(values)]
            if known.size and bool((known == np.trunc(known)).all()):
                (long if np.abs(known).max() >= _EXACT else whole).add(position)
    if whole and _has_leading_zero(layout):
        long |= _columns_of_codes(layout, sorted(whole))
    return long


def _has_leading_zero(layout: Layout) -> bool:
    """Look for a field that begins with a zero and a digit, at the speed of memory."""
    starts = np.zeros(256, dtype=bool)
    starts[[ord(mark) for mark in ' \t\r\n"' + layout.separator]] = True
    edge = "\n"
    with layout.open() as text:
        while chunk := text.read(_CHUNK_CHARACTERS):
            data = np.frombuffer((edge + chunk).encode("ascii", "replace"), dtype=np.uint8)
            found = (data[1:-1] == ord("0")) & starts[data[:-2]]
            if bool((found & (data[2:] - ord("0") < 10)).any()):  # below "0" wraps around
                return True
            edge = chunk[-2:]
    return False


def _columns_of_codes(layout: Layout, columns: list[int]) -> set[int]:
    import pandas as pd

    found: set[int] = set()
    with layout.open() as text:
        chunks = pd.read_csv(
            text,
            sep=layout.separator,
            header=None,
            names=range(layout.width),
            index_col=False,
            usecols=columns,
            dtype="str",
            skipinitialspace=True,
            na_filter=False,
            chunksize=_CHUNK_ROWS,
        )
        for chunk in chunks:
            for column in set(columns) - found:
                values = chunk[column]
                values = values[values.str.startswith("0")]
                if any(map(_CODE.match, values.unique())):
                    found.add(column)
    return found
