"""Images of one size and their classes, from folders of files or from idx files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pointwise.data.idx import is_idx
from pointwise.data.idx_images import read_idx_images
from pointwise.data.image_files import Picture, is_picture, read_picture
from pointwise.data.image_folder import list_classes, list_pictures, mention
from pointwise.data.image_labels import label_pictures
from pointwise.data.image_pixels import Colour, Size, UnreadableImageError, as_size
from pointwise.data.image_stack import PictureStack, Progress, read_many
from pointwise.data.names import shorten
from pointwise.data.streams import existing_file
from pointwise.errors import DataError

Unreadable = Literal["refuse", "skip"]
_IDX_NAME = re.compile(r"idx\d?[-._]?ubyte|\.idx", re.IGNORECASE)


@dataclass(frozen=True)
class ImageSet:
    """Images of one size.

    Args:
        images: Bytes of shape ``(N, C, H, W)``, C = 1 or 3.
        labels: The class of each, an index; ``None`` where they are not known.
        classes: The names of the classes.
        names: The file of each, relative to the folder that was read, or its number.
        notes: What was left out or changed, a sentence each, for a person.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Files to read and what is known of them."""

    folder: Path
    pictures: tuple[str, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]
    others: tuple[str, ...]


def read_images(
    path: str | Path,
    *,
    labels: str | Path | Literal[False] | None = None,
    size: int | tuple[int, int] | None = None,
    unreadable: Unreadable = "refuse",
    colour: Colour = "auto",
    progress: Progress | None = None,
) -> ImageSet:
    """Read images and their classes.

    From a folder with a folder per class, at any depth in it; from any folder and a table of files
    and classes; or from an idx file, whose labels are in the file of the same name with ``labels``
    for ``images``. Formats are JPEG, PNG, GIF,
    BMP, TIFF, WebP, JPEG 2000, PPM and, where Pillow reads it, AVIF. Images are turned upright as
    their EXIF orientation says; 16 bits are scaled to 8, transparent parts laid on white, and the
    first of several frames taken. Hidden files are passed over, others that are no images named
    in a note.

    Args:
        path: The folder or the file.
        labels: For an idx file the idx file of its labels, where its name does not follow from that
            of the images. For a folder a CSV or Parquet table with the columns ``file`` (relative
            to the folder, with suffix or without) and ``class``, or with two columns in this order.
            ``False`` reads images without classes: all of a folder, an idx file, or one image.
        size: A number of pixels for both sides, or height and width: resizes all images, with
            antialiasing, stretched to fit. Without it all must have one size.
        unreadable: Whether a file that is damaged, or no image despite its name, is refused or
            left out.
        colour: "grey" for one channel, "rgb" for three, "auto" for three if any image has colour.
        progress: Called with the number of files done, and of all.

    Returns:
        The images, in the order of classes and names.

    Raises:
        DataError: If there are no images, no classes or one without images; if a file cannot be
            read, sizes differ, labels do not match, or memory does not suffice.
        ValueError: If an option has no such value.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("RGB", (6, 4)).save(Path(folder) / name / "1.png")
        ...     found = read_images(folder)
        >>> found.images.shape, found.labels.tolist(), found.classes, found.names
        ((2, 3, 4, 6), [0, 1], ('cat', 'dog'), ('cat/1.png', 'dog/1.png'))
    """
    check_choice("unreadable", unreadable, ("refuse", "skip"))
    check_choice("colour", colour, ("auto", "grey", "rgb"))
    height_width, path = as_size(size), Path(path)
    if path.is_dir():
        source = _folder(path, labels)
    else:
        path = existing_file(path)
        if _is_idx_by_name_or_bytes(path):
            images, numbers, classes = read_idx_images(path, labels, height_width, colour)
            return ImageSet(images, numbers, classes, tuple(map(str, range(len(images)))))
        source = _one_image(path, labels)
    return _read_files(source, height_width, colour, unreadable, progress)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check an option that is one of a few words.

    Args:
        name: Of the option.
        value: What was given.
        choices: What can be.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> check_choice("colour", "blue", ("grey", "rgb"))
        Traceback (most recent call last):
        ValueError: colour must be one of grey, rgb, got 'blue'
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def skipped_or_refused(
    unread: list[str], name: str, error: UnreadableImageError, unreadable: Unreadable
) -> None:
    """Remember an unreadable file, or refuse it, as chosen.

    Args:
        unread: Files left out so far; gets the name.
        name: The file.
        error: Why it cannot be read.
        unreadable: The choice.

    Raises:
        DataError: If it is refused.

    Example:
        >>> skipped_or_refused([], "a.jpg", UnreadableImageError("a.jpg: empty"), "refuse")
        Traceback (most recent call last):
        pointwise.errors.DataError: a.jpg: empty; unreadable='skip' leaves such files out
    """
    if unreadable == "refuse":
        raise DataError(f"{error}; unreadable='skip' leaves such files out") from error
    unread.append(name)


def _is_idx_by_name_or_bytes(path: Path) -> bool:
    return bool(_IDX_NAME.search(path.name)) or is_idx(path)


def _folder(path: Path, labels: str | Path | Literal[False] | None) -> _Source:
    if labels is False:
        listing = list_pictures(path)
        if not listing.pictures:
            raise DataError(f"{path}: no image is in this folder")
        return _Source(path, listing.pictures, None, (), listing.others)
    if labels is not None:
        table, listing = existing_file(Path(labels)), list_pictures(path)
        if not listing.pictures:
            raise DataError(f"{path}: no image is in this folder")
        labelled = label_pictures(path, listing.pictures, table)
        others = tuple(one for one in listing.others if not (path / one).samefile(table))
        return _Source(path, labelled.pictures, labelled.labels, labelled.classes, others)
    found = list_classes(path)
    return _Source(path, found.pictures, found.labels, found.classes, found.others)


def _one_image(path: Path, labels: str | Path | Literal[False] | None) -> _Source:
    if labels is False and is_picture(path):
        return _Source(path.parent, (path.name,), None, (), ())
    what = "one image" if is_picture(path) else "neither a folder, an idx file nor an image"
    advice = ", or labels=False to read it without a class" if is_picture(path) else ""
    raise DataError(
        f"{path}: this is {what}: give a folder with a folder of images per class, or an idx file"
        f"{advice}"
    )


def _read_files(
    source: _Source,
    size: Size | None,
    colour: Colour,
    unreadable: Unreadable,
    progress: Progress | None,
) -> ImageSet:
    paths = [source.folder / name for name in source.pictures]
    stack = PictureStack(len(paths), resized=size is not None)
    kept: list[int] = []
    unread: list[str] = []

    def take(number: int, picture: Picture | UnreadableImageError) -> None:
        if isinstance(picture, UnreadableImageError):
            skipped_or_refused(unread, source.pictures[number], picture, unreadable)
        else:
            stack.add(source.pictures[number], picture)
            kept.append(number)

    read_many(
        paths, lambda number: read_picture(paths[number], size=size, colour=colour), take, progress
    )
    labels = None if source.labels is None else np.array(source.labels, np.int64)[kept]
    _refuse_lost(source, labels, unread)
    notes = [mention("unreadable, left out", unread, len(paths))] if unread else []
    if source.others:
        notes.append(f"no images, left out: {shorten(source.others, 10, 60)}")
    return ImageSet(
        images=stack.images,
        labels=labels,
        classes=source.classes,
        names=tuple(stack.names),
        notes=(*notes, *stack.notes()),
    )


def _refuse_lost(source: _Source, labels: NDArray[np.int64] | None, unread: list[str]) -> None:
    """Refuse a class, or a folder, of which no image could be read."""
    if len(unread) == len(source.pictures):
        raise DataError(
            f"{source.folder}: none of {len(unread)} images can be read: {shorten(unread, 3, 60)}"
        )
    lost = set(range(len(source.classes))) - set([] if labels is None else labels.tolist())
    for index in sorted(lost):
        name = source.classes[index]
        assert source.labels is not None, "there are classes"
        files = [
            one for one, label in zip(source.pictures, source.labels, strict=True) if label == index
        ]
        where = source.folder / name if (source.folder / name).is_dir() else f"class {name!r}"
        raise DataError(f"{where}: no image of this class can be read: {shorten(files, 3, 60)}")
