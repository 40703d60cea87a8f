"""What this machine does in a second, to tell what a layer waits for: arithmetic or memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDE = 1024
"""Rows of the matrices multiplied: a tenth of a second at worst, and near the peak."""

COPIED = 1 << 25
"""Numbers copied: 128 MiB, more than caches hold."""

REPEATS = 3


@dataclass(frozen=True)
class Machine:
    """What a machine does in a second.

    Attributes:
        macs_per_s: Multiply-adds.
        bytes_per_s: Bytes read and written.
    """

    macs_per_s: float
    bytes_per_s: float

    @property
    def ridge(self) -> float:
        """Multiply-adds done while one byte moves: layers with fewer wait for memory.

        Reference:
            Williams, Waterman and Patterson, Roofline, 2009, section 3.
        """
        return self.macs_per_s / self.bytes_per_s


def measure_machine() -> Machine:
    """Measure this machine in float32, with the threads that torch uses, in under a second.

    Returns:
        The best of a few products of matrices, and of a few copies.

    Example:
        >>> measure_machine().ridge > 0
        True
    """
    with torch.no_grad():
        left, right = torch.rand(2, SIDE, SIDE)
        product = torch.empty(SIDE, SIDE)
        seconds = _best(lambda: torch.mm(left, right, out=product))
        source = torch.ones(COPIED)
        target = torch.zeros(COPIED)  # written once, so that its pages are there
        moving = _best(lambda: target.copy_(source))
    return Machine(SIDE**3 / seconds, 2 * COPIED * source.element_size() / moving)


def _best(run: Callable[[], object]) -> float:
    """Seconds of the quickest of a few runs: what other programs take only slows."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
