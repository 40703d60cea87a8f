"""What a machine can do, in registers, in a large product and in copies; calls that take turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Call = Callable[[], Any]

MACS_IN_LOOP = 1 << 26


def peak_loop(*, tasks: int = 1, parallel: bool = False) -> tuple[Call, int]:
    """Loops of multiply-adds that never leave the registers, and the multiply-adds of each."""
    import halide as hl

    target = hl.get_host_target()
    lanes, chains = target.natural_vector_size(hl.Float(32)), 12
    steps = MACS_IN_LOOP // (lanes * chains)
    factor, more = hl.Param(hl.Float(32), "factor"), hl.Param(hl.Float(32), "more")
    along = hl.RDom([(0, steps)], "along")
    x, task, v, chain = (hl.Var(name) for name in ("x", "task", "v", "chain"))
    total, out = hl.Func("total"), hl.Func("out")
    whole = lanes * chains
    total[x, task] = hl.cast(hl.Float(32), x + task)
    total[x, task] = total[x, task] * factor + more + 0 * along.x
    out[x, task] = total[x, task]
    out.bound(x, 0, whole).split(x, chain, v, lanes).vectorize(v).unroll(chain)
    if parallel:
        out.parallel(task)
    total.compute_at(out, task).split(x, chain, v, lanes).vectorize(v).unroll(chain)
    update = total.update().split(x, chain, v, lanes).reorder(v, chain, along.x)
    update.vectorize(v).unroll(chain)
    call = out.compile_to_callable([factor, more], target)
    result = hl.Buffer(np.empty((tasks, whole), np.float32))
    return lambda: call(0.5, 1.0, result), steps * whole


@dataclass
class Machine:
    """What this machine does, measured in the rounds of the contenders."""

    side: int = 1024
    calls: dict[str, Call] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        left, right = torch.rand(2, self.side, self.side)
        product = torch.empty(self.side, self.side)
        self.calls["product"] = lambda: torch.mm(left, right, out=product)
        self.macs["product"] = self.side**3
        self.calls["loop"], self.macs["loop"] = peak_loop()
        source, target = torch.ones(1 << 24), torch.zeros(1 << 24)
        self.calls["copy"] = lambda: target.copy_(source)
        self.bytes = 2 * 4 * (1 << 24)

    def peak(self, seconds: dict[str, list[float]], threads: int) -> tuple[float, float, float]:
        """Multiply-adds a second by the product and by the loop, and bytes a second."""
        product = self.macs["product"] / min(seconds["product"])
        loop = threads * self.macs["loop"] / min(seconds["loop"])  # the loop runs on one thread
        return product, loop, self.bytes / min(seconds["copy"])


def time_calls(
    calls: dict[str, Call], rounds: int, before: Callable[[str], object] = lambda _: None
) -> dict[str, list[float]]:
    """Seconds of each in each round, without those of ``before``; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for name, call in calls.items():
            before(name)
            call()
        for _ in range(rounds):
            for name, call in calls.items():
                before(name)
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return seconds
