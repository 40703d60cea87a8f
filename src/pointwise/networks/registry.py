"""The published networks by name."""

from collections.abc import Callable
from difflib import get_close_matches

from torch import nn

from pointwise.networks.googlenet import googlenet
from pointwise.networks.mobilenet_v1 import mobilenet_v1
from pointwise.networks.mobilenet_v2 import mobilenet_v2
from pointwise.networks.network_in_network import nin_cifar, nin_mnist
from pointwise.networks.resnet import resnet50, resnet101
from pointwise.networks.squeezenet import squeezenet1_0, squeezenet1_1
from pointwise.networks.unet import attention_unet, unet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "attention_unet": attention_unet,
    "googlenet": googlenet,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "nin_cifar": nin_cifar,
    "nin_mnist": nin_mnist,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "squeezenet1_0": squeezenet1_0,
    "squeezenet1_1": squeezenet1_1,
    "unet": unet,
}
"""Every network that takes one batch of images; ``mask_rcnn`` takes lists and is imported."""


def build(name: str, *, channels: int | None = None, classes: int | None = None) -> nn.Module:
    """Build a published network by its name, with freshly drawn weights.

    Args:
        name: One of ``NETWORKS``.
        channels: Number of input channels. Default: the paper's.
        classes: Number of classes. Default: the paper's.

    Returns:
        The network.

    Raises:
        ValueError: If no network has this name; the message lists the nearest.

    Example:
        >>> build("resnet5")
        Traceback (most recent call last):
        ValueError: no network is named 'resnet5': did you mean resnet50 or resnet101?
    """
    if name not in NETWORKS:
        near = get_close_matches(name.lower(), NETWORKS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(NETWORKS)}"
        raise ValueError(f"no network is named {name!r}: {hint}")
    given = {"channels": channels, "classes": classes}
    return NETWORKS[name](**{key: value for key, value in given.items() if value is not None})
