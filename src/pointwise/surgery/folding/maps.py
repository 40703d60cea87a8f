"""Linear layers as one matrix on the patches that they see, and matrices back into such layers.

A convolution is a pointwise map on unfolded patches: ``C_in * K`` channels, the taps innermost. So
the algebra of pointwise maps holds for kernels too. All of it is done in float64.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pointwise.functional import Affine, compose, fold_affine
from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

LINEAR_MAPS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    PointwiseConv,
    *CONVOLUTIONS.values(),
    *TRANSPOSED,
)
"""The layers that are linear maps, but for their offset; subclasses may be something else."""


def read(layer: nn.Module) -> Affine:
    """A layer as a map on patches, in float64."""
    weight, bias, groups = _parts(layer)
    if isinstance(layer, TRANSPOSED):  # (C_in, C_out / G, *K) to (C_out, C_in / G, *K)
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    matrix = weight.detach().double().flatten(1)
    return Affine(matrix, None if bias is None else bias.detach().double(), groups)


def write(layer: nn.Module, affine: Affine) -> nn.Module:
    """A layer like another in all but its channels and values.

    Args:
        layer: One of ``LINEAR_MAPS``; its kernel, stride, padding, type and device are kept.
        affine: The map on patches.

    Returns:
        The new layer; what it has in place of a missing offset learns if the weight does.
    """
    old_weight, old_bias, _ = _parts(layer)
    new: Any = copy.copy(layer)
    new._parameters = dict(layer._parameters)
    kernel = old_weight.shape[2:]
    c_out, groups = affine.c_out, affine.groups
    weight = affine.weight.unflatten(1, (-1, *kernel))
    c_in = weight.shape[1] * groups
    if isinstance(layer, TRANSPOSED):
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    new.weight = _parameter(weight, old_weight, old_weight.requires_grad)
    if affine.bias is not None:
        like = old_weight if old_bias is None else old_bias
        new.bias = _parameter(affine.bias, like, like.requires_grad)
    if isinstance(layer, nn.Linear):
        new.in_features, new.out_features = c_in, c_out
    elif isinstance(layer, PointwiseConv):
        new.c_in, new.c_out, new.groups = c_in, c_out, groups
    else:
        new.in_channels, new.out_channels, new.groups = c_in, c_out, groups
    return new  # type: ignore[no-any-return]


def scaled_after(layer: nn.Module, scale: Tensor, shift: Tensor | None) -> nn.Module:
    """The layer followed by a scaling of each channel."""
    return write(layer, fold_affine(read(layer), scale, shift))


def scaled_before(layer: nn.Module, scale: Tensor, shift: Tensor | None) -> nn.Module:
    """The layer after a scaling of each channel of its input; see ``takes_offsets``."""
    k = taps(layer)
    wide = None if shift is None else shift.repeat_interleave(k)
    return write(layer, fold_affine(read(layer), scale.repeat_interleave(k), wide, before=True))


def with_offset(layer: nn.Module) -> nn.Module:
    """The layer with an offset, of zeros if it has none."""
    known = read(layer)
    if known.bias is not None:
        return layer
    return write(layer, known._replace(bias=known.weight.new_zeros(known.c_out)))


def merged_first(first: nn.Module, second: nn.Module) -> nn.Module:
    """A layer and the pointwise one after it as one; it takes the place of the first."""
    return write(first, compose(read(first), read(second)))


def merged_second(first: nn.Module, second: nn.Module) -> nn.Module:
    """A pointwise layer and any one after it as one; it takes the place of the second."""
    one, two, k = read(first), read(second), taps(second)
    by_tap = two.weight.unflatten(1, (-1, k)).unbind(2)
    parts = [compose(Affine(one.weight, None, one.groups), two._replace(weight=w)) for w in by_tap]
    weight = torch.stack([part.weight for part in parts], 2).flatten(1)
    bias = two.bias if one.bias is None else two(one.bias.repeat_interleave(k)[None])[0]
    return write(second, Affine(weight, bias, parts[0].groups))


def taps(layer: nn.Module) -> int:
    """How many positions the kernel of a layer reads."""
    return math.prod(_parts(layer)[0].shape[2:])


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer maps each position by itself and keeps them all."""
    if not isinstance(layer, _ConvNd):
        return True
    padded = isinstance(layer.padding, tuple) and set(layer.padding) != {0}
    return taps(layer) == 1 and set(layer.stride) == {1} and not (padded or _is_transposed(layer))


def takes_offsets(layer: nn.Module) -> str | None:
    """Why an offset of the input cannot go into the layer's own offset.

    Zeros that the layer itself puts around its input have no offset, and the outputs of a
    transposed convolution do not all see the same taps. Padding that repeats the input is no
    hindrance.

    Args:
        layer: One of ``LINEAR_MAPS``.

    Returns:
        What it is that speaks against it; ``None`` if it can.
    """
    if not isinstance(layer, _ConvNd):
        return None
    if _is_transposed(layer):
        return "a transposed convolution, whose outputs at the border see fewer taps"
    padded = layer.padding not in ("valid", (0,) * len(layer.kernel_size))
    if layer.padding == "same" and taps(layer) == 1:
        return None
    if padded and layer.padding_mode == "zeros":
        return "padded with zeros, which the offset is not added to"
    return None


def channel_axis(layer: nn.Module, ndim: int) -> int:
    """Which axis of a tensor with so many axes the layer reads and writes channels on."""
    if isinstance(layer, nn.Linear):
        return ndim - 1
    if isinstance(layer, _ConvNd):
        return ndim - len(layer.kernel_size) - 1
    return 1


def channels(layer: nn.Module) -> tuple[int, int]:
    """Input and output channels."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, PointwiseConv):
        return layer.c_in, layer.c_out
    assert isinstance(layer, _ConvNd)
    return layer.in_channels, layer.out_channels


def groups_of(layer: nn.Module) -> int:
    """Number of channel groups."""
    return _parts(layer)[2]


def weights_of(layer: nn.Module) -> int:
    """Number of weights, offsets not counted."""
    return _parts(layer)[0].numel()


def macs(layer: nn.Module, shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> int:
    """Multiply-adds of a layer between tensors of these shapes."""
    c_in, c_out = channels(layer)
    if isinstance(layer, TRANSPOSED):
        return weights_of(layer) * math.prod(shape_in) // c_in
    return weights_of(layer) * math.prod(shape_out) // c_out


def _is_transposed(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvTransposeNd)


def _parts(layer: nn.Module) -> tuple[Tensor, Tensor | None, int]:
    known: Any = layer
    groups = 1 if isinstance(layer, nn.Linear) else known.groups
    return known.weight, known.bias, groups


def _parameter(values: Tensor, like: Tensor, requires_grad: bool) -> nn.Parameter:
    """Values in the type, on the device and, if the shape is the same, in the order of another."""
    if values.shape == like.shape:
        new = torch.empty_like(like).copy_(values)
    else:
        new = values.to(like.dtype).contiguous()
    return nn.Parameter(new.detach(), requires_grad=requires_grad)
