"""The mlpconv layer of Network in Network: a small MLP slides over the input."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection


class MLPConv(nn.Module):
    """A KxK convolution followed by any number of 1x1s, each with its norm and activation.

    The 1x1s are the paper's cross-channel parametric pooling: at every position an MLP reads the
    patch around it. With a single width it is a plain convolution.

    Args:
        c_in: Number of input channels.
        widths: Channels that the KxK convolution puts out, then those of each 1x1; the last are
            the block's output channels.
        kernel: Size of the KxK kernel, along every axis or along each.
        rank: Number of position axes: 1, 2 or 3.
        stride: Step between output positions.
        padding: Zeros added on each side. Default: as many as keep the size at stride 1, for odd
            kernels.
        norm: Makes the norm after each convolution; ``None`` for none, they then have biases.
        activation: Makes the activation after each.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there are no widths, a size is not positive, ``rank`` is not 1 to 3, or a
            kernel without ``padding`` is even.

    Shape:
        ``(N, C_in, *S)`` to ``(N, widths[-1], *S')``, with the sizes that ``nn.Conv2d`` gives;
        channels-last if the input is.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, section 3.1.

    Example:
        >>> block = MLPConv(3, (192, 160, 96), kernel=5)
        >>> block(torch.ones(2, 3, 32, 32)).shape
        torch.Size([2, 96, 32, 32])
    """

    def __init__(
        self,
        c_in: int,
        widths: Sequence[int],
        *,
        kernel: int | tuple[int, ...],
        rank: int = 2,
        stride: int = 1,
        padding: int | tuple[int, ...] | None = None,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError(f"widths must name the KxK convolution's at least, got {widths!r}")
        self.c_in, self.c_out, self.rank = c_in, widths[-1], rank
        self.conv = ConvNormActivation(
            c_in,
            widths[0],
            kernel,
            rank=rank,
            stride=stride,
            padding=padding,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.mlp = nn.Sequential(
            *(
                Projection(a, b, norm=norm, activation=activation, device=device, dtype=dtype)
                for a, b in pairwise(widths)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S')``."""
        check_input(x, self.c_in, self.rank)
        out: Tensor = self.mlp(self.conv(x))
        return out
