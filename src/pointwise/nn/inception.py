"""The inception module of GoogLeNet: four branches side by side, 1x1s before what is costly."""

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input, check_rank
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection
from pointwise.nn.norm import BatchNorm

MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class InceptionBlock(nn.Module):
    """A 1x1, a 3x3, a wider KxK and a max pool side by side, their channels concatenated.

    A 1x1 reduces the channels that each KxK reads, and another projects what the pool puts out.
    The sizes stand in the order of the paper's table.

    Args:
        c_in: Number of input channels.
        c_direct: Channels of the 1x1 branch.
        c_middle: Channels of the 3x3 branch: of its 1x1, then of its 3x3.
        c_wide: Channels of the wide branch: of its 1x1, then of its KxK.
        c_pooled: Channels of the 1x1 after the 3x3 max pool.
        wide_kernel: Size of the wide branch's kernel: 5 as in the paper, or 3 as in torchvision.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm after each convolution; ``None`` for none as in the paper, they then
            have biases.
        activation: Makes the activation after each.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3, ``wide_kernel`` is even, a size is not positive, or
            ``c_middle`` or ``c_wide`` does not hold two.

    Shape:
        ``(N, C_in, *S)`` to ``(N, c_direct + c_middle[1] + c_wide[1] + c_pooled, *S)``;
        channels-last if the input is.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, 2014, figure 2b and table 1.

    Example:
        >>> block = InceptionBlock(192, 64, (96, 128), (16, 32), 32)
        >>> block(torch.ones(2, 192, 9, 9)).shape
        torch.Size([2, 256, 9, 9])
    """

    def __init__(
        self,
        c_in: int,
        c_direct: int,
        c_middle: tuple[int, int],
        c_wide: tuple[int, int],
        c_pooled: int,
        *,
        wide_kernel: int = 5,
        rank: int = 2,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        for name, pair in (("c_middle", c_middle), ("c_wide", c_wide)):
            if len(pair) != 2:
                raise ValueError(
                    f"{name} must be two: channels of its 1x1 and of its KxK, got {pair}"
                )

        def project(c_in: int, c_out: int) -> Projection:
            return Projection(
                c_in, c_out, norm=norm, activation=activation, device=device, dtype=dtype
            )

        def convolve(c_in: int, c_out: int, kernel: int) -> ConvNormActivation:
            return ConvNormActivation(
                c_in,
                c_out,
                kernel,
                rank=rank,
                norm=norm,
                activation=activation,
                device=device,
                dtype=dtype,
            )

        self.c_in, self.rank = c_in, rank
        self.c_out = c_direct + c_middle[1] + c_wide[1] + c_pooled
        self.direct = project(c_in, c_direct)
        self.middle = nn.Sequential(project(c_in, c_middle[0]), convolve(*c_middle, 3))
        self.wide = nn.Sequential(project(c_in, c_wide[0]), convolve(*c_wide, wide_kernel))
        self.pooled = nn.Sequential(MAX_POOLS[rank](3, 1, 1), project(c_in, c_pooled))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S)``."""
        check_input(x, self.c_in, self.rank)
        parts = [self.direct(x), self.middle(x), self.wide(x), self.pooled(x)]
        return like_memory(torch.cat(parts, 1), x)
