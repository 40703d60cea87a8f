"""ResNet, ResNeXt and Wide ResNet: four stages of bottlenecks."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, Self

from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.networks._weights import draw_by_fan_out, load, rename, shape_of
from pointwise.nn.bottleneck import Bottleneck
from pointwise.nn.conv import ConvNormActivation, MakeNorm
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pooling import GlobalAveragePool

Variant = Literal["torchvision", "paper"]

TORCHVISION_NAMES = (
    *((rf"^layer{stage + 1}\.", f"stages.{stage}.") for stage in range(4)),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    *(
        (rf"^(stages\.\d+\.\d+)\.{theirs}{number}\.", rf"\1.{part}.{ours}.")
        for number, part in ((1, "reduce"), (2, "conv"), (3, "expand"))
        for theirs, ours in (("conv", "conv"), ("bn", "norm"))
    ),
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^fc\.", "head."),
)
"""Rules that turn the names of torchvision's state dicts into ours, in order."""


class ResNet(nn.Module):
    """A residual network of bottlenecks, for images of any size.

    Convolutions start from a normal distribution of variance ``2 / fan out`` (He et al., 2015), the
    1x1s too, and norms from 1 and 0, so that training from scratch works as in the reference
    implementation.

    Args:
        classes: Number of outputs.
        depths: Number of bottlenecks of each of the four stages: ``(3, 4, 6, 3)`` is ResNet-50.
        channels: Number of input channels.
        groups: Number of channel groups of the 3x3 convolutions: 32 with a ``width`` of 4 is
            ResNeXt-50 32x4d.
        width: Channels per group of the first stage's 3x3 convolutions: 128 in one group is
            Wide ResNet-50-2.
        variant: Where a stage's first block takes its stride: on the 3x3 as ``"torchvision"`` does
            (ResNet v1.5), or on the 1x1 as in the ``"paper"``.
        norm: Makes the norm of a number of channels. A detection network passes a frozen one.

    Raises:
        ValueError: If there are not four positive depths, a size is not positive, or the variant
            is unknown.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``.

    Reference:
        He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, table 1.
        Xie, Girshick, Dollar, Tu and He, Aggregated Residual Transformations, 2016, table 1.
        Zagoruyko and Komodakis, Wide Residual Networks, 2016.

    Example:
        >>> import torch
        >>> network = ResNet(10, depths=(1, 1, 1, 1), channels=1, width=8)
        >>> network(torch.ones(2, 1, 32, 40)).shape
        torch.Size([2, 10])
    """

    smallest = 32
    """Rows and columns that an image must have: the stride of the last stage."""

    def __init__(
        self,
        classes: int = 1000,
        *,
        depths: Sequence[int],
        channels: int = 3,
        groups: int = 1,
        width: int = 64,
        variant: Variant = "torchvision",
        norm: MakeNorm = BatchNorm,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or min(depths) < 1:
            raise ValueError(f"depths must be four positive counts, got {tuple(depths)}")
        if variant not in ("torchvision", "paper"):
            raise ValueError(f"variant must be 'torchvision' or 'paper', got {variant!r}")
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        self.channels = channels
        self.stem = ConvNormActivation(channels, 64, 7, stride=2, norm=norm)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(depths):
            block = partial(
                Bottleneck,
                c_mid=groups * width << stage,
                c_out=256 << stage,
                groups=groups,
                stride_on="kernel" if variant == "torchvision" else "reduce",
                norm=norm,
            )
            first = block(128 << stage if stage else 64, stride=2 if stage else 1)
            rest = (block(256 << stage) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(first, *rest))
        self.average = GlobalAveragePool()
        self.head = nn.Linear(2048, classes)
        draw_by_fan_out(self)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages, at strides of 4, 8, 16 and 32 pixels.

        Args:
            x: Images of shape ``(N, channels, H, W)``.

        Returns:
            Maps of 256, 512, 1024 and 2048 channels, with ``ceil(H / stride)`` rows.
        """
        check_input(x, self.channels, 2, self.smallest)
        y = self.pool(self.stem(x))
        maps: list[Tensor] = []
        for stage in self.stages:
            y = stage(y)
            maps.append(y)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        out: Tensor = self.head(self.average(self.maps(x)[-1]))
        return out

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the network that a state dict of torchvision's is of, with its weights.

        Args:
            state_dict: That of ``resnet50``, ``resnet101``, ``resnet152`` or of a ``resnext`` or
                ``wide_resnet``, with any number of classes and input channels.

        Returns:
            The network; depths, groups, width, classes and channels are read from the shapes.

        Raises:
            ValueError: If it is not the state dict of a ResNet of bottlenecks.
        """
        name = "ResNet of bottlenecks"
        shape_of(state_dict, "layer1.0.conv3.weight", name, 4)  # ResNet-18 and 34 have none
        c_mid, width, *_ = shape_of(state_dict, "layer1.0.conv2.weight", name, 4)
        _, channels, *_ = shape_of(state_dict, "conv1.weight", name, 4)
        classes, _ = shape_of(state_dict, "fc.weight", name, 2)
        depths = [
            sum(bool(re.match(rf"layer{stage}\.\d+\.conv3\.weight", key)) for key in state_dict)
            for stage in (1, 2, 3, 4)
        ]
        network = cls(classes, depths=depths, channels=channels, groups=c_mid // width, width=width)
        return load(network, rename(state_dict, TORCHVISION_NAMES))


def resnet50(
    classes: int = 1000,
    *,
    channels: int = 3,
    variant: Variant = "torchvision",
    norm: MakeNorm = BatchNorm,
) -> ResNet:
    """ResNet-50: 25,557,032 parameters at 1000 classes; 4,089 M multiplications at 224x224.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        variant: ``"torchvision"`` or ``"paper"``, see ``ResNet``.
        norm: Makes the norm of a number of channels.

    Returns:
        The network, with random weights.

    Example:
        >>> resnet50(10).head
        Linear(in_features=2048, out_features=10, bias=True)
    """
    return ResNet(classes, depths=(3, 4, 6, 3), channels=channels, variant=variant, norm=norm)


def resnet101(
    classes: int = 1000,
    *,
    channels: int = 3,
    variant: Variant = "torchvision",
    norm: MakeNorm = BatchNorm,
) -> ResNet:
    """ResNet-101: 44,549,160 parameters at 1000 classes; 7,801 M multiplications at 224x224.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        variant: ``"torchvision"`` or ``"paper"``, see ``ResNet``.
        norm: Makes the norm of a number of channels.

    Returns:
        The network, with random weights.

    Example:
        >>> resnet101(10).head
        Linear(in_features=2048, out_features=10, bias=True)
    """
    return ResNet(classes, depths=(3, 4, 23, 3), channels=channels, variant=variant, norm=norm)
