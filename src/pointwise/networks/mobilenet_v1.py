"""MobileNet V1: depthwise separable convolutions in a row."""

from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.networks._weights import draw_by_fan_out
from pointwise.nn.conv import ConvNormActivation
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.nn.separable import DepthwiseSeparableConv

LAYERS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of each separable convolution: table 1 of the paper."""


def scaled_channels(channels: int, width: float) -> int:
    """A layer's channels under a width multiplier: a multiple of 8, never 10 % too few.

    Args:
        channels: Channels at width 1.
        width: The multiplier.

    Returns:
        Channels at that width.

    Raises:
        ValueError: If the multiplier is not positive.

    Example:
        >>> scaled_channels(32, 0.75), scaled_channels(24, 0.35)
        (24, 8)
    """
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


class MobileNetV1(nn.Module):
    """A 3x3 and thirteen depthwise separable convolutions, for images of any size.

    19 in 20 of its multiplications lie in 1x1 convolutions. Convolutions start from a normal
    distribution of variance ``2 / fan out`` (He et al., 2015), the 1x1s too, and norms from 1 and
    0, so that training from scratch works.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        width: Multiplier of every layer's channels, which are then rounded to multiples of 8.

    Raises:
        ValueError: If a size or the width is not positive.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``.

    Reference:
        Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
        Applications, 2017, table 1.

    Example:
        >>> import torch
        >>> MobileNetV1(10, channels=1, width=0.25)(torch.ones(2, 1, 32, 40)).shape
        torch.Size([2, 10])
    """

    smallest = 32
    """Rows and columns that an image must have: the stride of the last layer."""

    def __init__(self, classes: int = 1000, *, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        self.channels = channels
        c_in = scaled_channels(32, width)
        self.features = nn.Sequential(ConvNormActivation(channels, c_in, 3, stride=2))
        for wide, stride in LAYERS:
            c_out = scaled_channels(wide, width)
            self.features.append(DepthwiseSeparableConv(c_in, c_out, stride=stride))
            c_in = c_out
        self.average = GlobalAveragePool()
        self.head = nn.Linear(c_in, classes)
        draw_by_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        check_input(x, self.channels, 2, self.smallest)
        out: Tensor = self.head(self.average(self.features(x)))
        return out


def mobilenet_v1(classes: int = 1000, *, channels: int = 3, width: float = 1.0) -> MobileNetV1:
    """MobileNet V1: 4,231,976 parameters at 1000 classes; 568.7 M multiplications at 224x224.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        width: Multiplier of every layer's channels: 1, 0.75, 0.5 and 0.25 in the paper.

    Returns:
        The network, with random weights.

    Example:
        >>> mobilenet_v1(10, width=0.5).head
        Linear(in_features=512, out_features=10, bias=True)
    """
    return MobileNetV1(classes, channels=channels, width=width)
