"""The fire module of SqueezeNet: a 1x1 squeezes the channels, a 1x1 and a 3x3 expand them."""

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection


class Fire(nn.Module):
    """A 1x1 that shrinks; a 1x1 and a 3x3 that widen again, side by side.

    The 3x3 reads the few channels of the squeeze, and makes only a part of the output: both save
    parameters.

    Args:
        c_in: Number of input channels.
        c_squeeze: Channels of the 1x1 that shrinks.
        c_expand1x1: Output channels that a 1x1 makes.
        c_expand3x3: Output channels that a 3x3 makes.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm after each convolution; ``None`` for none, they then have biases.
        activation: Makes the activation after each.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3 or a size is not positive.

    Shape:
        ``(N, C_in, *S)`` to ``(N, c_expand1x1 + c_expand3x3, *S)``; channels-last if the input is.

    Reference:
        Iandola et al., SqueezeNet, 2016, section 3.2.

    Example:
        >>> block = Fire(96, 16, 64, 64)
        >>> block(torch.ones(2, 96, 9, 9)).shape
        torch.Size([2, 128, 9, 9])
    """

    def __init__(
        self,
        c_in: int,
        c_squeeze: int,
        c_expand1x1: int,
        c_expand3x3: int,
        *,
        rank: int = 2,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_in, self.c_out, self.rank = c_in, c_expand1x1 + c_expand3x3, rank
        self.squeeze = Projection(
            c_in, c_squeeze, norm=norm, activation=activation, device=device, dtype=dtype
        )
        self.expand1x1 = Projection(
            c_squeeze, c_expand1x1, norm=norm, activation=activation, device=device, dtype=dtype
        )
        self.expand3x3 = ConvNormActivation(
            c_squeeze,
            c_expand3x3,
            3,
            rank=rank,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S)``."""
        check_input(x, self.c_in, self.rank)
        squeezed = self.squeeze(x)
        parts = [self.expand1x1(squeezed), self.expand3x3(squeezed)]
        return like_memory(torch.cat(parts, 1), x)
