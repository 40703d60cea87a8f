"""One mask file: the number of a class at every pixel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pointwise.data.image_files import open_picture
from pointwise.data.image_pixels import Size, shown_size, upright
from pointwise.data.names import shorten
from pointwise.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_MOST = 255
_SAMPLE = 10_000


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a mask: grey values, or the indices of a palette, are the numbers of classes.

    Args:
        path: The file.

    Returns:
        Numbers of shape ``(H, W)``.

    Raises:
        UnreadableImageError: If the file is no image, or damaged.
        DataError: If its pixels are colours, not numbers from 0 to 255, or may have been
            compressed with loss.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 2]], np.uint8)).save(Path(folder) / "a.png")
        ...     read_mask(Path(folder) / "a.png").tolist()
        [[0, 2]]
    """
    with open_picture(path) as image:
        if loses := _lossy(path, image):
            raise DataError(
                f"{path}: {loses} keep the numbers of classes exactly: save masks as PNG"
            )
        return _numbers(path, upright(image))


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize a mask: each pixel gets the number that is nearest, none are mixed.

    Args:
        mask: Shape ``(H, W)``.
        size: Height and width.

    Returns:
        The numbers.

    Example:
        >>> resize_mask(np.array([[0, 9]], np.uint8), (1, 4)).tolist()
        [[0, 0, 9, 9]]
    """
    from PIL import Image

    return np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


def refuse_other_size(path: Path, mask: NDArray[np.uint8], image_path: Path, size: Size) -> None:
    """Refuse a mask that does not cover its image.

    Args:
        path: The file of the mask.
        mask: Its numbers.
        image_path: The file of the image.
        size: Height and width of the image.

    Raises:
        DataError: If they are not those of the mask.

    Example:
        >>> refuse_other_size(Path("a.png"), np.zeros((2, 3), np.uint8), Path("a.jpg"), (4, 6))
        Traceback (most recent call last):
        pointwise.errors.DataError: a.png: a mask has the size of its image, got 2 x 3 and ...
    """
    if mask.shape != size:
        raise DataError(
            f"{path}: a mask has the size of its image, got {shown_size(mask.shape)} and "
            f"{shown_size(size)} (height x width) for {image_path}"
        )


def _lossy(path: Path, image: Image.Image) -> str | None:
    """What a file is called that may have lost numbers to its compression; ``None`` of others."""
    if image.format in ("JPEG", "MPO"):
        return "a JPEG file does not"
    if image.format == "TIFF" and image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return "a JPEG-compressed TIFF file does not"
    if image.format == "WEBP" and not _webp_is_lossless(path.read_bytes()):
        return "a lossy WebP file does not"
    if image.format in ("AVIF", "JPEG2000"):  # without loss on request, which no header tells
        return f"{'an AVIF' if image.format == 'AVIF' else 'a JPEG 2000'} file may not"
    return None


def _webp_is_lossless(content: bytes) -> bool:
    """Whether the picture is a VP8L chunk, the lossless kind: chunks follow the RIFF header."""
    at = 12
    while at + 8 <= len(content):
        if content[at : at + 4] == b"VP8L":
            return True
        at += 8 + (int.from_bytes(content[at + 4 : at + 8], "little") + 1) // 2 * 2
    return False


def _numbers(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode in ("LA", "PA"):
        values = values[..., 0]
    if values.ndim == 3:
        values = _one_channel(path, values[..., :3])
    if values.dtype == np.uint8 or values.dtype == np.bool_:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > _MOST:
        raise DataError(
            f"{path}: a mask holds whole numbers from 0 to {_MOST}, got {values.dtype} from "
            f"{values.min()} to {values.max()}"
        )
    return values.astype(np.uint8)


def _one_channel(path: Path, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Take grey that was saved as colour; refuse colours."""
    if (values == values[..., :1]).all():
        return values[..., 0]
    pixels = values.reshape(-1, values.shape[-1])
    some = np.unique(pixels[:: 1 + len(pixels) // _SAMPLE], axis=0)
    shown = shorten([str(tuple(colour)) for colour in some.tolist()])
    raise DataError(
        f"{path}: the mask is in colour ({shown}), it must hold the number of a class at each "
        "pixel: replace each colour by a number and save as grey or palette PNG"
    )
