"""A network to run or to change in place of the given one."""

import copy

from torch import Tensor, nn


def copy_model(model: nn.Module) -> nn.Module:
    """Copy a model deeply; tensors that something computed (old weight norm) come detached.

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
    memo: dict[int, object] = {}
    for module in model.modules():
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, Tensor) and not value.is_leaf:  # deepcopy would refuse it
                memo[id(value)] = value.detach().clone()
    try:
        copied = copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise TypeError(f"model must be one that copy.deepcopy takes: {error}") from error
    for old, new in zip(model.parameters(), copied.parameters(), strict=True):
        vars(new).update(vars(old))
    return copied
