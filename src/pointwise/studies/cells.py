"""Finished parts of a long study, one JSON file each: a study that was stopped goes on.

A part is found again by a fingerprint of everything that decides it. A file that is no such part,
or only half of one, is told of and done anew: nothing in the folder can stop a study or end up in
another one's figures.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pointwise._atomic import write_text
from pointwise.errors import DataError

FORMAT = "pointwise study cell 1"

T = TypeVar("T")


class CellCache:
    """A folder of finished cells; without a folder they are kept in memory.

    Args:
        folder: Where the files are; made on the first write. Default: in memory alone.
        say: Told of every file that is not used.

    Example:
        >>> cache = CellCache()
        >>> cache.write("iris", {"seed": 0}, {"error": 0.1})
        >>> cache.read("iris", {"seed": 0}, lambda result: result["error"])
        0.1
        >>> cache.read("iris", {"seed": 1}, dict) is None
        True
    """

    def __init__(
        self, folder: str | Path | None = None, *, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.say = None if folder is None else Path(folder), say
        self._kept: dict[str, dict[str, Any]] = {}

    def path(self, label: str, key: Mapping[str, Any], suffix: str = ".json") -> Path | None:
        """The file of a cell.

        Args:
            label: Start of its name, for people.
            key: Everything that decides the cell, as JSON takes it.
            suffix: End of its name.

        Returns:
            The path, or ``None`` if cells are kept in memory.
        """
        if self.folder is None:
            return None
        return self.folder / f"{label}-{fingerprint(key)[:16]}{suffix}"

    def read(
        self, label: str, key: Mapping[str, Any], parse: Callable[[dict[str, Any]], T]
    ) -> T | None:
        """Look for a finished cell.

        Args:
            label: Start of its file's name.
            key: Everything that decides the cell.
            parse: Makes the result of what was kept; an error of it means a foreign file.

        Returns:
            The result, or ``None`` if the cell is still to be done.
        """
        path = self.path(label, key)
        if path is None:
            kept = self._kept.get(fingerprint(key))
            return None if kept is None else parse(kept)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.say(f"{path} cannot be read ({error.strerror}): done anew")
            return None
        try:
            found = json.loads(text)
            if (found["format"], found["key"]) == (FORMAT, _plain(key)):
                return parse(found["result"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        self.say(f"{path} is no finished cell of this study: done anew")
        return None

    def write(self, label: str, key: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Keep a finished cell; a kill meanwhile leaves no file or the whole one.

        Args:
            label: Start of its file's name.
            key: Everything that decides the cell.
            result: What came of it, as JSON takes it.

        Raises:
            DataError: If the file cannot be written.
        """
        path = self.path(label, key)
        if path is None:
            self._kept[fingerprint(key)] = _plain(result)
            return
        text = json.dumps({"format": FORMAT, "key": _plain(key), "result": result}, indent=1)
        self.make_folder()
        try:
            write_text(path, f"{text}\n")
        except OSError as error:
            raise DataError(f"cannot write the cell {path}: {error.strerror}") from error

    def make_folder(self) -> None:
        """Make the folder, if there is to be one.

        Raises:
            DataError: If it cannot be made.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot keep cells in {self.folder}: {error.strerror}; name another folder"
            ) from error


def fingerprint(key: Mapping[str, Any]) -> str:
    """Digest of a key.

    Args:
        key: Anything that JSON takes.

    Returns:
        Hexadecimal SHA-256; the order of names does not matter.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as it comes back from a file: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
