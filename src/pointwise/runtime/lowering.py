"""From modules to chains: what each kind of module computes at one position, or why not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pointwise.functional import Affine
from pointwise.nn.conv import Projection
from pointwise.nn.dropout import Dropout
from pointwise.nn.encoding import UNSEEN, CategoryEncoder, NumberEncoder
from pointwise.nn.mlp import MLP
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.table import ChannelScale, TableNetwork
from pointwise.runtime.chain import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    MOST_AXES,
    Activation,
    Axes,
    Chain,
    Clip,
    Concat,
    Impute,
    Lookup,
    Missing,
    Normalize,
    OneHot,
    Pick,
    Residual,
    Scale,
    SmoothClip,
    Softmax,
    Step,
)

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, Dropout)

BATCH_NORMS: dict[type[nn.Module], Axes] = {
    nn.BatchNorm1d: {2: -1, 3: -2},
    nn.BatchNorm2d: {4: -3},
    nn.BatchNorm3d: {5: -4},
    BatchNorm: CHANNELS_FIRST,
}

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}

SMOOTH_LIMIT = 3.0
"""Where ``NumberEncoder`` clips."""

FAR = 1e9
"""Where ``NumberEncoder`` cuts before it squares."""


class UnreadableError(Exception):
    """Carries the reason why a module is no chain of pointwise maps."""


@dataclass(frozen=True)
class Reading:
    """What a module computes.

    Attributes:
        steps: Its steps.
        axes: Inputs it takes and where their channels are; ``None`` if it treats values alone.
        c_in: Number of input channels, if the module fixes it.
    """

    steps: tuple[Step, ...]
    axes: Axes | None = None
    c_in: int | None = None


def read_chain(module: nn.Module) -> Chain | str:
    """Read a module as a chain of pointwise maps.

    Read are ``PointwiseConv``, ``MLP``, ``Projection``, the encoders and ``TableNetwork`` of this
    package, ``nn.Linear``, 1x1 convolutions, batch and layer norms, activations, ``nn.Softmax``,
    dropout in evaluation, and ``nn.Sequential`` of these. The chain shares no memory with the
    module: it holds the values that the module had when it was read.

    Args:
        module: The module, in evaluation mode.

    Returns:
        The chain, or the reason why there is none.

    Example:
        >>> read_chain(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)))
        Chain(3 -> 1: -> 8, relu, -> 1)
        >>> read_chain(nn.Conv2d(3, 8, 3))
        'Conv2d has kernel size (3, 3), not 1'
    """
    try:
        reading = read(module)
        if reading.c_in is None:
            return f"{type(module).__name__} fixes no number of channels"
        return Chain(reading.c_in, reading.steps, reading.axes)
    except UnreadableError as reason:
        return str(reason)


def read(module: nn.Module) -> Reading:
    """Read a module, also one that holds no matrix.

    Args:
        module: The module.

    Returns:
        What it computes.

    Raises:
        UnreadableError: If it is no chain of pointwise maps, with the reason.

    Example:
        >>> read(nn.ReLU()).steps
        (Activation(kind='relu', parameter=1.0, threshold=20.0),)
    """
    _check_plain(module)
    kind = type(module)
    reader: Callable[[Any], Reading] | None = READERS.get(kind)
    if reader is not None:
        return reader(module)
    raise UnreadableError(f"{kind.__name__} is not known as a pointwise map")


def join(readings: Iterable[Reading]) -> Reading:
    """Put readings one after the other.

    Args:
        readings: What modules compute that follow one another.

    Returns:
        What they compute together.

    Raises:
        UnreadableError: If no input suits all of them.

    Example:
        >>> join([read(nn.Linear(3, 2)), read(nn.ReLU())]).c_in
        3
    """
    steps: list[Step] = []
    axes: Axes | None = None
    c_in: int | None = None
    for reading in readings:
        if c_in is None:
            c_in = reading.c_in
        steps += reading.steps
        if axes is None:
            axes = reading.axes
        elif reading.axes is not None:
            axes = {n: a for n, a in axes.items() if reading.axes.get(n) == a}
            if not axes:
                raise UnreadableError("its modules find their channels along different axes")
    return Reading(tuple(steps), axes, c_in)


def _check_plain(module: nn.Module) -> None:
    name = type(module).__name__
    if parametrize.is_parametrized(module):
        raise UnreadableError(f"{name} has parametrizations")
    if module._forward_hooks or module._forward_pre_hooks:
        raise UnreadableError(f"{name} has forward hooks")
    if "forward" in vars(module):
        raise UnreadableError(f"{name} has a forward of its own on the instance")
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
            raise UnreadableError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}")
        if tensor.device.type != "cpu":
            raise UnreadableError(f"{name} is on {tensor.device.type}, not on the CPU")


def _values(tensor: Tensor) -> Tensor:
    """A float64 copy that shares nothing."""
    return tensor.detach().to(torch.float64, copy=True)


def _affine(weight: Tensor, bias: Tensor | None, groups: int = 1) -> Affine:
    return Affine(_values(weight.flatten(1)), None if bias is None else _values(bias), groups)


# --- Readers, one for each kind of module ---


def _sequential(module: nn.Sequential) -> Reading:
    return join(read(inner) for inner in module)


def _linear(module: nn.Linear) -> Reading:
    return Reading((_affine(module.weight, module.bias),), CHANNELS_LAST, module.in_features)


def _pointwise(module: PointwiseConv) -> Reading:
    step = _affine(module.weight, module.bias, module.groups)
    return Reading((step,), CHANNELS_FIRST, module.c_in)


def _convolution(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Reading:
    name = type(module).__name__
    if set(module.kernel_size) != {1}:
        raise UnreadableError(f"{name} has kernel size {module.kernel_size}, not 1")
    if set(module.stride) != {1}:
        raise UnreadableError(f"{name} has stride {module.stride}: it drops positions")
    if module.padding not in ("same", "valid") and set(module.padding) != {0}:
        raise UnreadableError(f"{name} has padding {module.padding}: it adds positions")
    axis = -1 - CONVOLUTIONS[type(module)]
    axes = {-axis: axis, 1 - axis: axis}  # with samples and without
    step = _affine(module.weight, module.bias, module.groups)
    return Reading((step,), axes, module.in_channels)


def _batch_norm(module: Any) -> Reading:
    mean, variance = module.running_mean, module.running_var
    if module.training or mean is None or variance is None:
        raise UnreadableError(
            f"{type(module).__name__} takes its statistics from the batch: call eval()"
        )
    c = module.num_features
    return Reading((_normed(module, mean, variance),), BATCH_NORMS[type(module)], c)


def _frozen_norm(module: FrozenBatchNorm) -> Reading:
    step = _normed(module, module.running_mean, module.running_var)
    return Reading((step,), CHANNELS_FIRST, module.channels)


def _normed(module: Any, mean: Tensor, variance: Tensor) -> Scale:
    factor = (_values(variance) + module.eps).rsqrt()
    if module.weight is not None:
        factor = factor * _values(module.weight)
    shift = torch.zeros_like(factor) if module.bias is None else _values(module.bias)
    return Scale(_values(mean), factor, shift)


def _layer_norm(module: LayerNorm) -> Reading:
    steps = _after_norm(module.groups, module)
    return Reading(steps, CHANNELS_FIRST, module.channels)


def _last_layer_norm(module: nn.LayerNorm) -> Reading:
    shape = tuple(module.normalized_shape)
    if len(shape) != 1:
        raise UnreadableError(f"LayerNorm covers {len(shape)} axes, not the channels alone")
    return Reading(_after_norm(1, module), CHANNELS_LAST, shape[0])


def _after_norm(groups: int, module: Any) -> tuple[Step, ...]:
    norm = Normalize(groups, module.eps)
    if module.weight is None:
        return (norm,)
    factor = _values(module.weight)
    zero = torch.zeros_like(factor)
    shift = zero if module.bias is None else _values(module.bias)
    return (norm, Scale(zero, factor, shift))


def _softmax(module: nn.Softmax) -> Reading:
    dim = module.dim
    if dim is None:
        raise UnreadableError("Softmax names no dimension")
    if dim < 0:
        axes = dict.fromkeys(range(-dim, MOST_AXES + 1), dim)
    else:
        axes = {n: dim - n for n in range(dim + 1, MOST_AXES + 1)}
    return Reading((Softmax(),), axes)


def _dropout(module: Any) -> Reading:
    if module.training and module.p > 0:
        raise UnreadableError(f"{type(module).__name__} is in training mode: call eval()")
    return Reading(())


def _mlp(module: MLP) -> Reading:
    first, *rest = module.layers
    readings = [read(first)]
    for i, layer in enumerate(rest):
        if module.norms:
            readings.append(read(module.norms[i]))
        readings += [read(module.activations[i]), read(module.dropout)]
        inner = read(layer)
        adds = module.residual and i + 1 < len(rest) and layer.c_in == layer.c_out
        readings.append(Reading((Residual(inner.steps),), inner.axes) if adds else inner)
    return join(readings)


def _projection(module: Projection) -> Reading:
    if module.stride != 1:
        raise UnreadableError(f"Projection has stride {module.stride}: it drops positions")
    return join(read(inner) for inner in (module.conv, module.norm, module.activation))


def _channel_scale(module: ChannelScale) -> Reading:
    step = _scaled(module, 1)
    return Reading((step,), CHANNELS_FIRST, module.c_in)


def _scaled(module: ChannelScale, members: int) -> Scale:
    factor = _values(module.scale).repeat(members)
    return Scale(torch.zeros_like(factor), factor, _values(module.shift).repeat(members))


def _numbers(module: NumberEncoder) -> Reading:
    centre = _values(module.centre)
    nothing, fill = torch.zeros_like(centre), Impute(centre)
    far = torch.full_like(centre, FAR)
    clipped = (
        fill,
        Scale(centre, 1 / _values(module.scale), nothing),
        Clip(-far, far),
        SmoothClip(SMOOTH_LIMIT),
    )
    gaps = (Pick(tuple(module.indicated.tolist())), Missing())
    low, width = _values(module.piece_low), _values(module.piece_width)
    zero, one = torch.zeros_like(low), torch.ones_like(low)
    columns = Pick(tuple(module.piece_column.tolist()))
    pieces = (fill, columns, Scale(low, 1 / width, zero), Clip(zero, one))
    branches: tuple[tuple[Step, ...], ...] = (clipped, gaps, pieces)
    kept = tuple(b for b in branches if not any(s == Pick(()) for s in b if isinstance(s, Pick)))
    return Reading((Concat(kept),), CHANNELS_FIRST, module.c_in)


def _categories(module: CategoryEncoder) -> Reading:
    if module.c_in == 0:
        return Reading((Concat(()),), CHANNELS_FIRST, 0)
    fill = Impute(_values(module.get_buffer("missing_code")))
    branches: list[tuple[Step, ...]] = []
    hot = tuple(int(column) for column in module.hot_column)
    if hot:
        one_hot = OneHot(_values(module.hot_code), _values(module.hot_share), UNSEEN)
        branches.append((fill, Pick(hot), one_hot))
    for column, table in zip(module.embedded, module.embeddings, strict=True):
        rows = _values(table)
        average = _values(module.get_buffer(f"share_{column}")) @ rows
        branches.append((fill, Pick((column,)), Lookup(torch.cat([rows, average[None]]))))
    return Reading((Concat(tuple(branches)),), CHANNELS_FIRST, module.c_in)


def _table(module: TableNetwork) -> Reading:
    numbers, categories = module.numbers, module.categories
    split, columns = numbers.c_in, numbers.c_in + categories.c_in
    parts = ((range(split), numbers), (range(split, columns), categories))
    branches = tuple(
        (Pick(tuple(part)), *read(encoder).steps) for part, encoder in parts if encoder.c_in
    )
    encoders = Reading((Concat(branches),), CHANNELS_FIRST, columns)
    scale = Reading((_scaled(module.scale, module.mlp.members),))
    return join([encoders, read(module.mlp), scale])


def _activation(make: Callable[[Any], Activation]) -> Callable[[Any], Reading]:
    return lambda module: Reading((make(module),))


def _gelu(module: nn.GELU) -> Activation:
    return Activation("gelu" if module.approximate == "none" else "gelu_tanh")


ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ELU: lambda m: Activation("elu", m.alpha),
    nn.GELU: _gelu,
    nn.Hardswish: lambda _: Activation("hardswish"),
    nn.LeakyReLU: lambda m: Activation("leaky_relu", m.negative_slope),
    nn.Mish: lambda _: Activation("mish"),
    nn.ReLU: lambda _: Activation("relu"),
    nn.ReLU6: lambda _: Activation("relu6"),
    nn.SELU: lambda _: Activation("selu"),
    nn.Sigmoid: lambda _: Activation("sigmoid"),
    nn.SiLU: lambda _: Activation("silu"),
    nn.Softplus: lambda m: Activation("softplus", m.beta, m.threshold),
    nn.Tanh: lambda _: Activation("tanh"),
}

READERS: dict[type[nn.Module], Callable[[Any], Reading]] = {
    nn.Sequential: _sequential,
    nn.Identity: lambda _: Reading(()),
    nn.Linear: _linear,
    nn.LayerNorm: _last_layer_norm,
    nn.Softmax: _softmax,
    PointwiseConv: _pointwise,
    MLP: _mlp,
    Projection: _projection,
    FrozenBatchNorm: _frozen_norm,
    LayerNorm: _layer_norm,
    ChannelScale: _channel_scale,
    NumberEncoder: _numbers,
    CategoryEncoder: _categories,
    TableNetwork: _table,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys(DROPOUTS, _dropout),
    **{kind: _activation(make) for kind, make in ACTIVATIONS.items()},
}
"""Exact types only: a subclass may compute something else."""
