"""Images on disk for the tests of reading them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pointwise.errors import DataError

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg" / "cifar10_jpeg.tar.xz"
HAS_AVIF = ".avif" in Image.registered_extensions()
FORMATS = f"JPEG, PNG, GIF, BMP, TIFF, WEBP, {'AVIF, ' if HAS_AVIF else ''}JPEG2000 or PPM"
SKIP = "; unreadable='skip' leaves such files out"
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def save(path: Path, pixels: NDArray[Any] = COLOUR, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def two_classes(folder: Path, pixels: NDArray[Any] = COLOUR) -> Path:
    """A cat, two dogs."""
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        save(folder / name, pixels)
    return folder


def refusal(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}{os.sep}", "").replace(str(folder), "DATA")
