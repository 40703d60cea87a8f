"""The last factor of a chain, its bias and its error, from moments.

The notation is that of ``factor``.
"""

import torch
from torch import Tensor

SINGULAR = 1e-11
"""Directions that occur with less than this share of the largest moment are not fitted."""

SURE = 1e-7
"""Moments whose triangular root falls to no less than this share are far from singular."""


def refit_last(cross: Tensor, moment: Tensor, *, prior: Tensor | None = None) -> Tensor:
    r"""Fit the last factor of any chain, given all before it, by least squares.

    With ``z`` what the last factor sees, ``H = E[y z^T] E[z z^T]^+``. For a chain that sees the
    same input as the map itself, that is ``W S A^T (A S A^T)^+``; with ``y`` from the given network
    and ``z`` from the compressed one, errors of earlier layers are made up for, too.

    Args:
        cross: ``E[y z^T]``, of shape ``(*B, O, R)``.
        moment: ``E[z z^T]``, of shape ``(*B, R, R)``; it may be singular.
        prior: What to take where the data say nothing, ``(*B, O, R)``. Default: zero.

    Returns:
        ``H``, of shape ``(*B, O, R)``.

    Reference:
        Zhang et al., Accelerating Very Deep Convolutional Networks for
        Classification and Detection, 2015, section 3.3 (asymmetric reconstruction).

    Example:
        >>> refit_last(torch.tensor([[12.0]]), torch.tensor([[4.0]]))
        tensor([[3.]], dtype=torch.float64)
    """
    cross, moment = cross.double(), moment.double()
    if prior is None:
        prior = torch.zeros_like(cross)
    lacking = cross - prior.double() @ moment
    root, info = torch.linalg.cholesky_ex(moment)
    pivots = root.diagonal(dim1=-2, dim2=-1).square()
    if info.any() or not bool((pivots.amin(-1) > SURE * pivots.amax(-1)).all()):
        inverse = torch.linalg.pinv(moment, hermitian=True, rtol=SINGULAR)
        last: Tensor = prior.double() + lacking @ inverse
    else:  # the same, and quick
        last = prior.double() + torch.cholesky_solve(lacking.mT, root).mT
    return last


def centred_bias(bias: Tensor | None, weight: Tensor, other: Tensor, mean: Tensor) -> Tensor:
    """The bias with which a map in another's place keeps the mean output: ``b + (W - V) mu``.

    Args:
        bias: ``b``, of shape ``(*B, O)``; ``None`` for zero.
        weight: ``W``, of shape ``(*B, O, D)``.
        other: ``V``, of the same shape.
        mean: ``mu``, the mean input, of shape ``(*B, D)``.

    Returns:
        Of shape ``(*B, O)``.

    Example:
        >>> centred_bias(None, torch.tensor([[2.0]]), torch.tensor([[0.5]]), torch.tensor([4.0]))
        tensor([6.], dtype=torch.float64)
    """
    shift = ((weight.double() - other.double()) @ mean.double()[..., None])[..., 0]
    return shift if bias is None else bias.double() + shift


def quadratic_error(change: Tensor, moment: Tensor, *, metric: Tensor | None = None) -> Tensor:
    """What a change of the weights does to the outputs: ``tr(G D S D^T)``.

    Args:
        change: ``D = W - V``, of shape ``(*B, O, D)``.
        moment: ``S``, of shape ``(*B, D, D)``.
        metric: ``G``, of shape ``(*B, O, O)``. Default: the identity.

    Returns:
        Of shape ``(*B,)``.

    Example:
        >>> quadratic_error(torch.ones(1, 2), torch.eye(2))
        tensor(2., dtype=torch.float64)
    """
    change = change.double()
    left = change if metric is None else metric.double() @ change
    return ((left @ moment.double()) * change).sum((-2, -1))
