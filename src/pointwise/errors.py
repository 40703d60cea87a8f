"""What this package raises and warns of: one class per thing that a caller may want to catch."""


class PointwiseError(Exception):
    """Base of every error that a user can cause and mend; the command line prints its message."""


class DataError(PointwiseError, ValueError):
    """A table, a column, a target or a file of data is not what the call needs."""


class ModelFileError(PointwiseError, ValueError):
    """A model folder is missing, truncated, edited, too new, or not one of ours."""


class CheckpointError(PointwiseError, ValueError):
    """A checkpoint belongs to another run, or cannot be read."""


class DifferenceError(PointwiseError, ValueError):
    """Two models that were to compute the same do not."""


class FlowError(PointwiseError, ValueError):
    """The data flow of a model cannot be followed."""


class DataWarning(UserWarning):
    """Something in the data to look at: a suspicious column, a row far out of range."""


def first_line(error: BaseException) -> str:
    r"""Say in one line what an error of other code says: its first line, or else its class.

    Args:
        error: The error.

    Returns:
        One line, never empty.

    Example:
        >>> first_line(ValueError("too long\nand then some")), first_line(KeyboardInterrupt())
        ('too long', 'KeyboardInterrupt')
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__
