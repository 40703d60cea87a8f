"""The feature pyramid: maps of several sizes, each given what the coarser ones know."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional.checks import check_batches, check_finest_first, check_input, check_rank
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection


class FeaturePyramid(nn.Module):
    """Maps of several sizes to as many of one width, each with the coarser ones added to it.

    A 1x1 brings every map to ``c_out`` channels. From the coarsest on, each sum is enlarged to the
    next map's size by repeating positions and added to that map; a 3x3 smooths every sum.

    Args:
        c_ins: Number of channels of each map, the finest map first.
        c_out: Number of channels of every output map.
        rank: Number of position axes: 1, 2 or 3.
        coarser: Whether one more map is added: every second position of the coarsest, which is
            max pooling of size 1 and stride 2. Proposals of the largest boxes come from it.
        norm: Makes the norm after every convolution; ``None`` for none, as in the paper.
        activation: Makes the activation after every convolution. Default: none, as in the paper.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``c_ins`` is empty, a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        A list of ``(N, C_i, *S_i)``, the finest first, to a list of ``(N, C_out, *S_i)``;
        channels-last where the input is.

    Reference:
        Lin et al., Feature Pyramid Networks for Object Detection, 2017, section 3; the added map
        is in section 4.1.

    Example:
        >>> maps = [torch.ones(1, 8, 12, 16), torch.ones(1, 16, 6, 8), torch.ones(1, 32, 3, 4)]
        >>> [tuple(y.shape) for y in FeaturePyramid((8, 16, 32), 4, coarser=True)(maps)]
        [(1, 4, 12, 16), (1, 4, 6, 8), (1, 4, 3, 4), (1, 4, 2, 2)]
    """

    def __init__(
        self,
        c_ins: Sequence[int],
        c_out: int,
        *,
        rank: int = 2,
        coarser: bool = False,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.Identity,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        if not c_ins:
            raise ValueError("c_ins must name at least one map, got none")
        self.c_ins, self.rank, self.coarser = tuple(c_ins), rank, coarser
        self.laterals = nn.ModuleList(
            Projection(c_in, c_out, norm=norm, activation=activation, device=device, dtype=dtype)
            for c_in in c_ins
        )
        self.smooths = nn.ModuleList(
            ConvNormActivation(
                c_out,
                c_out,
                3,
                rank=rank,
                norm=norm,
                activation=activation,
                device=device,
                dtype=dtype,
            )
            for _ in c_ins
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolutions so that a map keeps its variance; offsets start at 0."""
        for block in (*self.laterals, *self.smooths):
            nn.init.kaiming_uniform_(block.conv.weight, a=1)  # a=1: no activation follows
            if block.conv.bias is not None:
                nn.init.zeros_(block.conv.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map ``(N, C_i, *S_i)``, the finest first, to ``(N, C_out, *S_i)``."""
        if len(maps) != len(self.c_ins):
            raise ValueError(f"maps must be {len(self.c_ins)}, one per size, got {len(maps)}")
        for x, c_in in zip(maps, self.c_ins, strict=True):
            check_input(x, c_in, self.rank)
        check_batches(maps)
        check_finest_first(maps)
        sums = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(sums) - 2, -1, -1):
            larger = F.interpolate(sums[i + 1], sums[i].shape[2:], mode="nearest")
            sums[i] = sums[i] + like_memory(larger, sums[i])
        ys = [smooth(x) for smooth, x in zip(self.smooths, sums, strict=True)]
        if self.coarser:
            ys.append(ys[-1][(slice(None), slice(None), *(slice(None, None, 2),) * self.rank)])
        return ys

    def extra_repr(self) -> str:
        """Whether a map is added, as ``print`` shows it."""
        return f"coarser={self.coarser}"
