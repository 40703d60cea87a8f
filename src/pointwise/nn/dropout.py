"""Dropout that does not cost a third of a training step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 256
"""The share dropped is a multiple of 1 / 256: one random byte decides for one value."""


class Dropout(nn.Module):
    """Set a random share of values to zero in training, and scale the others up in turn.

    On the CPU ``nn.Dropout`` draws one random float per value, which takes as long as the matrix
    product before it; here one random byte does, so the share is rounded to a multiple of 1 / 256.
    ``benchmarks/dropout.py`` measures both.

    Args:
        p: Share of values to drop, from 0 to below 1.

    Raises:
        ValueError: If ``p`` is not such a share.

    Shape:
        Any shape to the same, strides kept.

    Reference:
        Srivastava et al., Dropout, 2014.

    Example:
        >>> dropped = Dropout(0.5)(torch.ones(10_000))
        >>> dropped.unique().tolist()
        [0.0, 2.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be a share from 0 to below 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of ``x`` if in training."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        keep = min(max(STEPS - round(self.p * STEPS), 1), STEPS - 1)
        size = x.numel()
        words = torch.empty(-(-size // 8), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.uint8)[:size]
        dense = torch.empty_like(x, device="meta")  # the strides that elementwise results take
        mask = (bits < keep).to(x.dtype).mul_(STEPS / keep).as_strided(x.shape, dense.stride())
        return x * mask

    def extra_repr(self) -> str:
        """The share, as ``print`` shows it."""
        return f"p={self.p}"
