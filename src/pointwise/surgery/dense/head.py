"""Rules for the head: what reads a whole feature map becomes what reads a window of it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx, nn

from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.dense.body import BODY_RULES, batch_norm, layer_norm, regroup
from pointwise.surgery.dense.forms import MAP, ROW, VECTOR, Form
from pointwise.surgery.dense.operators import layer_norm_of_channels, linear_on_windows
from pointwise.surgery.dense.pools import adaptive_pooling, reduction, whole_pooling
from pointwise.surgery.dense.rewriting import Rewriting, Rule
from pointwise.surgery.dense.trace import Call, arguments, operator_name, shape_of
from pointwise.surgery.refusals import refusal


def reshape(state: Rewriting, node: fx.Node) -> Form:
    """Flattening, and axes of one value that come and go."""
    form = state.form(node)
    before, after = shape_of(state.data(node)[0]), shape_of(node)
    if before == after:
        state.same(node)
        return form
    if form.kind == "map":
        grouped = regroup(state, node)
        if grouped is not None:
            return grouped
        if operator_name(node) == "unsqueeze" and form.axes == ("n", "h", "w"):
            if arguments(node)["dim"] % 4 != 1:
                state.refuse(node, "adds an axis that is not the channels'")
            state.keep(node)
            return form.with_axes(*MAP)
        if sorted(form.axes) != sorted(MAP) or not _is_flat(form, before, after):
            state.refuse(
                node,
                f"reshapes its map from {before} to {after}: rows and columns are "
                "lost, as they are to attention",
            )
        state.values[node] = state.image(node)
        return _flattened(form, dict(zip(form.axes, before, strict=True)))
    state.same(node)
    if form.is_unit and _ones(after[1:]) and after[0] == before[0]:
        channels = next((dim for dim, size in enumerate(after) if dim and size > 1), 1)
        axes = ["n"] + ["c" if dim == channels else "1" for dim in range(1, len(after))]
        return form.with_axes(*axes)
    if form.axes != MAP or not _is_flat(form, before, after):
        state.refuse(node, f"reshapes the head's values from {before} to {after}")
    return replace(form, axes=ROW)


def _is_flat(form: Form, before: Sequence[int], after: Sequence[int]) -> bool:
    return len(after) == 2 and after[0] == before[0] and form.axes[0] == "n"


def _ones(sizes: Sequence[int]) -> bool:
    """Whether at most one axis has more than one value."""
    return sum(size > 1 for size in sizes) <= 1


def _flattened(form: Form, sizes: dict[str, int]) -> Form:
    window = (sizes["h"], sizes["w"])
    order = tuple(axis for axis in form.axes if axis != "n")
    axes = VECTOR if window == (1, 1) else ROW
    return replace(form, kind="head", axes=axes, window=window, order=order)


def linear(state: Rewriting, node: fx.Node) -> Form:
    """A linear layer: on the channels of a map as it is, on a window a convolution."""
    form, given = state.form(node), arguments(node)
    if given["weight"] in state.trace.data:
        state.refuse(node, "multiplies by a matrix that depends on the image")
    if form.axes[-1] not in ("c", "f"):
        state.refuse(node, "is a Linear layer on an axis of positions")
    if form.kind == "map":
        state.keep(node)
        return form
    after = replace(form, window=(1, 1), step=(1, 1), bins=None, order=("c", "h", "w"))
    after = after if form.axes != ROW else after.with_axes(*VECTOR)
    sizes = _features(form, shape_of(state.data(node)[0])[-1])
    back = (0, *(1 + form.order.index(axis) for axis in ("c", "h", "w")))
    module = _plain_linear(state, node)
    if module is not None:
        state.install(node, _convolution(module, form, sizes, back))
        return after
    if form.bins is not None:
        state.refuse(node, "follows adaptive pooling with uneven bins: it must be an nn.Linear")
    state.call(
        node, linear_on_windows, state.image(node), state.value(given["weight"]),
        state.value(given["bias"]), sizes, back, form.step,
    )  # fmt: skip
    state.note(node, "a convolution in the forward", "its weight is computed at every run")
    return after


def _features(form: Form, features: int) -> tuple[int, ...]:
    """How the features of a row are laid out."""
    grid = form.window
    if form.bins is not None:
        grid = (form.bins[0].shape[0], form.bins[1].shape[0])
    sizes = {"c": features // math.prod(grid), "h": grid[0], "w": grid[1]}
    return tuple(sizes[axis] for axis in form.order)


def _plain_linear(state: Rewriting, node: fx.Node) -> nn.Linear | None:
    calls = state.trace.calls_of(node)
    module = calls[-1].module if calls else None
    if type(module) is not nn.Linear:
        return None
    return module if refusal(module) is None else None


def _convolution(
    layer: nn.Linear | PointwiseConv, form: Form, sizes: Sequence[int], back: Sequence[int]
) -> nn.Conv2d:
    """The layer as a convolution; it shares the layer's values where they need no change."""
    weight = layer.weight.detach()
    kernel = weight.reshape(weight.shape[0], *sizes).permute(*back)
    if form.bins is not None:
        rows, columns = (matrix.to(weight.device) for matrix in form.bins)
        wide = torch.einsum("ocij,ih,jw->ochw", kernel.double(), rows, columns)
        kernel = wide.to(weight.dtype)
    c_out, c_in, *window = kernel.shape
    bias = layer.bias is not None
    conv = nn.Conv2d(
        c_in, c_out, tuple(window), dilation=form.step, bias=bias, device="meta"  # type: ignore[arg-type]
    )  # fmt: skip
    conv.weight = nn.Parameter(kernel, requires_grad=layer.weight.requires_grad)
    conv.bias = layer.bias
    return conv


def head_batch_norm(state: Rewriting, node: fx.Node) -> Form:
    """A batch norm of rows works on maps."""
    form, given = state.form(node), arguments(node)
    if form.kind != "head":
        return batch_norm(state, node)
    if given["training"]:
        state.refuse(node, "is a batch norm without running statistics: it depends on the batch")
    if not form.is_unit or form.axes[1] != "c":
        state.refuse(node, "normalises every position of a flattened map by itself")
    calls = state.trace.calls_of(node)
    module = calls[-1].module if calls else None
    if type(module) is nn.BatchNorm1d and refusal(module) is None:
        state.install(node, _on_maps(module))
    else:
        state.keep(node)
    return form


def _on_maps(norm: nn.BatchNorm1d) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(
        norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
        device="meta",
    )
    made._parameters = dict(norm._parameters)
    made._buffers = dict(norm._buffers)
    return made


def head_layer_norm(state: Rewriting, node: fx.Node) -> Form:
    """A layer norm of rows, over the channels of every position."""
    form, given = state.form(node), arguments(node)
    if form.kind != "head":
        return layer_norm(state, node)
    if not form.is_unit or form.axes[-1] != "c" or len(given["normalized_shape"]) != 1:
        state.refuse(node, "normalises all positions of a flattened map at once")
    weight, bias = state.value(given["weight"]), state.value(given["bias"])
    state.call(node, layer_norm_of_channels, state.image(node), weight, bias, given["eps"])
    state.note(node, "a norm of channels in the forward", "")
    return form


def softmax(state: Rewriting, node: fx.Node) -> Form:
    """Softmax over channels."""
    form, given = state.form(node), arguments(node)
    if form.axes[given["dim"]] != "c" or (form.kind == "head" and not form.is_unit):
        state.refuse(node, f"runs {operator_name(node)} over positions, as attention does")
    if form.kind == "map":
        state.keep(node)
    else:
        target = node.target
        assert callable(target)
        state.call(node, target, state.value(state.data(node)[0]), 1)
    return form


def leaf(state: Rewriting, node: fx.Node) -> None:
    """A layer of ours that treats every position by itself, at any rank."""
    call = state.trace.leaf_of(node)
    assert call is not None
    assert call.source is not None
    assert call.result is not None
    form = state.forms[call.source]
    if form.kind == "head" and "f" in form.axes:
        form = _leaf_on_window(state, call, form)
    else:
        if form.axes[1] != "c" or not (form.kind != "head" or form.is_unit):
            state.refuse(node, "mixes channels, which are not the second axis of its input")
        name = state.name_of(call.path, call.module)
        made = state.graph.call_module(name, (state.value(call.source),))
        state.values[call.result] = made
        kept = state.kept_vectors if form.kind == "head" else state.kept
        kept.update(inner for inner in call.nodes if inner in state.trace.data)
    for inner in call.nodes:
        if inner in state.trace.data:
            state.forms[inner] = form


def _leaf_on_window(state: Rewriting, call: Call, form: Form) -> Form:
    layer = call.module
    assert call.source is not None
    assert call.result is not None
    if type(layer) is not PointwiseConv or layer.groups != 1 or refusal(layer):
        state.refuse(call.nodes[0], "reads a flattened map, and is no plain matrix")
    back = (0, *(1 + form.order.index(axis) for axis in ("c", "h", "w")))
    conv = _convolution(layer, form, _features(form, layer.c_in), back)
    state.install(call.result, conv)
    return replace(form, axes=VECTOR, window=(1, 1), step=(1, 1), bins=None)


RULES: dict[str, Rule] = {
    **BODY_RULES,
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), adaptive_pooling),
    **dict.fromkeys(("mean", "amax"), reduction),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), whole_pooling),
    **dict.fromkeys(
        ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "unflatten"), reshape
    ),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    "linear": linear,
    "batch_norm": head_batch_norm,
    "layer_norm": head_layer_norm,
    "leaf": leaf,
}
"""What to do with every operator that can slide; all others are refused."""
