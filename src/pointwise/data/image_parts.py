"""Folders of images that come as parts: to train, to validate and to test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pointwise.data.image_folder import subfolders
from pointwise.errors import DataError

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
_PAIR = ("images", "masks")


@dataclass(frozen=True)
class ImageParts:
    """The folders of a data set's parts.

    Args:
        train: The images to learn from: the whole folder where it has no parts.
        valid: Those to choose the epoch with, if they are apart.
        test: Those to score on, if they are apart.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None


def find_parts(folder: Path) -> ImageParts:
    """Find the parts of a folder: folders called train, val and test, or nearly so.

    Args:
        folder: The folder.

    Returns:
        Its parts; the folder alone where one in it has another name, or none is to train.

    Raises:
        DataError: If two folders are the same part.

    Example:
        >>> find_parts(Path(__file__).parent).train == Path(__file__).parent
        True
    """
    names = subfolders(folder)
    found: dict[str, str] = {}
    for name in names:
        part = _NAMES.get(name.lower())
        if part is None:
            return ImageParts(folder)
        if part in found:
            raise DataError(
                f"{folder}: {found[part]} and {name} are both here: which of them is to {part}?"
            )
        found[part] = name
    if "train" not in found or not all(subfolders(folder / name) for name in names):
        return ImageParts(folder)  # classes may be called train and test, too
    parts = {part: folder / name for part, name in found.items()}
    return ImageParts(parts["train"], parts.get("valid"), parts.get("test"))


def has_masks(folder: Path) -> bool:
    """Tell whether a folder holds the folders ``images`` and ``masks``.

    Args:
        folder: The folder.

    Returns:
        Whether it does.

    Example:
        >>> has_masks(Path(__file__).parent)
        False
    """
    return all((folder / name).is_dir() for name in _PAIR)
