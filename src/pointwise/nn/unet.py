"""The decoder of a U-Net: from an encoder's maps back to the finest one's size."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pointwise.functional.checks import AXES, check_batches, check_finest_first, check_input
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm
from pointwise.nn.norm import BatchNorm
from pointwise.nn.resample import UpConvolution

MakeUpsample = Callable[..., nn.Module]
"""Makes what enlarges a map by two: ``UpConvolution``, ``UpProjection``. Called with ``c_in``,
``c_out`` and ``rank=``; the module is called with a map and a size, or ``None`` for twice its own.
"""

MakeGate = Callable[[int, int, int], nn.Module]
"""Makes a gate of a skip connection from its channels, the coarser map's and those between:
``AttentionGate``. The module is called with the skip connection and the coarser map."""


class DoubleConvolution(nn.Module):
    """Two 3x3 convolutions, each with its norm and activation.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels, and of those between.
        rank: Number of position axes: 1, 2 or 3.
        padded: Whether the size is kept; otherwise each convolution takes off a position at every
            end.
        norm: Makes the norm after each; ``None`` for none, as in the paper.
        activation: Makes the activation after each.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S)``, or ``(N, C_out, *S - 4)`` unpadded; channels-last
        if the input is.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015, section 2.

    Example:
        >>> DoubleConvolution(3, 8, padded=False)(torch.ones(1, 3, 12, 9)).shape
        torch.Size([1, 8, 8, 5])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        rank: int = 2,
        padded: bool = True,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.first, self.second = (
            ConvNormActivation(
                channels,
                c_out,
                3,
                rank=rank,
                padding=None if padded else 0,
                norm=norm,
                activation=activation,
                device=device,
                dtype=dtype,
            )
            for channels in (c_in, c_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S)``, less 4 positions an axis if unpadded."""
        out: Tensor = self.second(self.first(x))
        return out


class UNetStage(nn.Module):
    """One step up: enlarge the coarser map, put the skip connection beside it, convolve twice.

    Args:
        c_in: Number of channels of the coarser map.
        c_skip: Number of channels of the skip connection.
        c_out: Number of output channels, and of the enlarged map's.
        rank: Number of position axes: 1, 2 or 3.
        padded: Whether the convolutions keep the size; otherwise the skip connection is cut at its
            ends to the size of the enlarged map.
        upsample: Makes what enlarges the coarser map.
        gate: Makes the gate of the skip connection, with as many channels between as it has;
            ``None`` for none.
        norm: Makes the norm after each 3x3; ``None`` for none.
        activation: Makes the activation after each 3x3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        ``(N, C_in, *T)`` and skip ``(N, C_skip, *S)`` to ``(N, C_out, *S)``, or
        ``(N, C_out, *2T - 4)`` unpadded; channels-last if the skip connection is.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015, section 2. Gates: Oktay et al., Attention U-Net,
        2018, section 2.

    Example:
        >>> stage = UNetStage(16, 8, 8)
        >>> stage(torch.ones(1, 16, 3, 4), torch.ones(1, 8, 5, 8)).shape
        torch.Size([1, 8, 5, 8])
    """

    def __init__(
        self,
        c_in: int,
        c_skip: int,
        c_out: int,
        *,
        rank: int = 2,
        padded: bool = True,
        upsample: MakeUpsample = UpConvolution,
        gate: MakeGate | None = None,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_skip, self.rank, self.padded = c_skip, rank, padded
        self.upsample = upsample(c_in, c_out, rank=rank).to(device=device, dtype=dtype)
        self.gate = gate and gate(c_skip, c_in, c_skip).to(device=device, dtype=dtype)
        self.convs = DoubleConvolution(
            c_skip + c_out,
            c_out,
            rank=rank,
            padded=padded,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join the coarser ``x`` and ``skip`` into a map of ``skip``'s size if padded."""
        if skip.ndim != self.rank + 2 or skip.shape[1] != self.c_skip:
            shape = f"(N, {self.c_skip}, {AXES[self.rank]})"
            raise ValueError(f"skip must have shape {shape}, got {tuple(skip.shape)}")
        up = self.upsample(x, tuple(skip.shape[2:]) if self.padded else None)
        if not self.padded:
            skip = _cut(skip, tuple(up.shape[2:]))
        if self.gate is not None:
            skip = self.gate(skip, x)
        out: Tensor = self.convs(like_memory(torch.cat([skip, up], 1), skip))
        return out


class UNetDecoder(nn.Module):
    """The expanding path of a U-Net, over the maps of any encoder that halves the size each time.

    From the coarsest map on, each stage enlarges what it has to the next map's size, puts that map
    beside it and convolves twice. An encoder may round an odd size up or down: every size works.

    Args:
        c_maps: Number of channels of each of the encoder's maps, the finest map first.
        widths: Number of output channels of each stage, the finest first. Default: those of the
            maps, without the coarsest.
        rank: Number of position axes: 1, 2 or 3.
        padded: Whether the 3x3s keep the size; otherwise maps are cut at their ends to fit.
        upsample: Makes what enlarges a map: ``UpConvolution``, as in the paper, or
            ``UpProjection``, which also bridges maps that are not about half as large.
        gate: Makes the gates of the skip connections, ``AttentionGate``; ``None`` for none.
        gate_finest: Whether the finest map has a gate too. The paper's has none: it holds too
            little to tell by.
        norm: Makes the norm after each 3x3; ``None`` for none, as in the paper.
        activation: Makes the activation after each 3x3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there are less than two maps, not one width per stage, a size is not
            positive or ``rank`` is not 1 to 3.

    Shape:
        A list of ``(N, C_i, *S_i)``, the finest first, to ``(N, widths[0], *S_0)`` if padded;
        channels-last if the maps are.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015, section 2 and figure 1. Gates: Oktay et al.,
        Attention U-Net, 2018, section 2 and figure 1.

    Example:
        >>> maps = [torch.ones(1, 8, 21, 30), torch.ones(1, 16, 11, 15), torch.ones(1, 32, 5, 7)]
        >>> UNetDecoder((8, 16, 32))(maps).shape
        torch.Size([1, 8, 21, 30])
    """

    def __init__(
        self,
        c_maps: Sequence[int],
        *,
        widths: Sequence[int] | None = None,
        rank: int = 2,
        padded: bool = True,
        upsample: MakeUpsample = UpConvolution,
        gate: MakeGate | None = None,
        gate_finest: bool = False,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(c_maps) < 2:
            raise ValueError(f"c_maps must name at least 2 maps, got {len(c_maps)}")
        widths = tuple(c_maps[:-1]) if widths is None else tuple(widths)
        if len(widths) != len(c_maps) - 1:
            raise ValueError(
                f"widths must be {len(c_maps) - 1}, one per map but the coarsest, got {len(widths)}"
            )
        self.c_maps, self.rank = tuple(c_maps), rank
        coarser = (*widths[1:], c_maps[-1])
        self.stages = nn.ModuleList(
            UNetStage(
                coarser[level],
                c_maps[level],
                widths[level],
                rank=rank,
                padded=padded,
                upsample=upsample,
                gate=gate if level or gate_finest else None,
                norm=norm,
                activation=activation,
                device=device,
                dtype=dtype,
            )
            for level in range(len(widths))
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map ``(N, C_i, *S_i)``, the finest first, to ``(N, widths[0], *S_0)`` if padded."""
        if len(maps) != len(self.c_maps):
            raise ValueError(f"maps must be {len(self.c_maps)}, one per size, got {len(maps)}")
        for x, channels in zip(maps, self.c_maps, strict=True):
            check_input(x, channels, self.rank)
        check_batches(maps)
        check_finest_first(maps)
        y = maps[-1]
        for level in range(len(self.stages) - 1, -1, -1):
            y = self.stages[level](y, maps[level])
        return y


def _cut(skip: Tensor, size: tuple[int, ...]) -> Tensor:
    """The middle of ``skip``, of ``size``."""
    over = [have - want for want, have in zip(size, skip.shape[2:], strict=True)]
    if min(over) < 0:
        raise ValueError(
            f"skip must be at least as large as the enlarged map, {size}, "
            f"got {tuple(skip.shape[2:])}"
        )
    middle = (slice(rest // 2, rest // 2 + want) for rest, want in zip(over, size, strict=True))
    return skip[(slice(None), slice(None), *middle)]
