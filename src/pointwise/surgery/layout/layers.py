"""Linear layers, norms of the channels and attention on values with the channels second."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pointwise.surgery.conversion import eligibility
from pointwise.surgery.layout.forms import (
    RANKS,
    Form,
    channels_second,
    core,
    for_convolution,
    plain,
)
from pointwise.surgery.layout.operators import ChannelNorm, channel_norm, masked_softmax
from pointwise.surgery.layout.rewriting import MOVED, Rewriting, Step, Value
from pointwise.surgery.over_values import CONV_KINDS, over
from pointwise.surgery.swap import describe

FUNCTIONS: dict[int, Callable[..., Any]] = {2: F.conv2d, 3: F.conv3d}


def linear_module(state: Rewriting, step: Step) -> Value | None:
    """A linear layer becomes a 1x1 convolution of the same values."""
    path, module = str(step.node.target), step.module
    assert module is not None
    before, found = describe(module), eligibility(module)
    x = state.value(step.args[0]) if step.args else None
    if found is None or isinstance(found, str):
        state.swap(path, before, None, found or "it is no linear layer")
        return None
    reason = _why_not(state, path, x)
    if reason is not None or x is None:
        state.swap(path, before, None, reason or "its input is no tensor")
        return None
    layer, _ = found
    form = for_convolution(x.form)
    node = state.place(x, form, "a linear layer")
    if path not in state.modules:
        state.modules[path] = over(layer, CONV_KINDS[len(form) - 2])
    state.swap(path, before, describe(state.modules[path]))
    return state.result(state.emit("call_module", path, (node,)), form, x)


def _why_not(state: Rewriting, path: str, x: Value | None) -> str | None:
    """Why a linear layer stays."""
    if x is not None and x.rank not in RANKS:
        return f"its input has {x.rank} axes, a convolution reads 2 to 5"
    calls = [n for n in state.captured.module.graph.nodes if n.op == "call_module"]
    own = [n for n in calls if state.model.get_submodule(str(n.target)) is _at(state, path)]
    ranks = {max(4, state.hint(one).ndim) for n in own for one in n.all_input_nodes[:1]}
    if len(ranks) > 1:
        return "it is called with inputs of 5 axes and of fewer, which no one convolution reads"
    held = {id(one) for one in _at(state, path).parameters()}
    for name, one in state.model.named_parameters(remove_duplicate=False):
        owner = state.model.get_submodule(name.rpartition(".")[0])
        inner = any(part is owner for part in _at(state, path).modules())
        if id(one) in held and not inner:
            return f"its weight is also that of {name}: they would part"
    for node in state.captured.module.graph.nodes:
        if node.op == "get_attr" and id(state.hint(node)) in held:
            return f"its {str(node.target).rpartition('.')[2]} is read besides its calls"
    return None


def _at(state: Rewriting, path: str) -> nn.Module:
    return state.model.get_submodule(path)


def linear_function(state: Rewriting, step: Step) -> Value | None:
    """``F.linear`` with weights of the model becomes a convolution with the same."""
    x, weight = state.value(step.args[0]), state.value(step.get(1, "weight"))
    bias = step.get(2, "bias")
    if x is None or weight is None or x.rank not in RANKS:
        return None
    if not weight.constant or weight.rank != 2 or x.constant:
        return None
    form = for_convolution(x.form)
    node = state.place(x, form, "a linear layer")
    kernel: Any = state.plain(weight, step.name)
    for _ in range(len(form) - 2):
        kernel = state.method("unsqueeze", kernel, -1)
    made = state.function(FUNCTIONS[len(form) - 2], node, kernel, state.argument(bias))
    c_out, c_in = state.hint(step.get(1, "weight")).shape
    path = _owner(step.get(1, "weight"))
    if path is not None:
        kind = f"conv{len(form) - 2}d"
        state.swap(path, f"Linear({c_in}, {c_out})", f"{kind}({c_in}, {c_out}, 1x1)", "a function")
    return state.result(made, form, x)


def norm_module(state: Rewriting, step: Step) -> Value | None:
    """A layer norm of the last axis becomes one of the axis where the channels stand."""
    norm, path = step.module, str(step.node.target)
    assert isinstance(norm, (nn.LayerNorm, nn.RMSNorm))
    x = state.value(step.args[0]) if step.args else None
    reason = None
    if len(norm.normalized_shape) > 1:
        reason = f"it normalises the last {len(norm.normalized_shape)} axes together"
    elif x is None or x.form == plain(2) or x.rank < 2:
        reason = "the channels are its input's last axis, with no positions beside them"
    if reason is not None or x is None:
        state.swap(path, describe(norm), None, reason or "")
        return None
    form = _norm_form(x)
    axis = form.index(x.rank - 1)
    made = state.modules.setdefault(path, ChannelNorm(norm, axis))
    if not isinstance(made, ChannelNorm) or made.axis != axis:
        state.swap(path, describe(norm), None, "its calls have the channels on different axes")
        return None
    node = state.place(x, form, "a layer norm")
    state.swap(path, describe(norm), f"ChannelNorm({made.channels})")
    return state.result(state.emit("call_module", path, (node,)), form, x)


def norm_function(state: Rewriting, step: Step) -> Value | None:
    """``F.layer_norm`` or ``F.rms_norm`` of the last axis, on the axis where it stands."""
    x, sizes = state.value(step.args[0]), step.get(1, "normalized_shape")
    if x is None or not isinstance(sizes, (tuple, list)) or len(sizes) != 1 or x.rank < 3:
        return None
    centred = step.name == "layer_norm"
    weight, bias = step.get(2, "weight"), step.get(3, "bias") if centred else None
    eps = step.get(4 if centred else 3, "eps", 1e-5 if centred else None)
    if eps is None:
        eps = torch.finfo(state.hint(step.args[0]).dtype).eps
    form = _norm_form(x)
    node = state.place(x, form, "a layer norm")
    scale, offset = state.argument(weight), state.argument(bias)
    axis = form.index(x.rank - 1)
    made = state.function(channel_norm, node, scale, offset, eps, axis=axis, centred=centred)
    path = _owner(weight)
    if path is not None:
        kind = "LayerNorm" if centred else "RMSNorm"
        state.swap(path, f"{kind}({sizes[0]})", f"channel_norm({sizes[0]})", "a function")
    return state.result(made, form, x)


def _norm_form(x: Value) -> Form:
    """Where a norm finds the channels: moved to the second axis only if they are the last."""
    if core(x.form)[-1] == x.rank - 1 and x.rank in RANKS:
        return channels_second(x.rank)
    return x.form


def matmul(state: Rewriting, step: Step) -> Value | None:
    """Matrix products of each sample and head, of transposed operands where that moves less."""
    a, b = state.value(step.args[0]), state.value(step.get(1, "other", step.kwargs.get("mat2")))
    if a is None or b is None or a.rank != b.rank or a.rank < 3:
        return None
    if a.form == plain(a.rank) and b.form == plain(b.rank):
        return None
    return product(state, a, b, step.name)


def product(state: Rewriting, a: Value, b: Value, why: str) -> Value:
    """The product of two values; as that of the transposed ones in turn, if they stand so.

    Args:
        state: The graph.
        a: Values of shape ``(*, M, K)``.
        b: Values of shape ``(*, K, N)``.
        why: What asks for it.

    Returns:
        Values of shape ``(*, M, N)``.
    """
    straight = plain(a.rank)
    turned = (*straight[:-2], straight[-1], straight[-2])
    moves = {
        form: sum(not state.has(value, form) for value in (a, b)) for form in (turned, straight)
    }
    form = min(moves, key=lambda one: moves[one])
    left, right = (a, b) if form == straight else (b, a)
    nodes = [_matrix(state, one, form, why) for one in (left, right)]
    return state.result(state.function(torch.matmul, *nodes), form, a, b)


def _matrix(state: Rewriting, value: Value, form: Form, why: str) -> Any:
    """A value in a form; turned by a transpose, which a matrix product reads without a copy."""
    swapped = (*form[:-2], form[-1], form[-2])
    if not state.has(value, form) and value.form == swapped:
        node = state.method("transpose", value.node, -2, -1)
        if not value.constant:
            node.meta[MOVED] = why
        return node
    return state.place(value, form, why)


def attention(state: Rewriting, step: Step) -> Value | None:
    """Attention as two products around a softmax, where the heads do not stand as torch's wants."""
    q, k, v = (state.value(given) for given in step.args[:3])
    mask, dropout = step.get(3, "attn_mask"), step.get(4, "dropout_p", 0.0)
    options = [step.get(5, "is_causal", False), dropout, step.kwargs.get("enable_gqa", False)]
    if q is None or k is None or v is None or any(options):
        return None
    if len({q.rank, k.rank, v.rank}) > 1 or all(one.form == plain(one.rank) for one in (q, k, v)):
        return None
    scale = step.get(6, "scale")
    if scale is None:
        scale = 1 / math.sqrt(state.hint(step.args[0]).shape[-1])
    if isinstance(scale, torch.fx.Node):
        return None
    q = state.result(state.method("mul", q.node, scale), q.form, q)
    logits = product(state, q, _turned(k), "attention")
    if mask is not None:
        added = _masked(state, logits, state.value(mask), state.hint(mask).dtype)
        if added is None:
            return None
        logits = added
    axis = logits.form.index(logits.rank - 1)
    node = (
        state.method("softmax", logits.node, axis)
        if mask is None
        else state.function(masked_softmax, logits.node, axis)
    )
    weights = state.result(node, logits.form, logits)
    return product(state, weights, v, "attention")


def _turned(value: Value) -> Value:
    last = value.rank - 1
    swap = {last: last - 1, last - 1: last}
    form = tuple(axis if axis is None else swap.get(axis, axis) for axis in value.form)
    return Value(value.node, form, value.constant)


def _masked(
    state: Rewriting, logits: Value, mask: Value | None, dtype: torch.dtype
) -> Value | None:
    if mask is None or mask.rank > logits.rank:
        return None
    shift = logits.rank - mask.rank
    form = tuple(None if axis is None or axis < shift else axis - shift for axis in logits.form)
    node = state.place(mask, form, "attention")
    if dtype == torch.bool:
        node = state.method("logical_not", node)
        made = state.method("masked_fill", logits.node, node, -math.inf)
    else:
        made = state.method("add", logits.node, node)
    return state.result(made, logits.form, logits, mask)


def _owner(weight: Any) -> str | None:
    """The path of the module that a parameter belongs to."""
    if isinstance(weight, torch.fx.Node) and weight.op == "get_attr":
        return str(weight.target).rpartition(".")[0]
    return None


LAYERS = {
    "linear": linear_function,
    "layer_norm": norm_function,
    "rms_norm": norm_function,
    "matmul": matmul,
    "bmm": matmul,
    "scaled_dot_product_attention": attention,
}
"""By the name of a function or method."""
