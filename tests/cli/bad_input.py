"""Bad input: what a person typed or has in a file, ways to make it, and the check of what it gives.

A case is a line of a table: ``"its name": Bad(command line, what the error says, what makes it)``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from houses import houses


@dataclass(frozen=True)
class Bad:
    """A command line on what ``make`` put into the working folder, and what comes of it."""

    line: str
    message: str
    make: Callable[[], object] = lambda: None
    code: int = 1


def changed(**columns: object) -> Callable[[], None]:
    """``houses.csv`` with other columns."""
    return lambda: houses().assign(**columns).to_csv("bad.csv", index=False)


def without(*columns: str) -> Callable[[], None]:
    """``houses.csv`` with columns less."""
    return lambda: houses().drop(columns=list(columns)).to_csv("bad.csv", index=False)


def first(rows: int) -> Callable[[], None]:
    """The first rows of ``houses.csv``."""
    return lambda: houses().head(rows).to_csv("bad.csv", index=False)


def cell(column: str, value: object, row: int = 7) -> Callable[[], None]:
    """``houses.csv`` with one other value."""

    def write() -> None:
        table = houses().astype({column: object})
        table.loc[row, column] = value
        table.to_csv("bad.csv", index=False)

    return write


def content(data: str | bytes, name: str = "bad.csv") -> Callable[[], object]:
    """A file of this content, in folders made for it."""

    def write() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data.encode() if isinstance(data, str) else data)

    return write


def assert_refused(bad: Bad, pointwise: Callable[[str], object]) -> None:
    """One clear line on standard error, nothing on standard output, no file touched or left."""
    bad.make()
    before = _files()
    ran = pointwise(bad.line)
    assert (ran.code, ran.out) == (bad.code, ""), ran.err
    assert "Traceback" not in ran.err
    said = ran.err.strip().splitlines()
    if bad.code == 1:
        assert said[-1].startswith("error: ")
    assert re.search(bad.message, said[-1] if bad.code == 1 else " ".join(said)), ran.err
    assert _files() == before


def _files() -> dict[Path, tuple[int, bytes]]:
    """Everything below the working folder: when it was written, and what is in it."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in Path().rglob("*")
    }
