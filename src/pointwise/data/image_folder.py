"""Which files of a folder are images, and which class each belongs to."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from pointwise.data.image_files import is_picture
from pointwise.data.names import shorten
from pointwise.errors import DataError

_LITTER = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")
_PARTS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))
_WIDTH = 60


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Args:
        pictures: Images, relative to the folder, sorted.
        others: Files that are none; hidden ones are in neither.
    """

    pictures: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder with a folder per class.

    Args:
        classes: Names of the folders, sorted: as numbers where all are.
        pictures: Images, relative to the upper folder, class by class.
        labels: The class of each, an index.
        others: Files that are no images.
    """

    classes: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: tuple[int, ...]
    others: tuple[str, ...]


def list_pictures(folder: Path) -> Listing:
    """Find the images of a folder and the folders in it, links followed.

    Args:
        folder: The folder.

    Returns:
        The images and what is none.

    Raises:
        DataError: If a folder cannot be read.

    Example:
        >>> list_pictures(Path(__file__).parent).pictures
        ()
    """
    pictures: list[str] = []
    others: list[str] = []
    seen: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about files that may be none of ours
        for above, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            real = os.path.realpath(above)
            folders[:] = [] if real in seen else [name for name in folders if not _is_hidden(name)]
            visible = [] if real in seen else [name for name in files if not _is_hidden(name)]
            seen.add(real)
            for name in visible:
                path = Path(above, name)
                (pictures if is_picture(path) else others).append(_relative(path, folder))
    return Listing(tuple(sorted(pictures)), tuple(sorted(others)))


def list_classes(folder: Path) -> ClassFolders:
    """Find the images of a folder that holds a folder per class.

    Args:
        folder: The upper folder.

    Returns:
        The images and their classes.

    Raises:
        DataError: If there is no such folder, one is empty, or they are parts of a data set, such
            as train and test.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     list_classes(Path(folder))
        Traceback (most recent call last):
        pointwise.errors.DataError: ...: no folder per class is here, ...
    """
    names = subfolders(folder)
    _refuse_parts(folder, names)
    if not names:
        _refuse_none(folder)
    found = {name: list_pictures(folder / name) for name in names}
    for name, listing in found.items():
        if not listing.pictures:
            other = f" (no images are: {shorten(listing.others)})" if listing.others else ""
            raise DataError(
                f"{folder / name}: no image of this class is here{other}: add some, "
                "or remove the folder"
            )
    top = [entry for entry in _entries(folder) if entry not in names]
    inner = [f"{name}/{other}" for name in names for other in found[name].others]
    return ClassFolders(
        classes=tuple(names),
        pictures=tuple(f"{name}/{one}" for name in names for one in found[name].pictures),
        labels=tuple(index for index, name in enumerate(names) for _ in found[name].pictures),
        others=(*top, *inner),
    )


def subfolders(folder: Path) -> list[str]:
    """Name the folders in a folder, sorted: as numbers where all are; hidden ones left out.

    Args:
        folder: The folder.

    Returns:
        The names.

    Raises:
        DataError: If the folder cannot be read.

    Example:
        >>> subfolders(Path(__file__).parent / "nowhere")
        Traceback (most recent call last):
        pointwise.errors.DataError: ...: cannot be read (No such file or directory)
    """
    names = [name for name in _entries(folder) if (folder / name).is_dir()]
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return names


def mention(change: str, names: list[str] | tuple[str, ...], count: int) -> str:
    """Say what holds for some of many files.

    Args:
        change: What it is.
        names: The files.
        count: The number of all files.

    Returns:
        A note.

    Example:
        >>> mention("unreadable, left out", ["cat/a.jpg", "dog/7.png"], 60)
        'unreadable, left out: 2 of 60 files (cat/a.jpg, dog/7.png)'
    """
    if len(names) == count > 1:
        return f"{change}: all {count} files"
    return f"{change}: {len(names)} of {count} files ({shorten(names, 10, _WIDTH)})"


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(one.name for one in folder.iterdir() if not _is_hidden(one.name))
    except OSError as error:
        raise _refusal(error) from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _refusal(error: OSError) -> DataError:
    return DataError(f"{error.filename}: cannot be read ({error.strerror})")


def _refuse(error: OSError) -> None:
    raise _refusal(error) from error


def _refuse_none(folder: Path) -> None:
    here = list_pictures(folder).pictures
    found = f"{len(here)} images ({shorten(here, 3, _WIDTH)})" if here else "no images either"
    raise DataError(
        f"{folder}: no folder per class is here, {found}: put the images of each class into a "
        "folder of its own, or read them without classes (labels=False)"
    )


def _refuse_parts(folder: Path, names: list[str]) -> None:
    if {name.lower() for name in names} == {"images", "masks"}:
        raise DataError(
            f"{folder}: images and masks are here, not a folder per class: "
            "read_masked_images reads these"
        )
    are_parts = bool(names) and _PARTS.issuperset(name.lower() for name in names)
    if are_parts and all(subfolders(folder / name) for name in names):
        raise DataError(
            f"{folder}: a folder per class is read, here are parts of a data set "
            f"({', '.join(names)}): read each of them, such as {folder / names[0]}"
        )
