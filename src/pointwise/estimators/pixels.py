"""Images of any type, in the unit that the network was trained with."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointwise.errors import DataError, DataWarning

Images: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]

ROUNDING = 0.01
"""Fractions may leave 0 to 1 by this much: resizing and changes of type do."""

OVERSHOOT = 0.5
"""And by this much in prediction, where only another unit is to be told apart."""

EVALUATED_PIXELS = 2**18
"""Pixels that go through a network at a time, in validation and prediction: 256 MiB for each map of
256 channels in its full size."""


@dataclass(frozen=True)
class Pixels:
    """What images a network was trained with, and how others are brought to their unit.

    Bytes, and fractions from 0 to 1, are one unit: a fraction is a byte over 255. Values of any
    other range (reflectances, say, or degrees) are their own unit and are taken as they are.

    Attributes:
        channels: Number of channels.
        height: Rows of the training images.
        width: Columns of the training images.
        unit: ``"byte"``, or ``"own"`` for a range of their own.
        lowest: Lowest value in training, in that unit.
        highest: Highest value in training.
    """

    channels: int
    height: int
    width: int
    unit: Literal["byte", "own"]
    lowest: float
    highest: float

    @classmethod
    def learn(cls, x: Any, smallest: int = 2) -> tuple[Self, Images]:
        """Read the training images and see what they are.

        Args:
            x: Images ``(N, C, H, W)``, or grey ones ``(N, H, W)``.
            smallest: Least number of images.

        Returns:
            What they are, and the images in their unit.

        Raises:
            DataError: If they are not images, too few, or hold NaN.
        """
        images = as_images(x)
        if len(images) < smallest:
            raise DataError(f"found {len(images)} image(s): at least {smallest} are needed to fit")
        low, high = float(images.min()), float(images.max())
        unit: Literal["byte", "own"] = "byte"
        if images.dtype != np.uint8:
            if low >= -ROUNDING and high <= 1 + ROUNDING:
                images, low, high = images * np.float32(255), 255 * low, 255 * high
            else:
                unit = "own"
        channels, height, width = images.shape[1:]
        return cls(channels, height, width, unit, low, high), images

    def read(self, x: Any) -> Images:
        """Read other images in the same unit; they may have another size.

        Args:
            x: Images ``(N, C, H, W)``, or grey ones ``(N, H, W)``.

        Returns:
            The images in the unit of training.

        Raises:
            DataError: If they are not images, in another unit, of other channels, or hold NaN.
        """
        images = as_images(x)
        if images.shape[1] != self.channels:
            one = np.ndim(x) == 3 and np.shape(x)[0] == self.channels
            hint = "; give a single image as X[None]" if one else ""
            raise DataError(
                f"images must have {self.channels} channel(s), as in training, "
                f"got shape {np.shape(x)}{hint}"
            )
        if self.unit == "own":
            self._warn_of_another_range(images)
        elif images.dtype != np.uint8:
            if images.min() < -OVERSHOOT or images.max() > 1 + OVERSHOOT:
                raise DataError(
                    "images must be bytes or go from 0 to 1, as those in training did, got values "
                    f"from {images.min():g} to {images.max():g}: give them in the same unit"
                )
            images = images * np.float32(255)
        return images

    def _warn_of_another_range(self, images: Images) -> None:
        span, low, high = self.highest - self.lowest, float(images.min()), float(images.max())
        beyond = low < self.lowest - span or high > self.highest + span
        if beyond or 0 < high - low < span / 50:
            warnings.warn(
                f"images go from {low:g} to {high:g}, those in training from {self.lowest:g} to "
                f"{self.highest:g}: if they are in another unit, the predictions are wrong",
                DataWarning,
                6,
            )


def as_images(x: Any) -> Images:
    """Bring images to ``(N, C, H, W)``, of bytes or float32.

    Args:
        x: Images ``(N, C, H, W)``, or grey ones ``(N, H, W)``, of any type of number; truth values
            become 0 and 255.

    Returns:
        The images; a copy only where their type is another.

    Raises:
        DataError: If they are no array of images of one size, or hold NaN or infinity.

    Example:
        >>> as_images([[[0, 1], [2, 3]]]).shape
        (1, 1, 2, 2)
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DataError(f"images must all have one size and form one array ({error})") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"images must be an array of real numbers, got {array.dtype}")
    if array.ndim not in (3, 4):
        raise DataError(
            f"images must have shape (N, C, H, W), or (N, H, W) for grey ones, got {array.shape}"
        )
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and min(array.shape[1:3]) > 4:
        raise DataError(
            f"images must have shape (N, C, H, W), got {array.shape}: the channels seem to come "
            "last, bring them forward with X.transpose(0, 3, 1, 2)"
        )
    if 0 in array.shape:
        raise DataError(f"found no pixel in images of shape {array.shape}: at least 1 is needed")
    images = array[:, None] if array.ndim == 3 else array
    if array.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind in "iu":
        bytes_hold = array.dtype == np.uint8 or (array.min() >= 0 and array.max() <= 255)
        if bytes_hold:
            return images.astype(np.uint8, copy=False)
    return _finite(images)


def _finite(images: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        single = images.astype(np.float32, copy=False)
    good = np.isfinite(single).reshape(len(single), -1).all(1)
    if not good.all():
        raise DataError(
            f"images must be finite: {int((~good).sum())} hold NaN or infinity, the first is image "
            f"{int((~good).argmax())}"
        )
    return single


def mean_and_std(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel; a constant channel has a deviation of 1.

    Args:
        images: Images ``(N, C, H, W)``.

    Returns:
        Both, one value per channel.

    Example:
        >>> mean_and_std(np.array([[[[0, 4]], [[7, 7]]]], dtype=np.uint8))
        ([2.0, 7.0], [2.0, 1.0])
    """
    means, deviations = [], []
    for c in range(images.shape[1]):
        if images.dtype == np.uint8:  # by its histogram, which takes no copy in float64
            parts = np.array_split(images[:, c], -(-len(images) // 1024))
            counts = sum(np.bincount(part.reshape(-1), minlength=256) for part in parts)
            values, share = np.arange(256.0), counts / images[:, c].size
            mean = float(share @ values)
            std = float(np.sqrt(share @ (values - mean) ** 2))
        else:
            mean = float(images[:, c].mean(dtype=np.float64))
            std = float(np.sqrt(np.mean([np.mean((i - mean) ** 2) for i in images[:, c]])))
        means.append(mean)
        deviations.append(std if std > 1e-6 * abs(mean) else 1.0)
    return means, deviations


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor of the same memory where it may be written to, else of a copy.

    Args:
        array: Any array.

    Returns:
        The tensor.
    """
    contiguous = np.ascontiguousarray(array)
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


def images_at_a_time(height: int, width: int) -> int:
    """How many images of a size go through a network at a time.

    Args:
        height: Rows.
        width: Columns.

    Returns:
        From 1 to 256.

    Example:
        >>> images_at_a_time(28, 28), images_at_a_time(180, 240)
        (256, 6)
    """
    return min(256, max(1, EVALUATED_PIXELS // (height * width)))
