"""A chain through PyTorch, a chunk of positions at a time: hidden layers stay in cache.

Each chunk is a matrix of columns ``(C, T)``. Its buffers are made once and used again, so that
nothing is written to memory but the output.
"""

import threading
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.functional import Affine
from pointwise.runtime.chain import (
    Activation,
    Argmax,
    Chain,
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
    channels_after,
)

CHUNK_VALUES = 1 << 19
"""Values of the widest layer in one chunk: 2 MiB, about what a core's own cache holds."""

SHORTEST, LONGEST = 256, 4096
"""Positions of a chunk. Shorter ones wait for PyTorch's calls, longer ones gain nothing."""


class Buffers:
    """Memory of one thread, handed out and taken back.

    Args:
        values: Values of each buffer.
        dtype: Their type.
    """

    def __init__(self, values: int, dtype: torch.dtype) -> None:
        self._values, self._dtype = values, dtype
        self._free: list[Tensor] = []

    def take(self, channels: int, positions: int) -> Tensor:
        """A matrix ``(C, T)`` of unset values.

        Args:
            channels: Its rows.
            positions: Its columns.

        Returns:
            Memory that nobody else uses until it is given back.
        """
        whole = self._free.pop() if self._free else torch.empty(self._values, dtype=self._dtype)
        return whole[: channels * positions].view(channels, positions)

    def give_back(self, matrix: Tensor) -> None:
        """Take a matrix back, to be handed out again."""
        base = matrix._base
        self._free.append(matrix if base is None else base)


class Chunks:
    """Runs a chain through PyTorch in chunks that stay in cache.

    Safe to call from several threads, each of which gets buffers of its own; a chunk uses as many
    threads as PyTorch does.

    Args:
        chain: The chain.
        dtype: What to compute in: float32 or float64.

    Example:
        >>> chain = Chain(2, [Affine(torch.tensor([[1.0, -2.0]])), Activation("relu")])
        >>> x, out = torch.ones(1, 2, 5), torch.empty(1, 1, 5)
        >>> Chunks(chain).run(x, out)
        >>> out
        tensor([[[0., 0., 0., 0., 0.]]])
    """

    def __init__(self, chain: Chain, dtype: torch.dtype = torch.float32) -> None:
        self.chain, self.dtype = chain, dtype
        self._steps = tuple(_cast(step, dtype) for step in chain.steps)
        self._widest = _widest(chain.steps, chain.c_in)
        self._local = threading.local()

    def run(self, x: Tensor, out: Tensor) -> None:
        """Fill ``out``.

        Args:
            x: Input ``(B, C_in, P)``, of any type and strides.
            out: Output ``(B, C_out, P)``.
        """
        batches, _, positions = x.shape
        if batches * positions == 0:
            return
        longest = self._longest()
        space = self._space()
        with torch.no_grad():
            if batches > 1 and 2 * positions <= longest:
                together = max(1, longest // max(positions, 1))
                for start in range(0, batches, together):
                    some = slice(start, start + together)
                    self._samples(x[some], out[some], space)
                return
            for one, made in zip(x, out, strict=True):
                for start in range(0, positions, longest):
                    some = slice(start, start + longest)
                    self._columns(one[:, some], made[:, some], space)

    def _longest(self) -> int:
        length = min(max(CHUNK_VALUES // self._widest, SHORTEST), LONGEST)
        return length * torch.get_num_threads()

    def _space(self) -> Buffers:
        """Buffers of this thread, for as many positions as a chunk has with PyTorch's threads."""
        values = self._widest * self._longest()
        known: dict[Any, Buffers] = self._local.__dict__
        if values not in known:
            known.clear()
            known[values] = Buffers(values, self.dtype)
        return known[values]

    def _columns(self, x: Tensor, out: Tensor, space: Buffers) -> None:
        """One chunk of one batch."""
        tile = _Tile(space, x.shape[1])
        h, owned = x, False
        if x.dtype != self.dtype:
            h, owned = tile.copy(x), True
        tile.run(self._steps, h, owned, out)

    def _samples(self, x: Tensor, out: Tensor, space: Buffers) -> None:
        """Several small samples as one chunk."""
        batches, c_in, positions = x.shape
        tile = _Tile(space, batches * positions)
        h = space.take(c_in, batches * positions)
        h.view(c_in, batches, positions).copy_(x.transpose(0, 1))
        made = space.take(out.shape[1], batches * positions)
        if out.dtype != self.dtype:
            space.give_back(made)
            made = torch.empty(out.shape[1], batches * positions, dtype=out.dtype)
        tile.run(self._steps, h, True, made)
        out.transpose(0, 1).copy_(made.view(-1, batches, positions))
        if made.dtype == self.dtype:
            space.give_back(made)


class _Tile:
    """Runs steps on the columns ``(C, T)`` of one chunk."""

    def __init__(self, space: Buffers, positions: int) -> None:
        self.space, self.positions = space, positions

    def take(self, channels: int) -> Tensor:
        return self.space.take(channels, self.positions)

    def copy(self, x: Tensor) -> Tensor:
        return self.take(x.shape[0]).copy_(x)

    def run(self, steps: Sequence[Step], x: Tensor, owned: bool, out: Tensor) -> None:
        """Run the steps and write ``out``; gives ``x`` back if it is owned."""
        *first, last = steps if steps else (Pick(tuple(range(len(x)))),)
        x, owned = self.through(first, x, owned)
        if isinstance(last, Affine) and last.groups == 1 and out.dtype == x.dtype:
            _multiply(last, x, out)
        elif isinstance(last, Argmax):
            out.copy_(x.argmax(0, keepdim=True))
        else:
            made, owned = self.step(last, x, owned)
            out.copy_(made)
            x = made
        if owned:
            self.space.give_back(x)

    def through(self, steps: Sequence[Step], x: Tensor, owned: bool) -> tuple[Tensor, bool]:
        for step in steps:
            x, owned = self.step(step, x, owned)
        return x, owned

    def step(self, step: Step, x: Tensor, owned: bool) -> tuple[Tensor, bool]:
        """One step: in place on what is owned, else into a buffer."""
        if isinstance(step, Activation | Scale | Clip | SmoothClip | Impute | Missing):
            h = x if owned else self.copy(x)
            _in_place(step, h)
            return h, True
        made = self._moved(step, x)
        if owned:
            self.space.give_back(x)
        return made, True

    def _moved(self, step: Step, x: Tensor) -> Tensor:
        out = self.take(channels_after([step], len(x)))
        match step:
            case Affine():
                _multiply(step, x, out)
            case Concat(branches):
                self._concat(branches, x, out)
            case Residual(body):
                h, owned = self.through(body, x, False)
                torch.add(x, h, out=out)
                if owned:
                    self.space.give_back(h)
            case _:
                _whole(step, x, out)
        return out

    def _concat(self, branches: Sequence[Sequence[Step]], x: Tensor, out: Tensor) -> None:
        start = 0
        for branch in branches:
            h, owned = self.through(branch, x, False)
            out[start : start + len(h)] = h
            start += len(h)
            if owned:
                self.space.give_back(h)


def _multiply(affine: Affine, x: Tensor, out: Tensor) -> None:
    weight, bias, groups = affine
    if groups == 1:
        if bias is None:
            torch.mm(weight, x, out=out)
        else:
            torch.addmm(bias[:, None], weight, x, out=out)
        return
    blocks = affine.blocks()
    parts = x.unflatten(0, (groups, -1))
    made = out.unflatten(0, (groups, -1))
    if bias is None:
        torch.bmm(blocks, parts, out=made)
    else:
        torch.baddbmm(bias.reshape(groups, -1, 1), blocks, parts, out=made)


def _in_place(step: Step, h: Tensor) -> None:
    match step:
        case Activation():
            _activate(step, h)
        case Scale(centre, factor, shift):
            h.sub_(centre[:, None]).mul_(factor[:, None]).add_(shift[:, None])
        case Clip(low, high):
            h.clamp_(low[:, None], high[:, None])
        case SmoothClip(limit):
            h.mul_((h / limit).square_().add_(1).rsqrt_())
        case Impute(values):
            torch.where(h.isnan(), values[:, None], h, out=h)
        case Missing():
            h.copy_(h.isnan())


def _activate(step: Activation, h: Tensor) -> None:
    match step.kind:
        case "gelu" | "gelu_tanh":
            tanh = "none" if step.kind == "gelu" else "tanh"
            torch.ops.aten.gelu.out(h, approximate=tanh, out=h)
        case "softplus":
            torch.ops.aten.softplus.out(h, step.parameter, step.threshold, out=h)
        case "elu":
            F.elu(h, step.parameter, inplace=True)
        case "leaky_relu":
            F.leaky_relu(h, step.parameter, inplace=True)
        case "tanh" | "sigmoid" | "relu":
            getattr(h, step.kind + "_")()
        case _:
            getattr(F, step.kind)(h, inplace=True)


def _whole(step: Step, x: Tensor, out: Tensor) -> None:
    """Steps that look at more than one value or channel."""
    match step:
        case Pick(channels):
            torch.index_select(x, 0, torch.tensor(channels, dtype=torch.long), out=out)
        case OneHot(codes, shares, unseen):
            torch.where(x == unseen, shares[:, None], (x == codes[:, None]).to(x.dtype), out=out)
        case Lookup(table):
            last = len(table) - 1
            index = torch.where((x[0] == -1) | x[0].isnan(), last, x[0]).clamp(0, last).long()
            out.copy_(table[index].T)
        case Normalize(groups, eps):
            parts, made = x.unflatten(0, (groups, -1)), out.unflatten(0, (groups, -1))
            centred = torch.sub(parts, parts.mean(1, keepdim=True), out=made)
            variance = centred.square().mean(1, keepdim=True)
            made.mul_(variance.add_(eps).rsqrt_())
        case Softmax(parts_):
            torch.softmax(x.unflatten(0, (parts_, -1)), 1, out=out.unflatten(0, (parts_, -1)))
        case Spread(members, deviation):
            each = x.unflatten(0, (members, -1))
            c = each.shape[1]
            torch.mean(each, 0, out=out[:c])
            if deviation:
                torch.std(each, 0, correction=0, out=out[c:])


def _cast(step: Step, dtype: torch.dtype) -> Any:
    """The same step with its numbers in another type."""
    match step:
        case Affine(weight, bias, groups):
            offset = None if bias is None else bias.to(dtype)
            return Affine(weight.to(dtype).contiguous(), offset, groups)
        case Concat(branches):
            return Concat(tuple(tuple(_cast(s, dtype) for s in branch) for branch in branches))
        case Residual(body):
            return Residual(tuple(_cast(inner, dtype) for inner in body))
    data: Any = step
    named = {f.name: getattr(data, f.name) for f in fields(data)}
    return replace(data, **{n: v.to(dtype) for n, v in named.items() if isinstance(v, Tensor)})


def _widest(steps: Sequence[Step], c_in: int) -> int:
    """Most channels between any two steps."""
    widest = channels = c_in
    for step in steps:
        inner: Sequence[Sequence[Step]] = ()
        match step:
            case Concat(branches):
                inner = branches
            case Residual(body):
                inner = (body,)
        widest = max([widest, *(_widest(branch, channels) for branch in inner)])
        channels = channels_after([step], channels)
        widest = max(widest, channels)
    return widest
