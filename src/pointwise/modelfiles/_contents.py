"""Finding a model folder and reading files of one and the same write from it, checked."""

import contextlib
import difflib
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pointwise._atomic import read_current, settle
from pointwise.errors import ModelFileError
from pointwise.modelfiles.schema import WEIGHTS, parse_config

CONFIG = "config.json"
CARD = "README.md"
REPORT = "report.json"
REMEDY = "copy the model folder again from its source, or fit again"


@dataclass(frozen=True)
class Contents:
    """Config of a model folder and the bytes of files it lists, all of one write."""

    folder: Path
    config: dict[str, Any]
    files: dict[str, bytes | None]

    def checked(self, name: str) -> bytes:
        """Give a file whose size and digest are those in the config.

        Args:
            name: A file that was read.

        Returns:
            Its bytes.

        Raises:
            ModelFileError: If the file is missing, cut short, of another kind, or changed.
        """
        data, entry, where = self.files[name], self.config["files"].get(name), self.folder / name
        if entry is None:
            raise ModelFileError(
                f"the model in {self.folder} was written without {name}: only `pointwise fit` "
                "writes one"
            )
        if data is None:
            raise ModelFileError(f"{where} is missing: {REMEDY}")
        if data.startswith(b"version https://git-lfs"):
            raise ModelFileError(f"{where} is a Git LFS pointer, not the file; run: git lfs pull")
        if len(data) < entry["bytes"]:
            raise ModelFileError(
                f"{where} was cut short, it has {len(data)} of {entry['bytes']} bytes: {REMEDY}"
            )
        if sha256(data).hexdigest() != entry["sha256"]:
            if name == WEIGHTS and data[8:9] != b"{":
                raise ModelFileError(
                    f"{where} is not a safetensors file; others, such as pickles of torch.save, "
                    f"are never opened: {REMEDY}"
                )
            raise ModelFileError(
                f"{where} was changed after it was written (its SHA-256 is not the one in "
                f"{CONFIG}): {REMEDY}"
            )
        return data


def read_contents(path: str | Path, names: Iterable[str]) -> Contents:
    """Read the config of a model folder and some of the files it lists.

    Args:
        path: The model folder.
        names: Files to read where the config lists them; others are ``None``.

    Returns:
        What the files hold, not yet checked against the digests.

    Raises:
        ModelFileError: If there is no such folder, or its config cannot be used.
    """
    folder = _find_folder(Path(path))
    with contextlib.suppress(OSError):  # it may be read-only; read_current does without
        settle(folder)
    names = list(names)
    before, data = None, _read_config(folder)
    while data != before:  # a writer may come between two reads: the config then changes
        before, config = data, parse_config(data, str(folder / CONFIG))
        files = {name: _read(folder, name) if name in config["files"] else None for name in names}
        data = _read_config(folder)
    return Contents(folder, config, files)


def _find_folder(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(f"there is no model folder {path}; {_nearest(path)}") from None
    except OSError as error:
        raise ModelFileError(_cannot_read(path, error)) from None
    if not stat.S_ISDIR(mode):
        better = f" {path.parent}" if path.name in {CONFIG, WEIGHTS, CARD, REPORT} else ""
        raise ModelFileError(f"{path} is a file, a model is a folder; give the folder{better}")
    return path


def _nearest(path: Path) -> str:
    """Say what there is instead of a missing folder."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return f"nor is there a folder {path.parent}: check the path"
    near = difflib.get_close_matches(path.name, sorted(beside), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else "check the path"


def _read_config(folder: Path) -> bytes:
    data = _read(folder, CONFIG)
    if data is None:
        raise ModelFileError(
            f"{folder} has no {CONFIG}, so it is no model folder ({holds(folder)}); "
            "give a folder that pointwise wrote"
        )
    return data


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return read_current(folder, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFileError(_cannot_read(folder / name, error)) from None


def _cannot_read(path: Path, error: OSError) -> str:
    return f"cannot read {path}: {error.strerror}; check its owner and permissions"


def holds(folder: Path) -> str:
    """List a few of a folder's entries.

    Args:
        folder: A folder.

    Returns:
        The words for a message.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        return f"its files cannot be listed: {error.strerror}"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"it holds {', '.join(map(repr, names[:5]))}{more}" if names else "it is empty"
