"""Pixels as bytes in one channel or three: modes and sizes of images, and what turns them so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Colour: TypeAlias = Literal["auto", "grey", "rgb"]
Size: TypeAlias = tuple[int, int]
"""Height, width."""

_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""The EXIF orientation, and what undoes it (Pillow's name)."""
_ORIENTATION = 0x0112
_BITS = 0x0102
_DEEP = 65535


class UnreadableImageError(DataError):
    """A file holds no image that can be read; others may, so that it can be skipped."""


def convert(
    pixels: NDArray[np.uint8], size: Size | None, colour: Colour = "auto"
) -> NDArray[np.uint8]:
    """Resize an image, with antialiasing and stretched to fit, and change its channels.

    Args:
        pixels: Shape ``(C, H, W)``, C = 1 or 3.
        size: Height and width; ``None`` leaves them.
        colour: One channel, three, or as they are.

    Returns:
        The pixels.

    Example:
        >>> convert(np.zeros((1, 4, 6), np.uint8), (2, 3), "rgb").shape
        (3, 2, 3)
    """
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return channels_first(resized(image.convert(_mode(image.mode, colour)), size))


def upright(image: Image.Image) -> Image.Image:
    """Load an image and turn it as its EXIF orientation says.

    Args:
        image: As opened.

    Returns:
        The image, or a turned copy.

    Example:
        >>> from PIL import Image
        >>> upright(Image.new("L", (6, 4))).size
        (6, 4)
    """
    from PIL import Image

    image.load()  # turns a TIFF
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(Image.Transpose[turn])


def plain(path: Path, image: Image.Image, colour: Colour) -> tuple[Image.Image, list[str]]:
    """Turn any mode of Pillow's into L or RGB.

    Args:
        path: The file, for messages.
        image: The image.
        colour: One channel, three, or as it has.

    Returns:
        The image, and what was changed for it.

    Raises:
        UnreadableImageError: If it holds other than 8 or 16 bits.

    Example:
        >>> from PIL import Image
        >>> plain(Path("a.gif"), Image.new("P", (6, 4)), "auto")[0].mode
        'L'
    """
    changes = []
    if image.mode == "F" or image.mode.startswith("I"):
        image = _scaled(path, image)
        changes.append("16 bits per value, scaled to 8")
    mode = image.mode
    if mode == "CMYK":
        changes.append("CMYK, turned to RGB without a colour profile")
    if mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image, transparent = _on_white(image)
        changes += ["transparent parts, laid on white"] if transparent else []
    greyish = mode in ("1", "L", "LA") or (mode in ("P", "PA") and _is_grey(image))
    wanted = _mode("L" if greyish else "RGB", colour)
    return (image if image.mode == wanted else image.convert(wanted)), changes


def orientation(image: Image.Image) -> int:
    """Tell how an image lies, from its EXIF tags.

    Args:
        image: The image, loaded.

    Returns:
        A number from 1, upright, to 8; from 5 its sides change places.

    Example:
        >>> from PIL import Image
        >>> orientation(Image.new("L", (6, 4)))
        1
    """
    try:
        number = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged tags, sound pixels
        return 1
    return number if number in _TURNS else 1


def resized(image: Image.Image, size: Size | None) -> Image.Image:
    """Resize an image with antialiasing, stretched to fit.

    Args:
        image: In mode L or RGB.
        size: Height and width; ``None`` leaves them.

    Returns:
        The image.

    Example:
        >>> from PIL import Image
        >>> resized(Image.new("L", (6, 4)), (2, 3)).size
        (3, 2)
    """
    from PIL import Image

    if size is None or image.size == size[::-1]:
        return image
    return image.resize(size[::-1], Image.Resampling.BICUBIC)  # its kernel widens to shrink


def channels_first(image: Image.Image) -> NDArray[np.uint8]:
    """Give the pixels of an image.

    Args:
        image: In mode L or RGB.

    Returns:
        Shape ``(C, H, W)``.

    Example:
        >>> from PIL import Image
        >>> channels_first(Image.new("RGB", (6, 4))).shape
        (3, 4, 6)
    """
    pixels = np.asarray(image)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def as_size(size: int | tuple[int, int] | None) -> Size | None:
    """Check a size.

    Args:
        size: A number of pixels for both sides, or height and width.

    Returns:
        Height and width.

    Raises:
        ValueError: If it is no such thing.

    Example:
        >>> as_size(32), as_size((180, 240))
        ((32, 32), (180, 240))
    """
    if size is None:
        return None
    sides: tuple[Any, ...] = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(_is_length(side) for side in sides):
        raise ValueError(f"size must be a number of pixels or (height, width), got {size!r}")
    return int(sides[0]), int(sides[1])


def shown_size(size: Size) -> str:
    """Spell a size for a person.

    Args:
        size: Height and width.

    Returns:
        A part of a sentence.

    Example:
        >>> shown_size((180, 240))
        '180 x 240'
    """
    return f"{size[0]} x {size[1]}"


def _is_length(side: Any) -> bool:
    return isinstance(side, int | np.integer) and not isinstance(side, bool) and bool(side > 0)


def _mode(own: str, colour: Colour) -> str:
    return {"auto": own, "grey": "L", "rgb": "RGB"}[colour]


def _scaled(path: Path, image: Image.Image) -> Image.Image:
    from PIL import Image

    values = np.asarray(image)
    floating = values.dtype.kind == "f"
    if floating or _is_deeper(image) or values.min() < 0 or values.max() > _DEEP:
        kind = "floating-point values" if floating else "32 bits per value"
        raise UnreadableImageError(f"{path}: the image has {kind}: save it with 8 or 16 bits")
    rounded = (values.astype(np.uint32) * 255 + _DEEP // 2) // _DEEP  # Pillow's own would clip
    return Image.fromarray(rounded.astype(np.uint8))


def _is_deeper(image: Image.Image) -> bool:
    """Tell whether a TIFF has more than 16 bits: small numbers in it may be any share of white."""
    return bool(max(getattr(image, "tag_v2", {}).get(_BITS, (0,))) > 16)


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    from PIL import Image

    layer = image.convert("RGBA")
    opaque = bool((np.asarray(layer.getchannel("A")) == 255).all())
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB"), not opaque


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())
