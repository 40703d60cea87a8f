"""What a forward takes of memory: all that it makes, and what it holds where layers are to run."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from pointwise.compression.statistics.rows import run_hooked
from pointwise.inspection.memory import stored_tensors
from pointwise.surgery.equivalence import Example


def made_bytes(model: nn.Module, batch: Example) -> int:
    """Bytes of all activations that a forward makes, as they are held where gradients are needed.

    Args:
        model: The model.
        batch: A batch.

    Returns:
        The bytes, without those of weights and of the batch itself.

    Raises:
        DataError: If the model fails on the batch.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> made_bytes(model, torch.ones(3, 2))  # 3 x (2 + 8 + 8 + 1) numbers
        228
    """
    made = _Made(model, batch)
    with made:
        run_hooked(model, {}, batch)
    return made.count(every=True)


def held_bytes(model: nn.Module, paths: Sequence[str], batch: Example) -> int:
    """Bytes of activations that a forward holds where a layer is about to run: the most of all.

    Args:
        model: The model.
        paths: The layers.
        batch: A batch.

    Returns:
        The bytes, without those of weights and of the batch itself.

    Raises:
        DataError: If the model fails on the batch.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 1))
        >>> held_bytes(model, ["0", "1"], torch.ones(3, 2))  # 3 x 2 and 3 x 8 numbers
        120
    """
    made = _Made(model, batch)
    most = 0

    def look(*_: Any) -> None:
        nonlocal most
        most = max(most, made.count())

    hooks = [model.get_submodule(path).register_forward_pre_hook(look) for path in paths]
    try:
        with made:
            run_hooked(model, {}, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return most


class _Made(TorchDispatchMode):
    """Knows the tensors that are made besides weights and a batch, and which are still in use."""

    def __init__(self, model: nn.Module, batch: Example) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        given = [*model.parameters(), *model.buffers(), batch]
        self._given = {reference for reference, _ in _storages(given)}
        self._bytes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._bytes |= {one: size for one, size in _storages(result) if one not in self._given}
        return result

    def count(self, *, every: bool = False) -> int:
        """The bytes of those in use, or of every one that was made."""
        return sum(size for one, size in self._bytes.items() if every or not one.expired())


def _storages(values: Any) -> list[tuple[StorageWeakRef, int]]:
    """The storages of all tensors in nested values, and their bytes."""
    storages = [tensor.untyped_storage() for tensor in stored_tensors(values)]
    return [(StorageWeakRef(one), one.nbytes()) for one in storages]
