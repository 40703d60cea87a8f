"""What a forward holds in memory where its layers are about to run."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pointwise.compression.statistics.rows import run_hooked
from pointwise.inspection.memory import has_storage
from pointwise.surgery.equivalence import Example


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
    held = _Held([*model.parameters(), *model.buffers(), *tree_leaves(batch)])
    most = 0

    def look(*_: Any) -> None:
        nonlocal most
        most = max(most, held.count())

    hooks = [model.get_submodule(path).register_forward_pre_hook(look) for path in paths]
    try:
        with held:
            run_hooked(model, {}, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return most


class _Held(TorchDispatchMode):
    """Knows the tensors that are made and still in use, but for those that are given."""

    def __init__(self, given: Sequence[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        tensors = [one for one in given if isinstance(one, Tensor) and has_storage(one)]
        self._given = {StorageWeakRef(one.untyped_storage()) for one in tensors}
        self._bytes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and has_storage(tensor):
                storage = tensor.untyped_storage()
                self._bytes[StorageWeakRef(storage)] = storage.nbytes()
        return result

    def count(self) -> int:
        """The bytes of those in use."""
        self._bytes = {one: size for one, size in self._bytes.items() if not one.expired()}
        return sum(size for one, size in self._bytes.items() if one not in self._given)
