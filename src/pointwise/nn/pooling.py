"""Pooling at any rank."""

from torch import Tensor, nn


class GlobalAveragePool(nn.Module):
    """The mean of every channel over all positions: maps to rows.

    Shape:
        ``(N, C, *S)`` to ``(N, C)``; rows come back as they are.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, section 3.2.

    Example:
        >>> import torch
        >>> GlobalAveragePool()(torch.ones(2, 10, 8, 8)).shape
        torch.Size([2, 10])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Average ``(N, C, *S)`` over ``*S``."""
        return x.mean(tuple(range(2, x.ndim))) if x.ndim > 2 else x
