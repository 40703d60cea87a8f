"""Steps that move, merge, split, cut and join axes."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.surgery.layout.forms import (
    groups,
    plain,
    ready_to_regroup,
    regrouped,
    relabelled,
    without,
)
from pointwise.surgery.layout.operators import regroup
from pointwise.surgery.layout.rewriting import Rewriting, Step, Value


def permute(state: Rewriting, step: Step) -> Value | None:
    """The axes in another order: only what they are called changes."""
    x = state.value(step.args[0])
    order = None if x is None else axis_order(step, x.rank)
    if x is None or order is None:
        return None
    return Value(x.node, relabelled(x.form, order), x.constant)


def axis_order(step: Step, rank: int) -> tuple[int, ...] | None:
    """Which axis stands where after a step that moves axes.

    Args:
        step: The step.
        rank: Number of axes.

    Returns:
        For each axis, which it was; ``None`` if it is not known before the run.
    """
    order = list(range(rank))
    if step.name == "getattr" or step.name == "t":
        kind = step.args[1] if step.name == "getattr" else "T"
        swapped = order[::-1] if kind == "T" else [*order[:-2], *order[-2:][::-1]]
        return tuple(swapped) if kind in ("T", "mT") and rank > 1 else None
    if step.name == "permute":
        dims = step.get(1, "dims") if len(step.args) < 3 else step.args[1:]
        return tuple(dim % rank for dim in dims) if are_numbers(dims) else None
    names = ("source", "destination") if step.name in ("movedim", "moveaxis") else ("dim0", "dim1")
    first, second = step.get(1, names[0]), step.get(2, names[1])
    if not are_numbers(first) or not are_numbers(second):
        return None
    if names[0] == "source":
        view = torch.empty(tuple(range(1, rank + 1)), device="meta").movedim(first, second)
        return tuple(size - 1 for size in view.shape)
    order[first], order[second] = order[second], order[first]
    return tuple(order)


def reshape(state: Rewriting, step: Step) -> Value | None:
    """Axes merged and split: in place where those to merge stand in a row."""
    x, after = state.value(step.args[0]), state.hint(step.node)
    if x is None or x.form == plain(x.rank):
        return None
    before = state.hint(step.args[0]).shape
    made = groups(before, after.shape)
    sizes = _sizes(state, step, x.rank, after.ndim)
    if made is None or sizes is None:
        return None
    form = regrouped(x.form, made)
    start = x.form
    if form is None:
        start = ready_to_regroup(x.form, made)
        form = regrouped(start, made)
    assert form is not None
    node = state.place(x, start, step.name)
    return state.result(state.function(regroup, node, start, made, sizes), form, x)


def _sizes(state: Rewriting, step: Step, rank: int, rank_after: int) -> Any:
    """The sizes asked for; -1 where they follow from the axes."""
    if step.name == "flatten":
        return (-1,) * rank_after if step.get(1, "start_dim", 0) is not None else None
    if step.name == "unflatten":
        dim, into = step.get(1, "dim"), step.get(2, "sizes") or step.get(2, "unflattened_size")
        if not isinstance(dim, int) or not isinstance(into, (tuple, list)):
            return None
        dim %= rank
        return (*(-1,) * dim, *state.argument(tuple(into)), *(-1,) * (rank - 1 - dim))
    given = step.args[1:] or (step.kwargs.get("shape", step.kwargs.get("size")),)
    if len(given) == 1 and not isinstance(state.hint(given[0]), int):
        given = given[0]
    if given is None or isinstance(state.hint(given), torch.dtype):
        return None
    return state.argument(given)


def squeeze(state: Rewriting, step: Step) -> Value | None:
    """A unit axis of the value becomes one of the tensor alone."""
    x, dim = state.value(step.args[0]), step.get(1, "dim")
    if x is None or not isinstance(dim, int) or x.form == plain(x.rank):
        return None
    if state.hint(step.args[0]).shape[dim] != 1:
        return x
    kept = [axis for axis in range(x.rank) if axis != dim % x.rank]
    return Value(x.node, relabelled(x.form, kept), x.constant)


def unsqueeze(state: Rewriting, step: Step) -> Value | None:
    """A new unit axis of the value, behind the tensor's others."""
    x, dim = state.value(step.args[0]), step.get(1, "dim")
    if x is None or not isinstance(dim, int) or x.form == plain(x.rank):
        return None
    new = dim % (x.rank + 1)
    raised = tuple(axis + 1 if axis is not None and axis >= new else axis for axis in x.form)
    return state.result(state.method("unsqueeze", x.node, -1), (*raised, new), x)


def concatenate(state: Rewriting, step: Step) -> Value | None:
    """Values side by side along an axis, all in one form."""
    parts, dim = step.args[0], step.get(1, "dim", 0)
    if not isinstance(parts, (list, tuple)) or not isinstance(dim, int):
        return None
    values = [state.value(part) for part in parts]
    found = [value for value in values if value is not None]
    rank = state.hint(step.node).ndim
    if len(found) < len(values) or any(value.rank != rank for value in found):
        return None
    form = state.common(found, rank)
    nodes = [state.place(value, form, step.name) for value in found]
    return state.result(state.function(torch.cat, nodes, form.index(dim % rank)), form, *found)


def stack(state: Rewriting, step: Step) -> Value | None:
    """Values side by side along a new axis, which stands behind the one before it."""
    given, dim = step.args[0], step.get(1, "dim", 0)
    if not isinstance(given, (list, tuple)) or not isinstance(dim, int):
        return None
    values = [state.value(part) for part in given]
    found = [value for value in values if value is not None]
    rank = state.hint(step.node).ndim
    if len(found) < len(values):
        return None
    form, new = state.common(found, rank - 1), dim % rank
    at = form.index(new - 1) + 1 if new else 0
    nodes = [state.place(value, form, step.name) for value in found]
    raised = tuple(axis + 1 if axis is not None and axis >= new else axis for axis in form)
    made = (*raised[:at], new, *raised[at:])
    return state.result(state.function(torch.stack, nodes, at), made, *found)


def parts(state: Rewriting, step: Step) -> Value | None:
    """Parts of a value along an axis: several values of one form."""
    place = 1 if step.name == "unbind" else 2
    x, dim = state.value(step.args[0]), step.get(place, "dim", 0)
    if x is None or not isinstance(dim, int) or x.form == plain(x.rank):
        return None
    args = [x.node, *state.argument(step.args[1:])]
    kwargs = dict(state.argument(step.kwargs))
    put(args, kwargs, place, "dim", x.form.index(dim % x.rank))
    form = without(x.form, [dim % x.rank]) if step.name == "unbind" else x.form
    return state.result(state.emit(step.node.op, step.node.target, tuple(args), kwargs), form, x)


def item(state: Rewriting, step: Step) -> Value | None:
    """One of several values, or a cut out of one."""
    x, index = state.value(step.args[0]), step.args[1]
    if x is None:
        return None
    if not isinstance(state.hint(step.args[0]), Tensor):
        part = state.function(operator.getitem, x.node, state.argument(index))
        return state.result(part, x.form, x)
    cuts = list(index) if isinstance(index, (tuple, list)) else [index]
    if any(cut is Ellipsis for cut in cuts):
        at = next(i for i, cut in enumerate(cuts) if cut is Ellipsis)
        cuts[at : at + 1] = [slice(None)] * (x.rank + 1 - len(cuts))
    if any(
        isinstance(cut, bool) or not isinstance(cut, (slice, int)) for cut in cuts
    ) or isinstance(index, list):
        return None
    cuts += [slice(None)] * (x.rank - len(cuts))
    placed = tuple(slice(None) if axis is None else cuts[axis] for axis in x.form)
    node = state.function(operator.getitem, x.node, state.argument(placed))
    gone = [axis for axis, cut in enumerate(cuts) if isinstance(cut, int)]
    return state.result(node, without(x.form, gone), x)


def pad(state: Rewriting, step: Step) -> Value | None:
    """Values added at the ends of axes."""
    x, amounts = state.value(step.args[0]), step.get(1, "pad")
    mode = step.get(2, "mode", "constant")
    if x is None or x.form == plain(x.rank) or mode != "constant":
        return None
    if not isinstance(amounts, (tuple, list)) or len(amounts) > 2 * x.rank:
        return None
    given: dict[int | None, Any] = {
        x.rank - 1 - i // 2: amounts[i : i + 2] for i in range(0, len(amounts), 2)
    }
    ordered = [n for axis in reversed(x.form) for n in given.get(axis, (0, 0))]
    node = state.function(F.pad, x.node, state.argument(ordered), mode, step.get(3, "value"))
    return state.result(node, x.form, x)


def are_numbers(dims: Any) -> bool:
    """Whether an argument is an integer, or all integers.

    Args:
        dims: The argument.

    Returns:
        Whether it is, so that it is known before the run.
    """
    many = dims if isinstance(dims, (tuple, list)) else [dims]
    return all(isinstance(dim, int) and not isinstance(dim, bool) for dim in many)


def put(args: list[Any], kwargs: dict[str, Any], place: int, name: str, value: Any) -> None:
    """Put an argument where it was given: by place or by name.

    Args:
        args: The arguments, to change.
        kwargs: The arguments by name, to change.
        place: Its place.
        name: Its name.
        value: What it is now.
    """
    if place < len(args):
        args[place] = value
    else:
        kwargs[name] = value
