"""A chain as one Halide pipeline: every tile of positions goes through all steps while in cache."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from pointwise.functional import Affine
from pointwise.runtime.chain import Argmax, Chain, Concat, Residual, Step
from pointwise.runtime.placement import Placement
from pointwise.runtime.row_placement import RowPlacement, runs_across
from pointwise.runtime.schedules import WIDEST, Machine, choose_schedule
from pointwise.runtime.stages import Func, Layout, UnsupportedError
from pointwise.runtime.steps import StepWriter, groups_of


@dataclass
class Pipeline:
    """A pipeline ready to be compiled.

    Attributes:
        inputs: Its arguments: the image, the constants, and the tiles of a task if parallel.
        out: Its output.
        constants: The arrays for the arguments in between, or those that the code will hold.
        signature: What the code depends on: chains that agree in it share the code.
        tile: Fewest positions that it runs on; of channels that are copied only multiples of them.
        members: Members that the output keeps apart.
        across: Whether vectors run across channels; the constants lie otherwise then.
    """

    inputs: list[Any]
    out: Func
    constants: list[NDArray[Any]]
    signature: tuple[Any, ...]
    tile: int
    members: int
    across: bool


def build_pipeline(
    chain: Chain, layout: Layout, machine: Machine, *, embedded: bool = False
) -> Pipeline:
    """Write a chain as a scheduled pipeline.

    Args:
        chain: The chain.
        layout: How its input and output lie in memory.
        machine: What it will run on.
        embedded: Whether the code will hold the constants, which are arguments otherwise.

    Returns:
        The pipeline, not compiled.

    Raises:
        UnsupportedError: If it cannot be one pipeline, with the reason.
    """
    members = member_count(chain)
    widths = _widths(chain, members)
    if max(widths) > WIDEST:
        raise UnsupportedError(f"a layer of {max(widths)} channels is wider than {WIDEST}")
    across = runs_across(chain, layout, machine)
    schedule = choose_schedule(widths, machine, across=across, few=layout.few)
    writer = StepWriter(chain.c_in, members, layout, schedule, embedded)
    value = writer.run(chain.steps, writer.image())
    if not isinstance(chain.steps[-1] if chain.steps else None, Argmax):
        value = writer.store(replace(value, stored=False), "last")
    placement = (RowPlacement if across else Placement)(writer)
    out = placement.output(value)
    signature = (chain.c_in, layout, machine, *writer.tokens)
    kept = members if value.members else 1
    return Pipeline(writer.inputs, out, writer.constants, signature, placement.span, kept, across)


def member_count(chain: Chain) -> int:
    """Members that run one after the other in each tile; 1 if the chain knows none.

    Args:
        chain: The chain.

    Returns:
        The number of groups that all its grouped steps agree on.

    Raises:
        UnsupportedError: If they do not agree.

    Example:
        >>> from pointwise.runtime.chain import Spread
        >>> member_count(Chain(6, [Spread(3)]))
        3
    """
    counts = {groups_of(step) for step in _all_steps(chain.steps)} - {1}
    if len(counts) > 1:
        raise UnsupportedError(f"its steps have different numbers of groups: {sorted(counts)}")
    return counts.pop() if counts else 1


def _all_steps(steps: Sequence[Step]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if isinstance(step, Residual):
            found += _all_steps(step.body)
        if isinstance(step, Concat):
            found += [inner for branch in step.branches for inner in _all_steps(branch)]
    return found


def _widths(chain: Chain, members: int) -> list[int]:
    products = [step for step in _all_steps(chain.steps) if isinstance(step, Affine)]
    grouped = [(p.c_in // p.groups, p.c_out // members) for p in products]
    return [width for pair in grouped for width in pair] or [chain.c_in, chain.c_out]
