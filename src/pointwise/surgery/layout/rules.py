"""What each operator does to the form of its operands; any other gets them as they were."""

import operator
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pointwise.surgery.layout.forms import lowered, plain, without
from pointwise.surgery.layout.moving import (
    are_numbers,
    concatenate,
    item,
    pad,
    parts,
    permute,
    put,
    reshape,
    squeeze,
    stack,
    unsqueeze,
)
from pointwise.surgery.layout.operators import logical_shape
from pointwise.surgery.layout.rewriting import Rewriting, Step, Value

Rule = Callable[[Rewriting, Step], "Value | None"]
"""The value that a step gives; ``None`` if the rule does not hold for it."""

IN_PLACE = {
    "iadd": operator.add,
    "isub": operator.sub,
    "imul": operator.mul,
    "itruediv": operator.truediv,
}
"""Operators that write into their first operand, and what computes the same."""


def elementwise(state: Rewriting, step: Step) -> Value | None:
    """A function of values at the same place; operands of fewer axes are put beside the others."""
    rank = state.hint(step.node).ndim
    found = [state.values[one] for one in step.node.all_input_nodes if one in state.values]
    beside = [value for value in found if value.rank <= rank]  # others give their type, say
    form = state.common(beside, rank) if beside else plain(rank)

    def placed(node: fx.Node) -> Any:
        value = state.value(node)
        if value is None:
            return state.others[node]
        if value.rank == 0 or value.rank > rank:
            return value.node
        return state.place(value, lowered(form, rank - value.rank), step.name)

    args, kwargs = fx.map_arg(step.args, placed), fx.map_arg(step.kwargs, placed)
    kwargs = {key: value for key, value in kwargs.items() if key != "memory_format"}
    target = step.node.target
    if step.node in state.captured.writes:
        target, args, kwargs = _pure(state, step, args, kwargs)
    elif step.node.op == "call_method":
        target = step.name
    if step.name == "to" and len(args) == 1 and not kwargs:
        return found[0]
    return state.result(state.emit(step.node.op, target, args, kwargs), form, *found)


def _pure(state: Rewriting, step: Step, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    # as a new value: in other forms other values may share the memory of the operand
    target = step.node.target
    if step.module is not None:
        calm: Any = copy(step.module)
        calm.inplace = False
        state.modules.setdefault(str(target), calm)
        return target, args, kwargs
    if step.node.op == "call_method":
        return step.name, args, kwargs
    if step.name in IN_PLACE:
        return IN_PLACE[step.name], args, kwargs
    if step.word.endswith("_"):
        return getattr(F, step.name, None) or getattr(torch, step.name), args, kwargs
    args = tuple(False if one is True else one for one in args)
    return target, args, {key: value for key, value in kwargs.items() if key != "inplace"}


def same(state: Rewriting, step: Step) -> Value | None:
    """The same values, in another order of memory at most."""
    return state.value(step.args[0])


def along(place: int, name: str) -> Rule:
    """A function along some axes, which stay: ``softmax``, ``roll``."""

    def rule(state: Rewriting, step: Step) -> Value | None:
        x, dims = state.value(step.args[0]), step.get(place, name)
        if x is None or not are_numbers(dims) or len(step.args) > place + 2:
            return None
        args = [x.node, *state.argument(step.args[1:])]
        kwargs = dict(state.argument(step.kwargs))
        put(args, kwargs, place, name, _places(x, dims))
        return state.result(
            state.emit(step.node.op, step.node.target, tuple(args), kwargs), x.form, x
        )

    return rule


def flip(state: Rewriting, step: Step) -> Value | None:
    """Values the other way round along some axes; axes given apart are gathered."""
    if len(step.args) > 2:
        step = replace(step, args=(step.args[0], step.args[1:]))
    return along(1, "dims")(state, step)


def reduction(state: Rewriting, step: Step) -> Value | None:
    """A statistic along some axes, which go or become units."""
    x, dims, keep = state.value(step.args[0]), step.get(1, "dim"), step.kwargs.get("keepdim", False)
    place = 1
    if step.name == "norm":
        dims, place = step.get(2, "dim"), 2
    if x is None or dims is None or not are_numbers(dims) or len(step.args) > place + 2:
        return None
    keep = step.args[place + 1] if len(step.args) == place + 2 else keep
    args = [x.node, *state.argument(step.args[1:])]
    kwargs = dict(state.argument(step.kwargs))
    put(args, kwargs, place, "dim", _places(x, dims))
    given = [dims] if isinstance(dims, int) else dims
    form = x.form if keep else without(x.form, [dim % x.rank for dim in given])
    return state.result(state.emit(step.node.op, step.node.target, tuple(args), kwargs), form, x)


def shape(state: Rewriting, step: Step) -> Value | None:
    """The sizes of a value, read off whatever holds it."""
    x = state.value(step.args[0])
    if x is None or not isinstance(state.hint(step.args[0]), Tensor):
        return None
    if step.name in ("dim", "ndimension"):
        if x.form == plain(x.rank):
            return None  # asked of the input itself, to hold its number of axes
        state.others[step.node] = x.rank
        return x
    dim = 0 if step.name == "len" else step.get(1, "dim") if step.name == "size" else None
    if isinstance(dim, int):
        sizes = state.emit("call_function", getattr, (x.node, "shape"))
        place = x.form.index(dim % x.rank)
        state.others[step.node] = state.function(operator.getitem, sizes, place)
    elif x.form == plain(x.rank):
        state.others[step.node] = state.emit("call_function", getattr, (x.node, "shape"))
    else:
        state.others[step.node] = state.function(logical_shape, x.node, x.form)
    return x


def attribute(state: Rewriting, step: Step) -> Value | None:
    """What a tensor tells of itself."""
    if step.args[1] == "shape":
        return shape(state, step)
    if step.args[1] in ("T", "mT"):
        return permute(state, step)
    return anyhow(state, step)


def anyhow(state: Rewriting, step: Step) -> Value | None:
    """What reads the type, the device or the number of values of a tensor only."""
    x = state.value(step.args[0])
    if x is None or not isinstance(state.hint(step.args[0]), Tensor):
        return None
    args = (x.node, *state.argument(step.args[1:]))
    node = state.emit(step.node.op, step.node.target, args, state.argument(step.kwargs))
    hint = state.hint(step.node)
    if isinstance(hint, Tensor):
        return Value(node, plain(hint.ndim), True)
    state.others[step.node] = node
    return x


def _places(x: Value, dims: int | Sequence[int]) -> Any:
    if isinstance(dims, int):
        return x.form.index(dims % x.rank)
    return tuple(x.form.index(dim % x.rank) for dim in dims)


ELEMENTWISE = frozenset(
    [
        "add",
        "sub",
        "rsub",
        "mul",
        "truediv",
        "div",
        "divide",
        "multiply",
        "subtract",
        "true_divide",
        "neg",
        "negative",
        "pow",
        "square",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "exp",
        "expm1",
        "log",
        "log1p",
        "abs",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "relu",
        "relu6",
        "gelu",
        "silu",
        "mish",
        "elu",
        "selu",
        "celu",
        "softplus",
        "softsign",
        "leaky_relu",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "logsigmoid",
        "threshold",
        "hardshrink",
        "softshrink",
        "tanhshrink",
        "clamp",
        "clamp_min",
        "clamp_max",
        "clip",
        "where",
        "masked_fill",
        "maximum",
        "minimum",
        "lerp",
        "addcmul",
        "addcdiv",
        "dropout",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type_as",
        "clone",
        "detach",
        "round",
        "floor",
        "ceil",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "logical_not",
        "logical_and",
        "logical_or",
        "bitwise_not",
        "invert",
        "zeros_like",
        "ones_like",
        "full_like",
        "nan_to_num",
        "isnan",
        "isinf",
        "bool",
        "iadd",
        "isub",
        "imul",
        "itruediv",
    ]
)
"""Operators whose values depend on the operands' values at the same place."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("contiguous", "requires_grad_"), same),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "glu"), along(1, "dim")),
    "flip": flip,
    "roll": along(2, "dims"),
    "normalize": along(2, "dim"),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "norm"), reduction),
    **dict.fromkeys(("permute", "transpose", "swapaxes", "swapdims", "t"), permute),
    **dict.fromkeys(("movedim", "moveaxis"), permute),
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten"), reshape),
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    "stack": stack,
    **dict.fromkeys(("split", "chunk", "unbind"), parts),
    "getitem": item,
    **dict.fromkeys(("size", "dim", "ndimension", "len"), shape),
    "getattr": attribute,
    **dict.fromkeys(
        ("numel", "is_floating_point", "is_complex", "get_device", "new_zeros", "new_ones"), anyhow
    ),
    **dict.fromkeys(("new_full", "new_empty", "new_tensor"), anyhow),
    "pad": pad,
}
"""By the name of a function or method."""
