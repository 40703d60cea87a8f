"""The first lines of a file of text: comments, names of columns, or data already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pointwise.data.cells import MISSING, UNUSUAL, WORDS, is_number
from pointwise.data.dates import looks_like_date
from pointwise.data.dialect import Record, records, usual_width
from pointwise.data.names import shorten, unique_names
from pointwise.errors import DataError

Role = Literal["names", "words", "numbers", "data"]

_COMMENT_MARKS = ("#", "|")
_HINT = "sep="  # Excel's own first line, which names the separator
_MISSING = {*MISSING, *UNUSUAL, *WORDS}
_MANY = 8


@dataclass(frozen=True)
class Header:
    """The names of a table's columns and where its data begins.

    Args:
        names: One per column, no two the same.
        unnamed: Those that were made up.
        skip: Lines before the first row of data.
        rows: The first rows of data.
        notes: What was recognised.
    """

    names: tuple[str, ...]
    unnamed: tuple[str, ...]
    skip: int
    rows: tuple[Record, ...]
    notes: tuple[str, ...]


def count_comments(lines: Sequence[str]) -> int:
    r"""Count the lines at the top that begin with ``#``, ``|`` or ``sep=``, or are empty.

    Args:
        lines: The beginning of a file.

    Returns:
        How many; 0 where all do, since a file is not all comment.

    Example:
        >>> count_comments(["|1x3 Cross validator\n", "1,2\n"])
        1
    """
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith((*_COMMENT_MARKS, _HINT)):
            return number
    return 0


def read_header(
    rows: Sequence[Record],
    comments: Sequence[str],
    columns: Sequence[str] | None,
    separator: str,
    decimal: str,
) -> Header:
    r"""Find the names of the columns and the first row of data.

    Args:
        rows: The first rows below the comments; at least one.
        comments: The comment lines; the last one holds the names where it is split like a row and
            the row below it does not hold them.
        columns: Names given by the caller; a first row that is no data gives way to them.
        separator: Between fields.
        decimal: The decimal mark.

    Returns:
        The header.

    Raises:
        DataError: If the first row looks like data and no names are given, if their
            count is wrong, or if two are the same.

    Example:
        >>> read_header([(1, ["a", "b"]), (2, ["x", "1"])], [], None, ",", ".").names
        ('a', 'b')
    """
    role = first_row_role(rows, decimal)
    shown = [line.strip() for line in comments if line.strip()]
    notes = [f"comment skipped: {shorten(shown)}"] if shown else []
    if role != "names" and (named := _named_in_comment(comments, separator, len(rows[0][1]))):
        rows, role, notes = [named, *rows], "names", ["column names read from a comment line"]
    first = rows[0][1]
    if columns is None:
        if role == "data":
            raise DataError(
                f"the first row looks like data ({shorten(first)}), not like column names: "
                f"name the columns ({len(first)}) with --columns a,b,c,..."
            )
        if role == "numbers":
            notes.append(f"the first row ({shorten(first)}) taken for names of columns")
        return _header(_fitted(rows), rows, 1, notes)
    width, _ = usual_width(rows)
    if len(columns) != width:
        raise DataError(f"{len(columns)} names are given for {width} columns: name each column")
    headed = int(role == "names" or first == list(columns))
    if not headed:
        notes.append("no header: columns named as given")
    elif first != list(columns):
        notes.append(f"the header ({shorten(first)}) replaced by the names given")
    return _header(columns, rows, headed, notes)


def first_row_role(rows: Sequence[Record], decimal: str) -> Role:
    """Tell whether a first row holds the names of the columns, or data.

    Args:
        rows: The first rows.
        decimal: The decimal mark.

    Returns:
        ``"names"`` when a word stands above a column of numbers or dates. ``"data"`` when a number
        stands above numbers or a date above dates, unless it is ``"numbers"``: such as count or
        order the columns (0, 1, 2; 1999, 2000; many wavelengths). Among words only, ``"data"`` when
        each returns below in its column, otherwise ``"words"``.

    Example:
        >>> first_row_role([(1, ["39", "Private"]), (2, ["50", "Private"])], ".")
        'data'
    """
    first, (width, _) = rows[0][1], usual_width(rows)
    below = zip(*(cells for _, cells in rows[1:] if len(cells) == width), strict=True)
    same_kind: list[str] = []
    returning: list[bool] = []
    for cell, column in zip(first, below, strict=False):
        kinds = {_kind(value, decimal) for value in column} - {"missing"}
        kind = _kind(cell, decimal)
        if kinds in ({"number"}, {"date"}) and kind != "missing":
            if kind not in kinds:
                return "names"
            same_kind.append(kind)
        elif kind == "text":
            returning.append(cell in column)
    if not same_kind:
        return "data" if len(returning) > 1 and all(returning) else "words"
    numbers = [cell for cell in first if _kind(cell, decimal) == "number"]
    if "date" in same_kind or any(returning) or not _may_name_columns(numbers, decimal):
        return "data"
    return "numbers"


def _kind(cell: str, decimal: str) -> str:
    if cell in _MISSING:
        return "missing"
    if is_number(cell, decimal):
        return "number"
    return "date" if looks_like_date(cell) else "text"


def _may_name_columns(numbers: Sequence[str], decimal: str) -> bool:
    values = [float(number.replace(decimal, ".")) for number in numbers]
    rising = all(a < b for a, b in pairwise(values))
    if not rising and not all(a > b for a, b in pairwise(values)):
        return False
    counted = rising and values == [values[0] + step for step in range(len(values))]
    years = all(number.isdigit() and 1800 <= int(number) <= 2200 for number in numbers)
    return (counted and values[0] in (0, 1)) or years or len(values) >= _MANY


def _named_in_comment(comments: Sequence[str], separator: str, width: int) -> Record | None:
    """Split the last comment like a row; ``None`` where it has not as many fields."""
    for line, text in reversed(list(enumerate(comments, 1))):
        if text.startswith(_COMMENT_MARKS):
            cells = next(records([text.lstrip("# ")], separator), (1, []))[1]
            return (line, cells) if len(cells) == width > 1 else None
    return None


def _fitted(rows: Sequence[Record]) -> tuple[str, ...]:
    """Fit the names to rows that all end with one separator more, or less, than the header."""
    names = list(rows[0][1])
    widths = {len(cells) for _, cells in rows[1:]}
    if widths == {len(names) + 1} and not any(cells[-1] for _, cells in rows[1:]):
        names.append("")
    elif widths == {len(names) - 1} and not names[-1]:
        names.pop()
    return tuple(names)


def _header(
    written: Sequence[str], rows: Sequence[Record], headed: int, notes: Sequence[str]
) -> Header:
    names, unnamed = unique_names(written)
    skip = rows[headed][0] - 1 if headed < len(rows) else rows[-1][0]
    return Header(tuple(names), tuple(unnamed), skip, tuple(rows[headed:]), tuple(notes))
