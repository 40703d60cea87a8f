"""Where the channels of a value go: through operators that only move them, to modules."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pointwise.surgery.flow import Call, Flow, Operator, Value


@dataclass(frozen=True)
class Sinks:
    """The calls that a value reaches unchanged, but for where its channels lie.

    Attributes:
        calls: Each with the axis that the channels lie on there.
        blocked: What else reads the value, in words; ``None`` if nothing.
        moved: Whether there are operators between.
    """

    calls: tuple[tuple[Call, int], ...]
    blocked: str | None = None
    moved: bool = False

    @property
    def only(self) -> tuple[Call, int] | None:
        """The one call that everything goes to."""
        return self.calls[0] if len(self.calls) == 1 and self.blocked is None else None


def follow(flow: Flow, value: Value, axis: int, known: Callable[[str], bool]) -> Sinks:
    """Follow the channels of a value to the modules that use them.

    Operators on the way may move axes and drop or average positions: each channel scaled by a
    number comes out scaled by that number, and so does an added offset.

    Args:
        flow: The run.
        value: Where to begin.
        axis: The axis of its channels.
        known: Whether a path is that of a module where to stop.

    Returns:
        The calls of such modules, and what else there is.
    """
    if value in flow.kept:
        return Sinks((), "it is an output of the model, or stored")
    calls: dict[Call, int] = {}
    blocked: list[str] = []
    moved = False
    for reader in flow.readers(value):
        around = flow.around(reader.call)
        taker = next((c for c in around if value in c.inputs and known(c.path)), None)
        if taker is not None and taker.inputs[0] is value:
            calls[taker] = axis
            continue
        after = None if taker is not None else passed(reader, value, axis)
        if after is None:
            blocked.append(f"{_name(flow, reader, value)} reads it")
            continue
        further = follow(flow, *after, known)
        blocked += [further.blocked] if further.blocked is not None else []
        calls |= dict(further.calls)
        moved = True
    return Sinks(tuple(calls.items()), blocked[0] if blocked else None, moved)


def passed(operator: Operator, value: Value, axis: int) -> tuple[Value, int] | None:
    """The value after an operator that only moves channels, and their axis there."""
    move = MOVES.get(operator.name)
    plain = operator.reads == (value,) and len(operator.writes) == 1
    if move is None or not plain or operator.args.get("self") is not value:
        return None
    (after,) = operator.writes
    if after.dtype != value.dtype:
        return None
    new = move(axis, value, after, operator.args)
    if new is None or after.shape[new] != value.shape[axis]:
        return None
    return after, new


def _name(flow: Flow, operator: Operator, value: Value) -> str:
    """What to call an operator that reads a value: the module given the value, if that is one."""
    taker = next((c for c in flow.around(operator.call) if value in c.inputs), None)
    if taker is not None and taker.path:
        return f"{str(operator)!r} in {taker.path!r}"
    place = flow.calls[operator.call].path
    return f"{str(operator)!r} in " + (f"{place!r}" if place else "the model's forward")


Move = Callable[[int, Value, Value, dict[str, Any]], int | None]
"""From the axis of the channels to the one after an operator; ``None`` if it mixes them."""


def _same(axis: int, _before: Value, _after: Value, _args: dict[str, Any]) -> int | None:
    return axis


def _viewed(axis: int, before: Value, after: Value, _args: dict[str, Any]) -> int | None:
    """The axis with as many channels and as many values around it."""
    size, inner = before.shape[axis], math.prod(before.shape[axis + 1 :])
    fits = [
        new
        for new, n in enumerate(after.shape)
        if n == size and math.prod(after.shape[new + 1 :]) == inner
    ]
    return fits[0] if fits else None


def _permuted(axis: int, before: Value, _after: Value, args: dict[str, Any]) -> int | None:
    dims: list[int] = args["dims"]
    return [d % len(before.shape) for d in dims].index(axis)


def _transposed(axis: int, before: Value, _after: Value, args: dict[str, Any]) -> int | None:
    ndim = len(before.shape)
    one, two = int(args["dim0"]) % ndim, int(args["dim1"]) % ndim
    return {one: two, two: one}.get(axis, axis)


def _matrix_transposed(
    axis: int, before: Value, _after: Value, _args: dict[str, Any]
) -> int | None:
    return axis if len(before.shape) < 2 else 1 - axis


def _unsqueezed(axis: int, _before: Value, after: Value, args: dict[str, Any]) -> int | None:
    dim: int = args["dim"]
    return axis + (dim % len(after.shape) <= axis)


def _cut(axis: int, before: Value, _after: Value, args: dict[str, Any]) -> int | None:
    return None if args.get("dim", 0) % len(before.shape) == axis else axis


def _selected(axis: int, before: Value, _after: Value, args: dict[str, Any]) -> int | None:
    dim: int = args.get("dim", 0) % len(before.shape)
    return None if dim == axis else axis - int(dim < axis)


def _averaged(axis: int, before: Value, _after: Value, args: dict[str, Any]) -> int | None:
    if not args.get("dim"):
        return None
    given = args["dim"] if isinstance(args["dim"], list | tuple) else [args["dim"]]
    dims = {d % len(before.shape) for d in given}
    if axis in dims:
        return None
    return axis if args.get("keepdim") else axis - sum(d < axis for d in dims)


def _pooled(axis: int, before: Value, _after: Value, _args: dict[str, Any]) -> int | None:
    return axis if axis == len(before.shape) - 3 else None


MOVES: dict[str, Move] = {
    "aten::clone": _same,
    "aten::_to_copy": _same,
    "aten::alias": _same,
    "aten::detach": _same,
    "aten::view": _viewed,
    "aten::_unsafe_view": _viewed,
    "aten::permute": _permuted,
    "aten::transpose": _transposed,
    "aten::t": _matrix_transposed,
    "aten::unsqueeze": _unsqueezed,
    "aten::squeeze": _viewed,
    "aten::slice": _cut,
    "aten::select": _selected,
    "aten::mean": _averaged,
    "aten::_adaptive_avg_pool2d": _pooled,
}
