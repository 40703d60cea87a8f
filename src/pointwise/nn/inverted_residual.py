"""The block of MobileNet V2: widen, filter each channel, shrink; the sum is between narrow maps."""

import math

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.nn.bottleneck import MakeGate
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection
from pointwise.nn.norm import BatchNorm


class InvertedResidual(nn.Module):
    """A 1x1 that widens, a KxK of each channel alone, and a 1x1 that shrinks without activation.

    The input is added where stride and channels allow it: at stride 1 and ``c_in == c_out``.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        expansion: How many times wider the inside is, rounded to whole channels; at 1 there is no
            first 1x1.
        kernel: Size of the kernel, along every axis or along each; odd.
        rank: Number of position axes: 1, 2 or 3.
        stride: Step between output positions.
        gate: Makes a gate of ``c_in * expansion`` channels for the depthwise convolution's output,
            as squeeze-excite stands in MobileNet V3; ``None`` for none.
        norm: Makes the norm after each convolution; ``None`` for none, they then have biases.
        activation: Makes the activation after the first two convolutions.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``expansion`` is below 1 or not finite, ``rank`` is not 1 to 3, the
            kernel is even, or a size is not positive.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``, rounded up; channels-last if the input is.

    Reference:
        Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018, table 1.

    Example:
        >>> InvertedResidual(24, 24)(torch.ones(2, 24, 7, 7)).shape
        torch.Size([2, 24, 7, 7])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        expansion: float = 6,
        kernel: int | tuple[int, ...] = 3,
        rank: int = 2,
        stride: int = 1,
        gate: MakeGate | None = None,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= expansion < math.inf:
            raise ValueError(f"expansion must be finite and at least 1, got {expansion}")
        self.c_in, self.rank = c_in, rank
        self.residual = stride == 1 and c_in == c_out
        c_mid = round(c_in * expansion)
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = Projection(
                c_in, c_mid, norm=norm, activation=activation, device=device, dtype=dtype
            )
        self.depthwise = ConvNormActivation(
            c_mid,
            c_mid,
            kernel,
            rank=rank,
            stride=stride,
            groups=c_mid,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.gate = gate(c_mid).to(device=device, dtype=dtype) if gate else nn.Identity()
        self.project = Projection(
            c_mid, c_out, norm=norm, activation=nn.Identity, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``."""
        check_input(x, self.c_in, self.rank)
        y: Tensor = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.residual else y

    def extra_repr(self) -> str:
        """Whether the input is added, as ``print`` shows it."""
        return f"residual={self.residual}"
