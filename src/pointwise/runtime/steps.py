"""Writes the steps of a chain into a pipeline, one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.functional import Affine
from pointwise.runtime import halide_math as hm
from pointwise.runtime.chain import (
    Activation,
    Argmax,
    Clip,
    Concat,
    Impute,
    Lookup,
    Missing,
    Normalize,
    OneHot,
    Pick,
    Residual,
    Scale,
    SmoothClip,
    Softmax,
    Spread,
    Step,
)
from pointwise.runtime.schedules import FEW_TERMS
from pointwise.runtime.stages import (
    Expr,
    Func,
    Place,
    Product,
    Stage,
    Sum,
    UnsupportedError,
    Value,
)
from pointwise.runtime.writer import Writer

PART = 64
TWO_PARTS = 65
"""From so many input channels on they are summed in parts of 64. One long sum of 130 terms was off
by up to three times what PyTorch's products are."""


class StepWriter(Writer):
    """Writes steps."""

    def run(self, steps: Sequence[Step], value: Value) -> Value:
        """Write steps that follow one another."""
        for step in steps:
            self.tokens.append((type(step).__name__, *_token(step)))
            value = self.step(step, value)
        return value

    def step(self, step: Step, x: Value) -> Value:
        """Write one step."""
        match step:
            case Affine():
                return self.affine(step, x)
            case Residual(body):
                x = self.store(x, "skipped")
                y = self.run(body, x)
                skip = self.limited(x, y.room)
                if skip.members != y.members:
                    raise UnsupportedError(
                        "a residual runs from shared channels to those of members"
                    )
                return self.mapped_at(y, lambda e, at: e + skip.at(at))
            case Concat(branches):
                return self.concat(branches, self.cheap(x))
            case Pick(channels):
                return self.pick(channels, x)
            case Lookup(table):
                return self.lookup(table.numpy(), x)
            case Normalize(_, eps):
                return self.normalize(eps, step, x)
            case Softmax():
                return self.softmax(step, x)
            case Spread(_, deviation):
                return self.spread(deviation, x)
            case Argmax():
                return self.argmax(x)
        return self.single(step, x)

    def single(self, step: Step, x: Value) -> Value:
        """Steps on single values."""
        hl = self.hl
        match step:
            case Activation():
                return self.mapped(x, lambda e: hm.activate(step, e))
            case Scale():
                centre, factor, shift = (
                    self.per_channel(v, x, "scale") for v in (step.centre, step.factor, step.shift)
                )
                return self.mapped_at(x, lambda e, at: (e - centre(at)) * factor(at) + shift(at))
            case Clip():
                low, high = (self.per_channel(v, x, "limit") for v in (step.low, step.high))
                return self.mapped_at(x, lambda e, at: hm.clip(e, low(at), high(at)))
            case SmoothClip(limit):
                inverse = hm.number(1 / limit**2)
                return self.mapped(x, lambda e: e / hl.sqrt(e * e * inverse + 1.0))
            case Impute(values):
                fill = self.per_channel(values, x, "fill")
                return self.mapped_at(x, lambda e, at: hl.select(hm.is_missing(e), fill(at), e))
            case Missing():
                return self.mapped(x, lambda e: hl.select(hm.is_missing(e), 1.0, 0.0))
            case OneHot():
                code, share = (self.per_channel(v, x, "level") for v in (step.codes, step.shares))
                unseen = step.unseen
                return self.mapped_at(
                    x,
                    lambda e, at: hl.select(
                        e == hm.number(unseen), share(at), hl.select(e == code(at), 1.0, 0.0)
                    ),
                )
        raise UnsupportedError(f"{type(step).__name__} has no Halide form")

    def affine(self, step: Affine, x: Value) -> Value:
        """Write a product, for each member if there are any."""
        hl, members = self.hl, self.members
        if x.members and step.groups == 1:
            raise UnsupportedError("a matrix mixes the channels of members")
        each = members > 1  # the first product of members may read shared channels
        if each and step.c_out % members:
            raise UnsupportedError(f"{step.c_out} channels do not divide among {members} members")
        parts = members if each else 1
        c_in, c_out = step.weight.shape[1], step.c_out // parts
        block = self.schedule.block(c_out)
        weight, bias = _packed(step, parts, block.outputs)
        room = bias.shape[1]
        x = self.store(x, "read")
        w, b = self.constant(weight, "weight"), self.constant(bias, "bias")
        own = not x.members and step.groups > 1  # channels of the input that belong to members

        def read(p: Expr, r: Expr, m: Expr) -> Expr:
            return x.at(Place(p, m * c_in + r if own else r, m))

        total = hl.Func("total")
        p, o, m = self.p, self.o, self.m if each else 0
        index = self.index(each)
        # every term is rounded to the size of a sum that begins with the bias: only a few may be
        begins = c_in <= FEW_TERMS
        total[index] = b[o, m] if begins else hl.f32(0)

        def term(r: Expr) -> Expr:
            return read(p, r, m) * w[o % block.outputs, r, o // block.outputs, m]

        sums = self.sums(total, term, c_in, each)
        self.tokens.append((c_in, c_out, block))
        made = self.reading(total, c_out, room, each)
        made.stored, made.product = False, Product(total, sums, block)
        if begins:
            return made
        return self.mapped_at(made, lambda e, at: e + b[at.o, at.m if each else 0])

    def sums(
        self, total: Func, term: Callable[[Expr], Expr], c_in: int, each: bool
    ) -> tuple[Sum, ...]:
        """Add the terms of all input channels: of many, in parts, which round less together."""
        hl, index = self.hl, self.index(each)
        parts = c_in // PART if c_in >= TWO_PARTS else 0
        sums: list[Sum] = []
        if parts:
            part, along, over = hl.Func("part"), hl.RDom([(0, PART)]), hl.RDom([(0, parts)])
            here = hl.Var("here")
            part[(*index, here)] = hl.f32(0)
            part[(*index, here)] += term(here * PART + along.x)
            total[index] += part[(*index, over.x)]
            sums.append(Sum(over.x, parts, part, along.x))
        if parts * PART < c_in:
            rest = hl.RDom([(parts * PART, c_in - parts * PART)])
            total[index] += term(rest.x)
            sums.append(Sum(rest.x, c_in - parts * PART))
        return tuple(sums)

    def cheap(self, x: Value) -> Value:
        """Store what several readers would compute again."""
        return self.store(x, "shared") if x.product is not None else x

    def concat(self, branches: Sequence[Sequence[Step]], x: Value) -> Value:
        """Write branches side by side."""
        hl = self.hl
        if x.members:
            raise UnsupportedError("branches of members")
        func, start, reductions = hl.Func("side_by_side"), 0, []
        func[self.index(False)] = hl.undef(hl.Float(32))
        for branch in branches:
            made = self.run(branch, x)
            if made.members:
                raise UnsupportedError("branches of members")
            made = self.cheap(made)
            if made.channels == 0:
                continue
            each = hl.RDom([(0, made.channels)], "each")
            func[self.p, each.x + start, self.n] = made.at(replace(self.here, o=each.x))
            reductions.append(each)
            start += made.channels
        self.stages.append(Stage(func, start, False, None, reductions))
        return self.reading(func, start, start, False)

    def pick(self, channels: Sequence[int], x: Value) -> Value:
        """Read other channels."""
        hl = self.hl
        x = self.cheap(x)
        if x.members:
            raise UnsupportedError("channels picked among those of members")
        read, count = x.at, len(channels)
        first = channels[0] if channels else 0
        if tuple(channels) == tuple(range(first, first + count)):
            self.tokens.append((first, count))
            return Value(lambda at: read(replace(at, o=at.o + first)), count, count)
        numbers = self.constant(np.asarray(channels, np.int32), "picked")
        last = x.channels - 1
        return Value(
            lambda at: read(replace(at, o=hl.unsafe_promise_clamped(numbers[at.o], 0, last))),
            count,
            count,
        )

    def lookup(self, table: NDArray[Any], x: Value) -> Value:
        """Read a table by codes."""
        hl = self.hl
        x = self.cheap(x)
        read, last = x.at, len(table) - 1
        rows = self.constant(np.asarray(table.T, np.float32), "table")  # (rows, channels) to Halide

        def found(at: Place) -> Expr:
            code = read(replace(at, o=0))
            inside = hl.cast(hl.Int(32), hl.clamp(code, 0.0, float(last)))
            unseen = (code == -1.0) | hm.is_missing(code)
            row = hl.select(unseen, last, hl.clamp(inside, 0, last))
            return rows[row, at.o]

        return Value(found, table.shape[1], table.shape[1])

    # --- Steps over all channels ---

    def reduced(self, name: str, x: Value, first: Expr, next_: Callable[..., Expr]) -> Any:
        """A function of the position alone: a sum or a maximum over the channels."""
        hl = self.hl
        func, over = hl.Func(name), hl.RDom([(0, x.channels)], "over")
        index = (self.p, self.m, self.n) if x.members else (self.p, self.n)
        func[index] = first
        func[index] = next_(func[index], x.at(replace(self.here, o=over.x)))
        self.stages.append(Stage(func, 1, x.members, None, [over]))
        if x.members:
            return lambda at: func[at.p, at.m, self.n]
        return lambda at: func[at.p, self.n]

    def _parts(self, step: Normalize | Softmax, x: Value) -> Value:
        if groups_of(step) != (self.members if x.members else 1):
            raise UnsupportedError(f"{type(step).__name__} mixes the channels of members")
        return self.store(x, "whole")

    def normalize(self, eps: float, step: Normalize, x: Value) -> Value:
        """Write a norm over channels."""
        hl, x = self.hl, self._parts(step, x)
        share = hm.number(1 / x.channels)
        total = self.reduced("sum", x, hl.f32(0), lambda s, e: s + e)
        centred = self.mapped_at(x, lambda e, at: e - total(at) * share)
        squares = self.reduced("squares", centred, hl.f32(0), lambda s, e: s + e * e)
        return self.mapped_at(
            centred, lambda e, at: e / hl.sqrt(squares(at) * share + hm.number(eps))
        )

    def softmax(self, step: Softmax, x: Value) -> Value:
        """Write probabilities."""
        hl, x = self.hl, self._parts(step, x)
        low = hm.number(-3.4e38)
        top = self.reduced("top", x, low, lambda s, e: hl.select(hl.strict_float(e < s), s, e))
        raised = self.store(
            self.mapped_at(x, lambda e, at: hm.keep_missing(e, hm.exp(e - top(at)))), "raised"
        )
        total = self.reduced("total", raised, hl.f32(0), lambda s, e: s + e)
        return self.mapped_at(raised, lambda e, at: e / total(at))

    def spread(self, deviation: bool, x: Value) -> Value:
        """Write mean and deviation over members, whose outputs are stored side by side."""
        hl = self.hl
        if not x.members:
            raise UnsupportedError("a mean over members without members")
        x = self.store(replace(x, stored=False), "each")
        self.stages[-1].across = True
        self.each = self.stages[-1].func
        c, share, p, o, n = x.channels, hm.number(1 / self.members), self.p, self.o, self.n
        mean, over = hl.Func("mean"), hl.RDom([(0, self.members)], "members")
        mean[p, o, n] = hl.f32(0)
        mean[p, o, n] += x.at(Place(p, o, over.x)) * share
        self.stages.append(Stage(mean, c, False, None, [over]))
        if not deviation:
            return self.reading(mean, c, c, False)
        squares = hl.Func("squares")
        again = hl.RDom([(0, self.members)], "members")
        squares[p, o, n] = hl.f32(0)
        apart = x.at(Place(p, o, again.x)) - mean[p, o, n]
        squares[p, o, n] += apart * apart * share
        self.stages.append(Stage(squares, c, False, None, [again]))

        def both(at: Place) -> Expr:
            p, o = at.p, at.o
            second = hl.sqrt(squares[p, hl.clamp(o - c, 0, c - 1), n])
            return hl.select(o < c, mean[p, hl.min(o, c - 1), n], second)

        return Value(both, 2 * c, 2 * c)

    def argmax(self, x: Value) -> Value:
        """Write class numbers."""
        hl = self.hl
        if x.members:
            raise UnsupportedError("Argmax compares the channels of members")
        x = self.store(x, "scores")
        best, over = hl.Func("best"), hl.RDom([(0, x.channels)], "over")
        p, n = self.p, self.n
        best[p, n] = (hl.i32(0), hm.number(-3.4e38))
        e, top = x.at(replace(self.here, o=over.x)), best[p, n]
        above = hl.strict_float(top[1] < e)
        above = above | (hm.is_missing(e) & ~hm.is_missing(top[1]))  # the first NaN, as in PyTorch
        best[p, n] = (hl.select(above, over.x, top[0]), hl.select(above, e, top[1]))
        self.stages.append(Stage(best, 2, False, None, [over]))
        return Value(lambda at: hl.cast(hl.Int(64), best[at.p, n][0]), 1, 1)


def groups_of(step: Step) -> int:
    """Groups whose channels a step keeps apart; 1 of a step that has none.

    Args:
        step: The step.

    Returns:
        Their number.
    """
    match step:
        case Affine():
            return step.groups
        case Normalize(count) | Softmax(count) | Spread(count):
            return count
    return 1


def _packed(step: Affine, parts: int, outputs: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights ``(parts, blocks, C_in, outputs)`` and biases ``(parts, room)``, padded by zeros."""
    c_in = step.weight.shape[1]
    weight = step.weight.numpy().reshape(parts, -1, c_in)
    c_out = weight.shape[1]
    blocks = -(-c_out // outputs)
    room = np.zeros((parts, blocks * outputs, c_in), np.float32)
    room[:, :c_out] = weight
    bias = np.zeros((parts, blocks * outputs), np.float32)
    if step.bias is not None:
        bias[:, :c_out] = step.bias.numpy().reshape(parts, c_out)
    packed = room.reshape(parts, blocks, outputs, c_in).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(packed), bias


def _token(step: Step) -> tuple[Any, ...]:
    """What the code of a step depends on besides shapes."""
    match step:
        case Affine():
            return (tuple(step.weight.shape), step.groups)
        case Scale(values) | Clip(values) | Impute(values) | OneHot(values) | Lookup(values):
            return tuple(values.shape)
        case Pick(channels):
            return (len(channels),)
        case Concat(branches):
            return tuple(len(branch) for branch in branches)
        case Residual(body):
            return (len(body),)
    return (step,)
