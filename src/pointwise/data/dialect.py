"""How a text file spells a table: its encoding, its separator and its decimal mark."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from pointwise.errors import DataError

BLANKS = r"\s+"
"""The separator that stands for runs of blanks and tabs."""
SEPARATOR_NAMES = {"\t": "tab", BLANKS: "blanks"}

_CHARACTERS = ("\t", ";", "|", ",")
_SPELLINGS = {r"\t": "\t", "tab": "\t", " ": BLANKS, "blanks": BLANKS}
_SAMPLE_ROWS = 1000
_REGULAR = 0.9

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_POINT = re.compile(r"[+-]?(\d*\.\d+(e[+-]?\d+)?|\d{1,3}(,\d{3})+\.\d*)", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(\d*,\d+(e[+-]?\d+)?|\d{1,3}(\.\d{3})+,\d*)", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

Record = tuple[int, list[str]]
"""The line on which a row begins, counted from 1, and its fields."""


def records(lines: Iterable[str], separator: str) -> Iterator[Record]:
    r"""Split lines into fields; quotes are minded, blanks around fields stripped.

    Args:
        lines: Lines with their ends.
        separator: One character, or ``BLANKS``.

    Yields:
        The line on which a row begins, from 1, and its fields; empty lines are left out.

    Example:
        >>> list(records(['a, "b, c"\n', "\n", "1, 2\n"], ","))
        [(1, ['a', 'b, c']), (3, ['1', '2'])]
    """
    if separator == BLANKS:
        lines = (line.replace("\t", " ").rstrip() + "\n" for line in lines)
        separator = " "
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    start = 1
    for cells in reader:
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield start, [cell.strip() for cell in cells]
        start = reader.line_num + 1


def first_records(lines: Sequence[str], separator: str, *, whole: bool) -> list[Record]:
    r"""Split the first thousand rows.

    Args:
        lines: The beginning of a file.
        separator: One character, or ``BLANKS``.
        whole: The lines are the whole file; otherwise the last row may be cut and is left out.

    Returns:
        As ``records`` gives them.

    Example:
        >>> first_records(["a b\n", "1 2\n", "3"], BLANKS, whole=False)
        [(1, ['a', 'b']), (2, ['1', '2'])]
    """
    rows: list[Record] = []
    with suppress(csv.Error):  # a field longer than csv takes: the rows above it will do
        for row in islice(records(lines, separator), _SAMPLE_ROWS + 1):
            rows.append(row)
        return rows if whole and len(rows) <= _SAMPLE_ROWS else rows[:-1]
    return rows


def usual_width(rows: Sequence[Record]) -> tuple[int, float]:
    """Count the fields that most rows have.

    Args:
        rows: At least one row.

    Returns:
        The count, and the share of the rows that have it.

    Example:
        >>> usual_width([(1, ["a", "b"]), (2, ["1", "2"])])
        (2, 1.0)
    """
    width, times = Counter(len(cells) for _, cells in rows).most_common(1)[0]
    return width, times / len(rows)


def recognise_encoding(sample: bytes) -> str:
    """Name the encoding of a text: by its mark, else UTF-8, else what Windows writes.

    Args:
        sample: The beginning of a file.

    Returns:
        A name that Python knows.

    Example:
        >>> recognise_encoding("größe".encode("latin-1"))
        'cp1252'
    """
    for mark, name in _MARKS.items():
        if sample.startswith(mark):
            return name
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def checked_separator(separator: str) -> str:
    r"""Read what a caller gave as separator.

    Args:
        separator: One character, or "tab", "\\t" or "blanks".

    Returns:
        One character, or ``BLANKS``.

    Raises:
        DataError: If it is neither.

    Example:
        >>> checked_separator("tab")
        '\t'
    """
    spelt = _SPELLINGS.get(separator, separator)
    if spelt != BLANKS and (len(spelt) != 1 or spelt in '"\r\n'):
        raise DataError(f"a separator is one character, 'tab' or 'blanks', got {separator!r}")
    return spelt


def recognise_separator(lines: Sequence[str], *, whole: bool = True) -> str:
    r"""Find what stands between fields.

    A separator must give nearly all rows as many fields as the first has; of several that do, the
    one that leaves most numbers between is taken. Blanks come last, since texts hold them too.

    Args:
        lines: The beginning of a file, without comments.
        whole: The lines are the whole file.

    Returns:
        One character, or ``BLANKS``; one that does not occur where there is a single column.

    Example:
        >>> recognise_separator(["x;y\n", "1,5;2,5\n", "2,5;3,5\n"])
        ';'
    """
    tables = {s: first_records(lines, s, whole=whole) for s in (*_CHARACTERS, BLANKS)}
    tables = {separator: rows for separator, rows in tables.items() if rows}
    widths = {separator: _regular_width(rows) for separator, rows in tables.items()}
    headers = {separator: len(rows[0][1]) for separator, rows in tables.items()}
    fit = [s for s in tables if headers[s] > 1 and widths[s] == headers[s]]
    # No header fits its rows: the one that has several fields is still the best guess, and
    # the reader will name the line that differs.
    guess = [s for s in tables if headers[s] > 1 and (s != BLANKS or _rows_agree(tables[s]))]
    for found in (fit, guess):
        marks = [separator for separator in found if separator != BLANKS]
        if marks:
            return max(marks, key=lambda separator: _share_of_numbers(tables[separator]))
        if found:
            return BLANKS
    unused = [s for s in (",", ";", "\t", "|") if s in tables and _widest(tables[s]) == 1]
    return unused[0] if unused else ","


def recognise_decimal(rows: Sequence[Record], separator: str) -> str:
    """Find the decimal mark: a comma where more numbers have one than have a point.

    Args:
        rows: The first rows.
        separator: Between fields; a semicolon says that "1,234" is no thousand.

    Returns:
        "." or ",".

    Example:
        >>> recognise_decimal([(1, ["3,14", "2"])], ";")
        ','
    """
    points = commas = 0
    for _, cells in rows:
        for cell in cells:
            points += _POINT.fullmatch(cell) is not None
            if _COMMA.fullmatch(cell) and (separator == ";" or not _THOUSANDS.fullmatch(cell)):
                commas += 1
    return "," if commas > points else "."


def _regular_width(rows: Sequence[Record]) -> int:
    """Count the fields that nearly all rows have; 0 where they do not agree."""
    width, share = usual_width(rows)
    return width if share >= _REGULAR else 0


def _rows_agree(rows: Sequence[Record]) -> bool:
    return len(rows) > 1 and _regular_width(rows[1:]) > 1


def _widest(rows: Sequence[Record]) -> int:
    return max(len(cells) for _, cells in rows)


def _share_of_numbers(rows: Sequence[Record]) -> float:
    cells = [cell for _, row in rows for cell in row]
    return sum(_NUMBER.fullmatch(cell) is not None for cell in cells) / len(cells)
