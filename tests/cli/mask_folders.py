"""Folders of tiny images and masks: a bright square on a dark ground, and where it is."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16


def write_masks(folder: Path, images: int = 20, *, seed: int = 0, videos: int = 5) -> None:
    """Write ``images`` and ``masks``: ground 0, square 1, and a row of 9 that nobody knows."""
    rng = np.random.default_rng(seed)
    for number in range(images):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        row, column = rng.integers(1, SIDE - 6, 2)
        mask[row : row + 6, column : column + 6] = 1
        pixels = 120 * mask[..., None] + rng.integers(0, 90, (SIDE, SIDE, 3))
        mask[0] = 9
        name = f"v{number % videos}_{number:03}.png"
        for part, values in (("images", pixels), ("masks", mask)):
            path = folder / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(path)
