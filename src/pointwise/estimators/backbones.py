"""The networks that image estimators train, by name: a closed table, also for model folders."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pointwise.errors import DataError
from pointwise.networks.network_in_network import nin_cifar, nin_mnist
from pointwise.networks.registry import NETWORKS, build
from pointwise.networks.unet import UNet
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.nn.norm import BatchNorm

MakeBackbone = Callable[..., nn.Module]
"""Makes a network from a number of classes and ``channels=``."""

SEGMENTERS = ("attention_unet", "unet")

NORMED = {"nin_cifar": nin_cifar, "nin_mnist": nin_mnist}
"""Published without norms; here with batch norms, which take large steps and need no tuning."""

CLASSIFIERS = tuple(name for name in NETWORKS if name not in SEGMENTERS)

SMALL_PIXELS = 30
"""Up to this many rows or columns ``"auto"`` takes the network of 28x28 digits."""


def classifier_config(backbone: str, classes: int, channels: int, side: int) -> dict[str, Any]:
    """The sizes from which ``build_backbone`` makes a classifying network, as JSON holds them.

    Args:
        backbone: ``"auto"`` or a name of ``CLASSIFIERS``.
        classes: Number of classes.
        channels: Number of input channels.
        side: Rows or columns of the training images, whichever are fewer.

    Returns:
        The sizes.

    Raises:
        ValueError: If no classifying network has this name; the message lists the nearest.

    Example:
        >>> classifier_config("auto", 10, 1, 28)
        {'backbone': 'nin_mnist', 'classes': 10, 'channels': 1}
    """
    if backbone == "auto":
        backbone = "nin_mnist" if side <= SMALL_PIXELS else "nin_cifar"
    if backbone in SEGMENTERS:
        raise ValueError(
            f"backbone must classify whole images, {backbone!r} classifies every pixel: "
            f"give one of {', '.join(CLASSIFIERS)}, or use Segmenter"
        )
    if backbone not in NETWORKS:
        with torch.device("meta"):
            build(backbone)  # raises, with the nearest names
    return {"backbone": backbone, "classes": classes, "channels": channels}


def build_backbone(config: Mapping[str, Any]) -> nn.Module:
    """Make a network of the sizes that a config names, with freshly drawn weights.

    Args:
        config: Sizes from ``classifier_config``, or those of a ``UNet``.

    Returns:
        The network.

    Raises:
        ValueError: If it names no network of ours.
    """
    name, classes, channels = config["backbone"], config["classes"], config["channels"]
    if name in NORMED:
        return NORMED[name](classes, channels=channels, norm=BatchNorm)
    if name == "unet":
        return UNet(
            classes,
            channels=channels,
            widths=tuple(config["widths"]),
            attention=config["attention"],
        )
    return build(name, channels=channels, classes=classes)


def blank_image_network(config: Mapping[str, Any]) -> ImageNetwork:
    """A network without values, to load a state dict into with ``assign=True``.

    Args:
        config: Sizes from ``classifier_config``, or those of a ``UNet``.

    Returns:
        The network on the meta device: whatever sizes a file names, they take no memory.
    """
    with torch.device("meta"):
        backbone = build_backbone(config)
        blank = [1.0] * config["channels"]
        return ImageNetwork(ImageScale(blank, blank), backbone)


def check_size(backbone: nn.Module, height: int, width: int) -> None:
    """Refuse images that are smaller than a network takes, where it says how many that are.

    Args:
        backbone: The network.
        height: Rows of the images.
        width: Columns of the images.

    Raises:
        DataError: If there are too few.
    """
    least = getattr(backbone, "smallest", 1)
    if isinstance(least, int) and min(height, width) < least:
        raise DataError(
            f"images must be at least {least} x {least} pixels for this network, "
            f"got {height} x {width}"
        )
