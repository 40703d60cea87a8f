"""Layers whose rows are chosen by values: tokens with the best scores, an expert's samples.

In a compressed model other rows reach such a layer than in the given one, since the values that
choose are a little different. What the two put out cannot be compared row by row then, nor fitted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pointwise.compression.statistics.rows import run_hooked
from pointwise.errors import DataError
from pointwise.surgery.equivalence import Example

_ATEN = torch.ops.aten
_CHOOSING = frozenset(
    {_ATEN.topk, _ATEN.sort, _ATEN.nonzero, _ATEN.masked_select, _ATEN.unique_dim, _ATEN._unique2}
)
_INDEXING = frozenset({_ATEN.index, _ATEN.index_put, _ATEN.index_put_})


def routed_layers(model: nn.Module, paths: Iterable[str], batch: Example) -> frozenset[str]:
    """Find the layers that are called after something chose rows by their values.

    That is a sort, a top-k, or an index of truth values; what comes after it may get other rows.

    Args:
        model: The model.
        paths: The layers.
        batch: An input.

    Returns:
        Their paths; none where the model runs under no mode of torch's dispatcher.

    Example:
        >>> class Sorted(nn.Sequential):
        ...     def forward(self, x):
        ...         y = self[0](x)
        ...         return self[1](y[y[:, 0] > 0])
        >>> model = Sorted(nn.Linear(3, 3), nn.Linear(3, 2))
        >>> sorted(routed_layers(model, ["0", "1"], torch.ones(4, 3)))
        ['1']
    """
    found: set[str] = set()
    watch = _Watch()

    def look(path: str) -> Any:
        return lambda *_: found.add(path) if watch.chosen else None

    hooks = [model.get_submodule(one).register_forward_pre_hook(look(one)) for one in paths]
    try:
        with watch:
            run_hooked(model, {}, batch)
    except DataError:
        return frozenset()
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(found)


class _Watch(TorchDispatchMode):
    """Sees whether rows were chosen."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.chosen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        operator = func.overloadpacket
        by_truth = operator in _INDEXING and any(
            isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8)
            for one in tree_leaves(args[1])
        )
        self.chosen = self.chosen or by_truth or operator in _CHOOSING
        return func(*args, **(kwargs or {}))
