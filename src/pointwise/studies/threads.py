"""How many threads the models of other libraries are worth."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread_if(short: bool) -> Iterator[None]:
    """Keep numerical libraries on one thread where that takes seconds at most.

    Their threads wait for one another many times a second, and on a busy machine each time for as
    long as the system lets others run: gradient boosting of 5,000 rows took 110 s on two threads
    of such a machine and 0.1 s on one, a logistic regression on pixels 5 s and 0.5.

    Args:
        short: Whether one thread is enough.

    Yields:
        Nothing.

    Example:
        >>> from threadpoolctl import threadpool_info
        >>> with one_thread_if(True):
        ...     {library["num_threads"] for library in threadpool_info()}
        {1}
    """
    with threadpool_limits(1 if short else None):
        yield
