"""How many threads a fit is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ONE_THREAD_MACS = 30_000_000
"""A step of fewer MACs than this ends before a second thread has helped; on a busy machine the
threads then wait for one another (fits of small tables took nine times as long on two)."""


@contextmanager
def threads_for(macs: int) -> Iterator[None]:
    """Run on one thread if a training step is small, and give the threads back after.

    Args:
        macs: MACs of a forward pass over one batch.

    Yields:
        Nothing.

    Example:
        >>> with threads_for(1000):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if macs < ONE_THREAD_MACS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
