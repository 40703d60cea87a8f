"""A KxK convolution as two: one in each channel, then one across them."""

import torch
from torch import Tensor, nn

from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection
from pointwise.nn.norm import BatchNorm


class DepthwiseSeparableConv(nn.Module):
    """A KxK convolution of each channel alone, then a 1x1 that mixes them.

    Costs ``K^D + c_out`` multiplications per input channel and output position in place of
    ``K^D * c_out``.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        kernel: Size of the kernel, along every axis or along each; odd.
        rank: Number of position axes: 1, 2 or 3.
        stride: Step between output positions.
        dilation: Step between the kernel's taps.
        between: Whether norm and activation also stand between the two convolutions, as in
            MobileNet; without them, as in Xception, the depthwise convolution has no bias either.
        norm: Makes the norm after each convolution; ``None`` for none, they then have biases.
        activation: Makes the activation after each; ``nn.Identity`` for none.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3, the kernel is even, or a size is not positive.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``, rounded up; channels-last if the input is.

    Reference:
        Howard et al., MobileNets, 2017, section 3.1 and figure 3.
        Chollet, Xception, 2016, section 3.2 and figure 10, for ``between=False``.

    Example:
        >>> DepthwiseSeparableConv(32, 64, stride=2)(torch.ones(2, 32, 9, 9)).shape
        torch.Size([2, 64, 5, 5])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        kernel: int | tuple[int, ...] = 3,
        rank: int = 2,
        stride: int = 1,
        dilation: int = 1,
        between: bool = True,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = ConvNormActivation(
            c_in,
            c_in,
            kernel,
            rank=rank,
            stride=stride,
            dilation=dilation,
            groups=c_in,
            norm=norm if between else nn.Identity,  # a norm that does nothing, so no bias
            activation=activation if between else nn.Identity,
            device=device,
            dtype=dtype,
        )
        self.pointwise = Projection(
            c_in, c_out, norm=norm, activation=activation, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out
