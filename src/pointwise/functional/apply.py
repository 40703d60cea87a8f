"""One matrix on the channel axis, applied at every position.

The definition of the map is ``y[n, o, s] = sum_c weight[o, c] x[n, c, s] + bias[o]``. What runs is
the spelling that suits the memory at hand; ``benchmarks/spellings.py`` measures them all.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.functional.layout import (
    from_columns,
    from_rows,
    is_channels_last,
    to_columns,
    to_rows,
)

FEW_POSITIONS = 16
"""A product for each sample is level with one for all here, and up to 9 times slower at 2."""

FEWEST_POSITIONS = 2
WIDE = 64
"""Gathering few positions as rows is up to 2.5 times faster than as columns where channels are so
many or positions so few, and elsewhere slower."""

SMALL_IMAGE = 8192
"""Up to so many values ``F.conv2d`` takes an image 1.1 to 1.4 times faster: it reshapes nothing."""

MANY_POSITIONS = 4096
MANY_VALUES = 1 << 20
"""From so many positions several groups predict faster as images, and train so from four times as
many. One group predicts so from so many values of 64 channels or more, or 16 times as many."""

MANY_IMAGES = 16
SMALLEST_IMAGE = 64
LARGEST_IMAGE = 256
"""So many images of at least so many positions are taken as they are; others are cut or joined into
images of at most so many, which stay in cache."""

FEW_OUTPUTS = 8
"""With fewer output channels ``F.linear`` is up to twice as fast at any size."""


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """Mix the channels of ``x`` at every position with one matrix.

    Args:
        x: Input of shape ``(N, C_in, *S)``, with any number of position axes ``S``, also none.
        weight: Matrix of shape ``(C_out, C_in / groups)``.
        bias: Offset of shape ``(C_out,)``. Default: ``None``.
        groups: Number of independent channel groups. Default: ``1``.

    Returns:
        Output of shape ``(N, C_out, *S)``; channels-last if ``x`` is, else contiguous.

    Raises:
        ValueError: If the channels of ``x`` do not fit ``weight`` and ``groups``.

    Example:
        >>> x = torch.ones(2, 3, 5, 7)
        >>> pointwise(x, torch.ones(4, 3)).shape
        torch.Size([2, 4, 5, 7])
    """
    _check(x, weight, bias, groups)
    if _small_image(x, groups):
        return F.conv2d(x, weight.view(*weight.shape, 1, 1), bias)
    if is_channels_last(x):
        if _gains_as_image(x, weight, groups):
            return _on_image(x, weight, bias, groups)
        return from_rows(_on_rows(to_rows(x), weight, bias, groups), x)
    if x.shape[0] == 1:
        y = _on_columns(x.reshape(x.shape[1], -1), weight, bias, groups)
        return y.reshape(1, weight.shape[0], *x.shape[2:])
    if _few_positions(x, weight, groups):
        if groups == 1 and (x.shape[1] >= WIDE or math.prod(x.shape[2:]) <= FEWEST_POSITIONS):
            return from_rows(_on_rows(to_rows(x), weight, bias, groups), x)
        return from_columns(_on_columns(to_columns(x), weight, bias, groups), x)
    return _on_planar(x, weight, bias, groups)


def _on_image(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Channels-last memory of any rank as images for ``F.conv2d``, which stay in cache."""
    kernel = weight.view(*weight.shape, 1, 1)
    # On one thread a few large images miss the cache, or torch's fast convolution.
    fit = x.shape[0] >= MANY_IMAGES or torch.get_num_threads() > 1
    if fit and x.ndim == 4 and x.shape[2] * x.shape[3] >= SMALLEST_IMAGE:
        return F.conv2d(x, kernel, bias, groups=groups)
    rows = to_rows(x)
    images = rows.unflatten(0, (-1, 1, _image_size(rows.shape[0]))).permute(0, 3, 1, 2)
    y = F.conv2d(images, kernel, bias, groups=groups).permute(0, 2, 3, 1)
    return from_rows(y.reshape(-1, weight.shape[0]), x)


def _on_rows(rows: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """``(P, C_in)`` to ``(P, C_out)``; in groups, one batched product with a group a batch."""
    if groups == 1:
        return F.linear(rows, weight, bias)
    x = rows.unflatten(1, (groups, -1)).transpose(0, 1)  # (G, P, C_in / G), a view
    w = weight.reshape(groups, -1, weight.shape[1]).transpose(1, 2)  # (G, C_in / G, C_out / G)
    b = None if bias is None else bias.reshape(groups, 1, -1)
    return _bmm(b, x, w).transpose(0, 1).flatten(1)


def _on_columns(columns: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """``(C_in, P)`` to ``(C_out, P)``."""
    if groups == 1:
        if bias is None:
            return torch.mm(weight, columns)
        return torch.addmm(bias.unsqueeze(1), weight, columns)
    c_group = weight.shape[1]
    w = weight.reshape(groups, -1, c_group)
    b = None if bias is None else bias.reshape(groups, -1, 1)
    return _bmm(b, w, columns.reshape(groups, c_group, columns.shape[1])).flatten(0, 1)


def _on_planar(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Channels-first memory as it lies: the matrix on the left, a product per sample and group."""
    n, _, *space = x.shape
    c_out, c_group = weight.shape
    if groups == 1:
        w = weight.expand(n, -1, -1)
        b = None if bias is None else bias.unsqueeze(1)
        if x.ndim == 3:
            return _bmm(b, w, x)
        y = _bmm(b, w, x.flatten(2))
    else:
        # Copies the weights for each sample: samples are larger, and moving them together would be
        # 1.3 to 2 times slower; so is F.conv.
        w = weight.reshape(groups, -1, c_group).expand(n, -1, -1, -1).flatten(0, 1)
        b = None if bias is None else bias.reshape(groups, -1, 1)
        b = None if b is None else b.expand(n, -1, -1, -1).flatten(0, 1)
        y = _bmm(b, w, x.reshape(n * groups, c_group, math.prod(space)))
    return y.reshape(n, c_out, *space)


def _bmm(bias: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    # The bias inside the product spares a pass over the output (forward 1.1 to 1.9 times faster).
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


def _gains_as_image(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether channels-last memory runs faster in ``F.conv2d``.

    It adds the bias on the way, knows groups, and takes images one by one, so that they stay in
    cache: one group predicts up to 1.8 times faster, several up to 8 times, and train up to 2.6
    times faster. One group trains as fast or slower.

    Returns:
        Whether it does.
    """
    if torch.compiler.is_compiling():  # a graph must hold for other sizes too
        return False
    values = x.numel()
    positions = values // x.shape[1]
    if positions < MANY_POSITIONS or not x.is_cpu or x.dtype != torch.float32:
        return False
    trains = torch.is_grad_enabled() and weight.requires_grad
    if groups > 1:
        gains = not trains or positions >= 4 * MANY_POSITIONS
    else:
        many = (values >= MANY_VALUES and x.shape[1] >= 64) or positions >= 16 * MANY_POSITIONS
        gains = many and not trains and weight.shape[0] >= FEW_OUTPUTS
    return gains and _image_size(positions) > 0


@lru_cache(maxsize=1024)
def _image_size(positions: int) -> int:
    """The largest number of positions from 256 down to 64 that divides all of them; 0 if none."""
    sizes = range(LARGEST_IMAGE, SMALLEST_IMAGE - 1, -1)
    return next((size for size in sizes if positions % size == 0), 0)


def _small_image(x: Tensor, groups: int) -> bool:
    """Whether it is one image so small that reshaping it costs what the product costs."""
    if x.ndim != 4 or groups > 1 or torch.compiler.is_compiling():
        return False
    return 0 < x.numel() <= SMALL_IMAGE and x.shape[0] == 1 and x.is_cpu


def _few_positions(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether samples are so small that moving them together beats a product for each."""
    if torch.compiler.is_compiling():  # a graph must hold for other sizes too
        return groups > 1
    positions = math.prod(x.shape[2:])
    if positions < FEW_POSITIONS:
        return True
    # A product for each sample also writes weights for each: a copy of them in groups (up to 3
    # times slower where it is larger than the sample), their gradient in training (up to 4 times
    # slower; level where it is three times the sample).
    c_out, c_in = weight.shape[0] // groups, weight.shape[1]
    weights, values = c_out * c_in, positions * (c_out + c_in)
    if groups > 1:
        return weights > values
    return torch.is_grad_enabled() and weight.requires_grad and weights > 3 * values


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if weight.ndim != 2:
        raise ValueError(
            f"weight must have shape (C_out, C_in / groups), got {tuple(weight.shape)}"
        )
    c_out, c_group = weight.shape
    if groups != 1 and (groups < 1 or c_out % groups):
        raise ValueError(f"groups must divide C_out: got groups={groups}, C_out={c_out}")
    if x.ndim < 2 or x.shape[1] != c_group * groups:
        raise ValueError(f"x must have shape (N, {c_group * groups}, *S), got {tuple(x.shape)}")
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"bias must have shape ({c_out},), got {tuple(bias.shape)}")
