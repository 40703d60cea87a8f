"""Images and masks on disk for the tests of reading them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pointwise.errors import DataError

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid-180x240"
SKIP = "; unreadable='skip' leaves such files out"
COLOUR = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
NAMES = ("sky", "road", "car")
ADVICE = "name all classes, or give ignore= for unknown pixels"


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pairs(folder: Path, *masks: NDArray[Any]) -> Path:
    """An image and a mask for each mask."""
    for number, mask in enumerate(masks):
        save(folder / "images" / f"{number}.png", COLOUR + number)
        save(folder / "masks" / f"{number}.png", mask)
    return folder


def refusal(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}{os.sep}", "").replace(str(folder), "DATA")


def numbers(*values: int) -> NDArray[np.uint8]:
    return np.resize(np.array(values, np.uint8), (4, 6))
