"""One image file: opened, turned upright, its pixels as bytes in one channel or three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pointwise.data.image_pixels import (
    Colour,
    Size,
    UnreadableImageError,
    channels_first,
    orientation,
    plain,
    resized,
    upright,
)
from pointwise.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"),
    # Meant as images, though none of these is read: better refused by name than passed over.
    *(".heic", ".heif", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw"),
)
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")  # likely first


@dataclass(frozen=True)
class Picture:
    """The pixels of one file.

    Args:
        pixels: Shape ``(C, H, W)``, C = 1 or 3.
        size: Height and width in the file, upright.
        changes: What was done to the image that its owner should know, a phrase each.
    """

    pixels: NDArray[np.uint8]
    size: Size
    changes: tuple[str, ...] = ()


def read_picture(path: Path, *, size: Size | None = None, colour: Colour = "auto") -> Picture:
    """Read an image, upright as its EXIF orientation says.

    Values are bytes: 16 bits are scaled, palettes looked up, transparent parts laid on white, and
    of several frames the first is taken.

    Args:
        path: The file.
        size: Height and width to resize to, with antialiasing; the image is stretched to fit.
        colour: One channel, three, or as the file has it.

    Returns:
        The pixels.

    Raises:
        UnreadableImageError: If the file is no image, damaged, or holds other than 8 or 16 bits.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (6, 4)).save(Path(folder) / "a.png")
        ...     read_picture(Path(folder) / "a.png", size=(2, 3)).pixels.shape
        (3, 2, 3)
    """
    with open_picture(path) as image:
        loaded, full = _loaded(image, size)
        ready, changes = plain(path, loaded, colour)
        pixels = channels_first(resized(ready, size))
        changes += ["several frames, the first taken"] if _has_more(image) else []
    return Picture(pixels, full, tuple(changes))


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong while it is used becomes one error that names the file.

    Args:
        path: The file.

    Yields:
        Pillow's image, its pixels not read yet.

    Raises:
        UnreadableImageError: If the file is no image, or damaged.
        DataError: What its use raises.

    Example:
        >>> with open_picture(Path(__file__)) as image:
        ...     image.size
        Traceback (most recent call last):
        pointwise.data.image_pixels.UnreadableImageError: ...: this is no JPEG, PNG, ... image: ...
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_formats()) as image:
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{path}: {_what_it_is(path)}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path}: too large for an image ({error})") from error
    except Exception as error:  # every decoder raises kinds of its own where bytes are wrong
        reason = error.strerror if isinstance(error, OSError) else None
        words = (
            f"cannot be read ({reason})"
            if reason
            else f"the image is truncated or damaged ({error})"
        )
        raise UnreadableImageError(f"{path}: {words}") from error


def is_picture(path: Path) -> bool:
    """Tell whether a file is an image, by its name or else by its first bytes.

    Args:
        path: The file.

    Returns:
        Whether it is, or is meant to be.

    Example:
        >>> is_picture(Path("cat.jpg")), is_picture(Path(__file__))
        (True, False)
    """
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():  # a pipe would wait for ever
        return False
    try:
        with open_picture(path):
            return True
    except UnreadableImageError:
        return False


@cache
def _formats() -> tuple[str, ...]:
    """Those of our formats that this Pillow was built with; no others, some run programs (EPS)."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _what_it_is(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        return "the file is empty"
    readable = ", ".join(_formats()[:-1])
    return f"this is no {readable} or {_formats()[-1]} image: it begins with {head!r}"


def _has_more(image: Image.Image) -> bool:
    """Tell whether a second frame follows, which leaves the image there."""
    if image.format in ("JPEG", "MPO"):  # smaller previews, or what a second lens saw
        return False
    try:
        image.seek(1)  # n_frames would go through all: minutes where a damaged TIFF goes round
    except Exception:  # there is none, or it is damaged, which is not asked
        return False
    return True


def _loaded(image: Image.Image, size: Size | None) -> tuple[Image.Image, Size]:
    """Load an image, upright; also the size that it has in the file, upright too."""
    across, down = image.size
    twice = 2 * max(size) if size is not None else 0  # the longer side: it may yet be turned
    reduced = twice > 0 and image.draft(None, (twice, twice))  # a JPEG decodes in eighths: faster
    straight = upright(image)
    if not reduced:
        return straight, (straight.height, straight.width)
    return straight, (across, down) if orientation(image) >= 5 else (down, across)
