"""Images, masks and networks that fit in a blink."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.estimators.segmenter import Segmenter
from pointwise.networks.network_in_network import NetworkInNetwork, Stage
from pointwise.nn.norm import BatchNorm


def tiny_network(classes: int, *, channels: int) -> nn.Module:
    """A Network in Network of two layers."""
    stages = [Stage(3, (8, 8)), Stage(3, (16,))]
    return NetworkInNetwork(classes, stages, channels=channels, norm=BatchNorm, dropout=0.1)


def classifier(**changes: Any) -> ImageClassifier:
    tiny = {"backbone": tiny_network, "batch_size": 16, "max_epochs": 3, "random_state": 0}
    return ImageClassifier(**{**tiny, **changes})


def segmenter(**changes: Any) -> Segmenter:
    tiny = {"widths": (4, 8), "batch_size": 4, "max_epochs": 3, "random_state": 0}
    return Segmenter(**{**tiny, **changes})


def stripes(
    images: int = 60, channels: int = 1, size: int = 12
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Horizontal and vertical stripes with noise, and which they are."""
    rng = np.random.default_rng(0)
    down = np.arange(images) % 2 == 0
    wave = np.where(np.arange(size) % 4 < 2, 60, 190)
    flat = np.broadcast_to(wave[:, None], (size, size))
    pattern = np.where(down[:, None, None], flat.T, flat)[:, None].repeat(channels, 1)
    noisy = (pattern + rng.integers(-50, 51, pattern.shape)).astype(np.uint8)
    return noisy, np.where(down, "vertical", "horizontal")


def squares(
    images: int = 24, channels: int = 1, size: int = 16
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bright square on a dark ground, with noise, and where it is."""
    rng = np.random.default_rng(0)
    masks = np.zeros((images, size, size), np.uint8)
    for mask in masks:
        row, column = rng.integers(0, size - 6, 2)
        mask[row : row + 6, column : column + 6] = 1
    noise = rng.integers(0, 90, (images, channels, size, size))
    return (noise + 120 * masks[:, None]).astype(np.uint8), masks
