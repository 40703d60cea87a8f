"""A network to run or to change in place of the given one."""

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer


def computed_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Find the tensors that modules keep and that a graph of gradients leads to.

    ``copy.deepcopy`` refuses them: weights of the old weight norm, activations kept in a list.

    Args:
        model: The model.

    Yields:
        Attributes of its modules, and what lists, tuples and mappings in these hold.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> model.kept = {"y": [model.weight + 1]}
        >>> len(list(computed_tensors(model)))
        1
    """
    for module in model.modules():
        kept = {name: value for name, value in vars(module).items() if name != "_modules"}
        yield from _computed(kept, set())


def _computed(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, Mapping | list | tuple | deque) and id(value) not in seen:
        seen.add(id(value))
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _computed(one, seen)


def copy_model(model: nn.Module) -> nn.Module:
    """Copy a model deeply; tensors that something computed (old weight norm) come detached.

    Buffers of lazy norms, which torch does not copy either, are made anew.
    Attributes that someone hung on a parameter (an optimizer's mark, say), which torch's own copy
    drops, are kept.

    Args:
        model: The model.

    Returns:
        The copy.

    Raises:
        TypeError: If something in the model cannot be copied.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> copy_model(model) is model
        False
    """
    memo: dict[int, object] = {id(t): t.detach().clone() for t in computed_tensors(model)}
    fresh: Any = UninitializedBuffer  # torch's stub has other arguments
    lazy = (one for one in model.buffers() if isinstance(one, UninitializedBuffer))
    memo |= {id(one): fresh(device=one.device, dtype=one.dtype) for one in lazy}
    try:
        copied = copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise TypeError(f"model must be one that copy.deepcopy takes: {error}") from error
    for old, new in zip(model.parameters(), copied.parameters(), strict=True):
        vars(new).update(vars(old))
    return copied
