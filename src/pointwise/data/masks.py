"""Images and the class of each of their pixels, from two folders of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.data.image_files import Picture, read_picture
from pointwise.data.image_folder import list_pictures, mention
from pointwise.data.image_pixels import Colour, Size, UnreadableImageError, as_size
from pointwise.data.image_stack import PictureStack, Progress, new_images, read_many
from pointwise.data.images import Unreadable, check_choice, skipped_or_refused
from pointwise.data.mask_files import read_mask, refuse_other_size, resize_mask
from pointwise.data.mask_numbers import check_numbering, number_classes
from pointwise.data.names import shorten
from pointwise.errors import DataError

_Pair: TypeAlias = tuple[Picture, NDArray[np.uint8]]


@dataclass(frozen=True)
class MaskedImages:
    """Images of one size and the class of each of their pixels.

    Args:
        images: Bytes of shape ``(N, C, H, W)``, C = 1 or 3.
        masks: Indices into the classes, shape ``(N, H, W)``; ``ignore`` where unknown.
        classes: The names of the classes.
        ignore: The number of unknown pixels; ``None`` where all are known.
        names: The file of each image, relative to the folder.
        notes: What was left out or changed, a sentence each, for a person.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    classes: tuple[str, ...]
    ignore: int | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_masked_images(
    images: str | Path,
    masks: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | None = None,
    size: int | tuple[int, int] | None = None,
    unreadable: Unreadable = "refuse",
    colour: Colour = "auto",
    progress: Progress | None = None,
) -> MaskedImages:
    """Read images and their masks, which have the same names up to their suffixes.

    A mask is grey or has a palette, and its numbers are those of the classes: 0, 1 and so on.
    Images are read as by ``read_images``. Without ``classes`` they are called by their numbers, up
    to the largest; masks of 0 and 255 alone have two classes; else 255 is unknown where numbers
    are missing below it.

    Args:
        images: The folder of images, or one that holds the folders ``images`` and ``masks``.
        masks: The folder of masks.
        classes: Their names, in the order of their numbers.
        ignore: The number of pixels whose class is unknown.
        size: A number of pixels for both sides, or height and width: resizes all images, with
            antialiasing, and their masks, without mixing. Without it all must have one size.
        unreadable: Whether a damaged image or mask is refused, or left out with its partner.
        colour: "grey" for one channel, "rgb" for three, "auto" for three if any image has colour.
        progress: Called with the number of pairs done, and of all.

    Returns:
        The images and masks, in the order of names.

    Raises:
        DataError: If a file has no partner, cannot be read, or a size that does not fit; if masks
            are in colour or hold other numbers than those of the classes.
        ValueError: If an option has no such value.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, mode, value in (("images", "RGB", "red"), ("masks", "L", 1)):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new(mode, (6, 4), value).save(Path(folder) / name / "1.png")
        ...     found = read_masked_images(folder, classes=["sky", "road"])
        >>> found.images.shape, found.masks.shape, found.masks.max()
        ((1, 3, 4, 6), (1, 4, 6), np.uint8(1))
    """
    check_choice("unreadable", unreadable, ("refuse", "skip"))
    check_choice("colour", colour, ("auto", "grey", "rgb"))
    given, unknown = check_numbering(classes, ignore)
    pairs = _pair_up(*_folders(Path(images), masks))
    found = _Reading(pairs, as_size(size), unreadable, colour)
    read_many(pairs.image_paths, found.read, found.take, progress)
    found.refuse_nothing()
    mask_paths = [pairs.mask_paths[number] for number in found.kept]
    numbering = number_classes(found.present, mask_paths, given, unknown)
    if numbering.foreground:
        np.minimum(found.masks, 1, out=found.masks)
    return MaskedImages(
        images=found.stack.images,
        masks=found.masks,
        classes=numbering.classes,
        ignore=numbering.ignore,
        names=tuple(found.stack.names),
        notes=(*found.notes(), *numbering.notes),
    )


@dataclass(frozen=True)
class _Pairs:
    """Images and masks that belong together, relative to their folders."""

    image_folder: Path
    mask_folder: Path
    images: tuple[str, ...]
    masks: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def image_paths(self) -> list[Path]:
        return [self.image_folder / name for name in self.images]

    @property
    def mask_paths(self) -> list[Path]:
        return [self.mask_folder / name for name in self.masks]


class _Reading:
    """Pairs read so far."""

    def __init__(
        self, pairs: _Pairs, size: Size | None, unreadable: Unreadable, colour: Colour
    ) -> None:
        self.stack = PictureStack(len(pairs.images), resized=size is not None)
        self.kept: list[int] = []
        self._pairs = pairs
        self._paths = list(zip(pairs.image_paths, pairs.mask_paths, strict=True))
        self._size = size
        self._unreadable = unreadable
        self._colour: Colour = colour
        self._unread: list[str] = []
        self._masks: NDArray[np.uint8] | None = None
        self._present = np.zeros((len(pairs.images), 256), bool)

    @property
    def masks(self) -> NDArray[np.uint8]:
        assert self._masks is not None, "nothing was read"
        return self._masks[: len(self.kept)]

    @property
    def present(self) -> NDArray[np.bool_]:
        return self._present[: len(self.kept)]

    def read(self, number: int) -> _Pair:
        image_path, mask_path = self._paths[number]
        picture = read_picture(image_path, size=self._size, colour=self._colour)
        mask = read_mask(mask_path)
        refuse_other_size(mask_path, mask, image_path, picture.size)
        return picture, mask if self._size is None else resize_mask(mask, self._size)

    def take(self, number: int, pair: _Pair | UnreadableImageError) -> None:
        name = self._pairs.images[number]
        if isinstance(pair, UnreadableImageError):
            skipped_or_refused(self._unread, name, pair, self._unreadable)
            return
        picture, mask = pair
        self.stack.add(name, picture)
        if self._masks is None:
            self._masks = new_images((len(self._paths), *mask.shape))
        self._masks[len(self.kept)] = mask
        self._present[len(self.kept)] = np.bincount(mask.ravel(), minlength=256) > 0
        self.kept.append(number)

    def refuse_nothing(self) -> None:
        if not self.kept:
            raise DataError(
                f"{self._pairs.image_folder}: none of {len(self._paths)} images can be read with "
                f"their masks: {shorten(self._unread, 3, 60)}"
            )

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self._unread:
            change = "unreadable image or mask, both left out"
            notes.append(mention(change, self._unread, len(self._paths)))
        if self._pairs.others:
            notes.append(f"no images, left out: {shorten(self._pairs.others, 10, 60)}")
        return (*notes, *self.stack.notes())


def _folders(images: Path, masks: str | Path | None) -> tuple[Path, Path]:
    if masks is None:
        missing = [name for name in ("images", "masks") if not (images / name).is_dir()]
        if missing:
            raise DataError(
                f"{images}: no folder {' and no folder '.join(missing)} is here: give the folders "
                "of images and of masks"
            )
        return images / "images", images / "masks"
    folders = images, Path(masks)
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder")
    if folders[0].samefile(folders[1]):
        raise DataError(f"{images}: images and masks need a folder each, this was given twice")
    return folders


def _pair_up(image_folder: Path, mask_folder: Path) -> _Pairs:
    listings = [list_pictures(folder) for folder in (image_folder, mask_folder)]
    images, masks = (
        _by_stem(folder, listing.pictures)
        for folder, listing in zip((image_folder, mask_folder), listings, strict=True)
    )
    without_mask = [name for stem, name in images.items() if stem not in masks]
    without_image = [name for stem, name in masks.items() if stem not in images]
    if without_mask or without_image:
        found = " and ".join(
            f"{len(names)} {one}{'s' if len(names) > 1 else ''} without {other} "
            f"({shorten(names, 3, 60)})"
            for one, other, names in (
                ("image", "a mask", without_mask),
                ("mask", "an image", without_image),
            )
            if names
        )
        raise DataError(
            f"{image_folder}: an image and its mask have the same name up to the suffix, found "
            f"{found}"
        )
    if not images:
        raise DataError(f"{image_folder}: no image is here")
    others = [
        f"{folder.name}/{name}"
        for folder, listing in zip((image_folder, mask_folder), listings, strict=True)
        for name in listing.others
    ]
    partners = tuple(masks[stem] for stem in images)
    return _Pairs(image_folder, mask_folder, tuple(images.values()), partners, tuple(others))


def _by_stem(folder: Path, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in found:
            raise DataError(
                f"{folder}: {found[stem]} and {name} have the same name up to the suffix: which of "
                "them belongs to the file in the other folder?"
            )
        found[stem] = name
    return found
