"""Reading, computing and writing at the same time, a bounded number of pieces in flight."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Made = TypeVar("Made")


def overlap(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    compute: Callable[[Job, Read], Made | None],
    write: Callable[[Made], None],
    *,
    ahead: int = 2,
) -> None:
    """Read, compute and write every job in order: each in a thread of its own.

    Computing stays in the caller's thread. One thread reads ahead, another writes what was made
    before. An error in any of them, Ctrl-C too, ends all three and reaches the caller as it is.

    Args:
        jobs: What to do, in order.
        read: Gives what a job needs.
        compute: Makes something of it that is to be written, or ``None``.
        write: Writes that. One is written while the next is made, not more.
        ahead: Jobs that are read before they are needed.

    Example:
        >>> written = []
        >>> overlap(range(3), str, lambda job, text: text * job, written.append)
        >>> written
        ['', '1', '22']
    """
    waiting = iter(jobs)
    reads: deque[tuple[Job, Future[Read]]] = deque()
    writing: Future[None] | None = None
    reader = ThreadPoolExecutor(1, thread_name_prefix="pointwise-read")
    writer = ThreadPoolExecutor(1, thread_name_prefix="pointwise-write")
    try:
        reads.extend((job, reader.submit(read, job)) for job in islice(waiting, ahead))
        while reads:
            job, future = reads.popleft()
            got = future.result()
            reads.extend((job, reader.submit(read, job)) for job in islice(waiting, 1))
            made = compute(job, got)
            del future, got  # they hold what was read, and would keep it until the next is there
            if writing is not None and (made is not None or writing.done()):
                writing.result()
                writing = None
            if made is not None:
                writing = writer.submit(write, made)
            del made
        if writing is not None:
            writing.result()
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)
