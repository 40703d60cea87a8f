"""A chain through Halide: one pipeline, compiled when first needed, for all its steps."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pointwise.runtime.chain import Chain
from pointwise.runtime.launches import Bound, Launch, Launches, View, kind_of_call
from pointwise.runtime.pipeline import Pipeline, build_pipeline
from pointwise.runtime.schedules import (
    COPIED_POSITIONS,
    LINED_CHANNELS,
    PAGE_BYTES,
    TURNED_TILES,
    Machine,
    is_copied,
)
from pointwise.runtime.stages import HALIDE_TYPES, Layout

TYPES = {getattr(torch, name): name for name in HALIDE_TYPES}
"""Names of the types that pipelines read."""

SLICE_MACS = 1 << 30
"""One call of a pipeline does no more on each thread, a few hundredths of a second: meanwhile no
other Python thread runs."""

SLICE_POSITIONS = PAGE_BYTES // 4
"""Slices begin where pages do, as far as the array does: vectors on two lines of the cache take
longer to read."""

PARALLEL_MACS = 1 << 22
"""From so many on a second thread helps."""

TASKS_PER_THREAD = 48
"""So that a thread which wakes late, or which others disturb, does not hold up the rest."""

FEW_TILES = 4
"""Samples of fewer tiles are gathered into one matrix of columns first."""

GATHERED_POSITIONS = 4096

FARTHEST = 2**31 - 1
"""Pipelines count in 32 bits: channels that lie farther apart in memory are gathered, too."""

MOST_COMPILED = 128
"""Pipelines kept in memory."""


class _Compiled:
    """Compiled pipelines by their signature, the ones used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def get(self, pipeline: Pipeline, target: Any) -> Any:
        """Compile a pipeline unless one of the same shape was."""
        key = (*pipeline.signature, target.to_string())
        made = self._kept.get(key)
        if made is None:
            made = pipeline.out.compile_to_callable(pipeline.inputs, target)
            while len(self._kept) >= MOST_COMPILED:
                self._kept.popitem(last=False)
        self._kept[key] = made
        self._kept.move_to_end(key)
        return made


class _Pool:
    """Whether Halide's threads can be used: they do not survive a fork."""

    def __init__(self) -> None:
        self._pid: int | None = None

    def join(self) -> bool:
        """Start or use the threads, unless they were started by a parent process."""
        if self._pid is None:
            self._pid = os.getpid()
        return self._pid == os.getpid()


_COMPILED, _POOL = _Compiled(), _Pool()


class Fused:
    """Runs a chain through Halide: each tile of positions through all steps while in cache.

    Compiled code is shared by all chains of the same shape, so that a new model of known shape
    compiles nothing. Safe to call from several threads and after a fork: a forked process runs on
    one thread, since the threads of its parent are gone.

    Args:
        chain: The chain.
        target: What to compile for, in Halide's words. Default: this machine, without Halide's
            checks of every array, which take two thirds of the time that compiling takes: arrays
            are checked before they come here.

    Raises:
        ImportError: If Halide is not installed.
        UnsupportedError: If the chain cannot be one pipeline, with the reason.
    """

    def __init__(self, chain: Chain, *, target: str | None = None) -> None:
        import halide as hl

        self.chain = chain
        self._hl = hl
        self._target = hl.Target(target) if target else _unchecked(hl.get_host_target())
        self._machine = Machine.of(self._target)
        self._bound: dict[Layout, Bound] = {}
        self._columns = Launches()
        first = build_pipeline(chain, Layout("float32", False, False, False), self._machine)
        self._tile, self._macs = first.tile, max(chain.macs, 1)
        self._fewest = TURNED_TILES * self._tile  # whatever the layout
        self._numbers = {first.across: first.constants}

    def run(self, x: Tensor, out: Tensor) -> list[Launch]:
        """Fill ``out``.

        Args:
            x: Input ``(B, C_in, P)`` of any numbers, without gradients.
            out: Output ``(B, C_out, P)`` of float32, or int64 if the chain ends in class numbers;
                it shares no memory with ``x``.

        Returns:
            What was started, to be started again for other memory of this kind; nothing if memory
            was copied on the way.
        """
        batches, _, positions = x.shape
        if batches * positions == 0:
            return []
        given, x = x, _readable(x)
        few = positions < (self._fewest if batches == 1 else FEW_TILES * self._tile)
        threads = self._threads(batches * positions)
        longest = max(self._fewest, threads * SLICE_MACS // self._macs)
        together = max(1, longest // positions)
        reached = longest + SLICE_POSITIONS
        far = max(_reach(x, together, reached), _reach(out, together, reached)) > FARTHEST
        if few or far or not (_is_even(x) and _is_even(out)):
            self._gathered(x, out)
            return []
        launches = []
        for start in range(0, batches, together):
            some = slice(start, start + together)
            for source, target in self._slices(x[some], out[some], longest):
                launches += self._call(source, target, x, out)
        return launches if x is given else []

    def _threads(self, positions: int) -> int:
        """How many threads share so many positions."""
        if positions <= self._tile or self._macs * positions < PARALLEL_MACS:
            return 1
        threads = torch.get_num_threads()
        return threads if threads > 1 and _POOL.join() else 1

    def _slices(self, x: Tensor, out: Tensor, longest: int) -> Iterator[tuple[Tensor, Tensor]]:
        positions = x.shape[2]
        slices = 1 if x.shape[0] > 1 else -(-positions // longest)
        if slices == 1:
            yield x, out
            return
        size = -(-positions // slices)
        units = (SLICE_POSITIONS, COPIED_POSITIONS, self._fewest)
        size += -size % next((unit for unit in units if size >= unit), self._fewest)
        least = min(size, COPIED_POSITIONS)  # so that the last one runs as the others do
        for start in range(0, positions, size):
            start = min(start, max(0, positions - least))
            some = slice(start, start + size)
            yield x[:, :, some], out[:, :, some]

    def _gathered(self, x: Tensor, out: Tensor) -> None:
        """Small samples, or memory that skips, by way of a matrix of columns."""
        batches, c_in, positions = x.shape
        step = min(positions, GATHERED_POSITIONS)
        together = max(1, GATHERED_POSITIONS // step)
        room = max(self._tile, min(together, batches) * step)
        columns = torch.zeros(1, c_in, room, dtype=x.dtype)
        made = torch.empty(1, out.shape[1], room, dtype=out.dtype)
        for first in range(0, batches, together):
            for start in range(0, positions, step):
                some = slice(first, first + together), slice(None), slice(start, start + step)
                part, target = x[some], out[some]
                count = part.shape[0] * part.shape[2]
                shape = (c_in, part.shape[0], part.shape[2])
                columns[0, :, :count].unflatten(1, shape[1:]).copy_(part.transpose(0, 1))
                used = max(count, self._tile)
                kind = kind_of_call(x.dtype, room, used)
                if not self._columns.repeat(kind, columns, made):
                    parts = columns[:, :, :used], made[:, :, :used]
                    self._columns.keep(kind, columns, made, self._call(*parts, columns, made))
                target.transpose(0, 1).copy_(made[0, :, :count].unflatten(1, shape[1:]))

    def _call(self, x: Tensor, out: Tensor, x_all: Tensor, out_all: Tensor) -> list[Launch]:
        """Run on a part of the input and of the output."""
        batches, channels, positions = x.shape
        threads = self._threads(batches * positions)
        parallel = threads > 1
        rows_in, rows_out = _is_rows(x), _is_rows(out)
        planar = not rows_in and not rows_out
        lined = out.shape[1] >= LINED_CHANNELS and positions >= COPIED_POSITIONS
        layout = Layout(
            TYPES[x.dtype],
            rows_in,
            rows_out,
            parallel,
            dense=rows_in and _is_dense(x) and (not rows_out or _is_dense(out)),
            copied=not rows_in and is_copied(channels, positions, x.stride(1) * x.element_size()),
            by_blocks=planar and lined and self.chain.is_plain,
            alone=parallel and batches == 1,
        )
        bound = self._bound.get(layout) or self._bind(layout)
        rest = positions % bound.tile if layout.copied else 0
        parts = [slice(positions - rest)]
        if rest:
            parts.append(slice(positions - bound.tile, None))
        launches = []
        for some in parts:
            source, made = x[:, :, some], out[:, :, some]
            tasks = (_tiles_of_task(bound, source, threads),) if parallel else ()
            if bound.members > 1:
                made = made.unflatten(1, (bound.members, -1))
            launch = Launch(bound, View.of(source, x_all), View.of(made, out_all), tasks)
            launch.start(x_all, out_all)
            launches.append(launch)
        return launches

    def _bind(self, layout: Layout) -> Bound:
        pipeline = build_pipeline(self.chain, layout, self._machine)
        call = _COMPILED.get(pipeline, self._target)
        numbers = self._numbers.setdefault(pipeline.across, pipeline.constants)
        constants = tuple(self._hl.Buffer(_aligned(array)) for array in numbers)
        bound = Bound(call, constants, pipeline.tile, pipeline.members, self._hl.Buffer)
        self._bound[layout] = bound
        return bound


def _tiles_of_task(bound: Bound, x: Tensor, threads: int) -> int:
    whole = threads >= (os.cpu_count() or 1)
    # fewer tasks than processors keep to PyTorch's number of threads
    tasks = threads * TASKS_PER_THREAD if whole else threads
    tiles = -(-x.shape[2] // bound.tile) * x.shape[0]
    return -(-tiles // tasks)


def _unchecked(target: Any) -> Any:
    import halide as hl

    for feature in (hl.TargetFeature.NoAsserts, hl.TargetFeature.NoBoundsQuery):
        target = target.with_feature(feature)
    return target


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Put numbers where PyTorch does: vectors on two lines of the cache take longer to read."""
    copied: NDArray[Any] = torch.from_numpy(array).clone().numpy()
    return copied


def _readable(x: Tensor) -> Tensor:
    """The input in a type that pipelines read; others become float32."""
    if x.dtype == torch.bool:
        return x.view(torch.uint8)
    return x if x.dtype in TYPES else x.float()


def _is_rows(flat: Tensor) -> bool:
    return flat.shape[1] > 1 and flat.stride(2) != 1


def _reach(flat: Tensor, batches: int, positions: int) -> int:
    """From the first value to the last one in memory, of so many batches and positions."""
    (n, channels, p), (by_batch, by_channel, by_position) = flat.shape, flat.stride()
    last = (min(n, batches) - 1) * by_batch + (min(p, positions) - 1) * by_position
    return last + (channels - 1) * by_channel


def _is_dense(rows: Tensor) -> bool:
    """Whether rows follow one another without gaps."""
    return rows.stride(2) == rows.shape[1]


def _is_even(flat: Tensor) -> bool:
    """Whether positions or channels lie side by side, and numbers where a processor has them."""
    if flat.data_ptr() % flat.element_size():
        return False
    return flat.stride(2) == 1 or (flat.stride(1) == 1 and flat.shape[1] > 1)
