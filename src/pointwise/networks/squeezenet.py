"""SqueezeNet: fire modules, and a 1x1 that puts out class maps."""

from collections.abc import Mapping
from typing import Literal, Self

from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.networks._weights import load, rename, shape_of
from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.fire import Fire
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool

Version = Literal["1.0", "1.1"]

FIRES = {
    "fire2": (16, 64, 64),
    "fire3": (16, 64, 64),
    "fire4": (32, 128, 128),
    "fire5": (32, 128, 128),
    "fire6": (48, 192, 192),
    "fire7": (48, 192, 192),
    "fire8": (64, 256, 256),
    "fire9": (64, 256, 256),
}
"""Channels of each fire module: of the squeeze, the 1x1 and the 3x3."""

POOLED = {"1.0": ("fire4", "fire8"), "1.1": ("fire3", "fire5")}
"""The fire modules that a pool follows; another pool follows the first convolution."""

STEMS = {"1.0": (96, 7), "1.1": (64, 3)}
"""Channels and kernel of the first convolution."""


class SqueezeNet(nn.Module):
    """A convolution of stride 2, eight fire modules, and a 1x1 whose maps are averaged.

    Weights start as torchvision's do: uniform of variance ``2 / fan in`` (He et al., 2015), the
    class maps' 1x1 normal with deviation 0.01, biases 0.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        version: ``"1.0"`` is the paper's; ``"1.1"``, by the same authors, has a 3x3 stem of fewer
            channels and pools earlier: 2.3 times fewer multiplications at 224x224.
        dropout: Share of values dropped in training before the last 1x1.

    Raises:
        ValueError: If a size is not positive or the version is unknown.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``:
        21, or 17 in version 1.1.

    Reference:
        Iandola et al., SqueezeNet, 2016, table 1.

    Example:
        >>> import torch
        >>> network = SqueezeNet(10, channels=1, version="1.1")
        >>> network(torch.ones(2, 1, 32, 40)).shape
        torch.Size([2, 10])
    """

    smallest: int
    """Rows and columns that an image must have, so that every pool has something to pool."""

    def __init__(
        self,
        classes: int = 1000,
        *,
        channels: int = 3,
        version: Version = "1.0",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if version not in STEMS:
            raise ValueError(f"version must be '1.0' or '1.1', got {version!r}")
        c_in, kernel = STEMS[version]
        self.channels = channels
        self.smallest = 14 + kernel  # the stem must leave 8 positions for three pools to halve
        self.features = nn.Sequential()
        stem = ConvNormActivation(channels, c_in, kernel, stride=2, padding=0, norm=None)
        self.features.add_module("conv1", stem)
        self.features.add_module("pool1", nn.MaxPool2d(3, 2, ceil_mode=True))
        for name, sizes in FIRES.items():
            fire = Fire(c_in, *sizes)
            self.features.add_module(name, fire)
            if name in POOLED[version]:
                pool = nn.MaxPool2d(3, 2, ceil_mode=True)
                self.features.add_module(name.replace("fire", "pool"), pool)
            c_in = fire.c_out
        self.dropout = nn.Dropout(dropout)
        self.head = Projection(c_in, classes, norm=None)
        self.average = GlobalAveragePool()
        self.apply(_initialise)
        nn.init.normal_(self.head.conv.weight, std=0.01)

    def maps(self, x: Tensor) -> Tensor:
        """The class maps before they are averaged: where each class is seen.

        Args:
            x: Images of shape ``(N, channels, H, W)``.

        Returns:
            Maps of shape ``(N, classes, H', W')``, at a stride of 16 pixels.
        """
        check_input(x, self.channels, 2, self.smallest)
        out: Tensor = self.head(self.dropout(self.features(x)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        out: Tensor = self.average(self.maps(x))
        return out

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the network that a state dict of torchvision's is of, with its weights.

        Args:
            state_dict: That of ``squeezenet1_0`` or ``squeezenet1_1``, with any number of classes
                and input channels.

        Returns:
            The network; version, classes and channels are read from the shapes.

        Raises:
            ValueError: If it is not the state dict of a SqueezeNet.
        """
        _, channels, kernel, _ = shape_of(state_dict, "features.0.weight", "SqueezeNet", 4)
        classes, *_ = shape_of(state_dict, "classifier.1.weight", "SqueezeNet", 4)
        version: Version = "1.0" if kernel == STEMS["1.0"][1] else "1.1"
        network = cls(classes, channels=channels, version=version)
        return load(network, rename(state_dict, _names(network)))


def squeezenet1_0(classes: int = 1000, *, channels: int = 3) -> SqueezeNet:
    """SqueezeNet 1.0, the paper's: 1,248,424 parameters at 1000 classes.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.

    Returns:
        The network, with random weights.

    Example:
        >>> import torch
        >>> squeezenet1_0(10)(torch.ones(1, 3, 64, 64)).shape
        torch.Size([1, 10])
    """
    return SqueezeNet(classes, channels=channels, version="1.0")


def squeezenet1_1(classes: int = 1000, *, channels: int = 3) -> SqueezeNet:
    """SqueezeNet 1.1, which pools earlier: 1,235,496 parameters at 1000 classes.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.

    Returns:
        The network, with random weights.

    Example:
        >>> import torch
        >>> squeezenet1_1(10)(torch.ones(1, 3, 64, 64)).shape
        torch.Size([1, 10])
    """
    return SqueezeNet(classes, channels=channels, version="1.1")


def _names(network: SqueezeNet) -> list[tuple[str, str]]:
    """Rules that turn torchvision's names into ours: it numbers what we name as the paper does."""
    parts = [name for name, _ in network.features.named_children()]
    at = [0, *range(2, len(parts) + 1)]  # its first activation is number 1
    return [
        *((rf"^features\.{i}\.", f"features.{name}.") for i, name in zip(at, parts, strict=True)),
        (r"^features\.conv1\.", "features.conv1.conv."),
        (r"\.(squeeze|expand1x1|expand3x3)\.", r".\1.conv."),
        (r"^classifier\.1\.", "head.conv."),
    ]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | PointwiseConv):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
