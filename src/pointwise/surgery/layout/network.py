"""A whole graph in forms with the channels second, step by step."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from pointwise.surgery.axes import InPlaceOf, is_transposed
from pointwise.surgery.layout.capture import PATHS_DROPPED, Captured
from pointwise.surgery.layout.forms import plain
from pointwise.surgery.layout.layers import LAYERS, linear_module, norm_module
from pointwise.surgery.layout.moving import axis_order, reshape
from pointwise.surgery.layout.rewriting import Rewriting, Step, Value, word
from pointwise.surgery.layout.rules import ELEMENTWISE, RULES, Rule, elementwise
from pointwise.surgery.refusals import refusal

KNOWN = ("torch", "_operator", "builtins", "math")
"""Where functions come from whose names tell what they do."""

ACTIVATIONS = frozenset(
    [
        "ReLU",
        "ReLU6",
        "GELU",
        "SiLU",
        "Mish",
        "ELU",
        "SELU",
        "CELU",
        "Sigmoid",
        "Tanh",
        "LeakyReLU",
        "Hardswish",
        "Hardsigmoid",
        "Hardtanh",
        "Softplus",
        "Softsign",
        "LogSigmoid",
        "Tanhshrink",
        "Softshrink",
        "Hardshrink",
        "Threshold",
        "Dropout",
        "AlphaDropout",
        "Identity",
    ]
)
"""Modules of torch that treat each value by itself."""

MOVES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "getattr")
"""What moves axes."""

FIRST = ("input", "x", "tensors", "tensor")
"""What the first argument of a function or layer may be called."""


@dataclass(frozen=True)
class AxisMove:
    """A step that moves axes of a value of the input.

    Attributes:
        path: The module in whose forward it runs.
        why: What needs it; empty for a step of the given model.
    """

    path: str
    why: str = ""


def rewrite(model: nn.Module, captured: Captured) -> Rewriting:
    """Write a graph anew with the channels second.

    Args:
        model: The model that it was captured from.
        captured: The graph.

    Returns:
        The new graph, its new modules, and what became of the old ones.

    Raises:
        ValueError: If a step writes into a tensor that is read afterwards.
    """
    state = Rewriting(model, captured)
    for node in captured.module.graph.nodes:
        state.current = node
        if node.op == "output":
            state.graph.output(state.argument(node.args[0]))
            continue
        value = _visit(state, node)
        if value is not None and node not in state.others:
            state.values[node] = value
    return state


def moves_before(captured: Captured) -> list[AxisMove]:
    """The steps of a captured graph that move axes.

    Args:
        captured: The graph.

    Returns:
        One for each.
    """
    found = []
    for node in captured.module.graph.nodes:
        if node not in captured.data or word(node) not in MOVES or node.op == "call_module":
            continue
        step = Step(node, word(node), node.args, node.kwargs)
        rank = captured.hints[node].ndim
        order = axis_order(step, rank)
        if order is not None and order != plain(rank):
            found.append(AxisMove(path_of(node)))
    return found


def path_of(node: fx.Node) -> str:
    """The path of the module in whose forward a step runs.

    Args:
        node: The step.

    Returns:
        The path; for a module that is called as it is, that of the one around it.
    """
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return ""
    path, kind = stack[-1]
    whole = kind.__module__.startswith(("torch.nn.", "pointwise.")) if isinstance(kind, type) else 0
    return str(path).rpartition(".")[0] if whole else str(path)


def _visit(state: Rewriting, node: fx.Node) -> Value | None:
    hint = state.hint(node)
    if node.op in ("placeholder", "get_attr"):
        new = state.graph.node_copy(node)
        if isinstance(hint, Tensor):
            return Value(new, plain(hint.ndim), node.op == "get_attr")
        state.others[node] = new
        return None
    step, rule = _step(state, node)
    if node in state.captured.writes:
        _check_write(state, node, rule)
    if rule is None or not any(one in state.values for one in node.all_input_nodes):
        return state.copy(step)
    if rule is elementwise and not isinstance(hint, Tensor):
        return state.copy(step)
    return rule(state, step) or state.copy(step)


def _step(state: Rewriting, node: fx.Node) -> tuple[Step, Rule | None]:
    name = word(node)
    if node.op == "call_module":
        module = state.model.get_submodule(str(node.target))
        step = Step(node, name, node.args, dict(node.kwargs), module)
        return _module_step(_in_place(step), module)
    pure = name.removesuffix("_") if name.removesuffix("_") in ELEMENTWISE else name
    step = _in_place(Step(node, pure, node.args, dict(node.kwargs)))
    if node.op == "call_function" and not _is_known(node.target):
        return step, None
    return step, LAYERS.get(pure) or RULES.get(pure)


def _in_place(step: Step) -> Step:
    """A step with its first argument in its place, if it is given by name."""
    name = next((one for one in FIRST if one in step.kwargs), None)
    if step.args or name is None:
        return step
    rest = {key: value for key, value in step.kwargs.items() if key != name}
    return replace(step, args=(step.kwargs[name],), kwargs=rest)


def _is_known(target: Any) -> bool:
    home = getattr(target, "__module__", None) or "torch"
    return str(home).split(".")[0] in KNOWN


def _module_step(step: Step, module: nn.Module) -> tuple[Step, Rule | None]:
    kind = type(module)
    if isinstance(module, (nn.Linear, InPlaceOf)) or is_transposed(module):
        channels = not isinstance(module, InPlaceOf) or module.kind in ("linear", "transposed")
        return step, linear_module if channels else None
    if refusal(module) is not None:
        return step, None
    if kind in (nn.LayerNorm, nn.RMSNorm):
        return step, norm_module
    by_sample = kind.__name__ in PATHS_DROPPED and getattr(module, "mode", "row") == "row"
    if by_sample or (kind.__module__.startswith("torch.nn.") and kind.__name__ in ACTIVATIONS):
        return step, elementwise
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return step, elementwise
    if kind is nn.Flatten:
        args = (*step.args[:1], module.start_dim, module.end_dim)
        return replace(step, name="flatten", args=args), reshape
    if kind is nn.Unflatten and isinstance(module.dim, int):
        sizes: Any = module.unflattened_size
        args = (*step.args[:1], module.dim, tuple(sizes))
        return replace(step, name="unflatten", args=args), reshape
    if kind is nn.Softmax and module.dim is not None:
        return step, _softmax
    return step, None


def _softmax(state: Rewriting, step: Step) -> Value | None:
    x, module = state.value(step.args[0]), step.module
    if x is None or not isinstance(module, nn.Softmax) or module.dim is None:
        return None
    node = state.function(torch.softmax, x.node, x.form.index(module.dim % x.rank))
    return state.result(node, x.form, x)


def _check_write(state: Rewriting, node: fx.Node, rule: Rule | None) -> None:
    """Refuse what is read after it was written into: in another form it may stand elsewhere."""
    if rule is not elementwise:
        raise ValueError(_written(node, None))
    nodes = list(state.captured.module.graph.nodes)
    at = nodes.index(node)
    before = set(nodes[:at])
    for reader in nodes[at + 1 :]:
        for read in before & set(reader.all_input_nodes):
            hints = tree_leaves(state.hint(read))
            tensors = [one for one in hints if isinstance(one, Tensor)]
            for written in state.captured.writes[node]:
                if any(_overlap(written, one) for one in tensors):
                    raise ValueError(_written(node, reader))


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have values in the same place of one memory."""
    storage = a.untyped_storage()
    if storage.data_ptr() != b.untyped_storage().data_ptr():
        return False
    used = torch.zeros(storage.nbytes() // a.element_size() + 1, dtype=torch.bool)
    used.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(used.as_strided(b.shape, b.stride(), b.storage_offset()).any())


def _written(node: fx.Node, reader: fx.Node | None) -> str:
    where = path_of(node)
    place = f"in the forward of {where!r}" if where else "in the model's forward"
    then = "" if reader is None else f" that {word(reader)} reads as it was called before"
    return (
        f"model must not change its values in place: {word(node)} {place} writes into one{then}; "
        "write it as a new value"
    )
