"""A convolution with its norm and its activation: KxK at rank 1 to 3, and 1x1 at any rank."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pointwise.functional.checks import (
    check_groups,
    check_input,
    check_kernel,
    check_rank,
    check_stride,
)
from pointwise.functional.layout import like_memory
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv

MakeNorm = Callable[[int], nn.Module]
"""Makes a norm of so many channels: ``BatchNorm``, ``LayerNorm``, a ``functools.partial``."""

MakeActivation = Callable[[], nn.Module]
"""Makes an activation: ``nn.ReLU``, ``nn.SiLU``, ``nn.Identity`` for none."""


class Projection(nn.Module):
    """A 1x1 convolution, a norm and an activation: keeps, decreases or increases the channels.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        stride: Every how many positions along each axis are kept, the first among them.
        groups: Number of independent channel groups.
        norm: Makes the norm of ``c_out`` channels; ``None`` for none, the convolution then has a
            bias.
        activation: Makes the activation; ``nn.Identity`` for none.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``groups`` does not divide both channel counts.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``, rounded up; channels-last if the input is.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, section 3.1.

    Example:
        >>> shrink = Projection(64, 16)
        >>> shrink(torch.ones(2, 64, 9, 9)).shape, shrink(torch.ones(2, 64, 50)).shape
        (torch.Size([2, 16, 9, 9]), torch.Size([2, 16, 50]))
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_stride(stride)
        self.stride = stride
        self.conv = PointwiseConv(
            c_in, c_out, groups=groups, bias=norm is None, device=device, dtype=dtype
        )
        self.norm = norm(c_out).to(device=device, dtype=dtype) if norm else nn.Identity()
        self.activation = activation().to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S / stride)``."""
        if self.stride > 1:
            every = (slice(None, None, self.stride),) * (x.ndim - 2)
            x = x[(slice(None), slice(None), *every)]
        y = self.norm(self.conv(x))
        out: Tensor = self.activation(like_memory(y, x))  # some of torch's norms undo the order
        return out

    def extra_repr(self) -> str:
        """The stride, as ``print`` shows it."""
        return f"stride={self.stride}"


class ConvNormActivation(nn.Module):
    """A KxK convolution, a norm and an activation, at one, two or three position axes.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        kernel: Size of the kernel, along every axis or along each.
        rank: Number of position axes: 1, 2 or 3.
        stride: Step between output positions.
        padding: Zeros added on each side. Default: as many as keep the size at stride 1, for odd
            kernels.
        dilation: Step between the kernel's taps.
        groups: Number of independent channel groups.
        norm: Makes the norm of ``c_out`` channels; ``None`` for none, the convolution then has a
            bias.
        activation: Makes the activation; ``nn.Identity`` for none.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3, ``stride`` or a size of the kernel is not positive,
            a kernel without ``padding`` is even, or ``groups`` does not divide both channel counts.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S')``, with the sizes that ``nn.Conv2d`` gives;
        channels-last if the input is.

    Example:
        >>> ConvNormActivation(3, 8, 5, rank=1, stride=2)(torch.ones(2, 3, 20)).shape
        torch.Size([2, 8, 10])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, ...],
        *,
        rank: int = 2,
        stride: int = 1,
        padding: int | tuple[int, ...] | None = None,
        dilation: int = 1,
        groups: int = 1,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        check_stride(stride)
        check_kernel(kernel, rank)
        check_groups(groups, c_in, c_out)
        self.rank, self.c_in = rank, c_in
        self.conv = CONVOLUTIONS[rank](
            c_in,
            c_out,
            kernel,  # type: ignore[arg-type]
            stride,
            _same(kernel, dilation) if padding is None else padding,  # type: ignore[arg-type]
            dilation,
            groups,
            bias=norm is None,
            device=device,
            dtype=dtype,
        )
        self.norm = norm(c_out).to(device=device, dtype=dtype) if norm else nn.Identity()
        self.activation = activation().to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S')``."""
        check_input(x, self.c_in, self.rank)
        y = like_memory(self.conv(x), x)  # torch keeps channels-last at two and three axes only
        out: Tensor = self.activation(like_memory(self.norm(y), x))  # as do some of its norms
        return out


def _same(kernel: int | tuple[int, ...], dilation: int) -> int | tuple[int, ...]:
    """The padding that keeps the size."""
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    if any(size % 2 == 0 for size in sizes):
        raise ValueError(f"kernel must be odd where no padding is given, got {kernel}")
    padding = tuple(dilation * (size - 1) // 2 for size in sizes)
    return padding if isinstance(kernel, tuple) else padding[0]
