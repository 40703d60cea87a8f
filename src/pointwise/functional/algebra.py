"""The algebra of pointwise maps: every rule is written once, on matrices.

A pointwise map is affine, so chains, sums and per-channel scalings of such maps are such maps too.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pointwise.functional.apply import pointwise


class Affine(NamedTuple):
    """A pointwise map ``y = weight x + bias`` on the channels, block-diagonal in groups.

    Attributes:
        weight: Matrix of shape ``(C_out, C_in / groups)``.
        bias: Offset of shape ``(C_out,)`` or ``None``.
        groups: Number of diagonal blocks.

    Example:
        >>> double = Affine(2 * torch.eye(3))
        >>> double(torch.ones(1, 3))
        tensor([[2., 2., 2.]])
    """

    weight: Tensor
    bias: Tensor | None = None
    groups: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to ``x`` of shape ``(N, C_in, *S)``."""
        return pointwise(x, self.weight, self.bias, self.groups)

    @property
    def c_in(self) -> int:
        """Number of input channels."""
        return self.weight.shape[1] * self.groups

    @property
    def c_out(self) -> int:
        """Number of output channels."""
        return self.weight.shape[0]

    def blocks(self) -> Tensor:
        """The diagonal blocks, of shape ``(groups, C_out / groups, C_in / groups)``."""
        return self.weight.reshape(self.groups, -1, self.weight.shape[1])


def regroup(affine: Affine, groups: int) -> Affine:
    """Write the same map with fewer groups; what lay between the old blocks becomes zeros.

    Args:
        affine: The map, with any number of groups.
        groups: The new number of groups; it must divide the old one.

    Returns:
        The same map with ``groups`` groups.

    Raises:
        ValueError: If ``groups`` does not divide ``affine.groups``.

    Example:
        >>> regroup(Affine(torch.tensor([[2.0], [3.0]]), groups=2), 1).weight
        tensor([[2., 0.],
                [0., 3.]])
    """
    if groups < 1 or affine.groups % groups:
        raise ValueError(f"groups must divide the map's groups: got {groups} for {affine.groups}")
    if groups == affine.groups:
        return affine
    per_group = affine.blocks().unflatten(0, (groups, -1))
    weight = torch.cat([torch.block_diag(*blocks) for blocks in per_group])
    return Affine(weight, affine.bias, groups)


def compose(first: Affine, second: Affine) -> Affine:
    """Merge two maps that follow one another: ``compose(f, g)(x) == g(f(x))``.

    Args:
        first: The map applied first.
        second: The map applied to its output.

    Returns:
        One map, with the greatest common divisor of both numbers of groups.

    Raises:
        ValueError: If the channels between the two maps differ.

    Example:
        >>> compose(Affine(torch.tensor([[2.0]])), Affine(torch.tensor([[5.0]]))).weight
        tensor([[10.]])
    """
    if first.c_out != second.c_in:
        raise ValueError(
            f"channels between the maps must agree: the first puts out {first.c_out}, "
            f"the second takes {second.c_in}"
        )
    groups = math.gcd(first.groups, second.groups)
    one, two = regroup(first, groups), regroup(second, groups)
    weight = torch.bmm(two.blocks(), one.blocks()).flatten(0, 1)
    bias = two.bias
    if one.bias is not None:
        bias = pointwise(one.bias[None], two.weight, two.bias, groups)[0]
    return Affine(weight, bias, groups)


def fold_affine(
    affine: Affine, scale: Tensor, shift: Tensor | None = None, *, before: bool = False
) -> Affine:
    """Fold a per-channel ``scale * x + shift`` (a normalisation, say) into its neighbour.

    Args:
        affine: The map to fold into.
        scale: Factor per channel: ``(C_out,)``, or ``(C_in,)`` with ``before``.
        shift: Offset per channel, of the same shape. Default: none.
        before: Whether the scaling comes before the map rather than after it.

    Returns:
        One map that does both.

    Raises:
        ValueError: If ``scale`` or ``shift`` has not one entry per channel.

    Example:
        >>> fold_affine(Affine(torch.eye(2)), torch.tensor([2.0, 3.0])).weight
        tensor([[2., 0.],
                [0., 3.]])
    """
    channels = affine.c_in if before else affine.c_out
    for name, value in (("scale", scale), ("shift", shift)):
        if value is not None and value.shape != (channels,):
            raise ValueError(f"{name} must have shape ({channels},), got {tuple(value.shape)}")
    if before:
        weight = (affine.blocks() * scale.reshape(affine.groups, 1, -1)).flatten(0, 1)
        bias = affine.bias if shift is None else affine(shift[None])[0]
        return Affine(weight, bias, affine.groups)
    bias = affine.bias if affine.bias is None else affine.bias * scale
    if shift is not None:
        bias = shift if bias is None else bias + shift
    return Affine(affine.weight * scale[:, None], bias, affine.groups)


def add(*maps: Affine) -> Affine:
    """Merge maps that read the same input and whose outputs are summed.

    Args:
        maps: Parallel maps of equal channels; ``Affine(torch.eye(C))`` is the identity.

    Returns:
        One map, with the greatest common divisor of all numbers of groups.

    Raises:
        ValueError: If there is no map, or the channels differ.

    Example:
        >>> add(Affine(torch.eye(2)), Affine(torch.ones(2, 2))).weight
        tensor([[2., 1.],
                [1., 2.]])
    """
    if not maps:
        raise ValueError("add needs at least one map, got none")
    shapes = {(m.c_in, m.c_out) for m in maps}
    if len(shapes) != 1:
        raise ValueError(
            f"parallel maps must have equal channels, got (C_in, C_out) of {sorted(shapes)}"
        )
    groups = math.gcd(*(m.groups for m in maps))
    weight = torch.stack([regroup(m, groups).weight for m in maps]).sum(0)
    biases = [m.bias for m in maps if m.bias is not None]
    return Affine(weight, torch.stack(biases).sum(0) if biases else None, groups)


def block_diagonal(*maps: Affine) -> Affine:
    """Merge maps that each read and write channels of their own, side by side.

    Args:
        maps: Maps in channel order. Blocks of one shape become groups; others one dense matrix.

    Returns:
        One map from all inputs, concatenated, to all outputs, concatenated.

    Raises:
        ValueError: If there is no map.

    Example:
        >>> block_diagonal(Affine(torch.ones(1, 2)), Affine(torch.ones(1, 2))).groups
        2
    """
    if not maps:
        raise ValueError("block_diagonal needs at least one map, got none")
    if len({m.blocks().shape[1:] for m in maps}) == 1:
        weight, groups = torch.cat([m.weight for m in maps]), sum(m.groups for m in maps)
    else:
        weight, groups = torch.block_diag(*(regroup(m, 1).weight for m in maps)), 1
    if all(m.bias is None for m in maps):
        return Affine(weight, None, groups)
    biases = [m.weight.new_zeros(m.c_out) if m.bias is None else m.bias for m in maps]
    return Affine(weight, torch.cat(biases), groups)
