"""One matrix on the channel axis, applied at every position.

The definition of the map is ``y[n, o, s] = sum_c weight[o, c] x[n, c, s] + bias[o]``. What runs is
the spelling that suits the memory at hand; ``benchmarks/spellings.py`` measures them all.
"""

import math

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
    if is_channels_last(x):
        # F.conv fuses the bias and predicts up to 1.4 times faster on two threads; but it trains up
        # to 1.9 times slower, and runs up to 13 times slower on one thread or on small samples.
        return from_rows(_on_rows(to_rows(x), weight, bias, groups), x)
    if _few_positions(x, weight, groups):
        y = _on_planar(to_columns(x).unsqueeze(0), weight, bias, groups)
        return from_columns(y.squeeze(0), x)
    return _on_planar(x, weight, bias, groups)


def _on_rows(rows: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """``(P, C_in)`` to ``(P, C_out)``; in groups, one batched product with a group a batch."""
    if groups == 1:
        return F.linear(rows, weight, bias)
    x = rows.unflatten(1, (groups, -1)).transpose(0, 1)  # (G, P, C_in / G), a view
    w = weight.reshape(groups, -1, weight.shape[1]).transpose(1, 2)  # (G, C_in / G, C_out / G)
    b = None if bias is None else bias.reshape(groups, 1, -1)
    return _bmm(b, x, w).transpose(0, 1).flatten(1)


def _on_planar(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Channels-first memory as it lies: the matrix on the left, a product per sample and group."""
    n, _, *space = x.shape
    c_out, c_group = weight.shape
    if groups == 1:
        # Expanding one sample too would copy the weight gradient (training up to 1.5 times slower).
        w = weight.unsqueeze(0) if n == 1 else weight.expand(n, -1, -1)
        b = None if bias is None else bias.unsqueeze(1)
        y = _bmm(b, w, x.flatten(2))
    else:
        w = weight.reshape(groups, -1, c_group)
        b = None if bias is None else bias.reshape(groups, -1, 1)
        if n != 1:
            # Copies the weights for each sample: samples are larger, and moving them together
            # would be 1.3 to 2 times slower; so is F.conv.
            w = w.expand(n, -1, -1, -1).flatten(0, 1)  # (N * G, C_out / G, C_in / G)
            b = None if b is None else b.expand(n, -1, -1, -1).flatten(0, 1)
        y = _bmm(b, w, x.reshape(n * groups, c_group, math.prod(space)))
    return y.reshape(n, c_out, *space)


def _bmm(bias: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    # The bias inside the product spares a pass over the output (forward 1.1 to 1.9 times faster).
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


def _few_positions(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether samples are so small that moving them together beats a product for each."""
    if x.shape[0] == 1:
        return False
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
    if groups < 1 or c_out % groups:
        raise ValueError(f"groups must divide C_out: got groups={groups}, C_out={c_out}")
    if x.ndim < 2 or x.shape[1] != c_group * groups:
        raise ValueError(f"x must have shape (N, {c_group * groups}, *S), got {tuple(x.shape)}")
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"bias must have shape ({c_out},), got {tuple(bias.shape)}")
