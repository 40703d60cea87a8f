"""Where a model may be written: nowhere that holds something else."""

import os
from pathlib import Path

from pointwise._atomic import read_current
from pointwise.errors import ModelFileError
from pointwise.modelfiles._contents import CONFIG, holds
from pointwise.modelfiles._json import decode_object
from pointwise.modelfiles.schema import FORMAT


def check_target(path: str | Path) -> None:
    """Refuse, before any long work, a folder that ``write_model`` would refuse after it.

    Args:
        path: Folder to be written; it may be there or not, and so may its parents.

    Raises:
        ModelFileError: If ``path`` is a file, holds other things than a model, or lies where
            nothing can be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     check_target(f"{home}/models/new")
        ...     _ = Path(home, "photo.jpg").write_bytes(b"")
        ...     check_target(home)
        Traceback (most recent call last):
            ...
        pointwise.errors.ModelFileError: ... is not a model that pointwise wrote and is not empty...
    """
    path = Path(path)
    try:
        files_to_replace(path)
        nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    except OSError as error:
        raise ModelFileError(cannot_write(path, error.strerror)) from error
    effective = os.access in os.supports_effective_ids
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK, effective_ids=effective)):
        raise ModelFileError(cannot_write(path, f"{nearest} is no folder that can be written to"))


def files_to_replace(path: Path) -> set[str]:
    """Refuse to write a model over anything but a model, an empty folder or nothing.

    Args:
        path: Folder to be written. Hidden entries, such as ``.git``, do not count.

    Returns:
        The files that the model there lists, none where there is no model.

    Raises:
        ModelFileError: If ``path`` is a file, or a folder with other things in it.
        OSError: If it cannot be looked at.
    """
    if not path.exists():
        return set()
    if not path.is_dir():
        raise ModelFileError(f"{path} is a file, a model is a folder; give another name")
    if all(entry.name.startswith(".") for entry in path.iterdir()):
        return set()
    try:
        config = decode_object(read_current(path, CONFIG), CONFIG)
    except (FileNotFoundError, IsADirectoryError, ModelFileError):
        config = {}
    if config.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is not a model that pointwise wrote and is not empty, so it is left alone "
            f"({holds(path)}); give another folder, or empty this one"
        )
    return set(config["files"]) if isinstance(config.get("files"), dict) else set()


def cannot_write(path: Path, reason: str | None) -> str:
    """Word a failure to write.

    Args:
        path: Model folder.
        reason: What the system says.

    Returns:
        The message.
    """
    return (
        f"cannot write the model folder {path}: {reason}; "
        "give a folder that can be written, with space on its disk"
    )
