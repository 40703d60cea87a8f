"""Weights of networks: torchvision's renamed by rules and loaded strictly, and first ones drawn."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from pointwise.nn.pointwise import PointwiseConv

NetworkT = TypeVar("NetworkT", bound=nn.Module)

SHOWN = 3  # names that an error lists before it counts the rest


def rename(state_dict: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    r"""Rename the keys of a state dict.

    Args:
        state_dict: Tensors by name.
        rules: Pairs of a pattern and its replacement, applied in order by ``re.sub`` to every key.

    Returns:
        The same tensors under their new names, in the same order.

    Raises:
        ValueError: If two keys become one.

    Example:
        >>> list(rename({"fc.weight": None}, [(r"^fc\.", "head.")]))
        ['head.weight']
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        name = key
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ValueError(f"rules must keep names apart: {key!r} becomes {name!r}, taken before")
        renamed[name] = tensor
    return renamed


def load(network: NetworkT, state_dict: Mapping[str, Tensor]) -> NetworkT:
    """Copy every tensor of a state dict into a network that has exactly these.

    A 1x1 convolution's weight loads into a ``PointwiseConv``, whose trailing unit axes it lacks.

    Args:
        network: The network, whose own names the state dict has (see ``rename``).
        state_dict: Tensors by name.

    Returns:
        The network.

    Raises:
        ValueError: If names are missing or left over, or a shape differs.
    """
    wanted = network.state_dict()
    name = type(network).__name__
    for fault, keys in (
        ("lacks", wanted.keys() - state_dict.keys()),
        ("has also", state_dict.keys() - wanted.keys()),
    ):
        if keys:
            raise ValueError(f"state_dict must fit {name}: it {fault} {_few(sorted(keys))}")
    for key, own in wanted.items():
        given = tuple(state_dict[key].shape)
        if _without_unit_axes(given, own.ndim) != tuple(own.shape):
            raise ValueError(
                f"state_dict must fit {name}: {key} must have shape {tuple(own.shape)}, got {given}"
            )
    given_versions = getattr(state_dict, "_metadata", None)
    complete = OrderedDict(state_dict)
    # Some modules want the version of their layout, which files of tensors do not keep.
    complete._metadata = given_versions or wanted._metadata  # type: ignore[attr-defined]
    network.load_state_dict(complete)
    return network


def shape_of(
    state_dict: Mapping[str, Tensor], key: str, network: str, axes: int
) -> tuple[int, ...]:
    """The shape of a tensor from which a network's sizes are read.

    Args:
        state_dict: Tensors by name.
        key: Name of the tensor.
        network: Name of the network, for the error.
        axes: Number of axes that the tensor must have.

    Returns:
        Its shape.

    Raises:
        ValueError: If the state dict has no such tensor.
    """
    if key not in state_dict:
        raise ValueError(f"state_dict must be that of torchvision's {network}: it lacks {key}")
    shape = tuple(state_dict[key].shape)
    if len(shape) != axes:
        raise ValueError(
            f"state_dict must be that of torchvision's {network}: {key} must have {axes} axes, "
            f"got {shape}"
        )
    return shape


def _without_unit_axes(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape less its trailing unit axes beyond ``ndim``."""
    return shape[:ndim] if set(shape[ndim:]) == {1} else shape


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def draw_by_fan_out(network: nn.Module) -> None:
    """Draw every convolution, 1x1s too, with a variance of ``2 / fan out`` (He et al., 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | PointwiseConv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
