"""What targets are called, where the user's data tell."""

from typing import Any


def name_targets(y: Any, count: int) -> tuple[str, ...] | None:
    """Read the names of targets.

    Args:
        y: As given to ``fit``.
        count: How many targets it holds.

    Returns:
        The names of a data frame's columns, or that of a series; ``None`` where there are none, or
        they are no texts.

    Example:
        >>> import pandas as pd
        >>> name_targets(pd.Series([1.0, 2.0], name="height"), 1), name_targets([1.0, 2.0], 1)
        (('height',), None)
    """
    columns = getattr(y, "columns", None)
    named: list[Any] = [getattr(y, "name", None)] if columns is None else list(columns)
    names = tuple(name for name in named if isinstance(name, str) and name)
    return names if len(names) == len(named) == count else None
