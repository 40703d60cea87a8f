"""Rules for poolings over the whole map: fixed windows of the training feature map."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from pointwise.surgery.dense.body import pooling
from pointwise.surgery.dense.forms import MAP, Form, Pair, pair
from pointwise.surgery.dense.rewriting import Rewriting
from pointwise.surgery.dense.trace import arguments, operator_name, shape_of


def adaptive_pooling(state: Rewriting, node: fx.Node) -> Any:
    """Adaptive pooling to a fixed size: the windows that it takes of the training feature map."""
    form, maximum = state.form(node), "max" in operator_name(node)
    if form.kind == "head":
        if shape_of(state.data(node)[0])[2:] != pair(arguments(node)["output_size"]):
            state.refuse(node, "pools a map that was pooled to a fixed size before")
        state.same(node)
        return _several(state, node, form, maximum)
    if node in state.pools:
        return _several(state, node, _whole(state, node, form), maximum, kept=True)
    sizes = _sizes(state, node, form)
    wanted = shape_of(_first(node))[2:]
    if wanted == sizes:
        state.same(node)
        state.note(node, "Identity()", f"the training feature map is {sizes[0]}x{sizes[1]} already")
        return _several(state, node, form, maximum)
    made = replace(form, kind="head", axes=MAP, window=pair(wanted))
    even = all(size % want == 0 for size, want in zip(sizes, wanted, strict=True))
    if even:
        kernel = (sizes[0] // wanted[0], sizes[1] // wanted[1])
        made = replace(made, step=_apart(kernel, made.window))
        state.install(node, _pool(maximum, kernel), remark=_bins(wanted))
    elif maximum:
        state.refuse(
            node, f"takes maxima of uneven bins: {sizes[0]}x{sizes[1]} to {wanted[0]}x{wanted[1]}"
        )
    else:
        weights = [_matrix(size, want) for size, want in zip(sizes, wanted, strict=True)]
        made = replace(made, window=(sizes[0], sizes[1]), bins=(weights[0], weights[1]))
        state.values[node] = state.image(node)
        state.note(node, "Identity()", "its uneven bins go into the weights of the layer after it")
    return _several(state, node, _collapsed(made, node), maximum)


def _several(state: Rewriting, node: fx.Node, form: Form, maximum: bool, kept: bool = False) -> Any:
    """The maximum gives its places too, which nothing may read."""
    if not maximum:
        return form
    if kept:
        return (form, None)
    state.values[node] = (state.values[node], None)
    return (form, None)


def _first(node: fx.Node) -> fx.Node:
    """The node that holds the pooled map itself."""
    if isinstance(node.meta["val"], Tensor):
        return node
    return next(user for user in node.users if user.args[1] == 0)


def _apart(kernel: Pair, window: Pair) -> Pair:
    """Cells between two bins: a single bin has no neighbour."""
    down, across = (k if many > 1 else 1 for k, many in zip(kernel, window, strict=True))
    return down, across


def _bins(wanted: Sequence[int]) -> str:
    if math.prod(wanted) == 1:
        return "the window of the training feature map"
    return f"the bins of a {wanted[0]}x{wanted[1]} grid, at every cell; the next layer spreads"


def _pool(maximum: bool, kernel: Pair) -> nn.Module:
    return nn.MaxPool2d(kernel, 1) if maximum else nn.AvgPool2d(kernel, 1)


def _matrix(size: int, wanted: int) -> Tensor:
    """The means that adaptive pooling takes along one axis: ``(wanted, size)``."""
    matrix = torch.zeros(wanted, size, dtype=torch.float64)
    for row in range(wanted):
        start, end = row * size // wanted, -(-(row + 1) * size // wanted)
        matrix[row, start:end] = 1 / (end - start)
    return matrix


def _sizes(state: Rewriting, node: fx.Node, form: Form) -> Pair:
    """Rows and columns of the map that a node reads, on the training size."""
    shape = shape_of(state.data(node)[0])
    if form.kind != "map" or form.axes[0] != "n" or sorted(form.axes) != sorted(MAP):
        state.refuse(node, f"pools axes {', '.join(form.axes)}, not {', '.join(MAP)}")
    return shape[form.axes.index("h")], shape[form.axes.index("w")]


def _collapsed(form: Form, node: fx.Node) -> Form:
    """Pooled to one position: a vector whose axes of one value do not count any more."""
    if form.window != (1, 1):
        return form
    return replace(form, axes=("n", "c", "1", "1"), pools=frozenset({node}))


def _whole(state: Rewriting, node: fx.Node, form: Form) -> Form:
    """A statistic of the whole image, kept."""
    state.keep(node)
    state.note(node, None, "its statistics are those of the whole image")
    return replace(form, kind="image", axes=())


def reduction(state: Rewriting, node: fx.Node) -> Form:
    """A mean or maximum over all positions, in a forward."""
    form, given = state.form(node), arguments(node)
    rank = len(form.axes)
    dims = given["dim"]
    dims = range(rank) if not dims else [dims] if isinstance(dims, int) else dims
    over = sorted(form.axes[dim] for dim in dims)
    if form.kind == "head":
        if set(over) == {"1"} and operator_name(node) in ("mean", "amax"):
            state.same(node)
            if given["keepdim"]:
                return form
            left = [
                axis for dim, axis in enumerate(form.axes) if dim not in {d % rank for d in dims}
            ]
            return form.with_axes(*left)
        state.refuse(node, f"takes a {operator_name(node)} of the head's values")
    if over == ["c"] and given["keepdim"]:
        state.keep(node)
        return form
    if over != ["h", "w"]:
        state.refuse(node, f"takes a {operator_name(node)} over axes {', '.join(over)}, not h, w")
    if node in state.pools:
        return _whole(state, node, form)
    kernel = _sizes(state, node, form)
    state.install(node, _pool(operator_name(node) != "mean", kernel), remark=_bins((1, 1)))
    axes = [axis if axis in "nc" else "1" for axis in form.axes]
    if not given["keepdim"]:
        axes = [axis for axis in axes if axis != "1"]
    return replace(form, kind="head", axes=tuple(axes), pools=frozenset({node}))


def whole_pooling(state: Rewriting, node: fx.Node) -> Form:
    """A pool as large as the training feature map is a global one, whatever its stride."""
    form, given = state.form(node), arguments(node)
    kernel = pair(given["kernel_size"])
    plain = not any(pair(given["padding"])) and not given.get("divisor_override")
    apart = given.get("dilation") and set(pair(given["dilation"])) != {1}
    if form.kind == "head" or form.axes != MAP or kernel == (1, 1) or not plain or apart:
        return pooling(state, node)
    if kernel != _sizes(state, node, form) or _is_inside(node):
        return pooling(state, node)
    maximum = operator_name(node) == "max_pool2d"
    state.install(node, _pool(maximum, kernel), remark=_bins((1, 1)))
    return _collapsed(replace(form, kind="head"), node)


def _is_inside(node: fx.Node) -> bool:
    """Whether a layer after a pool reads neighbours again: then it is no head's pool."""
    seen, ahead = set(), list(node.users)
    while ahead:
        user = ahead.pop()
        if user in seen or user.op != "call_function":
            continue
        seen.add(user)
        ahead.extend(user.users)
        if operator_name(user) in ("max_pool2d", "avg_pool2d", "pad", "constant_pad_nd"):
            return True
        if operator_name(user) == "conv2d" and set(shape_of(arguments(user)["weight"])[2:]) != {1}:
            return True
    return False
