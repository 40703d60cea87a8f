r"""Closed forms for one linear map as a chain of smaller ones, best in the metric of the data.

Notation: the map takes ``x`` to ``y = W x + b``; ``S`` is the covariance of ``x``, ``G`` a metric
of the outputs. A chain that computes ``V x`` in place of ``W x`` has the error
``tr(G (W - V) S (W - V)^T)``, which is ``E |y - v|^2`` where ``G`` is the identity and the bias is
``centred_bias``. Everything is computed in float64; moments may be rank-deficient. Leading axes
``*B`` are independent maps, such as the groups of a convolution.

A kernel is a matrix with an axis for its taps: a map of ``I`` inputs that sees ``J`` taps of each
has the weight ``(*B, O, I, J)``. Channels and all taps give a convolution cut into a 1x1 and a KxK;
channels with the taps of one axis, and the taps of the others, one cut into Kx1 and 1xK.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-8
"""Directions whose metric is below this share of the largest are taken to have that much."""

LARGE = 1024
"""Mixtures of so many inputs are found in float32, which halves the time: only their choice is then
a little off, as the last factors and the errors are told in float64 for the mixtures there are."""

JITTER = 1e-11
"""What moments get on their diagonal, as a share of its mean, for a triangular root."""


@dataclass(frozen=True)
class Factors:
    """A chain of maps that stands for one.

    Attributes:
        factors: In the order in which they are applied: ``(*B, R, I)``, then ``(*B, O, R)`` or,
            with the taps that are left, ``(*B, O, R, J)``.
        error: ``tr(G (W - V) S (W - V)^T)`` of each map, of shape ``(*B,)``.
    """

    factors: tuple[Tensor, ...]
    error: Tensor

    @property
    def matrix(self) -> Tensor:
        """The one map that the chain computes, of the shape that the weight had."""
        product, *others = self.factors
        inner = "...ri"
        for factor in others:
            if factor.ndim == self.factors[0].ndim:
                product = torch.einsum(f"...or,{inner}->...o{inner[4:]}", factor, product)
            else:
                product = torch.einsum("...orj,...ri->...oij", factor, product)
                inner = "...rij"
        return product


@dataclass(frozen=True)
class OutputFactors:
    """The best chains ``(R, D)`` then ``(O, R)`` of every rank.

    Attributes:
        rows: ``(*B, R, D)``, in falling order of what they carry.
        triangle: ``(*B, R, R)``, from the rows to the coordinates in ``basis``.
        basis: Orthonormal columns ``(*B, O, R)``.
        errors: Error of each rank from 0 on, ``(*B, R + 1)``.
    """

    rows: Tensor
    triangle: Tensor
    basis: Tensor
    errors: Tensor

    def at(self, rank: int) -> Factors:
        """The chain of one rank.

        Args:
            rank: From 1 to the number of rows.

        Returns:
            The two factors and their error.
        """
        first = self.triangle[..., :rank, :rank] @ self.rows[..., :rank, :]
        return Factors((first, self.basis[..., :rank]), self.errors[..., rank])


@dataclass(frozen=True)
class SplitFactors:
    """Chains ``(R, I)`` then ``(O, R, J)`` of every rank, the last factor the best for the first.

    Attributes:
        first: Orthonormal rows ``(*B, R, I)``, in falling order of what they carry.
        weight: The map on what the rows give, ``(*B, O, R, J)``.
        root: Lower triangular root of the moment of what the rows give, ``(*B, R * J, R * J)``; or
            ``(*B, R, R)`` where the taps are taken for independent.
        scale: The moment is the root times its transpose times this, ``(*B,)``.
        carried: The weight times the root, ``(*B, O, R, J)``: what each row adds to the outputs.
        errors: Error of each rank from 0 on, ``(*B, R + 1)``.
    """

    first: Tensor
    weight: Tensor
    root: Tensor
    scale: Tensor
    carried: Tensor
    errors: Tensor

    def at(self, rank: int) -> Factors:
        """The chain of one rank.

        Args:
            rank: From 1 to the number of rows.

        Returns:
            The two factors and their error.
        """
        matrix, width = _flat(self.weight, self.root)
        n = rank * width
        root = self.root
        # H = W_1 + W_2 S_21 S_11^-1: what the dropped rows would give, told from the kept ones
        told = torch.linalg.solve_triangular(
            root[..., :n, :n], root[..., n:, :n], upper=False, left=False
        )
        last = matrix[..., :n] + matrix[..., n:] @ told
        tensor = _unflat(last, self.weight, self.root)
        return Factors((self.first[..., :rank, :], tensor), self.errors[..., rank])

    def covariance(self, rank: int) -> Tensor:
        """The covariance of the outputs of the chain of one rank.

        Args:
            rank: From 1 to the number of rows.

        Returns:
            Of shape ``(*B, O, O)``.
        """
        known = self.carried[..., :rank, :].flatten(-2)
        covariance: Tensor = known @ known.mT * self.scale[..., None, None]
        return covariance


def output_factors(
    weight: Tensor, covariance: Tensor, *, metric: Tensor | None = None
) -> OutputFactors:
    r"""Factor a map behind its nonzero taps: the best chains for any operator with this output.

    With ``U`` the eigenvectors of ``G^1/2 Cov(y) G^1/2``, the best map of rank ``r`` is
    ``G^-1/2 U_r U_r^T G^1/2 W``, and its error the sum of the other eigenvalues. It is the
    truncated SVD of ``G^1/2 W S^1/2``, without ``S``.

    Args:
        weight: ``(*B, O, D)``.
        covariance: Covariance of the outputs, ``(*B, O, O)``; without data ``W W^T``.
        metric: ``G``, of shape ``(*B, O, O)``. Default: the identity.

    Returns:
        The chains of every rank up to ``min(O, D)``, where they are exact.

    Reference:
        Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and
        Detection, 2015, equation 4 (one-sided); Martens and Grosse, Optimizing Neural Networks with
        Kronecker-factored Approximate Curvature, 2015, section 3 (the metric).

    Example:
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> output_factors(weight, weight @ weight.T).errors
        tensor([5., 1., 0.], dtype=torch.float64)
    """
    weight, covariance = weight.double(), covariance.double()
    if metric is not None:
        metric = metric.double()
    basis = None
    if weight.shape[-1] < weight.shape[-2]:  # nothing outside the range of W can be needed
        basis, weight = torch.linalg.qr(weight)
        covariance = basis.mT @ covariance @ basis
        metric = None if metric is None else basis.mT @ metric @ basis
    root, inverse, scale = _metric_roots(metric, weight)
    values, vectors = _eigh(root @ covariance @ root)
    columns, triangle = torch.linalg.qr(inverse @ vectors)
    rows = vectors.mT @ root @ weight
    errors = _tails(values) * scale[..., None]
    return OutputFactors(rows, triangle, columns if basis is None else basis @ columns, errors)


def split_factors(weight: Tensor, moment: Tensor, *, metric: Tensor | None = None) -> SplitFactors:
    r"""Factor a map before its taps: ``R`` mixtures of the inputs, then the map of these.

    The mixtures ``A`` are the leading right singular vectors of ``G^1/2 W S^1/2`` with ``S``
    averaged over taps. Given them, the last factor is the best there is under the whole of ``S``:
    ``H = W S A^T (A S A^T)^-1``, whatever ``G``.

    Args:
        weight: ``(*B, O, I, J)``.
        moment: ``S``, of shape ``(*B, I * J, I * J)``; or ``(*B, I, I)``, of inputs at any tap: the
            taps are then taken for independent.
        metric: ``G``, of shape ``(*B, O, O)``. Default: the identity.

    Returns:
        The chains of every rank up to ``min(I, O * J)``, where they are exact.

    Raises:
        ValueError: If the moment has another shape.

    Reference:
        Jaderberg, Vedaldi and Zisserman, Speeding up Convolutional Neural Networks with Low Rank
        Expansions, 2014, section 2.2 (the chains); Zhang et al., 2015, section 3.1 (least squares).

    Example:
        >>> split_factors(torch.ones(2, 3, 1), torch.eye(3)).errors.round(decimals=6)
        tensor([6., 0., 0.], dtype=torch.float64)
    """
    weight, moment = weight.double(), moment.double()
    inputs, taps = weight.shape[-2:]
    whole = _is_whole(moment, inputs, taps)
    left = weight if metric is None else _apply(metric.double(), weight)
    marginal = _marginal(moment, inputs, taps) if whole else moment
    first = _mixtures(weight, left, marginal)
    return split_by(first, weight, moment, metric=metric)


def split_by(
    first: Tensor, weight: Tensor, moment: Tensor, *, metric: Tensor | None = None
) -> SplitFactors:
    """Factor a map before its taps by given mixtures of its inputs.

    Args:
        first: Orthonormal rows ``(*B, R, I)``, which must span all that the weight reads.
        weight: ``(*B, O, I, J)``.
        moment: As for ``split_factors``.
        metric: As for ``split_factors``.

    Returns:
        The chains of every rank, each last factor the best for its first.

    Raises:
        ValueError: If the moment has another shape.

    Example:
        >>> split_by(torch.eye(2), torch.ones(1, 2, 1), torch.eye(2)).errors.round(decimals=6)
        tensor([2., 1., 0.], dtype=torch.float64)
    """
    weight, first = weight.double(), first.double()
    inputs, taps = weight.shape[-2:]
    whole = _is_whole(moment, inputs, taps)
    moment = moment.double()
    turned = torch.einsum("...oij,...ri->...orj", weight, first)
    if whole:
        grid = moment.unflatten(-1, (inputs, taps)).unflatten(-3, (inputs, taps))
        half = torch.einsum("...ri,...ijkl->...rjkl", first, grid)
        seen = torch.einsum("...sk,...rjkl->...rjsl", first, half)
        seen = seen.flatten(-2).flatten(-3, -2)
    else:
        seen = first @ moment @ first.mT
    root, scale = _triangular_root(seen)
    carried = _unflat(_flat(turned, root)[0] @ root, turned, root)  # (*B, O, R, J)
    left = carried if metric is None else _apply(metric.double(), carried)
    values = (left * carried).sum((-3, -1)) * scale[..., None]
    return SplitFactors(first, turned, root, scale, carried, _tails(values))


def _flat(weight: Tensor, root: Tensor) -> tuple[Tensor, int]:
    """A weight with the axis of the root last, and how many entries of it a row has."""
    if root.shape[-1] == weight.shape[-2]:
        return weight.mT.flatten(-3, -2), 1  # (*B, O * J, R): the root of every tap
    return weight.flatten(-2), weight.shape[-1]  # (*B, O, R * J)


def _unflat(matrix: Tensor, weight: Tensor, root: Tensor) -> Tensor:
    """The inverse of ``_flat``: ``(*B, O, R, J)``."""
    outputs, _, taps = weight.shape[-3:]
    if root.shape[-1] == weight.shape[-2]:
        tensor: Tensor = matrix.unflatten(-2, (outputs, taps)).mT
    else:
        tensor = matrix.unflatten(-1, (-1, taps))
    return tensor


def _mixtures(weight: Tensor, left: Tensor, marginal: Tensor) -> Tensor:
    """Orthonormal rows on the inputs, in falling order of what they carry to the outputs."""
    outputs, inputs, taps = weight.shape[-3:]
    space = None
    if outputs * taps < inputs:  # nothing outside the row space of W can be needed
        rows = weight.transpose(-1, -2).flatten(-3, -2)  # (*B, O * J, I)
        space = torch.linalg.qr(rows.mT)[0]
        weight, left = (torch.einsum("...oij,...ik->...okj", w, space) for w in (weight, left))
        marginal = space.mT @ marginal @ space
    gram = torch.einsum("...oij,...okj->...ik", left, weight)
    root, _ = _triangular_root(marginal)  # L in place of S^1/2: a rotation of the same vectors
    _, singular = _eigh(root.mT @ gram @ root, quick=True)
    # V^T L^T W^T G W spans what V^T L^-1 does, without an inverse
    first = torch.linalg.qr(gram @ root @ singular)[0].mT
    mixtures: Tensor = first if space is None else first @ space.mT
    return mixtures


def _is_whole(moment: Tensor, inputs: int, taps: int) -> bool:
    size = moment.shape[-1]
    if moment.ndim < 2 or moment.shape[-2] != size or size not in (inputs, inputs * taps):
        raise ValueError(
            f"moment must have shape (..., {inputs * taps}, {inputs * taps}) or "
            f"(..., {inputs}, {inputs}), got {tuple(moment.shape)}"
        )
    return size == inputs * taps and taps > 1


def _marginal(moment: Tensor, inputs: int, taps: int) -> Tensor:
    grid = moment.unflatten(-1, (inputs, taps)).unflatten(-3, (inputs, taps))
    return torch.einsum("...ijkj->...ik", grid) / taps


def _apply(matrix: Tensor, weight: Tensor) -> Tensor:
    """Mix the outputs of ``(*B, O, I, J)``."""
    return torch.einsum("...op,...pij->...oij", matrix, weight)


def _eigh(matrix: Tensor, *, quick: bool = False) -> tuple[Tensor, Tensor]:
    """Eigenvalues, none below zero, and eigenvectors, in falling order; quick ones in float32."""
    whole = (matrix + matrix.mT) / 2
    if quick and matrix.shape[-1] >= LARGE:
        scale = whole.abs().amax((-2, -1), keepdim=True).clamp(min=1e-300)
        values, vectors = (one.double() for one in torch.linalg.eigh((whole / scale).float()))
        values = values * scale[..., 0]
    else:
        values, vectors = torch.linalg.eigh(whole)
    return values.flip(-1).clamp(min=0), vectors.flip(-1)


def _tails(values: Tensor) -> Tensor:
    """The sums of all values from each on; zero after the last."""
    sums = values.flip(-1).cumsum(-1).flip(-1)
    return torch.cat([sums, torch.zeros_like(sums[..., :1])], -1)


def _metric_roots(metric: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The square root of a metric, its inverse, and 0 where the metric is nothing, else 1."""
    one = torch.eye(weight.shape[-2], dtype=weight.dtype, device=weight.device)
    if metric is None:
        return one, one, weight.new_ones(weight.shape[:-2])
    values, vectors = _eigh(metric)
    largest = values[..., :1]
    floored = torch.where(largest > 0, torch.maximum(values, FLOOR * largest), 1.0).sqrt()
    root = vectors * floored[..., None, :] @ vectors.mT
    inverse = vectors / floored[..., None, :] @ vectors.mT
    return root, inverse, (largest[..., 0] > 0).to(weight.dtype)


def _triangular_root(moment: Tensor) -> tuple[Tensor, Tensor]:
    """``L`` and a scale so that the moment is ``scale L L^T``, whatever its rank."""
    scale = moment.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=0)
    safe = torch.where(scale > 0, scale, 1.0)
    plain = moment / safe[..., None, None]
    jitter, added = JITTER, 0.0
    while True:
        plain.diagonal(dim1=-2, dim2=-1).add_(jitter - added)
        root, info = torch.linalg.cholesky_ex(plain)  # which reads the lower half only
        if not info.any() or jitter > 1:
            return root, scale
        jitter, added = 10 * jitter, jitter
