"""Modules that are to stay as they are, by their paths."""

from collections.abc import Sequence

from torch import nn


def excluded_modules(model: nn.Module, exclude: Sequence[str]) -> set[nn.Module]:
    """What is to stay as it is.

    Args:
        model: The model.
        exclude: Paths of modules.

    Returns:
        The modules of these paths, with all that is in them.

    Raises:
        TypeError: If a single path is given where a sequence is asked for.
        ValueError: If the model has no module of a path.

    Example:
        >>> len(excluded_modules(nn.Sequential(nn.Sequential(nn.ReLU())), ["0"]))
        2
    """
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a sequence of paths, such as [{exclude!r}]")
    known = dict(model.named_modules(remove_duplicate=False))
    for path in exclude:
        if path not in known:
            raise ValueError(f"exclude must hold paths of modules, the model has no {path!r}")
    return {part for path in exclude for part in known[path].modules()}
