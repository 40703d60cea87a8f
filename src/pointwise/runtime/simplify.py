"""Fewer steps for the same chain: scalings folded back, matrices merged where that saves."""

from collections.abc import Sequence

import torch

from pointwise.functional import Affine, compose, fold_affine
from pointwise.runtime.chain import Chain, Concat, Residual, Scale, Step


def simplify(chain: Chain) -> Chain:
    """Fold what can be folded without losing precision.

    A scaling goes into the matrix before it, two matrices in a row become one where that takes no
    more arithmetic, and a residual around a single matrix adds to its diagonal. A scaling is not
    folded into a matrix after it: values far from zero would cancel only there.

    Args:
        chain: The chain.

    Returns:
        A chain of the same function, with fewer steps where possible.

    Example:
        >>> eye = Affine(torch.eye(2))
        >>> simplify(Chain(2, [eye, Residual((eye,)), eye])).steps[0].weight
        tensor([[2., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    return Chain(chain.c_in, _simplified(chain.steps), chain.axes)


def _simplified(steps: Sequence[Step]) -> list[Step]:
    made: list[Step] = []
    for step in map(_inside, steps):
        merged = _merged(made[-1], step) if made else None
        if merged is None:
            made.append(step)
        else:
            made[-1] = merged
    return made


def _inside(step: Step) -> Step:
    """Simplify what a step holds."""
    match step:
        case Affine(weight, bias, groups):
            return Affine(weight.double(), None if bias is None else bias.double(), groups)
        case Concat(branches):
            return Concat(tuple(tuple(_simplified(branch)) for branch in branches))
        case Residual(body):
            inner = _simplified(body)
            if len(inner) == 1 and isinstance(inner[0], Affine):
                return _plus_identity(inner[0])
            return Residual(tuple(inner))
    return step


def _plus_identity(affine: Affine) -> Affine:
    c_group = affine.weight.shape[1]
    diagonal = torch.eye(c_group, dtype=torch.float64).repeat(affine.groups, 1)
    return Affine(affine.weight + diagonal, affine.bias, affine.groups)


def _merged(first: Step, second: Step) -> Step | None:
    """One step for two, or ``None``."""
    if not isinstance(first, Affine):
        return None
    if isinstance(second, Scale):
        factor = second.factor.double()
        return fold_affine(first, factor, second.shift.double() - second.centre.double() * factor)
    if isinstance(second, Affine):
        one = compose(first, second)
        if one.weight.numel() <= first.weight.numel() + second.weight.numel():
            return one
    return None
