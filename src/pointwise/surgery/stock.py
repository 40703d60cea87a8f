"""Networks of this package as torch modules only, which need the package no more."""

import inspect
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from pointwise.errors import FlowError
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.copying import copy_model
from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.dropout import Dropout
from pointwise.nn.norm import BatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.surgery.attention import SplitAttention, merge
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.closeness import closeness
from pointwise.surgery.equivalence import Example, call, evaluating
from pointwise.surgery.holders import held_outside
from pointwise.surgery.inlining import inline
from pointwise.surgery.over_values import CONV_KINDS, over
from pointwise.surgery.refusals import encoder_parts
from pointwise.surgery.replace import replace_named, unchanged_on_error
from pointwise.surgery.swap import Swap, describe

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

STOCK_KINDS = ("linear", *CONV_KINDS.values())
"""The kinds of layers that torch has."""

LEAVES = (PointwiseConv, BatchNorm, Dropout, GlobalAveragePool)
"""Layers that have a counterpart in torch for each rank."""


@dataclass
class _Seen:
    """How a module is called: the first call, and what all calls look like."""

    inputs: dict[str, Any]
    forms: set[str] = field(default_factory=set)
    by_name: bool = False

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
    atol: float = 0.0,
    rtol: float | None = None,
) -> tuple[nn.Module, list[Swap]]:
    """Turn a network of this package into torch modules only.

    Layers become torch's layers of the rank that they are called with, blocks and networks become
    ``torch.fx.GraphModule``, with the names and parameters of their parts. The result can be
    pickled, scripted and exported where this package is not installed, and trained on; it takes
    inputs of any batch and size, of as many axes as the example has; a forward that loops over the
    parts of a tensor is held to as many. It is compared with the given model on the example.

    Args:
        model: Any model; what is not of this package stays.
        example: An input to run once; a sequence for several arguments, a mapping for arguments by
            name.
        in_place: Whether to change the model itself in place of a copy.
        atol: What the outputs on the example may differ by.
        rtol: What they may differ by in addition, as a share of the largest output. Default: by
            type, as in ``check_equivalent``.

    Returns:
        The new model, and what became of every module of this package; what was left alone still
        needs the package, with all that is in it. That of the whole model tells how far the outputs
        on the example differ.

    Raises:
        DifferenceError: If the outputs differ by more; the given model is then as it was.

    Example:
        >>> new, swaps = to_torch(PointwiseConv(3, 2), torch.ones(5, 3, 4, 4))
        >>> new
        Conv2d(3, 2, kernel_size=(1, 1), stride=(1, 1))
    """
    reference = copy_model(model) if in_place else model
    stock = _Stock(model, example, in_place)
    with unchanged_on_error(model):
        new, swaps = stock.swapped()
        if not any(swap.after is not None for swap in swaps):
            return new, swaps
        found = closeness(reference, new, example, atol=atol, rtol=rtol)
    root = next((swap for swap in swaps if not swap.path), None)
    if root is None or root.after is None:
        return new, [*swaps, Swap("", describe(reference), describe(new), found)]
    remark = f"{root.reason}; {found}" if root.reason else found
    return new, [replace(swap, reason=remark) if swap is root else swap for swap in swaps]


class _HalfDoneError(Exception):
    """A block turned out to stay, after layers within it were replaced."""


class _Stock:
    """Torch's modules for those of a model.

    Args:
        model: The model.
        example: Its input.
        in_place: Whether it is changed itself.
    """

    def __init__(self, model: nn.Module, example: Example, in_place: bool) -> None:
        self.model, self.in_place = model, in_place
        self.held = held_outside(model, copied=not in_place)
        self.seen, self.read = _calls(model, example)
        self.read |= encoder_parts(model)
        self.left: dict[str, str] = {}  # why blocks stay
        self.parts: dict[str, str] = {}  # the blocks that stay, by what is in them
        self.remarks: dict[str, str] = {}

    def swapped(self) -> tuple[nn.Module, list[Swap]]:
        """Replace all that can be, and nothing within a block that stays."""
        while True:
            try:
                with unchanged_on_error(self.model):
                    return self._try()
            except _HalfDoneError:
                continue

    def _try(self) -> tuple[nn.Module, list[Swap]]:
        known = len(self.left)
        new, layers = replace_named(self.model, self._layer, in_place=self.in_place)
        new, blocks = replace_named(new, self._block, in_place=True)
        if len(self.left) > known:
            raise _HalfDoneError
        swaps = layers + blocks
        return new, [replace(s, reason=s.reason or self.remarks.get(s.path, "")) for s in swaps]

    def _layer(self, path: str, module: nn.Module) -> nn.Module | str | None:
        if type(module) not in LEAVES and not isinstance(module, SplitAttention):
            return None
        if path in self.parts:
            return f"it is a part of {self.parts[path]}, which stays"
        if isinstance(module, SplitAttention):
            return merge(module)
        return _layer(module, self.seen.get(path))

    def _block(self, path: str, module: nn.Module) -> nn.Module | str | None:
        if type(module) in LEAVES or not _is_ours(module):
            return None
        if path in self.left:
            return self.left[path]
        if path in self.parts:
            return f"it is a part of {self.parts[path]}, which stays"
        made = self._whole(path, module)
        if isinstance(made, str):
            self._leave(path, made)
        return made

    def _leave(self, path: str, reason: str) -> None:
        """Keep a block, and what is in it: what it does with its parts is unknown."""
        first = {module: name for name, module in self.model.named_modules()}
        block = repr(path) if path else "the model"
        for module in self.model.get_submodule(path).modules():
            self.parts.setdefault(first[module], block)
        self.left[path] = reason

    def _whole(self, path: str, module: nn.Module) -> nn.Module | str:
        if path in self.read:
            if not isinstance(module, InPlaceOf) or module.kind not in STOCK_KINDS:
                return "a module reads its weight in the old shape, which no module of torch gives"
            self.remarks[path] = "as it was: a module reads its weight in the old shape"
            return over(module.layer, module.kind)
        inner = next((name for name in self.held if _is_within(name, path)), None)
        if inner is not None:
            return self.held[inner]
        made, remark = _block(module, self.seen.get(path))
        self.remarks[path] = remark
        return made


def _is_within(path: str, outer: str) -> bool:
    return f"{path}.".startswith(f"{outer}." if outer else "")


def _is_ours(module: nn.Module) -> bool:
    """Whether a class of this package is among a module's classes."""
    return any(base.__module__.split(".")[0] == "pointwise" for base in type(module).__mro__)


def _holds_ours(module: nn.Module) -> bool:
    """Whether a module must be written out for what is in it."""
    return type(module) not in LEAVES and any(
        _is_ours(part) or _calls_ours(part) for part in module.modules() if type(part) not in LEAVES
    )


def _calls_ours(module: nn.Module) -> bool:
    """Whether a graph calls functions of this package."""
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    return any(str(getattr(n.target, "__module__", "")).startswith("pointwise.") for n in nodes)


def _calls(model: nn.Module, example: Example) -> tuple[dict[str, _Seen], set[str]]:
    """Run the example: how each module of ours is called, by first path; whose weights are read."""
    seen: dict[str, _Seen] = {}
    read: set[str] = set()

    def note(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            inputs = _by_name(module, args, named)
            one = seen.setdefault(path, _Seen(inputs))
            one.forms.add(_form(inputs))
            one.by_name |= "input" not in named and bool(named)

        return hook

    ours = [(path, module) for path, module in model.named_modules() if _is_ours(module)]
    handles = [
        module.register_forward_pre_hook(note(path), with_kwargs=True) for path, module in ours
    ]
    stand_ins = {path: module for path, module in ours if isinstance(module, InPlaceOf)}
    for path, module in stand_ins.items():
        module.on_read = partial(read.add, path)
    try:
        with evaluating(model), kept_buffers(model), torch.no_grad():
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
    if not isinstance(module, InPlaceOf):  # which has two names for its one argument
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
    if seen is not None and seen.by_name:
        return "its argument is given by name, and has another name in torch's layers"
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


def _block(module: nn.Module, seen: _Seen | None) -> tuple[nn.Module | str, str]:
    """Torch's modules in place of a block or a network of ours, or why not; and a remark."""
    if seen is None:
        return "it is not called with the example", ""
    if len(seen.forms) > 1:
        return "it is called with inputs of several forms", ""
    chain = type(module) is ConvNormActivation or (
        type(module) is Projection and module.stride == 1
    )
    if chain and not seen.by_name and not any(_is_ours(part) for part in module.children()):
        return nn.Sequential(OrderedDict(module.named_children())), ""
    rows = seen.ndim == 2 and not seen.by_name
    if type(module) is LayerNorm and rows and module.groups == 1:
        norm = nn.LayerNorm(module.channels, module.eps, device="meta")
        norm.weight, norm.bias = module.weight, module.bias
        return norm, ""
    try:
        with evaluating(module):
            made = inline(module, seen.inputs, _holds_ours)
    except FlowError as error:
        return f"its forward cannot be written out: {error}", ""
    return made, "" if _trains_alike(module, seen, made) else EVALUATES


EVALUATES = "as in evaluation: its forward does something else in training, such as dropout"


def _trains_alike(module: nn.Module, seen: _Seen, made: torch.fx.GraphModule) -> bool:
    """Whether a block's own forward, its parts aside, is the same in training."""
    with evaluating(module), torch.random.fork_rng(devices=[]):
        for part in module.modules():
            part.training = _is_ours(part) and type(part) not in LEAVES
        try:
            return bool(inline(module, seen.inputs, _holds_ours).code == made.code)
        except Exception:  # whatever a forward may raise on symbols
            return False
