"""How near a changed model is to the given one, where rounding alone may tell them apart."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pointwise.errors import DifferenceError
from pointwise.inspection.copying import copy_model
from pointwise.surgery.equivalence import TOLERANCES, check_equivalent

LOOSE = 100
"""Beyond so many times the usual share, rounding is no excuse."""


def closeness(
    a: nn.Module, b: nn.Module, example: Any, *, atol: float = 0.0, rtol: float | None = None
) -> str:
    """Tell how far the outputs of a changed model differ, in words.

    Where that is more than allowed, both are compared with the given model in float64: a deep
    network may carry the rounding of its products so far that no other order of them agrees. The
    changed one must then be about as near to the exact result as the given one is.

    Args:
        a: The given model.
        b: The changed one.
        example: The input.
        atol: What outputs may differ by.
        rtol: As a share of the largest; ``None`` for what their type allows.

    Returns:
        One line.

    Raises:
        DifferenceError: If they differ by more.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> closeness(layer, layer, torch.ones(1, 2))
        'equal to 0 (0 of the largest output)'
    """
    try:
        return str(check_equivalent(a, b, example, atol=atol, rtol=rtol))
    except DifferenceError as error:
        dtypes = {p.dtype for p in (*a.parameters(), *a.buffers()) if p.is_floating_point()}
        if rtol is not None or len(dtypes) != 1 or torch.float64 in dtypes:
            raise
        share = TOLERANCES.get(dtypes.pop(), 0.0)
        try:
            exact = _Wide(copy_model(a).double())
            own = check_equivalent(exact, _Wide(a), example, rtol=LOOSE * share)
            near = max(share, 10 * own.max_relative)  # luck varies
            new = check_equivalent(exact, _Wide(b), example, rtol=near)
        except (RuntimeError, TypeError, DifferenceError):  # parts may insist on their type
            raise error from None
        plain = check_equivalent(a, b, example, rtol=2 * (near + share))
        return (
            f"{plain}; of the result in float64 the given model is {own.max_relative:.2g} off, "
            f"the new one {new.max_relative:.2g}"
        )


class _Wide(nn.Module):
    """A model that takes what its type is and gives float64."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model in its type."""
        given = _converted((args, kwargs), self.dtype)
        return _converted(self.model(*given[0], **given[1]), torch.float64)


def _converted(tree: Any, dtype: torch.dtype) -> Any:
    return tree_map_only(Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, tree)
