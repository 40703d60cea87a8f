"""What a network puts out: tensors, in whatever they are wrapped."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def outputs_of(result: Any, name: str = "output") -> dict[str, Tensor]:
    """Every tensor in a result, by where it stands in it.

    Args:
        result: Tensors in tuples, lists, mappings, dataclasses, one in another.
        name: What to call the result.

    Returns:
        The tensors by name, in order; anything else is left out.

    Example:
        >>> list(outputs_of({"logits": Tensor([1.0]), "states": (Tensor([2.0]),)}))
        ["output['logits']", "output['states'][0]"]
    """
    if isinstance(result, Tensor):
        return {name: result}
    parts: Iterator[tuple[str, Any]]
    if isinstance(result, Mapping):
        parts = ((f"{name}[{key!r}]", value) for key, value in result.items())
    elif isinstance(result, (list, tuple)):
        parts = ((f"{name}[{i}]", value) for i, value in enumerate(result))
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        fields = dataclasses.fields(result)
        parts = ((f"{name}.{f.name}", getattr(result, f.name)) for f in fields)
    else:
        return {}
    return {key: one for part, value in parts for key, one in outputs_of(value, part).items()}
