"""Maps at another size: linear interpolation, and two blocks that double the size.

All at one, two or three position axes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional.checks import AXES, check_input, check_rank
from pointwise.functional.layout import like_memory
from pointwise.nn.pointwise import PointwiseConv

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Torch's name of linear interpolation, by the number of position axes."""

TRANSPOSED: dict[
    int, type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]
] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def resample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate a map linearly to another size, its corners kept as areas, not as points.

    Args:
        x: Map of shape ``(N, C, *S)``, with one to three position axes.
        size: Positions wanted along each axis.

    Returns:
        Map of shape ``(N, C, *size)``, in the memory order of ``x``; ``x`` itself if it has that
        size.

    Raises:
        ValueError: If ``x`` has not one to three position axes, or ``size`` not as many entries.

    Example:
        >>> resample(torch.tensor([[[0.0, 4.0]]]), (4,))
        tensor([[[0., 1., 3., 4.]]])
    """
    rank, size = x.ndim - 2, tuple(size)
    if rank not in LINEAR:
        raise ValueError(f"x must have 1 to 3 position axes, got shape {tuple(x.shape)}")
    _check_size(size, rank)
    if size == tuple(x.shape[2:]):
        return x
    return like_memory(F.interpolate(x, size=size, mode=LINEAR[rank]), x)


class UpConvolution(nn.Module):
    """A transposed convolution of kernel 2 and stride 2: twice the size.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        rank: Number of position axes: 1, 2 or 3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *2S)``; where a size of one more or less is given, the
        end is cut off or gains zeros, which is what 3x3s see beyond it anyway. Channels-last if
        the input is.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015, section 2 ("up-convolution").

    Example:
        >>> up = UpConvolution(16, 8)
        >>> up(torch.ones(1, 16, 5, 7)).shape, up(torch.ones(1, 16, 5, 7), (9, 14)).shape
        (torch.Size([1, 8, 10, 14]), torch.Size([1, 8, 9, 14]))
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        rank: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        if min(c_in, c_out) < 1:
            raise ValueError(f"c_in and c_out must be at least 1: got {c_in} and {c_out}")
        self.c_in, self.rank = c_in, rank
        self.conv = TRANSPOSED[rank](c_in, c_out, 2, 2, device=device, dtype=dtype)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *2S)`` or to ``size``."""
        check_input(x, self.c_in, self.rank)
        y = like_memory(self.conv(x), x)
        return y if size is None else like_memory(_fit(y, tuple(size)), x)


class UpProjection(nn.Module):
    """A 1x1 convolution and linear interpolation to twice the size.

    The two commute, so the 1x1 comes first, where there are fewer positions.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        rank: Number of position axes: 1, 2 or 3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *2S)``, or to any size where one is given; channels-last
        if the input is.

    Example:
        >>> up = UpProjection(16, 8)
        >>> up(torch.ones(1, 16, 5, 7)).shape, up(torch.ones(1, 16, 5, 7), (19, 25)).shape
        (torch.Size([1, 8, 10, 14]), torch.Size([1, 8, 19, 25]))
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        rank: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        self.c_in, self.rank = c_in, rank
        self.conv = PointwiseConv(c_in, c_out, device=device, dtype=dtype)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *2S)`` or to ``size``."""
        check_input(x, self.c_in, self.rank)
        twice = [2 * positions for positions in x.shape[2:]]
        return resample(self.conv(x), twice if size is None else size)


def _check_size(size: tuple[int, ...], rank: int) -> None:
    if len(size) != rank:
        raise ValueError(f"size must have {rank} entries ({AXES[rank]}), got {size}")


def _fit(y: Tensor, size: tuple[int, ...]) -> Tensor:
    """Cut the end of ``y``, or add zeros there, so that it has ``size``: one position at most."""
    _check_size(size, y.ndim - 2)
    short = [want - have for want, have in zip(size, y.shape[2:], strict=True)]
    if max(short) > 1 or min(short) < -1:
        raise ValueError(
            f"size must be that of the enlarged map, {tuple(y.shape[2:])}, give or take 1 along "
            f"every axis, got {size}"
        )
    if max(short) > 0:
        y = F.pad(y, [end for missing in reversed(short) for end in (0, max(missing, 0))])
    for axis, positions in enumerate(size, 2):  # also where nothing is cut: one graph for all sizes
        y = y.narrow(axis, 0, positions)
    return y
