"""The few functions that a network in another layout calls besides torch's own operators."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.surgery.layout.forms import Form, Groups, core


def channel_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    *,
    axis: int = 1,
    centred: bool = True,
) -> Tensor:
    """Normalise along one axis without moving it.

    Args:
        x: Any tensor.
        weight: Scale, one per entry of the axis.
        bias: Offset, one per entry of the axis.
        eps: Added to the variance.
        axis: The axis of the channels.
        centred: Whether to take the mean away first, as layer normalisation does and root mean
            square normalisation does not.

    Returns:
        A tensor of the same shape; half precision is normalised in float32, as torch does.

    Reference:
        Ba, Kiros and Hinton, Layer Normalization, 2016; Zhang and Sennrich, Root Mean Square Layer
        Normalization, 2019.

    Example:
        >>> channel_norm(torch.randn(2, 4, 1, 5), None, None, 1e-5).mean(1).abs().max() < 1e-5
        tensor(True)
    """
    exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if centred:
        exact = exact - exact.mean(axis, keepdim=True)
    y = exact * torch.rsqrt(exact.square().mean(axis, keepdim=True) + eps)
    along = (-1, *(1,) * (x.ndim - 1 - axis % x.ndim))
    if weight is not None:
        y = y * weight.reshape(along)
    if bias is not None:
        y = y + bias.reshape(along)
    return y.to(x.dtype)


class ChannelNorm(nn.Module):
    """Layer or root mean square normalisation of one axis, which stays where it is.

    Args:
        norm: ``nn.LayerNorm`` or ``nn.RMSNorm`` over one axis; its parameters are taken over.
        axis: The axis of the channels.

    Shape:
        Any with the channels on ``axis``, to the same.

    Example:
        >>> ChannelNorm(nn.LayerNorm(4))(torch.randn(2, 4, 1, 5)).shape
        torch.Size([2, 4, 1, 5])
    """

    def __init__(self, norm: nn.LayerNorm | nn.RMSNorm, axis: int = 1) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, getattr(norm, "bias", None)
        self.channels, self.eps, self.axis = norm.normalized_shape[0], norm.eps, axis
        self.centred = isinstance(norm, nn.LayerNorm)
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``."""
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return channel_norm(x, self.weight, self.bias, eps, axis=self.axis, centred=self.centred)

    def extra_repr(self) -> str:
        """Sizes, as ``print`` shows them."""
        centred = "" if self.centred else ", centred=False"
        return f"{self.channels}, eps={self.eps}, axis={self.axis}{centred}"


def filled(kind: str, *args: Any, **options: Any) -> Tensor:
    """Make a tensor of sizes or numbers, by one of torch's functions.

    Args:
        kind: The name of the function, such as ``ones``.
        *args: Its arguments.
        **options: Its arguments by name.

    Returns:
        The tensor.

    Example:
        >>> filled("zeros", 2, 3).shape
        torch.Size([2, 3])
    """
    made: Tensor = getattr(torch, kind)(*args, **options)
    return made


def masked_softmax(x: Tensor, axis: int) -> Tensor:
    """Softmax of masked attention: weights of 0 where nothing may be looked at, as torch has it.

    Padding before a text leaves such rows under a causal mask; NaN there would reach all others.

    Args:
        x: Logits, minus infinity where masked.
        axis: Along which the weights add up to 1.

    Returns:
        The weights.

    Example:
        >>> masked_softmax(torch.tensor([[0.0, 0.0], [-math.inf, -math.inf]]), 1)
        tensor([[0.5000, 0.5000],
                [0.0000, 0.0000]])
    """
    nothing = (x == -math.inf).all(axis, keepdim=True)
    return x.softmax(axis).masked_fill(nothing, 0.0)


def logical_shape(x: Tensor, form: Form) -> tuple[int, ...]:
    """The shape of the value that a tensor holds.

    Args:
        x: The tensor.
        form: In which order it holds the value's axes.

    Returns:
        The sizes.

    Example:
        >>> logical_shape(torch.ones(2, 8, 1, 5), (0, 2, None, 1))
        (2, 5, 8)
    """
    return tuple(x.shape[form.index(axis)] for axis in range(len(core(form))))


def regroup(x: Tensor, form: Form, groups: Groups, sizes: Sequence[Any]) -> Tensor:
    """Merge and split axes of the value that a tensor holds, in the order in which it holds them.

    Args:
        x: The tensor.
        form: In which order it holds the value's axes; those to merge stand in a row.
        groups: Which axes become which.
        sizes: The value's sizes after it; -1 for what follows from the others.

    Returns:
        The tensor with the new axes in place of the old, without unit axes beside them.

    Raises:
        ValueError: If the sizes do not keep to the groups.

    Example:
        >>> regroup(torch.ones(2, 12, 1, 5), (0, 2, None, 1), (((0,), (0,)), ((1,), (1,)),
        ...     ((2,), (2, 3))), (2, 5, 3, 4)).shape
        torch.Size([2, 3, 4, 5])
    """
    given = logical_shape(x, form)
    made: dict[int, list[int]] = {}
    for left, right in groups:
        total = math.prod(given[axis] for axis in left)
        wanted = [sizes[axis] for axis in right]
        known = math.prod(size for size in wanted if size != -1)
        if wanted.count(-1) == 1 and known:
            wanted[wanted.index(-1)] = total // known
        if math.prod(wanted) != total or -1 in wanted:
            raise ValueError(
                "a reshape must merge and split the same axes as with the example: axes of sizes "
                f"{[given[axis] for axis in left]} cannot become {[sizes[a] for a in right]}"
            )
        made[left[0]] = wanted
    return x.reshape([size for axis in core(form) for size in made.get(axis, ())])
