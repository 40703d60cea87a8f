"""One matrix on the channel axis, applied at every position.

The definition of the map is ``y[n, o, s] = sum_c weight[o, c] x[n, c, s] + bias[o]``. What runs is
the spelling that is fastest for the memory at hand; ``benchmarks/spellings.py`` measures them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """Mix the channels of ``x`` at every position with one matrix.

    Args:
        x: Input of shape ``(N, C_in, *S)``, with any number of position axes ``S``, also none.
        weight: Matrix of shape ``(C_out, C_in / groups)``.
        bias: Offset of shape ``(C_out,)``. Default: ``None``.
        groups: Number of independent channel groups. Default: ``1``.

    Returns:
        Output of shape ``(N, C_out, *S)``; channels-last if ``x`` is.

    Raises:
        ValueError: If the channels of ``x`` do not fit ``weight`` and ``groups``.

    Example:
        >>> x = torch.ones(2, 3, 5, 7)
        >>> pointwise(x, torch.ones(4, 3)).shape
        torch.Size([2, 4, 5, 7])
    """
    _check(x, weight, bias, groups)
    if groups > 1:
        return pointwise_grouped(x.unflatten(1, (groups, -1)), weight, bias).flatten(1, 2)
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    if _is_channels_last(x):
        return F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
    return _planar(x, weight, bias)


def pointwise_grouped(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mix the channels of each group on its own, the group axis kept apart.

    The same map as ``pointwise(..., groups=G)`` without the copy that merging groups and channels
    into one axis costs: the output is a view that the next grouped map reads as it lies.

    Args:
        x: Input of shape ``(N, G, C_in / G, *S)``.
        weight: Matrix of shape ``(C_out, C_in / G)``.
        bias: Offset of shape ``(C_out,)``. Default: ``None``.

    Returns:
        Output of shape ``(N, G, C_out / G, *S)``.

    Example:
        >>> pointwise_grouped(torch.ones(2, 4, 3), torch.ones(8, 3)).shape
        torch.Size([2, 4, 2])
    """
    n, groups, c_group, *space = x.shape
    w = weight.reshape(groups, -1, c_group)  # (G, C_out / G, C_in / G)
    b = None if bias is None else bias.reshape(groups, -1, 1)
    if n == 1 and space and not _is_channels_last(x.flatten(1, 2)):
        y = _bmm(b, w, x.reshape(groups, c_group, -1))  # (G, C_out / G, L)
        return y.reshape(1, groups, -1, *space)
    rows = x.movedim(2, -1).transpose(0, 1).reshape(groups, -1, c_group)  # (G, N * L, C_in / G)
    y = _bmm(None if b is None else b.transpose(1, 2), rows, w.transpose(1, 2))
    return y.reshape(groups, n, *space, -1).transpose(0, 1).movedim(-1, 2)


def _planar(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply the map to channels-first memory: one product per sample, the matrix on the left."""
    n, c_in, *space = x.shape
    w = weight.expand(n, -1, -1)  # a view: the batched product reads the one matrix N times
    b = None if bias is None else bias[:, None]
    return _bmm(b, w, x.reshape(n, c_in, math.prod(space))).reshape(n, -1, *space)


def _bmm(bias: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


def _is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a position lie side by side in memory, as in a table."""
    return x.movedim(1, -1).is_contiguous() and not x.is_contiguous()


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if weight.ndim != 2:
        raise ValueError(
            f"weight must have shape (C_out, C_in / groups), got {tuple(weight.shape)}"
        )
    c_out, c_group = weight.shape
    if groups < 1 or c_out % groups:
        raise ValueError(f"groups must divide C_out: got groups={groups}, C_out={c_out}")
    if x.ndim < 2 or x.shape[1] != c_group * groups:
        raise ValueError(f"x must have shape (N, {c_group * groups}, *S), got {tuple(x.shape)}")
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"bias must have shape ({c_out},), got {tuple(bias.shape)}")
