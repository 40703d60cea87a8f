"""How many threads a fit is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ONE_THREAD_MACS = 10_000_000
"""A layer of fewer MACs ends before a second thread has helped; on a busy machine the threads then
wait for one another at every layer (fits of small tables took nine times as long on two threads,
fits of 8 x 8 images 80 times)."""


@contextmanager
def threads_for(macs: int, layers: int) -> Iterator[None]:
    """Run on one thread if the layers of a training step are small, and give the threads back.

    Args:
        macs: MACs of a forward pass over one batch.
        layers: Number of layers that they are spent in.

    Yields:
        Nothing.

    Example:
        >>> with threads_for(1000, layers=2):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if macs < layers * ONE_THREAD_MACS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
