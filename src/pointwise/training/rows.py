"""The rows that a network trains on, and the order in which batches take them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Changes a batch's inputs and targets at random, from torch's own random numbers."""


@dataclass(frozen=True)
class Rows:
    """Inputs, targets and weights of a set of rows (or images: the first axis counts).

    Attributes:
        x: Inputs of shape ``(N, C, *S)``.
        y: Targets of shape ``(N, C_out)``, or class numbers ``(N,)``.
        weight: Weight of each row, of shape ``(N,)`` and mean 1, or ``None`` for equal weights.

    Raises:
        ValueError: If there is not one target and one weight per row.

    Example:
        >>> rows = Rows(torch.ones(5, 3), torch.ones(5, 1))
        >>> [len(batch.x) for batch in rows.batches(2, torch.Generator())]
        [2, 2, 1]
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        for name, values in (("y", self.y), ("weight", self.weight)):
            if values is not None and len(values) != len(self.x):
                raise ValueError(f"{name} must have {len(self.x)} rows, as x, got {len(values)}")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x)

    def batches(self, size: int, generator: torch.Generator) -> Iterator["Rows"]:
        """Yield all rows once, shuffled, in batches of nearly equal size.

        Only the batch in hand is copied, never the whole set.

        Args:
            size: Largest batch.
            generator: Source of the order, on the CPU.

        Yields:
            One batch after another. A batch with all rows keeps their order and is no copy.

        Raises:
            ValueError: If ``size`` is not positive.
        """
        if size < 1:
            raise ValueError(f"size of a batch must be at least 1, got {size}")
        steps = -(-len(self) // size)
        if steps <= 1:
            yield self
            return
        order = torch.randperm(len(self), generator=generator).to(self.x.device)
        for index in order.tensor_split(steps):
            weight = None if self.weight is None else self.weight[index]
            yield Rows(self.x[index], self.y[index], weight)

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of one value per row, ``(N,)``."""
        return (values if self.weight is None else values * self.weight).mean()
