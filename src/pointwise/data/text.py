"""Tables from files of text: what the file says of itself, then pandas, then column by column."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pointwise.data.cells import MISSING, are_codes, are_grouped, understand_column
from pointwise.data.dates import DAY_FIRST, MONTH_FIRST
from pointwise.data.dialect import (
    BLANKS,
    checked_separator,
    first_records,
    recognise_decimal,
    recognise_encoding,
    recognise_separator,
)
from pointwise.data.header import Header, count_comments, read_header
from pointwise.data.names import settle_unnamed, shorten
from pointwise.data.parse import Layout, check_widths, parse_rows
from pointwise.data.sentinels import take_out
from pointwise.data.streams import read_sample, refuse_foreign
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_SEPARATOR_NAMES = {"\t": "tab", BLANKS: "blanks"}
_MARKUP = re.compile(r'\s*(\{\s*["}]|\[\s*[\[{]|<[?!a-z]|@relation\b)', re.IGNORECASE)
_LISTED = 8


@dataclass(frozen=True)
class TextOptions:
    """What a caller says of a file of text; ``None`` has it recognised.

    Args:
        columns: Names of the columns of a file without a header.
        separator: One character, "tab" or "blanks".
        decimal: "." or ",".
        encoding: A name that Python knows.

    Raises:
        DataError: If the separator, the decimal mark or the encoding is none.
    """

    columns: Sequence[str] | None = None
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.separator is not None:
            checked_separator(self.separator)
        if self.decimal not in (None, ".", ","):
            raise DataError(f"the decimal mark is '.' or ',', got {self.decimal!r}")
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError as error:
            raise DataError(f"no text encoding is called {self.encoding!r}: try utf-8") from error


@dataclass(frozen=True)
class Known:
    """What is known of a table's columns before its file is read.

    Args:
        missing: Further values that stand for none.
        texts: Names of columns whose values stay text, whatever they look like: those that were
            text in an earlier file, of which this one may hold only some levels. ``None`` if there
            is no such file, whose other columns were not.
        day_first: Whether the day comes before the month in columns of dates, where no value tells.
    """

    missing: Sequence[str] = ()
    texts: Collection[str] | None = None
    day_first: Mapping[str, bool] = field(default_factory=dict)


NOTHING_KNOWN = Known()


def read_text(
    path: Path, options: TextOptions, known: Known = NOTHING_KNOWN
) -> tuple[pd.DataFrame, list[str], dict[str, bool]]:
    r"""Read a table from a file of text.

    Args:
        path: An existing file, packed or not.
        options: What the caller says of it.
        known: What is known of its columns.

    Returns:
        The frame, notes on what was recognised, and whether the day comes first in columns of
        dates that are not spelt ``2024-01-31``.

    Raises:
        DataError: If the file is damaged, binary or empty, if its bytes do not fit the encoding,
            if it has no header or no rows, or if names repeat or rows differ in length.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "table.csv"
        ...     _ = path.write_text("a;b\n1,5;x\n2,5;y\n")
        ...     read_text(path, TextOptions())[1]
        ["separator ';'", 'decimal comma']
    """
    import pandas as pd

    sample, whole = read_sample(path)
    refuse_foreign(path, sample, wide=options.encoding is not None)
    encodings = [options.encoding] if options.encoding else _possible_encodings(sample)
    problem = ""
    for encoding in encodings:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample, whole)
            layout, header, notes = _recognise(path, encoding, text, whole, options)
            new = known.texts is None and not options.decimal
            grouped = new and layout.separator == ";"
            frame = parse_rows(layout, _columns_of_text(header, known, grouped=grouped))
        except UnicodeError as error:
            problem = _describe(error)
            continue
        if not options.encoding and encoding not in ("utf-8", "utf-8-sig"):
            notes = [f"encoding {encoding}", *notes]
        frame.columns = pd.Index(header.names)
        found = _understand(frame, layout.decimal, known, grouped=grouped)
        notes += [f"{finding}: {shorten(names, _LISTED)}" for finding, names in found.items()]
        day_first = dict.fromkeys(found.get(DAY_FIRST, ()), True)
        day_first |= dict.fromkeys(found.get(MONTH_FIRST, ()), False)
        frame, more = settle_unnamed(frame, header.unnamed)
        return frame, [*notes, *more], day_first
    raise DataError(
        f"{path}: {problem} is not {encodings[-1]}: give its encoding, such as utf-8 or cp1252"
    )


def _possible_encodings(sample: bytes) -> list[str]:
    """List what the file may be written in, the likely one first."""
    first = recognise_encoding(sample)
    windows = ["cp1252", "latin-1"]
    if first in windows:
        return windows[windows.index(first) :]
    # plain ASCII so far says nothing about the accents to come
    return [first, *windows] if first == "utf-8" and sample.isascii() else [first]


def _describe(error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x}"
    return "the text"


def _recognise(
    path: Path, encoding: str, text: str, whole: bool, options: TextOptions
) -> tuple[Layout, Header, list[str]]:
    """Find out from the beginning of a file how to read it all."""
    if _MARKUP.match(text):
        raise DataError(f"{path}: this is JSON, ARFF, XML or HTML: save the table as CSV")
    lines = list(io.StringIO(text, newline=""))
    above = count_comments(lines)
    body = lines[above:]
    given = options.separator and checked_separator(options.separator)
    separator = given or recognise_separator(body, whole=whole)
    rows = [(line + above, cells) for line, cells in first_records(body, separator, whole=whole)]
    if not rows:
        raise DataError(f"{path}: no row could be read: is a quote opened and never closed?")
    decimal = options.decimal or recognise_decimal(rows, separator)
    try:
        header = read_header(rows, lines[:above], options.columns, separator, decimal)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    layout = Layout(path, encoding, separator, decimal, len(header.names), header.skip)
    if not any(line.strip() for line in lines[header.skip :]):
        raise DataError(f"{path}: there are no rows below the header ({shorten(header.names)})")
    if header.rows and len(header.rows[0][1]) != layout.width:
        check_widths(layout)
    notes = list(header.notes)
    if separator not in (",", options.separator, given) and layout.width > 1:
        notes.append(f"separator {_SEPARATOR_NAMES.get(separator, repr(separator))}")
    if decimal == "," and not options.decimal:
        notes.append("decimal comma")
    return layout, header, notes


def _columns_of_text(header: Header, known: Known, *, grouped: bool) -> list[int]:
    """Find the columns in which numbers say less than their text."""
    columns = zip(*(cells for _, cells in header.rows), strict=False)
    present = [[cell for cell in column if cell not in MISSING] for column in columns]
    found = {at for at, texts in enumerate(present) if texts and are_codes(texts)}
    if grouped:
        found |= {at for at, texts in enumerate(present) if are_grouped(texts)}
    found |= {at for at, name in enumerate(header.names) if name in (known.texts or ())}
    return sorted(found)


def _understand(
    frame: pd.DataFrame, decimal: str, known: Known, *, grouped: bool
) -> dict[str, list[str]]:
    """Give the columns of text the types of their values, in place; tell what was found where."""
    from pandas.api.types import is_object_dtype, is_string_dtype

    found: dict[str, list[str]] = {}
    for position, name in enumerate(frame.columns):
        column = raw = frame.iloc[:, position]
        findings: list[str] = []
        if is_object_dtype(column.dtype) or is_string_dtype(column.dtype):
            column, findings = understand_column(
                column,
                decimal,
                known.missing,
                text=name in (known.texts or ()),
                grouped=grouped,
                day_first=known.day_first.get(name),
            )
        column, gone = take_out(column, known.missing)
        findings += [f"{text!r} read as missing" for text in gone]
        if column is not raw:
            frame.isetitem(position, column.array)
        for finding in dict.fromkeys(findings):
            found.setdefault(finding, []).append(name)
    return found
