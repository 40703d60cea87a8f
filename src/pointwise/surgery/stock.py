"""Networks of this package as torch modules only, which need the package no more."""

import inspect
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.dropout import Dropout
from pointwise.nn.norm import BatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.conversion import CONV_KINDS, over
from pointwise.surgery.equivalence import Example, call, evaluating
from pointwise.surgery.holders import held_outside
from pointwise.surgery.inlining import inline
from pointwise.surgery.replace import replace_named
from pointwise.surgery.swap import Swap

BATCH_NORMS: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
POOLS: dict[int, type[nn.Module]] = {
    3: nn.AdaptiveAvgPool1d,
    4: nn.AdaptiveAvgPool2d,
    5: nn.AdaptiveAvgPool3d,
}

LEAVES = (PointwiseConv, BatchNorm, Dropout, GlobalAveragePool)
"""Layers that have a counterpart in torch for each rank."""


@dataclass
class _Seen:
    """How a module is called: the first call, and what all calls look like."""

    inputs: dict[str, Any]
    forms: set[str] = field(default_factory=set)

    @property
    def ndim(self) -> int:
        """The number of axes of the first argument."""
        x = next(iter(self.inputs.values()))
        return x.ndim if isinstance(x, Tensor) else -1


def to_torch(
    model: nn.Module,
    example: Example,
    *,
    in_place: bool = False,
) -> tuple[nn.Module, list[Swap]]:
    """Turn a network of this package into torch modules only.

    Layers become torch's layers of the rank that they are called with, blocks and networks become
    ``torch.fx.GraphModule``, with the names and parameters of their parts. The result can be
    pickled, scripted and exported where this package is not installed, and trained on; it takes
    inputs of any batch and size, of as many axes as the example has.

    Args:
        model: Any model; what is not of this package stays.
        example: An input to run once; a sequence for several arguments, a mapping for arguments by
            name.
        in_place: Whether to change the model itself in place of a copy.

    Returns:
        The new model, and what became of every module of this package; what was left alone still
        needs the package.

    Example:
        >>> new, swaps = to_torch(PointwiseConv(3, 2), torch.ones(5, 3, 4, 4))
        >>> new
        Conv2d(3, 2, kernel_size=(1, 1), stride=(1, 1))
    """
    held = held_outside(model, copied=not in_place)
    seen, read = _calls(model, example)

    def layer(path: str, module: nn.Module) -> nn.Module | str | None:
        return _layer(module, seen.get(path)) if type(module) in LEAVES else None

    left: list[str] = []

    def block(path: str, module: nn.Module) -> nn.Module | str | None:
        inside = any(f"{path}.".startswith(f"{outer}." if outer else "") for outer in left)
        if inside or type(module) in LEAVES or not _is_ours(module):
            return None
        made = whole(path, module)
        if isinstance(made, str):
            left.append(path)  # what it does with its parts is unknown
        return made

    def whole(path: str, module: nn.Module) -> nn.Module | str:
        if path in read:
            return "a module reads its weight in the old shape, which no module of torch gives"
        inner = next(
            (held[name] for name in held if f"{name}.".startswith(f"{path}." if path else "")), None
        )
        return inner or _block(module, seen.get(path))

    new, layers = replace_named(model, layer, in_place=in_place)
    new, blocks = replace_named(new, block, in_place=True)
    return new, layers + blocks


def _is_ours(module: nn.Module) -> bool:
    """Whether a class of this package is among a module's classes."""
    return any(base.__module__.split(".")[0] == "pointwise" for base in type(module).__mro__)


def _holds_ours(module: nn.Module) -> bool:
    """Whether a module must be written out for what is in it."""
    return type(module) not in LEAVES and any(
        _is_ours(part) for part in module.modules() if type(part) not in LEAVES
    )


def _calls(model: nn.Module, example: Example) -> tuple[dict[str, _Seen], set[str]]:
    """Run the example: how each module of ours is called, by first path; whose weights are read."""
    seen: dict[str, _Seen] = {}
    read: set[str] = set()

    def note(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            inputs = _by_name(module, args, named)
            seen.setdefault(path, _Seen(inputs)).forms.add(_form(inputs))

        return hook

    ours = [(path, module) for path, module in model.named_modules() if _is_ours(module)]
    handles = [
        module.register_forward_pre_hook(note(path), with_kwargs=True) for path, module in ours
    ]
    stand_ins = {path: module for path, module in ours if isinstance(module, InPlaceOf)}
    for path, module in stand_ins.items():
        module.on_read = partial(read.add, path)
    try:
        with evaluating(model), torch.no_grad():
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
        for module in stand_ins.values():
            module.on_read = None
    return seen, read


def _by_name(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by the forward's names for them, as ``inline`` takes them."""
    signature = inspect.signature(module.forward)
    bound = signature.bind(*args, **named)
    bound.apply_defaults()
    stars = {
        name: "*" + name
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL
    }
    return {stars.get(name, name): value for name, value in bound.arguments.items()}


def _form(inputs: dict[str, Any]) -> str:
    """What a graph is made for: the nesting, the number of axes, and what is no tensor."""
    leaves, nesting = tree_flatten(inputs)
    kinds = [one.ndim if isinstance(one, Tensor) else repr(one) for one in leaves]
    return f"{nesting} {kinds}"


def _layer(module: nn.Module, seen: _Seen | None) -> nn.Module | str:
    """Torch's layer in place of one of ours."""
    if isinstance(module, Dropout):
        return nn.Dropout(module.p)
    if seen is None:
        return "it is not called with the example, so that the number of its axes is unknown"
    if len(seen.forms) > 1:
        return "it is called with inputs of several numbers of axes"
    if seen.ndim > 5:
        return f"its input has {seen.ndim - 2} position axes, torch's layers have at most 3"
    if isinstance(module, PointwiseConv):
        return _pointwise(module, seen.ndim)
    if isinstance(module, BatchNorm):
        return _batch_norm(module, seen.ndim)
    if seen.ndim == 2:
        return nn.Identity()
    return nn.Sequential(POOLS[seen.ndim](1), nn.Flatten())


def _pointwise(layer: PointwiseConv, ndim: int) -> nn.Module:
    rank = ndim - 2
    kind = CONV_KINDS[max(rank, 1)] if rank or layer.groups > 1 else "linear"
    new: Any = over(layer, kind)
    new.c_in, new.c_out, new.groups = layer.c_in, layer.c_out, layer.groups  # blocks read them
    if rank or layer.groups == 1:
        return new  # type: ignore[no-any-return]
    return nn.Sequential(nn.Unflatten(1, (layer.c_in, 1)), new, nn.Flatten())


def _batch_norm(norm: BatchNorm, ndim: int) -> nn.Module:
    new = BATCH_NORMS[ndim](
        norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
        device="meta",
    )
    for name, parameter in norm.named_parameters():
        setattr(new, name, parameter)
    for name, buffer in norm.named_buffers():
        setattr(new, name, buffer)
    return new


def _block(module: nn.Module, seen: _Seen | None) -> nn.Module | str:
    """Torch's modules in place of a block or a network of ours."""
    if seen is None:
        return "it is not called with the example"
    if len(seen.forms) > 1:
        return "it is called with inputs of several forms"
    chain = type(module) is ConvNormActivation or (
        type(module) is Projection and module.stride == 1
    )
    if chain and not any(_is_ours(part) for part in module.children()):
        return nn.Sequential(OrderedDict(module.named_children()))
    if type(module) is LayerNorm and seen.ndim == 2 and module.groups == 1:
        norm = nn.LayerNorm(module.channels, module.eps, device="meta")
        norm.weight, norm.bias = module.weight, module.bias
        return norm
    try:
        with evaluating(module):
            return inline(module, seen.inputs, _holds_ours)
    except Exception as error:  # whatever a forward may raise on symbols
        return f"its forward cannot be written out: {type(error).__name__}: {error}"
