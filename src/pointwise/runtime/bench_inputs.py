"""Random inputs to time a network on, and how much memory it takes for them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pointwise.errors import first_line
from pointwise.nn.table import TableNetwork


def draw_input(model: nn.Module, shape: Sequence[int], *, batch: int) -> Tensor:
    """Draw an input that a network takes: random numbers, and codes where it reads categories.

    Args:
        model: The network.
        shape: Channels and sizes.
        batch: Number of samples or rows.

    Returns:
        A tensor ``(batch, *shape)`` in the type of the weights, the same in every call.

    Raises:
        ValueError: If the network is not on the CPU.

    Example:
        >>> draw_input(nn.Linear(3, 2).double(), (3,), batch=4).dtype
        torch.float64
    """
    tensors = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if tensor.device.type != "cpu":
            raise ValueError(f"the network must be on the CPU, it is on {tensor.device}")
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), None)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *shape, generator=generator, dtype=dtype)
    if not isinstance(model, TableNetwork):
        return x
    numbers, categories = model.numbers, model.categories
    for i, (centre, scale) in enumerate(zip(numbers.centre, numbers.scale, strict=True)):
        if i < shape[0]:
            x[:, i].mul_(scale).add_(centre)
    for i, size in enumerate(categories.sizes, start=numbers.c_in):
        if i < shape[0]:
            x[:, i].random_(0, max(size - 1, 1), generator=generator)
    return x


def largest_bytes(model: nn.Module, x: Tensor) -> int:
    """Run a network once, and count the bytes of the largest tensor.

    Args:
        model: The network.
        x: The input.

    Returns:
        The bytes; the input counts, too.

    Raises:
        ValueError: If the network does not take it, or gives anything but one tensor.

    Example:
        >>> largest_bytes(nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 1)), torch.ones(5, 2))
        160
    """
    name, largest = type(model).__name__, _Largest()
    try:
        with torch.no_grad(), largest:
            out = model(x)
    except Exception as error:  # whatever the network raises
        first = first_line(error)
        raise ValueError(f"{name} cannot take x of shape {tuple(x.shape)}: {first}") from error
    if not isinstance(out, Tensor):
        raise ValueError(f"{name} must give one tensor, it gives a {type(out).__name__}")
    return max(largest.bytes, x.nbytes)


class _Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operator gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = (int(leaf.nbytes) for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        self.bytes = max(self.bytes, *sizes, 0)
        return made
