"""The networks that are compared: alike but for what follows the KxK convolution of a stage."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import nn

from pointwise.inspection.cost import Total, cost
from pointwise.nn.conv import ConvNormActivation
from pointwise.nn.image import ImageScale
from pointwise.nn.mlpconv import MLPConv
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pooling import GlobalAveragePool

Kind: TypeAlias = Literal["plain", "mlpconv", "double"]

REFERENCE: Kind = "mlpconv"
RIVALS: tuple[Kind, ...] = ("plain", "double")
KINDS: tuple[Kind, ...] = ("plain", "mlpconv", "double")

SMALLEST_MAP = 4
"""Rows and columns that a map must have left to be worth another stage."""

MOST_STAGES = 5

WIDEST_STAGE = 4
"""The widest stage's channels, as a multiple of the first one's."""


@dataclass(frozen=True)
class Job:
    """What every contender has to do.

    Attributes:
        shape: Channels, rows and columns of an image.
        classes: Number of classes.
        kernel: Size of the KxK kernels, odd and at least 3 (a smaller one would be a 1x1).
        mean: Mean of each channel over the training images.
        std: Standard deviation of each.

    Raises:
        ValueError: If the kernel is even or below 3, or there are less than two classes.
    """

    shape: tuple[int, int, int]
    classes: int
    kernel: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 3, got {self.kernel}")
        if self.classes < 2:
            raise ValueError(f"there must be two classes at least, got {self.classes}")


def name_of(kind: Kind, kernel: int) -> str:
    """What a contender is called.

    Args:
        kind: Which one.
        kernel: Size of its KxK kernels.

    Returns:
        The convolutions of a stage.

    Example:
        >>> [name_of(kind, 3) for kind in KINDS]
        ['3x3', '3x3 + 1x1', '3x3 + 3x3']
    """
    spatial = f"{kernel}x{kernel}"
    return {
        "plain": spatial,
        "mlpconv": f"{spatial} + 1x1",
        "double": f"{spatial} + {spatial}",
    }[kind]


def stage_widths(shape: tuple[int, int, int], width: int) -> tuple[int, ...]:
    """Channels of every stage: they double while the maps halve, up to four times the first.

    Args:
        shape: Channels, rows and columns of an image.
        width: Channels of the first stage.

    Returns:
        A width per stage: as many as leave the last one maps of four by four, five at most.

    Example:
        >>> stage_widths((1, 28, 28), 32), stage_widths((4, 3, 3), 32)
        ((32, 64, 128, 128), (32,))
    """
    side, widths = min(shape[1:]), [width]
    while (side := -(-side // 2)) >= SMALLEST_MAP and len(widths) < MOST_STAGES:
        widths.append(min(2 * widths[-1], WIDEST_STAGE * width))
    return tuple(widths)


def build(kind: Kind, widths: Sequence[int], job: Job) -> nn.Sequential:
    """Make a contender.

    Every convolution has a batch norm and a ReLU and keeps the size; between stages a 2x2 pool
    takes maxima; a dense layer reads the mean of each channel. Where a map is no larger than the
    kernel, the stage's last KxK reads it whole, without padding, and leaves one position.

    Args:
        kind: What a stage is made of.
        widths: Channels of every stage.
        job: What it has to do.

    Returns:
        The network, ``(N, C, H, W)`` to ``(N, classes)``, for images of uint8 too.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, section 3.1 (mlpconv). Springenberg et al.,
        Striving for Simplicity: The All Convolutional Net, 2014, table 1 (the three kinds).

    Example:
        >>> job = Job((1, 28, 28), 10, 3, (33.0,), (79.0,))
        >>> build("mlpconv", (8, 16), job)(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
        torch.Size([2, 10])
    """
    channels, *size = job.shape
    parts: OrderedDict[str, nn.Module] = OrderedDict(scale=ImageScale(job.mean, job.std))
    for number, width in enumerate(widths, 1):
        if number > 1:
            parts[f"pool{number - 1}"] = nn.MaxPool2d(2, ceil_mode=True)
            size = [-(-side // 2) for side in size]
        whole = min(size) == job.kernel and number == len(widths)
        parts[f"stage{number}"] = _stage(kind, channels, width, job.kernel, whole=whole)
        channels = width
    parts["average"] = GlobalAveragePool()
    parts["head"] = nn.Linear(channels, job.classes)
    return nn.Sequential(parts)


@lru_cache(maxsize=1024)  # a search asks for the same widths again and again
def count(kind: Kind, widths: tuple[int, ...], job: Job) -> Total:
    """Count a contender's parameters and multiply-adds, for one image, without making it.

    Args:
        kind: What a stage is made of.
        widths: Channels of every stage.
        job: What it has to do.

    Returns:
        The totals.

    Example:
        >>> job = Job((1, 8, 8), 10, 3, (0.0,), (1.0,))
        >>> count("plain", (16,), job).macs == 9 * 16 * 64 + 16 * 10
        True
    """
    with torch.device("meta"):
        return cost(build(kind, widths, job), torch.empty(1, *job.shape)).total


def _stage(kind: Kind, c_in: int, width: int, kernel: int, *, whole: bool) -> nn.Module:
    padding = 0 if whole else None
    if kind == "mlpconv":
        return MLPConv(c_in, (width, width), kernel=kernel, padding=padding, norm=BatchNorm)
    last = ConvNormActivation(c_in if kind == "plain" else width, width, kernel, padding=padding)
    return last if kind == "plain" else nn.Sequential(ConvNormActivation(c_in, width, kernel), last)
