"""Files as streams of bytes: packed ones are unpacked, and what is no table is refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import cast

from pointwise.errors import DataError

SAMPLE_BYTES = 1 << 20
_SAMPLE_LIMIT = 1 << 26
_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1a")

_FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"MATLAB 5.0": "a MATLAB file",
    b"ARROW1": "a Feather file",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7z archive",
}


def existing_file(source: str | Path, bundled: Sequence[str] = ()) -> Path:
    """Check that ``source`` is a file.

    Args:
        source: A path.
        bundled: Names that work without a file, for the message.

    Returns:
        The path.

    Raises:
        DataError: If nothing is there (near names are suggested), or a folder is.

    Example:
        >>> existing_file("diabets", ["diabetes"])
        Traceback (most recent call last):
        pointwise.errors.DataError: no file 'diabets': did you mean 'diabetes'? ...
    """
    path = Path(source)
    if path.is_dir():
        raise DataError(f"a table is read from a file, {str(source)!r} is a folder")
    if path.is_file():
        return path
    if path.exists():
        raise DataError(
            f"{str(source)!r} is a pipe, which can be read only once: save it as a file"
        )
    if not path.parent.is_dir():
        raise DataError(f"no file {str(source)!r}: there is no folder {str(path.parent)!r}")
    names = [*bundled, *sorted(entry.name for entry in path.parent.iterdir())]
    near = [repr(name) for name in get_close_matches(path.name, names)]
    hint = f"did you mean {' or '.join(near)}?" if near else "check its name and folder."
    known = f" Sets that need no file: {', '.join(bundled)}." if bundled else ""
    raise DataError(f"no file {str(source)!r}: {hint}{known}")


@contextmanager
def open_bytes(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file for reading, unpacked when its first bytes say gzip, bzip2, xz or zip.

    Args:
        path: An existing file.

    Yields:
        The stream of (unpacked) bytes.

    Raises:
        DataError: If it may not be read, is truncated or damaged, or is an archive of several
            files.

    Example:
        >>> with open_bytes(Path(__file__)) as stream:
        ...     stream.read(3)
        b'\"\"\"'
    """
    kind = "file"
    try:
        with path.open("rb") as raw:
            kind, unpack = _packing(raw.read(6))
            raw.seek(0)
            with unpack(raw) as stream:
                yield stream
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: the {kind} is truncated or damaged ({error})") from error
    except OSError as error:
        reason = error.strerror or f"the {kind} is damaged: {error}"
        raise DataError(f"{path}: cannot be read ({reason})") from error


def _packing(head: bytes) -> tuple[str, Callable[[BufferedReader], BufferedIOBase]]:
    for magic, (kind, unpack) in _PACKINGS.items():
        if head.startswith(magic):
            return kind, unpack
    return "file", lambda raw: raw


def _open_zip(raw: BufferedReader) -> BufferedIOBase:
    archive = zipfile.ZipFile(raw)
    names = archive.namelist()
    if {"[Content_Types].xml", "mimetype"} & set(names):
        raise DataError(f"{raw.name}: this is an office document (Excel?): save it as CSV")
    members = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(members) != 1:
        found = ", ".join(members[:5]) or "none"
        raise DataError(f"{raw.name}: a zip archive must hold one file, found {found}: unpack it")
    try:
        return cast(BufferedIOBase, archive.open(members[0]))
    except (RuntimeError, NotImplementedError) as error:  # a password, a rare compression
        raise DataError(f"{raw.name}: {error}: unpack it") from error


_PACKINGS: dict[bytes, tuple[str, Callable[[BufferedReader], BufferedIOBase]]] = {
    b"\x1f\x8b": ("gzip file", lambda raw: gzip.GzipFile(fileobj=raw)),
    b"BZh": ("bzip2 file", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz file", lzma.LZMAFile),
    b"PK\x03\x04": ("zip archive", _open_zip),
}


def read_sample(path: Path) -> tuple[bytes, bool]:
    """Read the beginning of a file: at least three lines of it, where it has them.

    Args:
        path: An existing file.

    Returns:
        The bytes, and whether they are the whole file.

    Raises:
        DataError: As in ``open_bytes``.

    Example:
        >>> read_sample(Path(__file__))[1]
        True
    """
    with open_bytes(path) as stream:
        sample = stream.read(SAMPLE_BYTES)
        while sample.count(b"\n") < 3 and len(sample) < _SAMPLE_LIMIT:
            more = stream.read(len(sample))
            if not more:
                return sample, True
            sample += more
        return sample, not stream.read(1)


def refuse_foreign(path: Path, sample: bytes, *, wide: bool = False) -> None:
    r"""Refuse what cannot be a table of text.

    Args:
        path: Where it came from, for the message.
        sample: The first bytes.
        wide: The encoding is known to use zero bytes (UTF-16 and the like).

    Raises:
        DataError: If the file is empty, binary, or of another known kind.

    Example:
        >>> refuse_foreign(Path("cat.csv"), b"\x89PNG and so on")
        Traceback (most recent call last):
        pointwise.errors.DataError: cat.csv: this is a PNG image, not a table: ...
    """
    if not sample.strip():
        raise DataError(f"{path}: the file is empty")
    kinds = [kind for magic, kind in _FOREIGN.items() if sample.startswith(magic)]
    if sample[257:262] == b"ustar":
        kinds = ["a tar archive"]
    binary = not wide and not sample.startswith(_BOMS) and _is_binary(sample)
    if kinds or binary:
        kind = kinds[0] if kinds else "a binary file"
        raise DataError(f"{path}: this is {kind}, not a table: save the table as CSV or Parquet")


def _is_binary(sample: bytes) -> bool:
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    return b"\x00" in sample or controls > len(sample) // 100
