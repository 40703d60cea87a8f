"""A map as a chain that is narrow on both sides of its taps, best in the metric of the data.

The notation is that of ``factor``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pointwise.functional.factor import (
    Factors,
    OutputFactors,
    SplitFactors,
    output_factors,
    split_by,
    split_factors,
)


def tucker_factors(
    weight: Tensor,
    moment: Tensor,
    ranks: tuple[int, int],
    *,
    metric: Tensor | None = None,
    sweeps: int = 1,
) -> Factors:
    r"""Factor a map on both sides of its taps: ``(R_1, I)``, ``(R_2, R_1, J)``, ``(O, R_2)``.

    Higher-order orthogonal iteration in the metric of the data. Given the mixtures of the inputs,
    the rest is the optimum: the best last factors for them, cut to the leading outputs.

    Args:
        weight: ``(*B, O, I, J)``.
        moment: As for ``split_factors``.
        ranks: ``R_1`` and ``R_2``.
        metric: ``G``, of shape ``(*B, O, O)``. Default: the identity.
        sweeps: How often the mixtures are found anew for the outputs that are left. The best of all
            sweeps is returned.

    Returns:
        The three factors and their error.

    Raises:
        ValueError: If the moment has another shape, or a rank is not possible.

    Reference:
        Kim et al., Compression of Deep Convolutional Neural Networks, 2016, section 3.1; De
        Lathauwer et al., On the Best Rank-1 and Rank-(R1, ..., RN) Approximation, 2000,
        algorithm 4.2.

    Example:
        >>> chain = tucker_factors(torch.ones(4, 3, 9), torch.eye(27), (1, 1))
        >>> [tuple(factor.shape) for factor in chain.factors]
        [(1, 3), (1, 1, 9), (4, 1)]
    """
    weight = weight.double()
    split = split_factors(weight, moment, metric=metric)
    best = tucker_outputs(split, ranks[0], metric=metric).at(ranks[1])
    for _ in range(sweeps):
        narrow = best.factors[-1]
        seen = torch.einsum("...op,...pij->...oij", narrow @ torch.linalg.pinv(narrow), weight)
        first = split_factors(seen, moment, metric=metric).first
        if first.shape[-2] < ranks[0]:
            break
        split = split_by(first, weight, moment, metric=metric)
        other = tucker_outputs(split, ranks[0], metric=metric).at(ranks[1])
        if not (other.error.sum() < best.error.sum()):
            break
        best = other
    return best


@dataclass(frozen=True)
class TuckerFactors:
    """The chains ``(R_1, I)``, ``(R_2, R_1, J)``, ``(O, R_2)`` of one ``R_1`` and every ``R_2``.

    Attributes:
        first: ``(*B, R_1, I)``.
        outputs: The chains of what follows it; their errors are on top of the error of ``R_1``.
        taps: ``J``.
        errors: Error of each ``R_2`` from 0 on, ``(*B, R + 1)``.
    """

    first: Tensor
    outputs: OutputFactors
    taps: int
    errors: Tensor

    def at(self, rank: int) -> Factors:
        """The chain of one ``R_2``.

        Args:
            rank: From 1 to the number of outputs.

        Returns:
            The three factors and their error.
        """
        core, last = self.outputs.at(rank).factors
        core = core.unflatten(-1, (-1, self.taps))
        return Factors((self.first, core, last), self.errors[..., rank])


def tucker_outputs(
    split: SplitFactors, rank: int, *, metric: Tensor | None = None
) -> TuckerFactors:
    """Cut the outputs of a chain down, too.

    Args:
        split: Chains with all outputs.
        rank: How many mixtures of the inputs to keep, ``R_1``.
        metric: ``G``, as it was given for ``split``.

    Returns:
        The chains of every ``R_2``.

    Raises:
        ValueError: If the rank is not possible.

    Example:
        >>> split = split_factors(torch.ones(4, 3, 9), torch.eye(27))
        >>> tucker_outputs(split, 2).errors.shape
        torch.Size([5])
    """
    most = split.first.shape[-2]
    if not 1 <= rank <= most:
        raise ValueError(f"rank must be from 1 to {most}, got {rank}")
    chain = split.at(rank)
    first, last = chain.factors
    outputs = output_factors(last.flatten(-2), split.covariance(rank), metric=metric)
    errors = outputs.errors + chain.error[..., None]
    return TuckerFactors(first, outputs, last.shape[-1], errors)
