"""Tables from files and back: CSV and its kin, Parquet, and the sets bundled with scikit-learn."""

from __future__ import annotations

import gzip
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pointwise._atomic import write_bytes
from pointwise.data import parquet
from pointwise.data.bundled import BUNDLED_NAMES, TARGET, load_bundled
from pointwise.data.sentinels import take_out_all
from pointwise.data.streams import existing_file, open_bytes
from pointwise.data.text import Known, TextOptions, read_text
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_WRITTEN = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True)
class TableFile:
    """A table and how it was understood.

    Args:
        frame: The table.
        notes: What was recognised in the file, a line each, for a person.
        default_target: The column to predict where the source says so.
        day_first: Whether the day comes first, of columns of dates that are not spelt 2024-01-31.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...]
    default_target: str | None
    day_first: Mapping[str, bool] = field(default_factory=dict)


def read_table(
    source: str | Path,
    *,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing: Sequence[str] | None = None,
    texts: Collection[str] | None = None,
    day_first: Mapping[str, bool] | None = None,
) -> TableFile:
    """Read a table from a file, or one that scikit-learn bundles.

    Text files (also .gz, .bz2, .xz, .zip) and Parquet are told apart by their first bytes.
    Separator, decimal mark, encoding, header, leading comments, missing values and the types of
    columns are recognised. Columns are int64, float64, bool (pandas' ``boolean`` where values are
    missing), datetime64 in UTC without a zone, or text. Digits with leading zeros stay text, as do
    whole numbers that float64 would round. Missing are empty cells, NA, N/A, NaN, null, ``?`` and
    ``-``; None too, unless it stands among words.

    Args:
        source: A path, or a bundled name (``iris``) where no file has it.
        columns: Names for the columns of a text file without a header.
        separator: One character, "tab" or "blanks", instead of what is recognised.
        decimal: "." or ",", instead of what is recognised.
        encoding: Such as "cp1252", instead of what is recognised.
        missing: Further values that stand for none, such as "-999": compared as numbers in columns
            of numbers, as text among texts.
        texts: Names of columns of a text file whose values stay text, whatever they look like. In
            all others a point is a decimal point then, never one between thousands.
        day_first: Whether the day comes before the month, by name of a column of a text file, where
            no value of it tells.

    Returns:
        The table, notes and the target where it is known.

    Raises:
        DataError: If there is no such file or it is no table: empty, damaged, binary, without
            header or rows, with names that repeat or rows of different length.

    Example:
        >>> read_table("wine").frame.shape
        (178, 14)
    """
    options = TextOptions(columns, separator, decimal, encoding)
    known = Known(tuple(missing or ()), texts, day_first or {})
    order: Mapping[str, bool] = {}
    if str(source) in BUNDLED_NAMES and not Path(source).exists():
        _refuse_options(options, f"{source} is bundled with scikit-learn")
        frame = load_bundled(str(source))
        notes = [f"{source}: bundled with scikit-learn", *take_out_all(frame, known.missing)]
        return TableFile(frame, tuple(notes), TARGET)
    path = existing_file(source, BUNDLED_NAMES)
    if _is_parquet(path):
        _refuse_options(options, f"{path} is a Parquet file")
        frame, notes = parquet.read_parquet(path)
        notes += take_out_all(frame, known.missing)
    else:
        frame, notes, order = read_text(path, options, known)
    return TableFile(frame, tuple(notes), None, order)


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write a table as one step, without its index: a kill leaves the old file or the new one.

    Args:
        frame: The table.
        path: A file whose suffix says how: .csv, .csv.gz, .tsv, .tsv.gz or .parquet.

    Raises:
        DataError: If the suffix is another, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(pd.DataFrame({"a": [1, 2]}), Path(folder) / "a.csv")
        ...     (Path(folder) / "a.csv").read_text()
        'a\n1\n2\n'
    """
    path, suffix = Path(path), suffix_to_write(path)
    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.to_parquet(buffer, index=False)
    else:
        separator = "\t" if suffix.startswith(".tsv") else ","
        frame.to_csv(buffer, sep=separator, index=False, lineterminator="\n")
    data = buffer.getvalue()
    if suffix.endswith(".gz"):
        data = gzip.compress(data, mtime=0)  # the same table gives the same bytes
    try:
        write_bytes(path, data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def suffix_to_write(path: str | Path) -> str:
    """Tell how ``write_table`` would write a file, before any work is done for it.

    Args:
        path: The file.

    Returns:
        Its suffix.

    Raises:
        DataError: If the suffix is none that tables are written with.

    Example:
        >>> suffix_to_write("prices.csv.gz")
        '.csv.gz'
    """
    name = Path(path).name.lower()
    suffix = next((known for known in _WRITTEN if name.endswith(known)), None)
    if suffix is None:
        raise DataError(f"a table is written as {', '.join(_WRITTEN)}, got {str(path)!r}")
    return suffix


def _is_parquet(path: Path) -> bool:
    with open_bytes(path) as stream:
        head = stream.read(len(parquet.MAGIC))
    return head == parquet.MAGIC or path.suffix.lower() in (".parquet", ".pq")


def _refuse_options(options: TextOptions, why: str) -> None:
    given = [name for name, value in vars(options).items() if value is not None]
    if given:
        raise DataError(f"{', '.join(given)} can be given for text files only: {why}")
