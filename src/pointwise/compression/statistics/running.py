"""Means and scatter of rows that come piece by piece."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class RunningMoments:
    """The mean and the covariance of rows, whatever pieces they come in.

    Pieces are merged by their means and centred scatter, so that a large mean costs no digits.

    Attributes:
        count: How many rows there were.
        mean: ``(G, D)``, in float64.
        scatter: The sum of squares about the mean, ``(G, D, D)``.

    Reference:
        Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances, 1979, equation 2.1.

    Example:
        >>> moments = RunningMoments.empty(1, 1)
        >>> for piece in ([[[1.0], [2.0]]], [[[6.0]]]):
        ...     moments.add(torch.tensor(piece, dtype=torch.float64))
        >>> moments.mean.item(), moments.covariance.item()
        (3.0, 4.666666666666667)
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def empty(cls, groups: int, size: int, device: torch.device | None = None) -> "RunningMoments":
        """Nothing yet.

        Args:
            groups: Number of groups.
            size: Numbers in a row of a group.
            device: Where to sum.

        Returns:
            The moments.
        """
        mean = torch.zeros(groups, size, dtype=torch.float64, device=device)
        return cls(0, mean, mean.new_zeros(groups, size, size))

    def add(self, rows: Tensor) -> None:
        """Take in rows.

        Args:
            rows: ``(G, P, D)`` in float64.
        """
        count = rows.shape[1]
        if count == 0:
            return
        mean = rows.mean(1)
        centred = rows - mean[:, None]
        apart = mean - self.mean
        total = self.count + count
        self.scatter += centred.mT @ centred
        self.scatter += (self.count * count / total) * apart[..., None] * apart[:, None]
        self.mean += apart * (count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """The covariance ``(G, D, D)`` of these rows, divided by their number."""
        return self.scatter / max(self.count, 1)
