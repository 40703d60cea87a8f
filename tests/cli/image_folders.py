"""Folders of tiny images, and models fitted to them in a blink."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 12


def stripes(images: int, channels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Stripes that lie (0) or stand (1), with noise."""
    rng = np.random.default_rng(0)
    stands = np.arange(images) % 2
    wave = np.where(np.arange(SIZE) % 4 < 2, 60, 190)
    lying = np.broadcast_to(wave[:, None], (SIZE, SIZE))
    pattern = np.where(stands[:, None, None], lying.T, lying)[:, None].repeat(channels, 1)
    noise = rng.integers(-50, 51, pattern.shape)
    return (pattern + noise).astype(np.uint8), stands.astype(np.int64)


def write_images(
    folder: Path,
    images: int = 40,
    channels: int = 1,
    names: tuple[str, str] = ("lying", "standing"),
) -> None:
    """Write a folder of stripes with a folder per class."""
    pixels, labels = stripes(images, channels)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0] if channels == 1 else np.moveaxis(image, 0, -1)).save(path)
