"""Writes values into a pipeline: the input, constants, and what is stored for each tile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.runtime.schedules import Schedule
from pointwise.runtime.stages import HALIDE_TYPES, Expr, Func, Layout, Place, Stage, Value


@dataclass
class Writer:
    """A pipeline under construction.

    Functions of the pipeline are indexed ``(position, channel, batch)``, those of single members
    ``(position, channel, member, batch)``. What acts on single values is not stored: it becomes
    part of the expression that the next product, or the output, reads.

    Attributes:
        c_in: Channels of the input.
        members: Members that run one after the other; 1 if there are none.
        layout: How input and output lie in memory.
        schedule: How the chain is cut.
        embedded: Whether constants become part of the code, and are no arguments.
        stages: What is stored, in the order of use.
        inputs: Arguments of the pipeline so far.
        constants: The arrays for all arguments but the first; those that are part of the code,
            which must live until it is compiled.
        tokens: What the code depends on.
        columns: Of an input that is read several tiles at a time, those by columns, and the image.
        each: The outputs of all members, where they are averaged.
    """

    c_in: int
    members: int
    layout: Layout
    schedule: Schedule
    embedded: bool = False
    stages: list[Stage] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    constants: list[NDArray[Any]] = field(default_factory=list)
    tokens: list[Any] = field(default_factory=list)
    columns: tuple[Func, Any] | None = None
    each: Func | None = None

    def __post_init__(self) -> None:
        import halide as hl

        self.hl: Any = hl
        self.p, self.o, self.m, self.n, self.v, self.t = (hl.Var(name) for name in "pomnvt")
        self.here = Place(self.p, self.o, self.m)

    def image(self) -> Value:
        """The input as a value; the first argument."""
        hl, c = self.hl, self.c_in
        kind = HALIDE_TYPES[self.layout.dtype]
        image = hl.ImageParam(getattr(hl, kind[0])(kind[1]), 3, "x")
        image.dim(1).set_bounds(0, c)
        self.inputs.append(image)
        value = Value(lambda at: hl.cast(hl.Float(32), image[at.p, at.o, self.n]), c, c)
        if self.layout.rows_in:
            image.dim(0).set_stride(c if self.layout.dense else hl.Expr())
            image.dim(1).set_stride(1)
        if self.schedule.across or not (self.layout.rows_in or self.layout.copied):
            value.stored = self.layout.dtype == "float32"
            return value
        func = hl.Func("columns")
        self.columns = (func, image)
        if self.layout.rows_in:
            func[self.p, self.o, self.n] = value.at(self.here)
            return self.reading(func, c, c, False)
        size = self.schedule.tile  # a tile lies in one piece, or it would push itself out of cache
        place = Place(self.t * size + self.p, self.o, self.m)
        func[self.p, self.o, self.t, self.n] = value.at(place)
        return Value(lambda at: func[at.p % size, at.o, at.p / size, self.n], c, c, stored=True)

    def constant(self, values: NDArray[Any], name: str) -> Any:
        """An argument for an array; the last axis of the array is the first of the argument."""
        values = np.ascontiguousarray(values)
        hl = self.hl
        if self.embedded:
            self.constants.append(values)
            return hl.Buffer(values)
        kind = hl.Int(32) if values.dtype == np.int32 else hl.Float(32)
        made = hl.ImageParam(kind, values.ndim, f"{name}_{len(self.constants)}")
        stride = 1
        for axis, size in enumerate(values.shape[::-1]):
            made.dim(axis).set_bounds(0, size).set_stride(stride)
            stride *= size
        self.inputs.append(made)
        self.constants.append(values)
        return made

    def per_channel(self, values: Any, like: Value, name: str) -> Callable[[Place], Expr]:
        """A constant of every channel, read at a place."""
        members = self.members if like.members else 1
        array = np.asarray(values, np.float32).reshape(members, -1)
        room = np.zeros((members, max(like.room, array.shape[1])), np.float32)
        room[:, : array.shape[1]] = array
        made = self.constant(room, name)
        if like.members:
            return lambda at: made[at.o, at.m]
        return lambda at: made[at.o, 0]

    def store(self, value: Value, name: str) -> Value:
        """Compute the channels of a tile, for whoever reads them next."""
        if value.stored:
            return value
        func = self.hl.Func(name)
        made = self.reading(func, value.channels, value.room, value.members)
        func[self.index(value.members)] = value.at(self.here)
        self.stages.append(Stage(func, value.room, value.members, value.product))
        return made

    def index(self, members: bool) -> tuple[Any, ...]:
        """The variables of a function."""
        if members:
            return (self.p, self.o, self.m, self.n)
        return (self.p, self.o, self.n)

    def reading(self, func: Func, channels: int, room: int, members: bool) -> Value:
        """A stored function as a value."""
        n = self.n
        if members:
            return Value(lambda at: func[at.p, at.o, at.m, n], channels, room, True, True)
        return Value(lambda at: func[at.p, at.o, n], channels, room, False, True)

    def limited(self, value: Value, room: int) -> Value:
        """Of a stored value, let a wider reader ask for channels that are not there."""
        if value.room >= room:
            return value
        last = value.channels - 1
        read = value.at
        return Value(
            lambda at: read(replace(at, o=self.hl.min(at.o, last))),
            value.channels,
            room,
            value.members,
        )

    def mapped(self, x: Value, f: Callable[[Expr], Expr]) -> Value:
        """The same channels, with more done to each value."""
        return self.mapped_at(x, lambda e, _: f(e))

    def mapped_at(self, x: Value, f: Callable[[Expr, Place], Expr]) -> Value:
        """The same channels, with more done to each value, depending on where it is."""
        read = x.at
        return Value(lambda at: f(read(at), at), x.channels, x.room, x.members, product=x.product)
