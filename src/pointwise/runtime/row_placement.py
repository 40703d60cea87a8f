"""Schedules a pipeline whose vectors run across channels: rows go through it as they lie.

Positions side by side fill the vectors of planar memory. In rows the channels lie side by side, and
to turn them takes a good part of the time of a narrow chain. Where every layer fills whole vectors
with its channels there is no need to: values are read one by one, weights by vectors.
"""

from typing import Any

from pointwise.functional import Affine
from pointwise.runtime.chain import Chain
from pointwise.runtime.placement import Placement
from pointwise.runtime.schedules import Machine
from pointwise.runtime.stages import Func, Layout, Stage, Value


def runs_across(chain: Chain, layout: Layout, machine: Machine) -> bool:
    """Whether the vectors of a chain may run across its channels.

    Args:
        chain: The chain.
        layout: How its input and output lie in memory.
        machine: What it will run on.

    Returns:
        Whether input and output are rows without gaps and every layer fills whole vectors.

    Example:
        >>> import torch
        >>> chain = Chain(3, [Affine(torch.ones(32, 3))])
        >>> runs_across(chain, Layout("float32", True, True, False, True), Machine(16, 32))
        True
    """
    if not (layout.rows_in and layout.rows_out and layout.dense and layout.dtype == "float32"):
        return False
    return chain.is_plain and all(
        step.c_out % machine.lanes == 0 for step in chain.steps if isinstance(step, Affine)
    )


class RowPlacement(Placement):
    """Schedules a written pipeline by vectors of channels."""

    def write(self, out: Func, value: Value, outer: list[Any]) -> Any:
        """Write each block of the last product when it is summed."""
        hl, lanes, p, o, v = self.w.hl, self.w.schedule.lanes, self.w.p, self.w.o, self.w.v
        buffer = out.output_buffer()
        buffer.dim(0).set_stride(value.channels)
        buffer.dim(1).set_stride(1)
        product = self.w.stages[-1].product
        assert product is not None
        block, within = hl.Var("block"), hl.Var("within")
        out.split(o, block, within, product.block.outputs).split(within, within, v, lanes)
        out.reorder(v, within, p, block, *outer).vectorize(v).unroll(within)
        return block

    def product(self, stage: Stage) -> None:
        """Sum blocks of outputs and positions in registers."""
        hl, lanes = self.w.hl, self.w.schedule.lanes
        act, product = stage.func, stage.product
        assert product is not None
        p, o, v, n = self.w.p, self.w.o, self.w.v, self.w.n
        po, pi, oo, oi = (hl.Var(name) for name in ("po", "pi", "oo", "oi"))
        act.split(p, po, pi, product.block.vectors).split(o, oo, oi, product.block.outputs)
        act.split(oi, oi, v, lanes).reorder(v, oi, pi, po, oo, n)
        act.vectorize(v).unroll(pi).unroll(oi).reorder_storage(o, p, n)
        self.sums(product, act, po)
        for func in (product.total, *(sum_.part for sum_ in product.sums if sum_.part is not None)):
            func.reorder_storage(o, p)

    def in_registers(self, stage: Any, *along: Any) -> None:
        """Unroll vectors and positions; what the sum runs over stays the only loop."""
        p, o, v = self.w.p, self.w.o, self.w.v
        stage.split(o, o, v, self.w.schedule.lanes).reorder(v, o, p, *along)
        stage.vectorize(v).unroll(o).unroll(p)
