"""Decides when a pipeline computes what: tiles, members, vectors, blocks in registers."""

from dataclasses import dataclass
from typing import Any

from pointwise.runtime.schedules import (
    STACK_BYTES,
    TURNED_CHANNELS,
    WRITTEN_OUT,
    tiles_together,
    turned_block,
)
from pointwise.runtime.stages import Func, Product, Stage, Value
from pointwise.runtime.writer import Writer


@dataclass(frozen=True)
class Placement:
    """Schedules a written pipeline.

    Attributes:
        w: The pipeline.
    """

    w: Writer

    @property
    def span(self) -> int:
        """Positions that are read together, the fewest that the pipeline runs on.

        On channels that are copied it runs on whole multiples of them.
        """
        return self.w.schedule.tile * self._together

    @property
    def _together(self) -> int:
        """Tiles that are read, and written, together."""
        if self._kept == 0:
            return 1
        return tiles_together(self._kept, self.w.schedule.tile, rows=self.w.layout.rows_in)

    @property
    def _kept(self) -> int:
        """Channels that are kept of all these tiles."""
        read = self.w.c_in if self.w.columns is not None else 0
        return read + (self._held.channels if self._held is not None else 0)

    @property
    def _held(self) -> Stage | None:
        """What the last product reads, of several tiles, if it goes through them by blocks."""
        return self.w.stages[-2] if self.w.layout.by_blocks and len(self.w.stages) > 1 else None

    def output(self, value: Value) -> Func:
        """Write the last value as the output, and schedule everything that it needs."""
        hl = self.w.hl
        out = hl.Func("out")
        p, m, n = self.w.p, self.w.m, self.w.n
        index = self.w.index(value.members)
        out[index] = value.at(self.w.here)
        buffer = out.output_buffer()
        buffer.dim(1).set_bounds(0, value.channels)
        if value.members:
            buffer.dim(2).set_bounds(0, self.w.members)
        tiles, tile = hl.Var("tiles"), hl.Var("tile")
        tail = hl.TailStrategy.ShiftInwards
        if self.w.layout.copied:  # its tiles begin at multiples of their size only
            buffer.dim(0).set_min(0)
            tail = hl.TailStrategy.RoundUp
        out.split(p, tiles, p, self.span, tail)
        out.split(p, tile, p, self.w.schedule.tile)
        loop = self.write(out, value, [*index[2:-1], tile, tiles, n])
        together = (out, self.parallel(out, tiles) if self.w.layout.parallel else tiles)
        if self.w.columns is not None:
            self.read(*self.w.columns, together)
        level = (out, tile) if self._held is None else (self._held.func, self.w.t)
        if self.w.each is not None:
            member_level = (self.w.each, m)
        else:
            member_level = (out, m) if value.members else level
        self.stages(level, member_level)
        if loop is not None:
            self.w.stages[-1].func.compute_at(out, loop)
        if self._held is not None:
            self._held.func.compute_at(*together)
        return out

    def write(self, out: Func, value: Value, outer: list[Any]) -> Any:
        """Schedule how a tile is written; gives the loop within which a block is summed, if any."""
        p, o, v = self.w.p, self.w.o, self.w.v
        product = self.w.stages[-1].product
        if self.w.layout.rows_out:
            self.write_rows(out, value, outer)
        elif product is not None and not value.members:
            return self.write_blocks(out, product, outer)
        else:
            out.split(p, p, v, self.w.schedule.lanes).reorder(v, p, o, *outer)
            out.vectorize(v).unroll(p)
        return None

    def write_blocks(self, out: Func, product: Product, outer: list[Any]) -> Any:
        """Write each block of the last product when it is summed, and not a whole tile at once."""
        hl = self.w.hl  # many writes at once would wait for the few that a processor has under way
        p, o, v = self.w.p, self.w.o, self.w.v
        block, within = hl.Var("block"), hl.Var("within")
        out.split(o, block, within, product.block.outputs, hl.TailStrategy.GuardWithIf)
        tile, *rest = outer
        loops = [tile, block] if self.w.layout.by_blocks else [block, tile]
        out.split(p, p, v, self.w.schedule.lanes).reorder(v, p, within, *loops, *rest)
        out.vectorize(v).unroll(p).unroll(within)
        return loops[0]

    def write_rows(self, out: Func, value: Value, outer: list[Any]) -> None:
        """Blocks of positions and channels are turned in registers and written row by row."""
        hl, lanes = self.w.hl, self.w.schedule.lanes
        p, o = self.w.p, self.w.o
        buffer = out.output_buffer()
        buffer.dim(0).set_stride(hl.Expr())
        buffer.dim(1).set_stride(1 if value.channels > 1 else hl.Expr())
        os, pv = hl.Var("os"), hl.Var("pv")
        size = turned_block(value.channels, lanes)
        out.split(p, p, pv, lanes).split(o, os, o, size, hl.TailStrategy.ShiftInwards)
        out.reorder(o, pv, os, p, *outer).vectorize(o).unroll(pv)
        last = self.w.stages[-1].func
        if value.stored:
            turned = last.in_(out)
            turned.compute_at(out, os).vectorize(p, lanes).unroll(o)

    def parallel(self, out: Func, tiles: Any) -> Any:
        """Contiguous runs of tiles become tasks, of as many tiles as an argument says."""
        hl = self.w.hl
        per_task = hl.Param(hl.Int(32), "per_task")
        self.w.inputs.append(per_task)
        task = hl.Var("task")
        if not self.w.layout.alone:  # to tell tile and sample apart slows narrow tiles
            out.fuse(tiles, self.w.n, tiles)
        out.split(tiles, task, tiles, per_task, hl.TailStrategy.GuardWithIf)
        out.parallel(task)
        return tiles

    def stages(self, level: tuple[Any, Any], member_level: tuple[Any, Any]) -> None:
        """Compute what is stored for a tile within its loop, and for a member within that."""
        for stage in self.w.stages:
            func, place = stage.func, member_level if stage.members else level
            if stage.across:
                place = level
            func.compute_at(*place).store_in(self.memory())
            if stage.product is None:
                self.vectors(func)
                for k in range(len(stage.reductions)):
                    update = func.update(k)
                    update.split(self.w.p, self.w.p, self.w.v, self.w.schedule.lanes)
                    update.vectorize(self.w.v)
                continue
            self.product(stage)

    def memory(self) -> Any:
        """Where tiles live: on the stack if they fit there together."""
        values = self._together * self._kept
        for stage in self.w.stages:
            values += stage.channels * (self.w.members if stage.across else 1)
        fits = values * self.w.schedule.tile * 4 <= STACK_BYTES
        return self.w.hl.MemoryType.Stack if fits else self.w.hl.MemoryType.Heap

    def vectors(self, func: Func) -> None:
        """Run over positions by vectors."""
        func.split(self.w.p, self.w.p, self.w.v, self.w.schedule.lanes).vectorize(self.w.v)

    def read(self, func: Func, image: Any, level: tuple[Any, Any]) -> None:
        """Several tiles are read into cache at a time."""
        func.compute_at(*level).store_in(self.memory())
        if self.w.layout.rows_in:
            self.read_rows(func, image)
        else:
            self.vectors(func)
            func.reorder(self.w.v, self.w.p, self.w.t, self.w.o, self.w.n)

    def read_rows(self, func: Func, image: Any) -> None:
        """Rows are turned into columns in registers, on the way into cache."""
        hl, lanes, c = self.w.hl, self.w.schedule.lanes, self.w.c_in
        outer, inner = hl.Var("outer"), hl.Var("inner")
        func.split(self.w.p, self.w.p, self.w.v, lanes)
        if self.w.layout.dense and c <= TURNED_CHANNELS:
            func.reorder(self.w.v, self.w.o, self.w.p, self.w.n)
            func.vectorize(self.w.v).unroll(self.w.o).unroll(self.w.p)
            return
        size = turned_block(c, lanes)
        func.split(self.w.o, outer, inner, size, hl.TailStrategy.ShiftInwards)
        func.reorder(self.w.v, inner, outer, self.w.p, self.w.n).vectorize(self.w.v).unroll(inner)
        rows = image.in_(func)
        rows.compute_at(func, outer).vectorize(hl._1, size).unroll(hl._0)

    def product(self, stage: Stage) -> None:
        """Sum blocks of outputs and positions in registers."""
        hl, lanes = self.w.hl, self.w.schedule.lanes
        act, product = stage.func, stage.product
        assert product is not None
        p, o, v = self.w.p, self.w.o, self.w.v
        outer = [self.w.m, self.w.n] if stage.members else [self.w.n]
        outputs, vectors = product.block.outputs, product.block.vectors
        po, pi, oo, oi = (hl.Var(name) for name in ("po", "pi", "oo", "oi"))
        if stage is self._held:  # channels a little apart, or they would share lines of the cache
            act.split(p, self.w.t, p, self.w.schedule.tile).align_storage(p, self.span + lanes)
            outer = [self.w.t, *outer]
        act.split(p, po, pi, lanes * vectors).split(o, oo, oi, outputs, hl.TailStrategy.RoundUp)
        act.split(pi, pi, v, lanes).reorder(v, pi, oi, po, oo, *outer)
        act.vectorize(v).unroll(pi).unroll(oi)
        self.sums(product, act, po)

    def sums(self, product: Product, act: Func, loop: Any) -> None:
        """Sum a block of a product where the loop over blocks asks for it."""
        total = product.total
        total.compute_at(act, loop)
        self.in_registers(total)
        for number, sum_ in enumerate(product.sums):
            self.in_registers(total.update(number), sum_.along)
            if sum_.part is None:
                # within a loop over blocks the compiler would keep the weights of all terms for it
                if sum_.terms <= WRITTEN_OUT and product.block.vectors == self.w.schedule.vectors:
                    total.update(number).unroll(sum_.along)
            else:
                sum_.part.compute_at(total, sum_.along)
                self.in_registers(sum_.part)
                self.in_registers(sum_.part.update(), sum_.within)

    def in_registers(self, stage: Any, *along: Any) -> None:
        """Unroll vectors and channels; what the sum runs over stays the only loop."""
        p, o, v = self.w.p, self.w.o, self.w.v
        stage.split(p, p, v, self.w.schedule.lanes).reorder(v, p, o, *along)
        stage.vectorize(v).unroll(p).unroll(o)
