"""U-Net and Attention U-Net: an encoder that halves, a decoder that doubles, skips between."""

import math
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional.checks import check_input, check_rank
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import MakeNorm
from pointwise.nn.dropout import Dropout
from pointwise.nn.gates import AttentionGate
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv
from pointwise.nn.resample import TRANSPOSED, UpConvolution
from pointwise.nn.unet import DoubleConvolution, MakeUpsample, UNetDecoder

Variant = Literal["padded", "paper"]

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of the paper's five sizes, the finest first."""

POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class UNet(nn.Module):
    """A U-Net: a class for every position, seen in detail and in context.

    Two 3x3s per size on the way down, with 2x2 max pooling between; the decoder on the way up; a
    1x1 to the classes. Offsets start from 0, weights from normal distributions that keep the
    variance: ``2 / N`` for ``N`` values that enter an output of a 3x3 (He et al., 2015), as in the
    paper, and ``1 / N`` where no activation follows that would halve it.

    Args:
        classes: Number of classes.
        channels: Number of input channels.
        rank: Number of position axes: 1, 2 or 3.
        widths: Number of channels at each size, the finest first.
        padded: Whether 3x3s keep the size, and the output has the input's. Otherwise they are
            unpadded as in the paper, skip connections are cut to fit, and the output is smaller:
            only positions whose whole surroundings were seen.
        attention: Whether skip connections but the finest go through attention gates.
        upsample: Makes what enlarges a map: ``UpConvolution``, as in the paper, or
            ``UpProjection``.
        norm: Makes the norm after each 3x3; ``None`` for none, as in the paper.
        dropout: Share of values dropped from the two coarsest of the encoder's maps, in training.

    Raises:
        ValueError: If there are less than two widths, a size is not positive, ``rank`` is not 1 to
            3 or ``dropout`` not a share.

    Shape:
        ``(N, channels, *S)`` to ``(N, classes, *S)`` if padded, with at least ``smallest``
        positions along every axis; channels-last if the input is.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015, section 2 and figure 1; initialisation and
        dropout in section 3. Attention: Oktay et al., Attention U-Net, 2018, section 2.

    Example:
        >>> import torch
        >>> network = UNet(11, widths=(8, 16, 32))
        >>> network.smallest, network(torch.ones(1, 3, 45, 61)).shape
        (4, torch.Size([1, 11, 45, 61]))
    """

    def __init__(
        self,
        classes: int,
        *,
        channels: int = 3,
        rank: int = 2,
        widths: Sequence[int] = WIDTHS,
        padded: bool = True,
        attention: bool = False,
        upsample: MakeUpsample = UpConvolution,
        norm: MakeNorm | None = BatchNorm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_rank(rank)
        if len(widths) < 2:
            raise ValueError(f"widths must name at least 2 sizes, got {len(widths)}")
        self.channels, self.rank, self.padded = channels, rank, padded
        self.smallest = _smallest(len(widths) - 1, padded)
        self.encoder = nn.ModuleList(
            DoubleConvolution(c_in, c_out, rank=rank, padded=padded, norm=norm)
            for c_in, c_out in zip((channels, *widths), widths, strict=False)
        )
        self.dropout = Dropout(dropout)
        self.decoder = UNetDecoder(
            widths,
            rank=rank,
            padded=padded,
            upsample=upsample,
            gate=AttentionGate if attention else None,
            norm=norm,
        )
        self.classifier = PointwiseConv(widths[0], classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights so that every map starts with about unit variance; offsets are 0."""
        convolutions = (PointwiseConv, *CONVOLUTIONS.values(), *TRANSPOSED.values())
        for module in self.modules():
            if isinstance(module, convolutions):
                halved = isinstance(module, tuple(CONVOLUTIONS.values()))  # by the ReLU after it
                nn.init.normal_(module.weight, std=math.sqrt((1 + halved) / _entering(module)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps, the finest first, each about half as large as the one before.

        Args:
            x: Input of shape ``(N, channels, *S)``.

        Returns:
            A map per width; padded, of ``ceil(S / 2 ** i)`` positions along each axis.
        """
        check_input(x, self.channels, self.rank, self.smallest)
        maps: list[Tensor] = []
        for level, convs in enumerate(self.encoder):
            if level:  # rounded up, so that what is enlarged later covers every position
                x = like_memory(POOLS[self.rank](x, 2, ceil_mode=self.padded), x)
            x = convs(x)
            if level >= len(self.encoder) - 2:
                x = self.dropout(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, *S)`` to ``(N, classes, *S)`` if padded."""
        out: Tensor = self.classifier(self.decoder(self.maps(x)))
        return out


def unet(
    classes: int = 2, *, channels: int = 3, rank: int = 2, variant: Variant = "padded"
) -> UNet:
    """U-Net: 31,030,658 parameters for the paper's 1 channel and 2 classes.

    Args:
        classes: Number of classes.
        channels: Number of input channels; the paper's images have 1.
        rank: Number of position axes: 1, 2 or 3.
        variant: ``"padded"`` keeps the size and has batch norms, and therefore no dropout;
            ``"paper"`` is as published: no padding, 572x572 pixels to 388x388 classes, no norms,
            and dropout of 0.5 at the end of the contracting path, which in the authors' files is
            after the last two of its sizes.

    Returns:
        The network, with random weights.

    Raises:
        ValueError: If the variant is unknown or a number does not fit (see ``UNet``).

    Example:
        >>> unet(channels=1, variant="paper").smallest
        188
    """
    if variant not in ("padded", "paper"):
        raise ValueError(f"variant must be 'padded' or 'paper', got {variant!r}")
    if variant == "padded":
        return UNet(classes, channels=channels, rank=rank)
    return UNet(classes, channels=channels, rank=rank, padded=False, norm=None, dropout=0.5)


def attention_unet(classes: int = 2, *, channels: int = 3, rank: int = 2) -> UNet:
    """Attention U-Net: the padded U-Net with a gate on each skip connection but the finest.

    The paper's is of rank 3 with a quarter of the channels (``UNet(..., widths=(16, 32, 64, 128,
    256))``), and is trained with losses on the coarser maps too, which this has no outputs for.

    Args:
        classes: Number of classes.
        channels: Number of input channels.
        rank: Number of position axes: 1, 2 or 3.

    Returns:
        The network, with random weights.

    Raises:
        ValueError: If a number does not fit (see ``UNet``).

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # shapes without arithmetic
        ...     attention_unet(5)(torch.empty(1, 3, 64, 80)).shape
        torch.Size([1, 5, 64, 80])
    """
    return UNet(classes, channels=channels, rank=rank, attention=True)


def _entering(layer: nn.Module) -> int:
    """How many values enter one output of a convolution."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, tuple(TRANSPOSED.values())):
        return weight.shape[0]  # its stride is its kernel: one tap, of every input channel
    return math.prod(weight.shape[1:])


def _smallest(halvings: int, padded: bool) -> int:
    """Positions that an input must have along every axis for one to be left at the output."""
    if padded:
        return int(2**halvings)
    # On the way up each halving doubles and takes off 4: of b positions at the coarsest,
    # 2 ** halvings * (b - 4) + 4 are left, at least 1. On the way down it is the other way round.
    size = 4 - 3 // 2**halvings
    for _ in range(halvings):
        size = 2 * (size + 4)
    return int(size + 4)
