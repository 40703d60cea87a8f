"""The images that a fit is given: in one folder or in parts, with classes or with masks."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pointwise.data.image_pixels import Colour
    from pointwise.data.images import ImageSet
    from pointwise.data.masks import MaskedImages

Set = TypeVar("Set", "ImageSet", "MaskedImages")

VALID, TEST = 0.1, 0.2
"""Shares of the images that choose the epoch, and that are scored on."""


@dataclass(frozen=True)
class Asked:
    """What a command line says of the images to fit to.

    Attributes:
        data: Folder or idx file.
        masks: Folder of the masks of the images in ``data``.
        classes: Names of the masks' classes.
        ignore: Number of the masks' unknown pixels.
        labels: File with the class of each image.
        size: Rows and columns to bring all images to.
        skip: Whether files that cannot be read are left out.
        valid: Share of the images to choose the epoch with, or those images.
        test: Share to score on, or those images.
        groups: How the name of a file tells what it belongs to.
    """

    data: str
    masks: Path | None = None
    classes: list[str] | None = None
    ignore: int | None = None
    labels: Path | None = None
    size: int | None = None
    skip: bool = False
    valid: str | None = None
    test: str | None = None
    groups: str | None = None


@dataclass(frozen=True)
class Sets(Generic[Set]):
    """The images of a fit.

    Attributes:
        found: Those to learn from, and to hold out of what is not given apart.
        valid: Those to choose the epoch with, where they are given apart.
        test: Those to score on, where they are given apart.
        shares: Shares of the rest to hold out for these: 0 to score on the validation images.
        groups: The group of each of ``found``.
    """

    found: Set
    valid: Set | None
    test: Set | None
    shares: tuple[float, float]
    groups: "NDArray[Any] | None"


def has_masks(data: str, masks: Path | None) -> bool:
    """Tell whether images come with masks: the folder holds ``masks``, or one is given.

    Args:
        data: What was given.
        masks: Folder of the masks, if one was given.

    Returns:
        Whether they do.
    """
    from pointwise.data import image_parts

    folder = Path(data)
    if masks is not None or not folder.is_dir():
        return masks is not None
    return image_parts.has_masks(folder) or image_parts.has_masks(
        image_parts.find_parts(folder).train
    )


def read_class_sets(asked: Asked) -> "Sets[ImageSet]":
    """Read images of one class each, and those to choose the epoch with and to score on.

    Args:
        asked: What the command line says.

    Returns:
        The images.

    Raises:
        DataError: If they cannot be read, all are of one class, or an option does not fit.
    """

    def reader(path: Path, like: "ImageSet | None") -> "ImageSet":
        labels = asked.labels if like is None else None
        size, colour = _like(asked, like)
        return read(path, labels=labels, size=size, skip=asked.skip, colour=colour, fitting=True)

    sets = _read_sets(asked, reader)
    refuse_one_class(asked.data, sets.found.classes)
    return sets


def refuse_one_class(data: str, classes: Sequence[str]) -> None:
    """Refuse images that nothing can be learnt from.

    Args:
        data: What was given.
        classes: The classes that were found there.

    Raises:
        DataError: If it is one.
    """
    if len(classes) == 1:
        raise DataError(
            f"{data}: a classifier learns from two classes or more, all images here are of "
            f"{classes[0]!r}"
        )


def read_mask_sets(asked: Asked) -> "Sets[MaskedImages]":
    """Read images and masks, and those to choose the epoch with and to score on.

    Args:
        asked: What the command line says.

    Returns:
        The images and masks.

    Raises:
        DataError: If they cannot be read, or an option does not fit.
    """

    def reader(path: Path, like: "MaskedImages | None") -> "MaskedImages":
        size, colour = _like(asked, like)
        return read_masks(
            path,
            asked.masks if like is None else None,
            classes=asked.classes if like is None else like.classes,
            ignore=asked.ignore if like is None else like.ignore,
            size=size,
            skip=asked.skip,
            colour=colour,
            fitting=True,
        )

    return _read_sets(asked, reader)


def _read_sets(asked: Asked, reader: Callable[[Path, "Set | None"], Set]) -> Sets[Set]:
    from pointwise.data.image_groups import group_images
    from pointwise.data.image_parts import ImageParts, find_parts

    path = Path(asked.data)
    whole = asked.masks is not None or asked.labels is not None or not path.is_dir()
    parts = ImageParts(path) if whole else find_parts(path)
    valid = _share_or_path("--valid", asked.valid, parts.valid, VALID)
    default = 0.0 if isinstance(valid, Path) else TEST
    test = _share_or_path("--test", asked.test, parts.test, default)
    if test == 0 and not isinstance(valid, Path):
        raise DataError(
            "--test must be above 0 for images: none would be left to score on, unless --valid "
            "gives validation images apart"
        )
    if asked.groups and isinstance(valid, Path) and (isinstance(test, Path) or not test):
        raise DataError("--groups: nothing is split here, validation and test images are apart")
    found = reader(parts.train, None)
    return Sets(
        found=found,
        valid=reader(valid, found) if isinstance(valid, Path) else None,
        test=reader(test, found) if isinstance(test, Path) else None,
        shares=(
            VALID if isinstance(valid, Path) else valid,
            TEST if isinstance(test, Path) else test,
        ),
        groups=group_images(found.names, asked.groups) if asked.groups else None,
    )


def _share_or_path(option: str, given: str | None, part: Path | None, share: float) -> float | Path:
    """A share to hold out, or where the images are that are held out."""
    if given is None:
        return share if part is None else part
    try:
        found = float(given)
    except ValueError:
        if not Path(given).exists():
            raise DataError(
                f"{option} must be a share between 0 and 1, or a folder or an idx file of images: "
                f"there is no {given}"
            ) from None
        return Path(given)
    if not 0 <= found < 1 or (option == "--valid" and not found):
        raise DataError(f"{option} must be a share between 0 and 1 for images, got {given}")
    return found


def _like(asked: Asked, like: Any) -> "tuple[int | tuple[int, int] | None, Colour]":
    """Size and colours to read in: as asked, or as those of images read before."""
    if like is None:
        return asked.size, "auto"
    channels, height, width = like.images.shape[1:]
    return (height, width), "grey" if channels == 1 else "rgb"


def read(
    data: str | Path,
    *,
    labels: Path | Literal[False] | None = None,
    size: int | tuple[int, int] | None = None,
    skip: bool = False,
    colour: "Colour" = "auto",
    fitting: bool = False,
) -> "ImageSet":
    """Read images, say what was changed, and speak of options as the command line calls them.

    Args:
        data: What was given.
        labels: File of their classes; ``False`` reads images without.
        size: As of ``read_images``.
        skip: Whether files that cannot be read are left out.
        colour: As of ``read_images``.
        fitting: Whether the command is ``fit``, whose options are then named.

    Returns:
        The images.

    Raises:
        DataError: If they cannot be read.
    """
    from pointwise.data.images import read_images

    unreadable: Literal["skip", "refuse"] = "skip" if skip else "refuse"
    with options_spoken(fitting=fitting):
        found = read_images(data, labels=labels, size=size, unreadable=unreadable, colour=colour)
    for note in found.notes:
        say(note)
    return found


def read_masks(
    images: str | Path,
    masks: Path | None,
    *,
    classes: "list[str] | tuple[str, ...] | None",
    ignore: int | None,
    size: int | tuple[int, int] | None = None,
    skip: bool = False,
    colour: "Colour" = "auto",
    fitting: bool = False,
) -> "MaskedImages":
    """Read images and masks as ``read`` reads images.

    Args:
        images: Folder of the images, or of images and masks.
        masks: Folder of the masks.
        classes: As of ``read_masked_images``.
        ignore: As of ``read_masked_images``.
        size: As of ``read_masked_images``.
        skip: Whether pairs that cannot be read are left out.
        colour: As of ``read_masked_images``.
        fitting: Whether the command is ``fit``, whose options are then named.

    Returns:
        The images and masks.

    Raises:
        DataError: If they cannot be read.
    """
    from pointwise.data.masks import read_masked_images

    unreadable: Literal["skip", "refuse"] = "skip" if skip else "refuse"
    with options_spoken(fitting=fitting):
        found = read_masked_images(
            images,
            masks,
            classes=classes,
            ignore=ignore,
            size=size,
            unreadable=unreadable,
            colour=colour,
        )
    for note in found.notes:
        say(note)
    return found


@contextmanager
def options_spoken(*, fitting: bool = False) -> Iterator[None]:
    """Make what is wrong with images a DataError that names options as the command line does.

    Args:
        fitting: Whether the command is ``fit``; others have no option for a file left out.

    Yields:
        Nothing.

    Raises:
        DataError: For what is refused inside.
    """
    try:
        yield
    except ValueError as error:  # a DataError is one, too
        raise DataError(_as_options(str(error), fitting)) from error


_OF_FIT = (
    (r"unreadable='skip' leaves", "--skip-unreadable leaves"),
    (r"give ignore= for", "give --ignore for"),
)
_OF_OTHERS = (
    (r"unreadable='skip' leaves such files out", "repair the file, or remove it"),
    (r": name all classes, or give ignore= for unknown pixels", ": the model knows no others"),
)
_OF_ALL = (
    (r"give size=, such as size=\(\d+, \d+\), to resize", "give --size to resize"),
    (r", or read them without classes \(labels=False\)", ""),
    (r"give labels=, or labels=False to read the images without", "give --labels"),
    (r"smaller with size=", "smaller with --size"),
    (r"\(classes=\)", "(--classes)"),
    (r"\(ignore=(\d+)\)", r"(--ignore \1)"),
    (r"^(classes|ignore) must", r"--\1 must"),
    (r"give the folders of images and of masks", "give the folder of masks with --masks"),
)


def _as_options(said: str, fitting: bool) -> str:
    """Name options as the command line calls them."""
    for name, spoken in (*(_OF_FIT if fitting else _OF_OTHERS), *_OF_ALL):
        said = re.sub(name, spoken, said)
    return said
