"""Heads of detectors: for proposals and for masks."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from pointwise.functional.checks import check_rank
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.resample import UpConvolution


class RPNHead(nn.Module):
    """Region proposals: a 3x3, then one 1x1 that scores anchors and one that moves them.

    The same weights run on every map of a pyramid. Takes the place of torchvision's ``RPNHead``:
    ``FasterRCNN(..., rpn_head=RPNHead(256, 3))``.

    Args:
        c_in: Number of channels of every map.
        anchors: Number of anchor boxes at each position.
        depth: Number of 3x3 convolutions.
        rank: Number of position axes: 1, 2 or 3. A box has two numbers for each.
        norm: Makes the norm after every 3x3; ``None`` for none, as in the paper.
        activation: Makes the activation after every 3x3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        A list of ``(N, C_in, *S_i)`` to a list of ``(N, anchors, *S_i)`` and a list of
        ``(N, anchors * 2 * rank, *S_i)``; channels-last where the input is.

    Reference:
        Ren et al., Faster R-CNN, 2015, section 3.1.

    Example:
        >>> maps = [torch.ones(1, 16, 8, 8), torch.ones(1, 16, 4, 4)]
        >>> objectness, deltas = RPNHead(16, 3)(maps)
        >>> [tuple(y.shape) for y in (*objectness, *deltas)]
        [(1, 3, 8, 8), (1, 3, 4, 4), (1, 12, 8, 8), (1, 12, 4, 4)]
    """

    def __init__(
        self,
        c_in: int,
        anchors: int,
        *,
        depth: int = 1,
        rank: int = 2,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        if anchors < 1 or depth < 1:
            raise ValueError(f"anchors and depth must be at least 1: got {anchors} and {depth}")
        self.shared = _chain(
            (c_in,) * (depth + 1),
            rank=rank,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.objectness = PointwiseConv(c_in, anchors, device=device, dtype=dtype)
        self.deltas = PointwiseConv(c_in, anchors * 2 * rank, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from a Gaussian of deviation 0.01, as the paper does; offsets start at 0."""
        for layer in _convolutions_of(self):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map ``(N, C_in, *S_i)`` to the anchors' objectness and box deltas at every position."""
        shared = [self.shared(x) for x in maps]
        return [self.objectness(x) for x in shared], [self.deltas(x) for x in shared]


class MaskHead(nn.Module):
    """A mask for each class inside a region: 3x3s, a transposed convolution that doubles, a 1x1.

    It is torchvision's ``mask_head`` and ``mask_predictor`` in one, so that nothing is left for
    the second: ``MaskRCNN(..., mask_head=MaskHead(256, 91), mask_predictor=nn.Identity())``.

    Args:
        c_in: Number of input channels.
        classes: Number of classes, the background included.
        widths: Number of channels of each 3x3 convolution.
        c_up: Number of channels of the transposed convolution.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm after every 3x3; ``None`` for none, as in the paper.
        activation: Makes the activation after every convolution but the last.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        ``(R, C_in, *S)``, one sample per region, to logits ``(R, classes, *(2 * S))``;
        channels-last if the input is.

    Reference:
        He et al., Mask R-CNN, 2017, figure 4, right.

    Example:
        >>> MaskHead(16, 5, widths=(8, 8), c_up=8)(torch.ones(3, 16, 14, 14)).shape
        torch.Size([3, 5, 28, 28])
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        *,
        widths: Sequence[int] = (256, 256, 256, 256),
        c_up: int = 256,
        rank: int = 2,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank)
        sizes = (c_in, *widths, c_up, classes)
        if min(sizes) < 1:
            raise ValueError(f"c_in, widths, c_up and classes must be at least 1: got {sizes}")
        self.convs = _chain(
            sizes[:-2], rank=rank, norm=norm, activation=activation, device=device, dtype=dtype
        )
        self.up = UpConvolution(sizes[-3], c_up, rank=rank, device=device, dtype=dtype)
        self.activation = activation().to(device=device, dtype=dtype)
        self.logits = PointwiseConv(c_up, classes, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw so that gradients keep their variance through rectifiers; offsets start at 0."""
        for layer in _convolutions_of(self):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(R, C_in, *S)`` to mask logits ``(R, classes, *(2 * S))``."""
        out: Tensor = self.logits(self.activation(self.up(self.convs(x))))
        return out


def _chain(
    widths: Sequence[int],
    *,
    rank: int,
    norm: MakeNorm | None,
    activation: MakeActivation,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Sequential:
    """3x3 convolutions from each width to the next."""
    return nn.Sequential(
        *(
            ConvNormActivation(
                c_in,
                c_out,
                3,
                rank=rank,
                norm=norm,
                activation=activation,
                device=device,
                dtype=dtype,
            )
            for c_in, c_out in pairwise(widths)
        )
    )


def _convolutions_of(block: nn.Module) -> Iterator[_ConvNd | PointwiseConv]:
    """Every convolution of a block, of any kernel, the transposed one included."""
    for module in block.modules():
        if isinstance(module, _ConvNd | PointwiseConv):
            yield module
