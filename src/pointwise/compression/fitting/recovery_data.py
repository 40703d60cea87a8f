"""Samples to recover a model on, with labels where there are any, picked by their numbers."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointwise.compression.calibration import Data, batch_size, read_batches
from pointwise.errors import DataError
from pointwise.surgery.equivalence import Example

LABELS = ("labels", "label", "targets", "target", "y")
"""Under which of its entries a batch that is a mapping may hold labels."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a model, and labels.

    Attributes:
        inputs: All of them, of the form that the example has.
        count: How many there are.
        labels: One for each; ``None`` if there are none.
        same: Names or places of the inputs that are the same for all samples.
    """

    inputs: Example
    count: int
    labels: Tensor | None = None
    same: frozenset[str | int] = frozenset()

    def at(self, numbers: Tensor) -> Example:
        """The inputs of some numbers.

        Args:
            numbers: ``(N,)``.

        Returns:
            Of the form that the example has.
        """
        if isinstance(self.inputs, Tensor):
            return self.inputs[numbers]
        named = isinstance(self.inputs, Mapping)
        parts: Any = self.inputs.items() if named else enumerate(self.inputs)  # type: ignore[union-attr]
        chosen = {key: part if key in self.same else part[numbers] for key, part in parts}
        return chosen if named else tuple(chosen.values())


def read_samples(data: Data, example: Example) -> Samples:
    """Read data to learn from into memory: inputs as the model takes them, and their labels.

    Args:
        data: Batches as for ``compress``. Labels are what follows the input in a tuple or a list,
            or an entry of ``LABELS`` of a mapping. Or all inputs in one tensor.
        example: An input of the model.

    Returns:
        The samples.

    Raises:
        DataError: If there are none, some have labels and others none, or they are of more than
            one shape.

    Example:
        >>> pairs = [(torch.ones(4, 3), torch.zeros(4)), (torch.ones(2, 3), torch.zeros(2))]
        >>> found = read_samples(pairs, torch.ones(1, 3))
        >>> found.count, found.labels.shape, found.at(torch.tensor([5, 0])).shape
        (6, torch.Size([6]), torch.Size([2, 3]))
    """
    labels: list[Tensor | None] = []
    if isinstance(data, Tensor):
        return join_batches(read_batches(data, example, samples=sys.maxsize))

    def noting() -> Iterator[Any]:
        for given in data:
            labels.append(_labels(given, example))
            yield given

    kept = noting() if hasattr(data, "__iter__") and not isinstance(data, Mapping | str) else data
    found = join_batches(read_batches(kept, example, samples=sys.maxsize))
    if all(one is None for one in labels):
        return found
    known = [one for one in labels if one is not None]
    if len(known) < len(labels) or sum(map(len, known)) != found.count:
        raise DataError(
            "data to recover on must have one label for each sample, or none at all: there are "
            f"{sum(map(len, known))} labels for {found.count} samples"
        )
    device = next((t.device for t in _tensors(found.inputs)), None)
    return replace(found, labels=_joined(known, "labels").to(device))


def join_batches(batches: Sequence[Example]) -> Samples:
    """Put batches together.

    Args:
        batches: At least one, all of one form.

    Returns:
        The samples, without labels.

    Raises:
        DataError: If they are of more than one shape, or an argument that has no entry for each
            sample is not the same for all of them.
    """
    sizes = [batch_size(batch) for batch in batches]
    first, count = batches[0], sum(sizes)
    if isinstance(first, Tensor):
        return Samples(
            _joined([one for one in batches if isinstance(one, Tensor)], "inputs"), count
        )
    rows: list[Any] = list(batches)
    inputs: dict[Any, Any] = {}
    same = set()
    for key in first if isinstance(first, Mapping) else range(len(first)):
        parts = [row[key] for row in rows]
        each = zip(parts, sizes, strict=True)
        if all(isinstance(part, Tensor) and part.ndim and len(part) == n for part, n in each):
            inputs[key] = _joined(parts, f"argument {key}")
        else:
            if not all(_equal(part, parts[0]) for part in parts):
                raise DataError(
                    f"data to recover on must hold one entry of argument {key} for each sample, or "
                    "the same in all batches: it changes from batch to batch"
                )
            inputs[key] = parts[0]
            same.add(key)
    taken = inputs if isinstance(first, Mapping) else tuple(inputs.values())
    return Samples(taken, count, same=frozenset(same))


class Numbered(nn.Module):
    """A model whose inputs are the numbers of samples, as the training loop takes one tensor.

    Args:
        model: The model, that learns.
        samples: The samples.
        moved: Says of a module whether it is in training mode while the model learns. Default: all
            are.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        moved: Callable[[nn.Module], bool] = lambda _: True,
    ) -> None:
        super().__init__()
        self.model = model
        self.samples, self.moved = samples, moved

    def forward(self, numbers: Tensor) -> Any:
        """What the model puts out for samples ``(N,)``."""
        given = self.samples.at(numbers)
        if isinstance(given, Mapping):
            return self.model(**given)
        return self.model(given) if isinstance(given, Tensor) else self.model(*given)

    def train(self, mode: bool = True) -> "Numbered":
        """Let the model learn, but for what is to stay as it is."""
        super().train(False)
        for module in self.modules():
            module.training = mode and self.moved(module)
        return self


def _labels(given: Any, example: Example) -> Tensor | None:
    """What follows the input in a batch."""
    found: Any = None
    if isinstance(given, Mapping):
        taken = set(example) if isinstance(example, Mapping) else set()
        found = next((given[n] for n in LABELS if n in given and n not in taken), None)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        inputs = 1 if isinstance(example, Tensor | Mapping) else len(example)
        found = given[inputs] if len(given) > inputs else None
    if isinstance(found, np.ndarray | Sequence) and not isinstance(found, str):
        try:
            found = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError):  # names of files, boxes of several sizes
            return None
    return found.detach() if isinstance(found, Tensor) and found.ndim else None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _joined(parts: list[Tensor], name: str) -> Tensor:
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise DataError(
            f"data to recover on must be of one shape, {name} are of {shapes[0]} and {shapes[1]}"
        )
    return torch.cat(parts)


def _tensors(inputs: Example) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    parts = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    return [part for part in parts if isinstance(part, Tensor)]
