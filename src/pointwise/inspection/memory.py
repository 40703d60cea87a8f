"""The memory that a forward touches: which part of which storage, and what is in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Area:
    """A tensor as a part of memory; views of one storage are areas of it.

    Attributes:
        storage: Number of the storage.
        place: Offset, shape and strides.
        numel: Numbers in it.
        nbytes: Bytes of these numbers.
    """

    storage: int
    place: tuple[int, ...]
    numel: int
    nbytes: int


class Memory:
    """Numbers the storages, and knows which hold weights and which depend on the input.

    A weight is a parameter or a buffer, a view of one, or what is computed of them alone: a cast,
    a copy, a normalised weight; ``made`` is what a product computes of them, such as a weight from
    its factors, or learned queries after their projection.

    Args:
        model: The module that runs.
        inputs: What it is given.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[Any]) -> None:
        # Weak references keep an address from naming a second storage, also without any memory.
        self._numbers: dict[StorageWeakRef, int] = {}
        self.nbytes: list[int] = []
        self.parameters: dict[int, list[nn.Parameter]] = {}
        for parameter in model.parameters():
            for area in self.areas([parameter]):
                self.parameters.setdefault(area.storage, []).append(parameter)
        self.weights = {a.storage for a in self.areas([*model.parameters(), *model.buffers()])}
        self.made: set[int] = set()
        self.activations = {a.storage for a in self.areas(inputs)} - self.weights

    def areas(self, values: Any) -> list[Area]:
        """The areas of all tensors in nested values; tensors without a storage have none."""
        return [
            Area(
                self._number(tensor),
                (int(tensor.storage_offset()), *tensor.shape, *tensor.stride()),
                tensor.numel(),
                tensor.numel() * tensor.element_size(),
            )
            for tensor in stored_tensors(values)
        ]

    def holds(self, operands: Any, kind: set[int]) -> bool:
        """Whether one of the operands lies in such a storage."""
        return any(area.storage in kind for area in self.areas(operands))

    def pass_on(self, read: Iterable[Area], written: Iterable[Area], *, product: bool) -> bool:
        """Note what an operator's outputs hold, from what its inputs hold.

        Args:
            read: Its inputs.
            written: Its outputs.
            product: Whether it multiplies and adds.

        Returns:
            Whether it prepares a weight: it reads weights, without activations and without a
            product.
        """
        sources = {area.storage for area in read}
        learned = sources & (self.weights | self.made)
        if sources & self.activations:
            kind = self.activations
        elif learned and (product or sources & self.made):
            kind = self.made
        elif learned:
            kind = self.weights
        else:
            return False  # constants
        for area in written:
            for other in (self.activations, self.made, self.weights):
                other.discard(area.storage)
            kind.add(area.storage)
        return bool(learned) and not product and kind is not self.activations

    def _number(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        if reference not in self._numbers:
            self._numbers[reference] = len(self.nbytes)
            self.nbytes.append(storage.nbytes())
        return self._numbers[reference]


def stored_tensors(values: Any) -> list[Tensor]:
    """The tensors in nested values that have a storage: sparse and some other layouts have none.

    Args:
        values: The values.

    Returns:
        The tensors.

    Example:
        >>> import torch
        >>> stored_tensors({"dense": torch.ones(2), "sparse": torch.eye(2).to_sparse(), "n": 2})
        [tensor([1., 1.])]
    """
    tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
    return [tensor for tensor in tensors if _has_storage(tensor)]


def _has_storage(tensor: Tensor) -> bool:
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other layouts
        return False
    return True
