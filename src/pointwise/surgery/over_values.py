"""Layers of one kind over the values of another, and what hangs on them."""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv
from pointwise.surgery.axes import KINDS, TRANSPOSED, InPlaceOf, Kind, is_transposed, sizes

PLAIN: dict[type[nn.Module], Kind] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    PointwiseConv: "pointwise",
}
"""The layers that turn into each other, and where each has the channels."""

CONV_KINDS: dict[int, Kind] = {rank: PLAIN[layer] for rank, layer in CONVOLUTIONS.items()}


def over(layer: nn.Module, target: Kind) -> nn.Module:
    """Make a layer of another kind over the same values.

    Args:
        layer: ``nn.Linear``, that of GPT-2, a 1x1 convolution or ``PointwiseConv``.
        target: The kind to make.

    Returns:
        The layer; it holds the parameters themselves where their shapes agree, else new ones over
        the same memory; a transposed weight is a copy.

    Example:
        >>> over(nn.Linear(3, 2), "conv1d")
        Conv1d(3, 2, kernel_size=(1,), stride=(1,))
    """
    c_in, c_out, groups = sizes(layer)
    bias = layer.bias is not None
    new: nn.Module
    if target == "transposed":
        with torch.device("meta"):
            new = _transposed_class()(c_out, c_in)
    elif target == "linear":
        new = nn.Linear(c_in, c_out, bias, "meta")
    elif target == "pointwise":
        new = PointwiseConv(c_in, c_out, groups=groups, bias=bias, device="meta")
    else:
        conv = next(CONVOLUTIONS[rank] for rank, kind in CONV_KINDS.items() if kind == target)
        new = conv(c_in, c_out, 1, groups=groups, bias=bias, device="meta")
    for name, made in list(new.named_parameters()):
        old = given = layer.get_parameter(name)
        if name == "weight" and (target == "transposed") != is_transposed(layer):
            matrix = old.detach().flatten(1).T.contiguous()
            old = nn.Parameter(matrix.reshape(made.shape), old.requires_grad)
        elif old.shape != made.shape:
            old = nn.Parameter(old.detach().reshape(made.shape), old.requires_grad)
        vars(old).update(vars(given))  # what an optimizer marked it with, say
        setattr(new, name, old)
    return new.train(layer.training)


def carry(old: nn.Module, new: nn.Module) -> nn.Module:
    """Hang on a new layer what someone hung on the one before it.

    Args:
        old: A pointwise layer, or an ``InPlaceOf``.
        new: What takes its place, which is changed.

    Returns:
        The new layer.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> layer.depth = 4
        >>> carry(layer, nn.Conv1d(3, 2, 1)).depth
        4
    """
    for name in vars(old).keys() - _usual_attributes():
        setattr(new, name, vars(old)[name])
    return new


@cache
def _usual_attributes() -> frozenset[str]:
    """The attributes of instances that layers have of themselves."""
    plain = [nn.Linear(1, 1, device="meta"), PointwiseConv(1, 1, device="meta")]
    layers = [*plain, *(conv(1, 1, 1, device="meta") for conv in CONVOLUTIONS.values())]
    layers += [InPlaceOf(plain[0], kind) for kind in KINDS]
    return frozenset(name for layer in layers for name in vars(layer)) | {"weight", "bias"}


def _transposed_class() -> Any:
    """The class of GPT-2's linear layer, out of the library that the model came from."""
    module, name = TRANSPOSED.rsplit(".", 1)
    return getattr(import_module(module), name)
