"""MobileNet V2: inverted residuals with linear bottlenecks."""

from collections.abc import Mapping
from typing import Self

from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.networks._weights import draw_by_fan_out, load, rename, shape_of
from pointwise.networks.mobilenet_v1 import scaled_channels
from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.inverted_residual import InvertedResidual
from pointwise.nn.pooling import GlobalAveragePool

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks and first stride of each stage: table 2 of the paper."""

TORCHVISION_NAMES = (
    (r"^features\.1\.conv\.0\.", "features.1.depthwise."),  # the block without expansion
    (r"^features\.1\.conv\.([12])\.", r"features.1.conv.\1+1."),
    (r"\.conv\.0\.", ".expand."),
    (r"\.conv\.1\.", ".depthwise."),
    (r"\.conv\.(?:2|1\+1)\.", ".project.0."),
    (r"\.conv\.(?:3|2\+1)\.", ".project.1."),
    (r"\.0\.(\w+)$", r".conv.\1"),
    (r"\.1\.(\w+)$", r".norm.\1"),
    (r"^classifier\.norm\.", "head."),
)
"""Rules that turn the names of torchvision's state dicts into ours, in order."""


class MobileNetV2(nn.Module):
    """A 3x3, seventeen inverted residuals and a 1x1, for images of any size.

    Convolutions start from a normal distribution of variance ``2 / fan out`` (He et al., 2015), the
    1x1s too, norms from 1 and 0, and the classifier from a normal distribution of deviation 0.01,
    so that training from scratch works as in the reference implementation.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        width: Multiplier of every layer's channels, which are then rounded to multiples of 8. The
            last 1x1 keeps 1280 channels below 1.
        dropout: Share of the features dropped before the classifier, in training.

    Raises:
        ValueError: If a size or the width is not positive.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``.

    Reference:
        Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018, table 2.

    Example:
        >>> import torch
        >>> MobileNetV2(10, channels=1, width=0.35)(torch.ones(2, 1, 32, 40)).shape
        torch.Size([2, 10])
    """

    smallest = 32
    """Rows and columns that an image must have: the stride of the last layer."""

    def __init__(
        self,
        classes: int = 1000,
        *,
        channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        self.channels = channels
        c_in = scaled_channels(32, width)
        stem = ConvNormActivation(channels, c_in, 3, stride=2, activation=nn.ReLU6)
        self.features = nn.Sequential(stem)
        for expansion, wide, depth, stride in STAGES:
            c_out = scaled_channels(wide, width)
            for step in (stride, *(1,) * (depth - 1)):
                self.features.append(
                    InvertedResidual(c_in, c_out, expansion=expansion, stride=step)
                )
                c_in = c_out
        c_out = scaled_channels(1280, max(1.0, width))
        self.features.append(Projection(c_in, c_out, activation=nn.ReLU6))
        self.average = GlobalAveragePool()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(c_out, classes)
        self._reset()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        check_input(x, self.channels, 2, self.smallest)
        out: Tensor = self.head(self.dropout(self.average(self.features(x))))
        return out

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the network that a state dict of torchvision's is of, with its weights.

        Args:
            state_dict: That of ``mobilenet_v2``, with any number of classes and input channels, and
                of any width multiplier that is a multiple of 0.025.

        Returns:
            The network; width, classes and channels are read from the shapes.

        Raises:
            ValueError: If it is not the state dict of a MobileNet V2.
        """
        name = "mobilenet_v2"
        classes, _ = shape_of(state_dict, "classifier.1.weight", name, 2)
        _, channels, *_ = shape_of(state_dict, "features.0.0.weight", name, 4)
        widest, *_ = shape_of(state_dict, "features.17.conv.2.weight", name, 4)
        network = cls(classes, channels=channels, width=widest / STAGES[-1][1])
        return load(network, rename(state_dict, TORCHVISION_NAMES))

    def _reset(self) -> None:
        draw_by_fan_out(self)
        nn.init.normal_(self.head.weight, 0, 0.01)
        nn.init.zeros_(self.head.bias)


def mobilenet_v2(classes: int = 1000, *, channels: int = 3, width: float = 1.0) -> MobileNetV2:
    """MobileNet V2: 3,504,872 parameters at 1000 classes; 300.8 M multiplications at 224x224.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        width: Multiplier of every layer's channels: 1.4, 1, 0.75, 0.5 and 0.35 in the paper.

    Returns:
        The network, with random weights.

    Example:
        >>> mobilenet_v2(10).head
        Linear(in_features=1280, out_features=10, bias=True)
    """
    return MobileNetV2(classes, channels=channels, width=width)
