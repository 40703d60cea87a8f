"""Norms over channels at any number of position axes (``nn.BatchNorm2d`` refuses tokens)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.functional.checks import check_input
from pointwise.functional.layout import from_rows, is_channels_last, to_rows


class BatchNorm(_BatchNorm):
    """Batch normalisation: each channel over the batch and all positions.

    Args:
        channels: Number of channels.
        groups: Accepted so that every norm is made alike; channels stand alone anyway.
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Shape:
        ``(N, C, *S)`` to the same, in the same memory order.

    Reference:
        Ioffe and Szegedy, Batch Normalization, 2015.

    Example:
        >>> BatchNorm(4)(torch.randn(8, 4)).shape, BatchNorm(4)(torch.randn(8, 4, 5, 5, 5)).shape
        (torch.Size([8, 4]), torch.Size([8, 4, 5, 5, 5]))
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 1,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_groups(channels, groups)
        super().__init__(channels, eps, momentum, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Normalise ``input`` of shape ``(N, C, *S)``."""
        if input.ndim != 3 or not is_channels_last(input):
            return super().forward(input)
        return from_rows(super().forward(to_rows(input)), input)  # torch would undo the order

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  (torch's name)
        check_input(input, self.num_features)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation that learns nothing: its scale, offset and statistics are buffers.

    Detectors train on one or two large images at a time, too few for statistics of their own, and
    keep those of the classifier whose weights they start from.

    Args:
        channels: Number of channels.
        eps: Added to the variance.
        device: Where the buffers live.
        dtype: Type of the buffers.

    Raises:
        ValueError: If ``channels`` is not positive.

    Shape:
        ``(N, C, *S)`` to the same, in the same memory order.

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2015, appendix A.

    Example:
        >>> list(FrozenBatchNorm(4).parameters())
        []
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels, self.eps = channels, eps
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            full = torch.full((channels,), float(value), device=device, dtype=dtype)
            self.register_buffer(name, full)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(N, C, *S)``."""
        check_input(x, self.channels)
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        offset = self.bias - self.running_mean * scale
        along = (-1, *(1,) * (x.ndim - 2))
        return x * scale.reshape(along) + offset.reshape(along)

    def extra_repr(self) -> str:
        """Sizes, as ``print`` shows them."""
        return f"{self.channels}, eps={self.eps}"


class LayerNorm(nn.Module):
    """Layer normalisation: the channels of each position, within each group.

    Args:
        channels: Number of channels.
        groups: Number of groups normalised apart (members of an ensemble, say).
        eps: Added to the variance.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``groups`` does not divide ``channels``.

    Shape:
        ``(N, C, *S)`` to the same, in the same memory order.

    Reference:
        Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> LayerNorm(4)(torch.randn(8, 4, 5, 5)).mean(1).abs().max() < 1e-5
        tensor(True)
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 1,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_groups(channels, groups)
        self.channels, self.groups, self.eps = channels, groups, eps
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(N, C, *S)``."""
        check_input(x, self.channels)
        rows = to_rows(x)
        if self.groups == 1:
            y = F.layer_norm(rows, (self.channels,), self.weight, self.bias, self.eps)
        else:  # torch scales groups alike; the parameters here differ by channel
            split = rows.unflatten(1, (self.groups, -1))  # (P, G, C / G)
            normed = F.layer_norm(split, split.shape[2:], eps=self.eps).flatten(1)
            y = torch.addcmul(self.bias, normed, self.weight)
        return from_rows(y, x)

    def extra_repr(self) -> str:
        """Sizes, as ``print`` shows them."""
        return f"{self.channels}, groups={self.groups}, eps={self.eps}"


def _check_groups(channels: int, groups: int) -> None:
    if channels < 1 or groups < 1 or channels % groups:
        raise ValueError(f"groups must divide channels: got {groups} and {channels}")
