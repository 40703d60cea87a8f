"""A classifier that slides over images, and where each of its positions looks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.surgery.dense.forms import Pair


@dataclass(frozen=True)
class Grid:
    """Which windows of the input the positions of a dense output stand for.

    Position ``(i, j)`` stands for the window of ``size`` whose first row is ``i * stride[0]`` and
    whose first column is ``j * stride[1]``.

    Attributes:
        size: Rows and columns of a window: the size that the classifier was made for.
        stride: Input pixels between two windows, down and across.

    Example:
        >>> grid = Grid((224, 224), (32, 32))
        >>> grid.windows(672, 300), grid.window(2, 1)
        ((15, 3), (64, 288, 32, 256))
    """

    size: Pair
    stride: Pair

    def windows(self, height: int, width: int) -> Pair:
        """How many windows lie inside an image, down and across.

        Args:
            height: Rows of the image.
            width: Columns of the image.

        Returns:
            The counts; 0 where the image is smaller than a window.
        """
        down, across = (
            max(0, (space - size) // step + 1)
            for space, size, step in zip((height, width), self.size, self.stride, strict=True)
        )
        return down, across

    def window(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The window of one position.

        Args:
            row: Row of the position.
            column: Column of the position.

        Returns:
            First row, row after the last, first column, column after the last.
        """
        top, left = row * self.stride[0], column * self.stride[1]
        return top, top + self.size[0], left, left + self.size[1]

    def check(self, x: Tensor) -> None:
        """Refuse images that no window fits into.

        Args:
            x: Images of shape ``(N, C, H, W)``.

        Raises:
            ValueError: If they have another rank or are too small.
        """
        if x.ndim != 4 or x.shape[2] < self.size[0] or x.shape[3] < self.size[1]:
            raise ValueError(
                f"x must have shape (N, C, H, W) with at least {self.size[0]} x {self.size[1]} "
                f"pixels, got {tuple(x.shape)}"
            )


class DenseClassifier(nn.Module):
    """A classifier whose head slides over the feature map of an image of any larger size.

    ``convolutionalize`` and ``densify`` make it. It loads state dicts of the classifier that it was
    made of too, where the shapes agree; the names of its own begin with ``network.``, a module that
    has the classifier's names.

    Args:
        network: From images to a map of class values.
        grid: Which window each position stands for.
        trim: Whether positions whose window reaches over the image's border are dropped; a padded
            network has some where the stride does not divide what the image is larger by.

    Shape:
        ``(N, C, H, W)`` to ``(N, classes, H', W')``; ``H' = W' = 1`` at the training size.

    Reference:
        Sermanet et al., OverFeat, 2013, section 3.5. Long, Shelhamer and Darrell, Fully
        Convolutional Networks, 2015, section 3.1.

    Example:
        >>> import torch
        >>> dense = DenseClassifier(nn.Conv2d(3, 10, 8, stride=2), Grid((8, 8), (2, 2)))
        >>> dense(torch.ones(1, 3, 16, 20)).shape, dense.rows(torch.ones(1, 3, 8, 8)).shape
        (torch.Size([1, 10, 5, 7]), torch.Size([1, 10]))
    """

    def __init__(self, network: nn.Module, grid: Grid, *, trim: bool = False) -> None:
        super().__init__()
        self.network, self.grid, self.trim = network, grid, trim

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, classes, H', W')``."""
        self.grid.check(x)
        maps: Tensor = self.network(x)
        if not self.trim:
            return maps
        down, across = self.grid.windows(x.shape[2], x.shape[3])
        return maps[..., :down, :across]

    def rows(self, x: Tensor) -> Tensor:
        """Class values of images of the training size, as the classifier itself gives them.

        Args:
            x: Images of shape ``(N, C, *grid.size)``.

        Returns:
            Values of shape ``(N, classes)``.

        Raises:
            ValueError: If there is more than one position.
        """
        maps: Tensor = self(x)
        if maps.shape[2:] != (1, 1):
            raise ValueError(
                f"x must be {self.grid.size[0]} x {self.grid.size[1]} pixels for one row per "
                f"image, got {tuple(x.shape[2:])}: call the network itself for a map"
            )
        return maps.flatten(1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the classifier's own names too."""
        _rename(state_dict, prefix, "network", self.network.state_dict())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """The grid, as ``print`` shows it."""
        return f"size={self.grid.size}, stride={self.grid.stride}"


class ShiftAndStitch(nn.Module):
    """A dense classifier run at every offset within its stride, its maps interleaved.

    The offsets are cut off the image's first rows and columns, so every window is seen where the
    classifier's own grid would see it in the shorter image.

    Args:
        dense: The dense classifier.
        stride: Input pixels between two windows of the result; each divides the classifier's.

    Raises:
        ValueError: If a stride does not divide the classifier's.

    Shape:
        ``(N, C, H, W)`` to ``(N, classes, H', W')``, one position for every window of the grid that
        lies inside the image.

    Reference:
        Sermanet et al., OverFeat, 2013, section 3.5. Long, Shelhamer and Darrell, Fully
        Convolutional Networks, 2015, section 3.2.

    Example:
        >>> import torch
        >>> dense = DenseClassifier(nn.Conv2d(3, 10, 8, stride=4), Grid((8, 8), (4, 4)))
        >>> ShiftAndStitch(dense)(torch.ones(1, 3, 16, 20)).shape
        torch.Size([1, 10, 9, 13])
    """

    def __init__(self, dense: DenseClassifier, stride: Pair = (1, 1)) -> None:
        super().__init__()
        own = dense.grid.stride
        if any(step < 1 or of % step for step, of in zip(stride, own, strict=True)):
            raise ValueError(f"stride must divide the classifier's {own}, got {stride}")
        self.dense, self.grid = dense, Grid(dense.grid.size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, classes, H', W')``."""
        self.grid.check(x)
        down, across = self.grid.windows(x.shape[2], x.shape[3])
        every = [a // b for a, b in zip(self.dense.grid.stride, self.grid.stride, strict=True)]
        tall, wide = min(every[0], down), min(every[1], across)
        rows, columns = -(-down // tall), -(-across // wide)
        maps = []
        for i in range(tall):
            for j in range(wide):
                y = self.dense(x[..., i * self.grid.stride[0] :, j * self.grid.stride[1] :])
                maps.append(F.pad(y, (0, columns - y.shape[3], 0, rows - y.shape[2])))
        shifts = torch.stack(maps, 2).unflatten(2, (tall, wide))  # (N, K, tall, wide, rows, cols)
        stitched: Tensor = shifts.permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)
        return stitched[..., :down, :across]

    def rows(self, x: Tensor) -> Tensor:
        """Class values of images of the training size, as ``DenseClassifier.rows`` gives them.

        Args:
            x: Images of shape ``(N, C, *grid.size)``.

        Returns:
            Values of shape ``(N, classes)``.

        Raises:
            ValueError: If there is more than one position.
        """
        return self.dense.rows(x)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the classifier's own names too."""
        known = {*self.dense.state_dict(), *self.dense.network.state_dict()}
        _rename(state_dict, prefix, "dense", known)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class AsRows(nn.Module):
    """A dense classifier that gives the rows of its classifier again, at the training size.

    Args:
        dense: The dense classifier.

    Shape:
        ``(N, C, *grid.size)`` to ``(N, classes)``.
    """

    def __init__(self, dense: "DenseClassifier | ShiftAndStitch") -> None:
        super().__init__()
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        """Map images of the training size to ``(N, classes)``."""
        return self.dense.rows(x)


def _rename(state_dict: dict[str, Any], prefix: str, part: str, known: Iterable[str]) -> None:
    """Put the name of a part before the names of what is in it, where that is not there."""
    for name in known:
        inner = f"{prefix}{part}.{name}"
        if prefix + name in state_dict and inner not in state_dict:
            state_dict[inner] = state_dict.pop(prefix + name)
