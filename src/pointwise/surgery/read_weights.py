"""Weights that know their layer: a parent that reads one and multiplies by it runs the layer.

Some modules never call a layer of theirs: they take its ``weight`` and ``bias`` and call
``F.linear`` (windowed attention, which changes the bias first; attention that fills in a bias of
zeros). A layer of another kind in its place would be passed by.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

Product = Callable[[Tensor, Tensor | None], Tensor]
"""From ``x`` ``(*S, C_in)`` and a bias to ``(*S, C_out)``."""


def read_weight(weight: Tensor, product: Product) -> Tensor:
    """Give out a weight such that ``F.linear`` with it calls a function.

    Args:
        weight: The matrix, ``(C_out, C_in)``.
        product: What to call in place of ``F.linear``.

    Returns:
        The matrix; in all else it behaves, and computes, as it is.

    Example:
        >>> weight = read_weight(torch.ones(2, 3), lambda x, bias: x.new_full((2,), 7.0))
        >>> F.linear(torch.ones(3), weight), torch.ones(3) @ weight.T
        (tensor([7., 7.]), tensor([3., 3.]))
    """
    if type(weight) not in (Tensor, nn.Parameter):
        # While torch.export traces, tensors have a class of their own and can get no other.
        traced: Any = _TracedWeight(weight, product)
        return traced  # type: ignore[no-any-return]
    given = weight.as_subclass(_ReadWeight)
    given.product = product
    return given


class _ReadWeight(Tensor):
    """A tensor with a function for ``F.linear``."""

    product: Product | None = None

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear:
            x, weight, bias = _linear(*args, **kwargs)
            if isinstance(weight, cls) and weight.product is not None:
                return weight.product(x, bias)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)


class _TracedWeight:
    """The same around a tensor of any class, for as long as a trace takes."""

    def __init__(self, weight: Tensor, product: Product) -> None:
        self.tensor, self.product = weight, product

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensor, name)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear:
            x, weight, bias = _linear(*args, **kwargs)
            if isinstance(weight, cls):
                return weight.product(x, bias)
        args, kwargs = tree_map(lambda a: a.tensor if isinstance(a, cls) else a, (args, kwargs))
        return func(*args, **(kwargs or {}))


def _operator(name: str) -> Callable[..., Any]:
    return lambda weight, *others: getattr(weight.tensor, name)(*others)


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "matmul", "rmatmul", "neg"):
    setattr(_TracedWeight, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("getitem", "len", "iter"):
    setattr(_TracedWeight, f"__{_name}__", _operator(f"__{_name}__"))


def _linear(
    input: Tensor,  # noqa: A002  (as torch names it)
    weight: Any,
    bias: Tensor | None = None,
) -> tuple[Tensor, Any, Tensor | None]:
    """The arguments of ``F.linear``, however they were given."""
    return input, weight, bias
