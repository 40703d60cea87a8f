"""torch's exporters without what they tell of their own parts."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what torch's exporters print and log: their errors say enough.

    Filters of warnings that are set inside end with it.

    Yields:
        Nothing.

    Example:
        >>> with quiet():
        ...     print("step 1 of 3")
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            yield
    finally:
        logging.disable(before)
