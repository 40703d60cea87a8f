"""The residual block of ResNet and ResNeXt: 1x1 reduce, KxK, 1x1 expand, and the sum."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection
from pointwise.nn.norm import BatchNorm

MakeGate = Callable[[int], nn.Module]
"""Makes a gate of so many channels, which keeps the shape: squeeze-excite, a spatial gate."""


class Bottleneck(nn.Module):
    """A 1x1 that shrinks, a KxK, a 1x1 that widens again, added to the input.

    The KxK costs ``K^D * c_mid^2 / groups`` multiplications per position in place of
    ``K^D * c_out^2``. The shortcut is the input itself, or a 1x1 of the block's stride where the
    shape changes.

    Args:
        c_in: Number of input channels.
        c_mid: Number of channels of the KxK convolution.
        c_out: Number of output channels.
        kernel: Size of the kernel, along every axis or along each; odd.
        rank: Number of position axes: 1, 2 or 3.
        stride: Step between output positions.
        dilation: Step between the kernel's taps.
        groups: Number of channel groups of the KxK convolution: more than one is ResNeXt.
        stride_on: Which convolution takes the stride: the ``"kernel"`` (known as ResNet v1.5) or
            the 1x1 ``"reduce"``, as in the paper.
        gate: Makes a gate of ``c_out`` channels for what is added to the shortcut, as in
            squeeze-excitation networks; ``None`` for none.
        norm: Makes the norm after each convolution; ``None`` for none, they then have biases.
        activation: Makes the activation after the first two convolutions and after the sum.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3, the kernel is even, ``groups`` does not divide
            ``c_mid``, a size is not positive, or ``stride_on`` is unknown.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``, rounded up; channels-last if the input is.

    Reference:
        He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, figure 5.
        Xie, Girshick, Dollar, Tu and He, Aggregated Residual Transformations, 2016, figure 3c.

    Example:
        >>> block = Bottleneck(64, 32, 128, stride=2)
        >>> block(torch.ones(2, 64, 9, 9)).shape
        torch.Size([2, 128, 5, 5])
    """

    def __init__(
        self,
        c_in: int,
        c_mid: int,
        c_out: int,
        *,
        kernel: int | tuple[int, ...] = 3,
        rank: int = 2,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        stride_on: Literal["kernel", "reduce"] = "kernel",
        gate: MakeGate | None = None,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if stride_on not in ("kernel", "reduce"):
            raise ValueError(f"stride_on must be 'kernel' or 'reduce', got {stride_on!r}")
        self.c_in, self.rank = c_in, rank
        reduce_stride, kernel_stride = (1, stride) if stride_on == "kernel" else (stride, 1)
        self.reduce = Projection(
            c_in,
            c_mid,
            stride=reduce_stride,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.conv = ConvNormActivation(
            c_mid,
            c_mid,
            kernel,
            rank=rank,
            stride=kernel_stride,
            dilation=dilation,
            groups=groups,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.expand = Projection(
            c_mid, c_out, norm=norm, activation=nn.Identity, device=device, dtype=dtype
        )
        self.gate = gate(c_out).to(device=device, dtype=dtype) if gate else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = Projection(
                c_in,
                c_out,
                stride=stride,
                norm=norm,
                activation=nn.Identity,
                device=device,
                dtype=dtype,
            )
        self.activation = activation().to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``."""
        check_input(x, self.c_in, self.rank)
        y = self.gate(self.expand(self.conv(self.reduce(x))))
        out: Tensor = self.activation(self.shortcut(x) + y)
        return out
