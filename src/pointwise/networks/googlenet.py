"""GoogLeNet (Inception v1): nine inception modules, with a classifier on the averaged maps."""

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.networks._weights import load, rename, shape_of
from pointwise.nn.conv import ConvNormActivation, MakeNorm, Projection
from pointwise.nn.inception import InceptionBlock
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool

Variant = Literal["torchvision", "paper"]

BLOCKS = {
    "3a": (192, 64, (96, 128), (16, 32), 32),
    "3b": (256, 128, (128, 192), (32, 96), 64),
    "4a": (480, 192, (96, 208), (16, 48), 64),
    "4b": (512, 160, (112, 224), (24, 64), 64),
    "4c": (512, 128, (128, 256), (24, 64), 64),
    "4d": (512, 112, (144, 288), (32, 64), 64),
    "4e": (528, 256, (160, 320), (32, 128), 128),
    "5a": (832, 256, (160, 320), (32, 128), 128),
    "5b": (832, 384, (192, 384), (48, 128), 128),
}
"""Channels of each inception module, as the paper's table 1 lists them."""

TORCHVISION_NAMES = (
    (r"^inception(3[ab]|4a)\.", r"early.inception\1."),
    (r"^inception(4[bcd])\.", r"middle.inception\1."),
    (r"^inception(4e|5[ab])\.", r"late.inception\1."),
    (r"\.branch1\.", ".direct."),
    (r"\.branch2\.", ".middle."),
    (r"\.branch3\.", ".wide."),
    (r"\.branch4\.", ".pooled."),
    (r"^(conv[123])\.", r"stem.\1."),
    (r"\.bn\.", ".norm."),
    (r"^fc\.", "head."),
)
"""Rules that turn the names of torchvision's state dicts into ours, in order."""


class GoogLeNetOutput(NamedTuple):
    """Logits of the network and of its two auxiliary heads, each of shape ``(N, classes)``.

    The paper adds the auxiliary losses with a weight of 0.3 each.
    """

    logits: Tensor
    auxiliary_4a: Tensor
    auxiliary_4d: Tensor


class GoogLeNet(nn.Module):
    """A stem, nine inception modules with pools between them, and a classifier on their mean.

    ``variant="paper"`` has a 5x5 in the wide branches, biases, local response norms before and
    after the stem's last two convolutions, a 3x3 fourth pool and a dropout of 0.4.
    ``"torchvision"`` has a 3x3 in the wide branches, batch norms in place of these norms and of
    the biases, a 2x2 fourth pool and a dropout of 0.2.

    Weights start as torchvision's do: normal with deviation 0.01, norms from 1 and 0. The paper
    does not say; its variant starts as BVLC's Caffe model (bvlc_googlenet) does: uniform of
    variance ``1 / fan in``, biases from 0.2, those of the classifiers from 0.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        variant: ``"torchvision"`` or ``"paper"``.
        auxiliary: Whether to classify the outputs of 4a and 4d too, in training.

    Raises:
        ValueError: If a size is not positive or the variant is unknown.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``:
        15, or 31 in the paper's variant. In training with ``auxiliary``: ``GoogLeNetOutput``.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, 2014, table 1 and figure 3.

    Example:
        >>> import torch
        >>> network = GoogLeNet(10, channels=1).eval()
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
        variant: Variant = "torchvision",
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        if variant not in ("torchvision", "paper"):
            raise ValueError(f"variant must be 'torchvision' or 'paper', got {variant!r}")
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        paper = variant == "paper"
        norm = None if paper else partial(BatchNorm, eps=1e-3)
        self.channels, self.auxiliary = channels, auxiliary
        self.smallest = 31 if paper else 15
        self.stem = _stem(channels, norm)
        self.early = _blocks(("3a", "3b", "pool3", "4a"), norm)
        self.middle = _blocks(("4b", "4c", "4d"), norm)
        self.late = _blocks(("4e", "pool4", "5a", "5b"), norm, pool=3 if paper else 2)
        self.aux1 = AuxiliaryHead(512, classes, norm=norm) if auxiliary else None
        self.aux2 = AuxiliaryHead(528, classes, norm=norm) if auxiliary else None
        self.average = GlobalAveragePool()
        self.dropout = nn.Dropout(0.4 if paper else 0.2)
        self.head = nn.Linear(1024, classes)
        self.apply(_initialise_as_caffe if paper else _initialise_as_torchvision)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutput:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        check_input(x, self.channels, 2, self.smallest)
        early = self.early(self.stem(x))
        middle = self.middle(early)
        logits: Tensor = self.head(self.dropout(self.average(self.late(middle))))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return GoogLeNetOutput(logits, self.aux1(early), self.aux2(middle))
        return logits

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the network that a state dict of torchvision's is of, with its weights.

        Torchvision's pretrained network also transforms its input (``transform_input=True``); that
        is no part of the state dict, nor of this network.

        Args:
            state_dict: That of ``googlenet``, with any number of classes and input channels, with
                or without auxiliary heads.

        Returns:
            The network; classes, channels and auxiliary heads are read from names and shapes.

        Raises:
            ValueError: If it is not the state dict of a GoogLeNet.
        """
        classes, _ = shape_of(state_dict, "fc.weight", "GoogLeNet", 2)
        _, channels, _, _ = shape_of(state_dict, "conv1.conv.weight", "GoogLeNet", 4)
        auxiliary = any(name.startswith("aux1.") for name in state_dict)
        network = cls(classes, channels=channels, auxiliary=auxiliary)
        return load(network, rename(state_dict, TORCHVISION_NAMES))


class AuxiliaryHead(nn.Module):
    """A classifier on the maps within the network, so that gradients reach its first layers.

    The paper's 5x5 mean with stride 3, which takes 14x14 to 4x4, is adaptive here, as in
    torchvision: any size goes to 4x4.

    Args:
        c_in: Number of input channels.
        classes: Number of outputs.
        norm: Makes the norm after the 1x1; ``None`` for none, it then has a bias.

    Shape:
        ``(N, C_in, H, W)`` to ``(N, classes)``.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, 2014, section 5.

    Example:
        >>> import torch
        >>> AuxiliaryHead(512, 10)(torch.ones(2, 512, 14, 14)).shape
        torch.Size([2, 10])
    """

    def __init__(self, c_in: int, classes: int, *, norm: MakeNorm | None = BatchNorm) -> None:
        super().__init__()
        self.conv = Projection(c_in, 128, norm=norm)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, H, W)`` to ``(N, classes)``."""
        y = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        out: Tensor = self.fc2(self.dropout(F.relu(self.fc1(y))))
        return out


class ResponseNorm(nn.LocalResponseNorm):
    """Local response norm that also takes half precision, where torch has no kernel: in float32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Divide each value by what the channels around it hold at its position."""
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        return super().forward(wide).to(input.dtype)


def googlenet(
    classes: int = 1000,
    *,
    channels: int = 3,
    variant: Variant = "torchvision",
    auxiliary: bool = False,
) -> GoogLeNet:
    """GoogLeNet: 6,624,904 parameters at 1000 classes; 6,998,552 in the paper's variant.

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        variant: ``"torchvision"`` or ``"paper"``, see ``GoogLeNet``.
        auxiliary: Whether to classify the outputs of 4a and 4d too, in training.

    Returns:
        The network, with random weights.

    Example:
        >>> googlenet(10).head
        Linear(in_features=1024, out_features=10, bias=True)
    """
    return GoogLeNet(classes, channels=channels, variant=variant, auxiliary=auxiliary)


def _stem(channels: int, norm: MakeNorm | None) -> nn.Sequential:
    """What comes before the inception modules: without a norm, with local response norms."""
    stem = nn.Sequential()
    stem.add_module("conv1", ConvNormActivation(channels, 64, 7, stride=2, norm=norm))
    stem.add_module("pool1", _pool())
    if norm is None:
        stem.add_module("norm1", ResponseNorm(5))
    stem.add_module("conv2", Projection(64, 64, norm=norm))
    stem.add_module("conv3", ConvNormActivation(64, 192, 3, norm=norm))
    if norm is None:
        stem.add_module("norm2", ResponseNorm(5))
    stem.add_module("pool2", _pool())
    return stem


def _blocks(names: tuple[str, ...], norm: MakeNorm | None, *, pool: int = 3) -> nn.Sequential:
    """Inception modules and pools, by their names in the paper's table 1."""
    blocks = nn.Sequential()
    for name in names:
        if name in BLOCKS:
            wide = 5 if norm is None else 3
            block = InceptionBlock(*BLOCKS[name], wide_kernel=wide, norm=norm)
            blocks.add_module(f"inception{name}", block)
        else:
            blocks.add_module(name, _pool(pool))
    return blocks


def _pool(kernel: int = 3) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def _initialise_as_torchvision(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | PointwiseConv | nn.Linear):
        nn.init.normal_(module.weight, std=0.01)


def _initialise_as_caffe(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | PointwiseConv | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
        if module.bias is not None:
            nn.init.constant_(module.bias, 0.2)
    for name in ("head", "fc2"):  # a classifier stands below the module that holds it
        classifier = getattr(module, name, None)
        if isinstance(classifier, nn.Linear):
            nn.init.zeros_(classifier.bias)
