"""Runs of a model that leave no trace in torch's random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Draw random numbers that depend on the seed alone, and leave torch's state as it is.

    Args:
        seed: The seed.

    Yields:
        Nothing.

    Example:
        >>> with own_random_state(0):
        ...     a = torch.rand(())
        >>> with own_random_state(0):
        ...     print(bool(torch.rand(()) == a))
        True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
