"""Rules for feature maps: operators that do the same at every position."""

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from pointwise.surgery.dense.forms import MAP, Form, pair
from pointwise.surgery.dense.operators import split_channels
from pointwise.surgery.dense.rewriting import Rewriting, Rule, WholeImageError
from pointwise.surgery.dense.trace import arguments, operator_name, shape_of

WHOLE = (
    "depends on the whole image (as squeeze-and-excitation does), so its value on a window is not "
    "that of the image: give whole_image=True to take the image's"
)


def elementwise(state: Rewriting, node: fx.Node) -> Form:
    """A function of each value alone, or of values at the same place."""
    given = state.data(node)
    if len(given) > 1:
        return _join(state, node, given)
    form = state.form(node)
    if form.bins is not None and operator_name(node) not in ("dropout", "clone", "contiguous"):
        state.refuse(node, "follows adaptive pooling with uneven bins: only a Linear layer may")
    fixed = [given for given in node.all_input_nodes if given not in state.trace.data]
    if form.kind == "head":
        return _head_with_fixed(state, node, form, fixed)
    for tensor in fixed:
        _check_fixed(state, node, form, tensor)
    state.keep(node)
    return form


def _join(state: Rewriting, node: fx.Node, given: list[fx.Node]) -> Form:
    forms = [state.forms[one] for one in given]
    kinds = {form.kind for form in forms}
    first = forms[0]
    if kinds == {"map", "image"}:
        state.keep(node)
        maps: Form = next(form for form in forms if form.kind == "map")
        if shape_of(node) != shape_of(given[forms.index(maps)]):
            state.refuse(node, "joins a statistic of the image with a map of another shape")
        return maps
    if kinds == {"map", "head"}:
        pools = frozenset().union(*(form.pools for form in forms if form.kind == "head"))
        if pools:
            raise WholeImageError(pools, node)
        state.refuse(node, "joins the head's values with a feature map")
    same = {(f.kind, f.axes, f.window, f.step, f.stride, f.order) for f in forms}
    shapes = {shape_of(one) for one in given}
    if len(same) > 1 or len(shapes) > 1 or any(form.bins for form in forms):
        state.refuse(
            node, f"joins values of {len(shapes)} shapes with {operator_name(node)}, or of "
            "different strides or windows"
        )  # fmt: skip
    state.keep(node)
    return _pooled(first, forms)


def _pooled(first: Form, forms: Sequence[Form]) -> Form:
    return replace(first, pools=frozenset().union(*(form.pools for form in forms)))


def _head_with_fixed(state: Rewriting, node: fx.Node, form: Form, fixed: Sequence[fx.Node]) -> Form:
    """Constants of the head: numbers as they are, one value per channel as ``(C, 1, 1)``."""
    copies = {}
    for tensor in fixed:
        shape = shape_of(tensor)
        if math.prod(shape) == 1:
            copies[tensor] = state.graph.call_function(
                torch.ops.aten.reshape.default, (state.value(tensor), [])
            )
            continue
        axes = form.axes[len(form.axes) - len(shape) :]
        varied = [axis for axis, size in zip(axes, shape, strict=True) if size > 1]
        if varied != ["c"] or not form.is_unit:
            state.refuse(node, f"joins a flattened map with a tensor of shape {shape}")
        target = torch.ops.aten.reshape.default
        copies[tensor] = state.graph.call_function(target, (state.value(tensor), [-1, 1, 1]))
    state.values[node] = state.graph.node_copy(
        node, lambda given: copies[given] if given in copies else state.value(given)
    )
    if not fixed:
        state.kept_vectors.add(node)
    return form


def _check_fixed(state: Rewriting, node: fx.Node, form: Form, tensor: fx.Node) -> None:
    shape = shape_of(tensor)
    if len(shape) > len(form.axes):
        state.refuse(node, f"joins its map with a tensor of shape {shape}")
    axes = form.axes[len(form.axes) - len(shape) :]
    for axis, size in zip(axes, shape, strict=True):
        if axis in ("n", "h", "w") and size > 1:
            state.refuse(
                node, f"joins its map with a tensor of shape {shape}: it holds values for the "
                "positions of the training size"
            )  # fmt: skip


def prelu(state: Rewriting, node: fx.Node) -> Form:
    """A leaky ReLU with a slope for every channel, which is the second axis at any rank."""
    form = state.form(node)
    if form.axes[1] != "c" or (form.kind == "head" and not form.is_unit):
        state.refuse(node, "has slopes for an axis that is not the channels'")
    state.keep(node)
    return form


def convolution(state: Rewriting, node: fx.Node) -> Form:
    """A convolution of a map."""
    form, given = state.form(node), arguments(node)
    if given["weight"] in state.trace.data:
        state.refuse(node, "is a convolution whose weight depends on the image")
    kernel = shape_of(given["weight"])[2:]
    if form.kind == "head":
        stays = set(kernel) == {1} and set(pair(given["stride"])) == {1}
        padded = given["padding"] not in ("same", "valid") and any(pair(given["padding"]))
        if not stays or padded or not form.is_unit or len(form.axes) != 4:
            state.refuse(node, "is a convolution of a pooled map that is not 1x1 with stride 1")
        state.keep(node)
        return form
    _check_map(state, node, form)
    state.keep(node)
    return form.with_stride(pair(given["stride"]))


def batch_norm(state: Rewriting, node: fx.Node) -> Form:
    """A batch norm of a map, with its running statistics."""
    form, given = state.form(node), arguments(node)
    if given["training"]:
        state.refuse(node, "is a batch norm without running statistics: it depends on the batch")
    _check_map(state, node, form)
    state.keep(node)
    return form


def layer_norm(state: Rewriting, node: fx.Node) -> Form:
    """A layer norm over the channels of a map."""
    form, sizes = state.form(node), arguments(node)["normalized_shape"]
    if form.axes[-len(sizes) :] == ("c",):
        state.keep(node)
        return form
    return whole_statistics(state, node)


def whole_statistics(state: Rewriting, node: fx.Node) -> Form:
    """A norm over positions: kept where the image's statistics are what is asked for."""
    form = state.form(node)
    if form.kind != "map" or not state.whole_image:
        state.refuse(node, f"runs {operator_name(node)} over positions: it {WHOLE}")
    state.keep(node)
    state.note(node, None, "its statistics are those of the whole image")
    return form


def pooling(state: Rewriting, node: fx.Node) -> Form:
    """A pool of a map."""
    form, given = state.form(node), arguments(node)
    if form.kind == "head":
        state.refuse(node, "pools a map that was pooled to a fixed size")
    _check_map(state, node, form)
    state.keep(node)
    return form.with_stride(pair(given["stride"] or given["kernel_size"]))


def pad(state: Rewriting, node: fx.Node) -> Form:
    """Values added around a map; raised into a module only where torch's own adds them."""
    form, given = state.form(node), arguments(node)
    if form.kind == "head":
        state.refuse(node, "pads a map that was pooled to a fixed size")
    _check_map(state, node, form)
    amounts = list(given["pad"])
    if min(amounts) < 0 or any(amounts[4:]):
        state.refuse(node, f"pads by {amounts}: it crops the map, or pads other axes")
    state.keep(node)
    calls = state.trace.calls_of(node)
    if not calls or not type(calls[-1].module).__module__.startswith("torch.nn."):
        state.kept.discard(node)
        state.note(node, "the same padding at every size", "fixed to what the training size gets")
    return form


def permute(state: Rewriting, node: fx.Node) -> Form:
    """Axes in another order."""
    form, given = state.form(node), arguments(node)
    order = _order(operator_name(node), given, len(form.axes))
    axes = tuple(form.axes[axis] for axis in order)
    if form.kind == "head":
        if "f" in form.axes or axes[0] != "n":
            state.refuse(node, "moves the axes of flattened values")
        state.same(node)
    else:
        state.keep(node)
    return form.with_axes(*axes)


def _order(name: str, given: dict[str, Any], rank: int) -> list[int]:
    order = list(range(rank))
    if name == "permute":
        return [axis % rank for axis in given["dims"]]
    if name == "transpose":
        a, b = given["dim0"] % rank, given["dim1"] % rank
        order[a], order[b] = b, a
        return order
    source, target = given["source"], given["destination"]
    pairs = zip(*([end] if isinstance(end, int) else end for end in (source, target)), strict=True)
    moved = {to % rank: start % rank for start, to in pairs}
    rest = iter([axis for axis in order if axis not in moved.values()])
    return [moved[place] if place in moved else next(rest) for place in range(rank)]


def concatenate(state: Rewriting, node: fx.Node) -> Form:
    """Values side by side on the channel axis."""
    parts, dim = node.args[0], arguments(node).get("dim", 0)
    assert isinstance(parts, (list, tuple))
    if not all(part in state.trace.data for part in parts):
        state.refuse(node, "puts constants beside values of the image, as class tokens are")
    forms = [state.forms[part] for part in state.data(node)]
    alike = {(f.kind, f.axes, f.stride, f.window, f.step) for f in forms}
    first = forms[0]
    if len(alike) > 1 or first.axes[dim] != "c" or any(f.bins for f in forms):
        state.refuse(node, "puts values of different kinds side by side, or not along channels")
    if first.kind == "map":
        state.keep(node)
    else:
        values = [state.values[part] for part in parts if isinstance(part, fx.Node)]
        state.call(node, torch.ops.aten.cat.default, values, 1)
    return _pooled(first, forms)


def split(state: Rewriting, node: fx.Node) -> tuple[Form, ...]:
    """Channels taken apart."""
    form, given = state.form(node), arguments(node)
    if form.kind == "head" or form.axes[given["dim"]] != "c":
        state.refuse(node, f"takes its map apart with {operator_name(node)}, not along channels")
    state.keep(node)
    return (form,) * len(node.meta["val"])


def item(state: Rewriting, node: fx.Node) -> Form | None:
    """One of several results."""
    source, index = node.args
    assert isinstance(source, fx.Node)
    assert isinstance(index, int)
    if isinstance(state.values[source], tuple):
        state.values[node] = state.values[source][index]
    else:
        state.values[node] = state.graph.call_function(
            operator.getitem, (state.values[source], index)
        )
        state.kept.add(node)
    form: Form | None = state.forms[source][index]
    return form


def slicing(state: Rewriting, node: fx.Node) -> Form:
    """Some of the channels, or every so-manieth position from the first."""
    form, given = state.form(node), arguments(node)
    if form.kind == "head":
        state.refuse(node, "takes a part of the head's values")
    dim, step = given["dim"], given["step"]
    axis, size = form.axes[dim], shape_of(state.data(node)[0])[dim]
    all_of_it = (given["start"] or 0) == 0 and (given["end"] is None or given["end"] >= size)
    if axis != "c" and not (all_of_it and (given["end"] is None or given["end"] > 2**60)):
        state.refuse(node, "crops its map to a part of the training size")
    state.keep(node)
    if axis in ("h", "w"):
        return form.with_stride((step, 1) if axis == "h" else (1, step))
    return form


def select(state: Rewriting, node: fx.Node) -> Form:
    """One channel."""
    form, given = state.form(node), arguments(node)
    dim = given["dim"] % len(form.axes)
    if form.kind != "map" or form.axes[dim] != "c":
        state.refuse(node, "takes one position out of its map")
    state.keep(node)
    return form.with_axes(*form.axes[:dim], *form.axes[dim + 1 :])


def regroup(state: Rewriting, node: fx.Node) -> Form | None:
    """Channel axes split or merged, as a channel shuffle does; ``None`` if it is something else."""
    form = state.form(node)
    before, after = shape_of(state.data(node)[0]), shape_of(node)
    if form.axes != ("n", *("c",) * (len(before) - 3), "h", "w") or len(after) < 4:
        return None
    if (before[0], *before[-2:]) != (after[0], *after[-2:]):
        return None
    sizes = list(after[1:-2])
    state.call(node, split_channels, state.value(state.data(node)[0]), sizes)
    return form.with_axes("n", *("c",) * len(sizes), "h", "w")


def image_operator(state: Rewriting, node: fx.Node) -> Form:
    """An operator on statistics of the whole image: it never sees the image's size."""
    copy = state.graph.node_copy(node, state.value)
    if operator_name(node) in ("view", "reshape", "_unsafe_view"):
        given, shape = state.data(node)[0], shape_of(node)
        if shape[0] != shape_of(given)[0]:
            state.refuse(node, "mixes the images of a batch")
        copy.args = (copy.args[0], [-1, *shape[1:]])  # the example's batch size would stay
    if operator_name(node) in ("expand", "expand_as", "bmm", "baddbmm"):
        state.refuse(node, f"runs {operator_name(node)} on a statistic of the whole image")
    state.values[node] = copy
    state.kept.add(node)
    return state.form(node)


def _check_map(state: Rewriting, node: fx.Node, form: Form) -> None:
    if form.kind != "map" or form.axes != MAP:
        state.refuse(
            node, f"runs {operator_name(node)} on axes {', '.join(form.axes)}, not {', '.join(MAP)}"
        )


ELEMENTWISE = (
    "_to_copy", "abs", "add", "alias", "alpha_dropout", "celu", "clamp", "clamp_max",
    "clamp_min", "clone", "contiguous", "detach", "div", "dropout", "elu", "erf", "exp",
    "feature_alpha_dropout", "feature_dropout", "gelu", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "lift_fresh_copy", "log", "log1p", "logsigmoid", "maximum", "minimum", "mish",
    "mul", "neg", "pow", "reciprocal", "relu", "relu6", "rsqrt", "rsub", "selu", "sigmoid",
    "silu", "softplus", "softsign", "sqrt", "square", "sub", "tanh", "threshold", "to",
    "type_as",
)  # fmt: skip
"""Operators that work on each value alone, or on values at the same place."""

BODY_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    "prelu": prelu,
    "conv2d": convolution,
    "max_pool2d": pooling,
    "avg_pool2d": pooling,
    "group_norm": whole_statistics,
    "instance_norm": whole_statistics,
    "pad": pad,
    "constant_pad_nd": pad,
    "permute": permute,
    "transpose": permute,
    "movedim": permute,
    "cat": concatenate,
    "chunk": split,
    "split": split,
    "split_with_sizes": split,
    "getitem": item,
    "slice": slicing,
    "select": select,
    "image": image_operator,
}
