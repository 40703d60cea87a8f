"""The memory order of a network's convolutions: planar or channels-last."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The channels-last memory formats that torch has, by the number of axes."""


def planar_weights(model: nn.Module) -> Iterator[nn.Parameter]:
    """Find the weights of convolutions that do not lie channels-last yet, and can.

    Args:
        model: The network.

    Yields:
        The weights.
    """
    for module in model.modules():
        weight = module.weight if isinstance(module, _ConvNd) else None
        if not isinstance(weight, nn.Parameter) or is_lazy(weight) or weight.ndim not in FORMATS:
            continue
        if not _suggests_last(weight):
            yield weight


def lay_channels_last(model: nn.Module) -> int:
    """Lay the weights of a network's convolutions channels-last, which makes the maps follow.

    Args:
        model: The network; it is changed, but for names, shapes and values.

    Returns:
        How many weights did not lie so before.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten())
        >>> lay_channels_last(network), lay_channels_last(network)
        (1, 0)
        >>> network[0](torch.ones(1, 8, 5, 5)).stride(1)
        1
    """
    weights = list(planar_weights(model))
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=FORMATS[weight.ndim])
    return len(weights)


def lies_last(x: Tensor) -> bool:
    """Whether a map lies channels-last, and not planar.

    Args:
        x: Tensor of shape ``(N, C, *S)``.

    Returns:
        Whether it does; false where both orders are one.

    Example:
        >>> x = torch.ones(2, 3, 4, 5)
        >>> lies_last(x), lies_last(x.to(memory_format=torch.channels_last))
        (False, True)
    """
    form = FORMATS.get(x.ndim)
    return form is not None and x.is_contiguous(memory_format=form) and not x.is_contiguous()


def _suggests_last(weight: Tensor) -> bool:
    """Whether torch takes the memory for channels-last; that of 1x1 kernels looks like both."""
    return weight.stride(1) == 1 and weight.stride(-1) == weight.shape[1]
