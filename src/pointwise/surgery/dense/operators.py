"""The few functions that a dense network calls besides torch's own operators."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def split_channels(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Split or merge the channel axes of maps of any size.

    Args:
        x: Maps of shape ``(N, *C, H, W)``.
        sizes: The new channel axes.

    Returns:
        Maps of shape ``(N, *sizes, H, W)``.

    Example:
        >>> import torch
        >>> split_channels(torch.ones(2, 6, 5, 7), [2, 3]).shape
        torch.Size([2, 2, 3, 5, 7])
    """
    return x.reshape(x.shape[0], *sizes, *x.shape[-2:])


def linear_on_windows(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sequence[int],
    back: Sequence[int],
    step: Sequence[int],
) -> Tensor:
    """A linear layer on every window of a map.

    Args:
        x: Maps of shape ``(N, C, H, W)``.
        weight: Matrix of the layer, ``(C_out, features of a window)``.
        bias: Offset of shape ``(C_out,)``.
        sizes: How the features of a window were laid out: channels, rows and columns in any order.
        back: The permutation of ``(C_out, *sizes)`` to channels, rows, columns.
        step: Cells between two rows and between two columns of a window.

    Returns:
        Maps of shape ``(N, C_out, H', W')``.

    Example:
        >>> import torch
        >>> x, weight = torch.ones(1, 2, 5, 7), torch.ones(4, 2 * 3 * 3)
        >>> linear_on_windows(x, weight, None, (2, 3, 3), (0, 1, 2, 3), (1, 1)).shape
        torch.Size([1, 4, 3, 5])
    """
    kernel = weight.reshape(weight.shape[0], *sizes).permute(*back)
    return F.conv2d(x, kernel, bias, dilation=tuple(step))


def layer_norm_of_channels(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalise the channels of every position.

    Args:
        x: Maps of shape ``(N, C, H, W)``.
        weight: Scale of shape ``(C,)``.
        bias: Offset of shape ``(C,)``.
        eps: Added to the variance.

    Returns:
        Maps of the same shape.

    Example:
        >>> import torch
        >>> layer_norm_of_channels(torch.randn(2, 4, 3, 3), None, None, 1e-5).shape
        torch.Size([2, 4, 3, 3])
    """
    rows = F.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, eps)
    return rows.movedim(-1, 1)


def max_pool_apart(
    x: Tensor,
    kernel: Sequence[int],
    step: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    """The maximum of every window of cells that lie ``step`` apart.

    Args:
        x: Maps of shape ``(N, C, H, W)``.
        kernel: Rows and columns of a window.
        step: Cells between two rows and between two columns.
        padding: Cells added left, right, above and below; they never win.

    Returns:
        Maps of shape ``(N, C, H', W')``.

    Example:
        >>> import torch
        >>> max_pool_apart(torch.ones(1, 1, 9, 9), (3, 3), (2, 2), (0, 0, 0, 0)).shape
        torch.Size([1, 1, 5, 5])
    """
    padded = F.pad(x, tuple(padding), value=-float("inf")) if any(padding) else x
    return F.max_pool2d(padded, tuple(kernel), 1, dilation=tuple(step))


def average_pool_apart(
    x: Tensor,
    kernel: Sequence[int],
    step: Sequence[int],
    padding: Sequence[int],
    extra: Sequence[int],
    count_padding: bool,
    divisor: int | None,
) -> Tensor:
    """The mean of every window of cells that lie ``step`` apart.

    Args:
        x: Maps of shape ``(N, C, H, W)``.
        kernel: Rows and columns of a window.
        step: Cells between two rows and between two columns.
        padding: Cells added above and below, and left and right.
        extra: Cells added below, and right, for windows that are cut off: never counted.
        count_padding: Whether the cells of ``padding`` count.
        divisor: What sums are divided by, if not by the number of cells that count.

    Returns:
        Maps of shape ``(N, C, H', W')``.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 1, 9, 9)
        >>> average_pool_apart(x, (3, 3), (2, 2), (0, 0), (0, 0), True, None).unique()
        tensor([1.])
    """
    channels, (up, left), (below, right) = x.shape[1], padding, extra
    apart = tuple(step)
    ones = x.new_ones(1, 1, *kernel)
    padded = F.pad(x, (left, left + right, up, up + below))
    sums = F.conv2d(padded, ones.expand(channels, 1, *kernel), groups=channels, dilation=apart)
    if divisor is not None:
        return sums / divisor
    inside = F.pad(x.new_ones(1, 1, *x.shape[-2:]), (left, left, up, up), value=count_padding)
    counts = F.conv2d(F.pad(inside, (0, right, 0, below)), ones, dilation=apart)
    return sums / counts.clamp(min=1)


def crop_to_common(*maps: Tensor) -> tuple[Tensor, ...]:
    """Cut maps to the rows and columns that all of them have, from the first on.

    Args:
        *maps: Maps of shape ``(N, C, H, W)``.

    Returns:
        The maps, of one size.

    Example:
        >>> import torch
        >>> [x.shape[2] for x in crop_to_common(torch.ones(1, 1, 5, 4), torch.ones(1, 1, 6, 4))]
        [5, 5]
    """
    rows = min(x.shape[-2] for x in maps)
    columns = min(x.shape[-1] for x in maps)
    return tuple(x[..., :rows, :columns] for x in maps)
