"""Random changes of a batch of images that leave the classes as they are; masks move alike.

Every step takes images ``(N, C, H, W)``, bytes or floats, and their targets: masks ``(N, H, W)``
are moved with the images, anything else is left alone. Each image draws its own change, from
torch's global random numbers, which training seeds for every epoch. Steps are told apart by their
``repr``.
"""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.training.rows import Augment


@dataclass(frozen=True)
class RandomShift:
    """Move each image by up to so many pixels along both axes; its edge is repeated.

    Attributes:
        pixels: Most pixels.
        outside: Class number for the part of a mask that the image does not cover, such as the
            ignored one. Default: the mask's edge, repeated like the image's.

    Raises:
        ValueError: If ``pixels`` is negative.

    Example:
        >>> x, y = torch.ones(4, 1, 8, 8), torch.zeros(4, 8, 8)
        >>> x, y = RandomShift(2, outside=255)(x, y)
        >>> x.shape, x.min(), set(y.unique().tolist()) <= {0.0, 255.0}
        (torch.Size([4, 1, 8, 8]), tensor(1.), True)
    """

    pixels: int
    outside: int | None = None

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"pixels must be at least 0, got {self.pixels}")

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change images ``(N, C, H, W)`` and, if they are masks, their targets."""
        _check_images(x)
        rows, columns = (
            torch.randint(-self.pixels, self.pixels + 1, (len(x), 1), device=x.device)
            + torch.arange(size, device=x.device)
            for size in x.shape[2:]
        )
        return _picked(x, y, rows, columns, self.outside)


@dataclass(frozen=True)
class RandomCrop:
    """Cut a part of a fixed size out of each image, anywhere in it.

    Attributes:
        height: Rows of the part.
        width: Columns of the part.

    Raises:
        ValueError: If a size is not positive.

    Example:
        >>> x, y = RandomCrop(4, 6)(torch.ones(2, 3, 8, 8), torch.zeros(2, 8, 8))
        >>> x.shape, y.shape
        (torch.Size([2, 3, 4, 6]), torch.Size([2, 4, 6]))
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(
                f"height and width must be at least 1, got {self.height} and {self.width}"
            )

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Cut images ``(N, C, H, W)`` and, if they are masks, their targets."""
        _check_images(x)
        if x.shape[2] < self.height or x.shape[3] < self.width:
            raise ValueError(
                f"images must be at least {self.height} x {self.width} to crop, "
                f"got {x.shape[2]} x {x.shape[3]}"
            )
        rows, columns = (
            torch.randint(size - part + 1, (len(x), 1), device=x.device)
            + torch.arange(part, device=x.device)
            for size, part in zip(x.shape[2:], (self.height, self.width), strict=True)
        )
        return _picked(x, y, rows, columns, None)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror every second image, left to right.

    Not for what has a left and a right, such as digits, text and signs.

    Example:
        >>> x, _ = RandomFlip()(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([3]))
        >>> x.flatten().tolist() in ([0.0, 1.0], [1.0, 0.0])
        True
    """

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change images ``(N, C, H, W)`` and, if they are masks, their targets."""
        _check_images(x)
        chosen = torch.rand(len(x), device=x.device) < 0.5
        flipped = torch.where(chosen[:, None, None, None], x.flip(-1), x)
        return flipped, torch.where(chosen[:, None, None], y.flip(-1), y) if _is_mask(x, y) else y


@dataclass(frozen=True)
class RandomScale:
    """Enlarge or shrink each image by a random factor; the size of the frame stays.

    Of an enlarged image a random part is seen; a shrunk one lies anywhere in the frame, and its
    edge is repeated around it. Images are interpolated linearly and come back as floats in their
    own unit; masks take the nearest pixel.

    Attributes:
        smallest: Least factor.
        largest: Greatest factor.
        outside: Class number for the part of a mask that the image does not cover, such as the
            ignored one. Default: the mask's edge, repeated like the image's.

    Raises:
        ValueError: If the factors are not positive and in order.

    Example:
        >>> x, y = RandomScale(0.8, 1.25)(torch.ones(2, 3, 8, 8), torch.zeros(2, 8, 8))
        >>> x.shape, y.shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2, 8, 8]))
    """

    smallest: float
    largest: float
    outside: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest < math.inf:
            raise ValueError(
                "smallest and largest must be positive and in order, "
                f"got {self.smallest} and {self.largest}"
            )

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change images ``(N, C, H, W)`` and, if they are masks, their targets."""
        _check_images(x)
        span = math.log(self.largest / self.smallest)
        factor = self.smallest * (span * torch.rand(len(x), device=x.device)).exp()
        place = 2 * torch.rand(len(x), 2, device=x.device) - 1
        turn = torch.zeros(len(x), 2, 3, device=x.device)
        turn[:, 0, 0] = turn[:, 1, 1] = 1 / factor
        turn[:, :, 2] = place * (1 - 1 / factor).abs()[:, None]
        grid = F.affine_grid(turn, [len(x), 1, *x.shape[2:]], align_corners=False)
        images = _sampled(x, grid, "bilinear")
        if not _is_mask(x, y):
            return images, y
        masks = _sampled(y[:, None], grid, "nearest")[:, 0].to(y.dtype)
        if self.outside is not None:
            masks = masks.masked_fill((grid.abs() > 1).any(-1), self.outside)
        return images, masks


@dataclass(frozen=True)
class RandomColour:
    """Change each image's brightness, contrast and tint, as other light would.

    Per image and channel one factor and one offset: a diagonal 1x1 convolution. Images come back as
    floats in their own unit, and may leave its range.

    Attributes:
        brightness: The image is multiplied by a factor between ``exp(-brightness)`` and
            ``exp(brightness)``.
        contrast: Its distances from its mean likewise.
        tint: Each channel by a factor of its own likewise.

    Raises:
        ValueError: If one is negative or not finite.

    Example:
        >>> x, _ = RandomColour()(torch.ones(4, 3, 8, 8), torch.zeros(4))
        >>> x.shape, bool((x[0, 0] == x[0, 0, 0, 0]).all())
        (torch.Size([4, 3, 8, 8]), True)
    """

    brightness: float = 0.3
    contrast: float = 0.3
    tint: float = 0.05

    def __post_init__(self) -> None:
        given = (self.brightness, self.contrast, self.tint)
        if not all(0 <= most < math.inf for most in given):
            raise ValueError(
                "brightness, contrast and tint must be finite and at least 0, "
                f"got {', '.join(map(str, given))}"
            )

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change images ``(N, C, H, W)``; their targets stay."""
        _check_images(x)
        x = x.float()
        light, contrast, tint = (
            (most * (2 * torch.rand(len(x), channels, 1, 1, device=x.device) - 1)).exp()
            for most, channels in (
                (self.brightness, 1),
                (self.contrast, 1),
                (self.tint, x.shape[1]),
            )
        )
        mean = x.mean((1, 2, 3), keepdim=True)
        return x * (light * tint * contrast) + mean * (light * tint * (1 - contrast)), y


@dataclass(frozen=True, init=False)
class Augmentations:
    """One step after another.

    Args:
        *steps: What to do, in order; those of other ``Augmentations`` count one by one.

    Example:
        >>> Augmentations(Augmentations(RandomShift(3)), RandomFlip())
        Augmentations(steps=(RandomShift(pixels=3, outside=None), RandomFlip()))
    """

    steps: tuple[Augment, ...]

    def __init__(self, *steps: Augment) -> None:
        parts = (one.steps if type(one) is Augmentations else (one,) for one in steps)
        object.__setattr__(self, "steps", tuple(itertools.chain.from_iterable(parts)))

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change images ``(N, C, H, W)`` and, if they are masks, their targets."""
        for step in self.steps:
            x, y = step(x, y)
        return x, y


def _check_images(x: Tensor) -> None:
    if x.ndim != 4:
        raise ValueError(f"images must have shape (N, C, H, W), got {tuple(x.shape)}")


def _is_mask(x: Tensor, y: Tensor) -> bool:
    """Whether targets are masks of their images; labels are not."""
    if y.ndim != 3:
        return False
    if y.shape[1:] != x.shape[2:]:
        raise ValueError(
            f"masks must have the size of their images, {tuple(x.shape[2:])}, "
            f"got {tuple(y.shape[1:])}"
        )
    return True


def _picked(
    x: Tensor, y: Tensor, rows: Tensor, columns: Tensor, outside: int | None
) -> tuple[Tensor, Tensor]:
    """Every image at its own rows ``(N, h)`` and columns ``(N, w)``; beyond the edge, the edge."""
    height, width = x.shape[2:]
    image = torch.arange(len(x), device=x.device)[:, None, None]
    row, column = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    images = x[image, :, row, column].movedim(-1, 1)  # (N, h, w, C) to (N, C, h, w)
    if not _is_mask(x, y):
        return images, y
    masks = y[image, row, column]
    if outside is not None:
        beyond = ((row[:, :, 0] != rows)[:, :, None]) | ((column[:, 0, :] != columns)[:, None, :])
        masks = masks.masked_fill(beyond, outside)
    return images, masks


def _sampled(x: Tensor, grid: Tensor, mode: str) -> Tensor:
    """Images ``(N, C, H, W)`` at the places of a grid; beyond the edge, the edge."""
    return F.grid_sample(x.float(), grid, mode=mode, padding_mode="border", align_corners=False)
