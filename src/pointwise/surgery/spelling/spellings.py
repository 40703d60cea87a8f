"""The ways to compute one pointwise layer, and a module that computes it in the way chosen."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional import pointwise
from pointwise.functional.layout import from_rows, is_channels_last, to_rows
from pointwise.surgery.axes import CONVS, RANKS, InPlaceOf, sizes
from pointwise.surgery.over_values import PLAIN
from pointwise.surgery.refusals import subclass_refusal
from pointwise.surgery.swap import describe

Spelling = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From ``x`` ``(N, C_in, *S)``, weight ``(C_out, C_in)`` and bias to ``(N, C_out, *S)``."""


def rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear`` on rows ``(P, C)``; the result lies in memory as ``x`` does."""
    return from_rows(F.linear(to_rows(x), weight, bias), x)


def columns(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The matrix on the left of columns ``(C, P)``, a product per sample; the result is planar."""
    n, _, *space = x.shape
    flat = x.flatten(2)
    if n == 1:
        product = torch.mm(weight, flat[0]) if bias is None else _addmm(bias, weight, flat[0])
    else:
        each = weight.expand(n, -1, -1)
        product = (
            torch.bmm(each, flat) if bias is None else torch.baddbmm(bias[:, None], each, flat)
        )
    return product.reshape(n, weight.shape[0], *space)


def image(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.conv2d``, the first position axes joined or a unit axis put before the only one."""
    n, channels, *space = x.shape
    # Strides of a unit axis would leave it open whether the memory is channels-last.
    flat = x.movedim(1, -1).reshape(n, -1, space[-1], channels).movedim(-1, 1)
    planar = x.reshape(n, channels, -1, space[-1])
    y = F.conv2d(flat if is_channels_last(x) else planar, weight[:, :, None, None], bias)
    return y.movedim(1, -1).reshape(n, *space, -1).movedim(-1, 1)


def dispatched(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``functional.pointwise``, which picks by the memory at hand."""
    return pointwise(x, weight, bias)


SPELLINGS: dict[str, Spelling] = {
    "rows": rows,
    "columns": columns,
    "image": image,
    "pointwise": dispatched,
}
"""The spellings of a layer by name. A fused kernel of ``runtime`` for one layer is one more entry;
chains of layers through it are a variant of the whole network, see ``fused_chains``."""

WORDS = {
    "rows": "F.linear on rows",
    "columns": "matmul on columns",
    "image": "F.conv2d",
    "pointwise": "functional.pointwise",
}
"""What the reports call them."""


def is_pointwise(layer: nn.Module) -> bool | str:
    """Whether a layer is one that can be respelled.

    Args:
        layer: Any module.

    Returns:
        Whether it is; if it looks like one and must be left alone, the reason.

    Example:
        >>> is_pointwise(nn.Linear(3, 2)), is_pointwise(nn.ReLU())
        (True, False)
        >>> is_pointwise(nn.Conv2d(3, 2, 1, stride=2))
        'its stride is (2, 2): it drops positions'
    """
    if not isinstance(layer, tuple(PLAIN)):
        return False
    if isinstance(layer, CONVS):
        conv: Any = layer
        if set(conv.kernel_size) != {1}:
            return False
        if set(conv.stride) != {1}:
            return f"its stride is {conv.stride}: it drops positions"
        if conv.padding not in ("same", "valid") and set(conv.padding) != {0}:
            return f"its padding is {conv.padding}: it adds positions"
    reason = subclass_refusal(layer, tuple(PLAIN))
    if reason is not None:
        return reason
    if sizes(layer)[2] > 1:
        return f"has {sizes(layer)[2]} groups: PointwiseConv has a spelling for them already"
    return True


def pointwise_layers(model: nn.Module) -> dict[str, nn.Module | str]:
    """Find the layers of a model that can be respelled.

    Args:
        model: Any model.

    Returns:
        By path, the first where there are several, the layer, or why it must be left alone.

    Example:
        >>> list(pointwise_layers(nn.Sequential(nn.Linear(3, 2), nn.ReLU())))
        ['0']
    """
    found: dict[str, nn.Module | str] = {}
    for path, module in model.named_modules():
        fits = is_pointwise(module)
        if path and isinstance(model.get_submodule(path.rpartition(".")[0]), InPlaceOf):
            found[path] = "stands in place of another layer: respell before you convert"
        elif fits is not False:
            found[path] = module if fits is True else fits
    return found


def spellings_for(layer: nn.Module, x: Tensor) -> list[str]:
    """The spellings, other than its own, that may be faster for a layer on an input.

    Args:
        layer: A layer that ``is_pointwise`` accepts.
        x: What it is given.

    Returns:
        Keys of ``SPELLINGS``; none where there is but one position axis to choose from.

    Example:
        >>> spellings_for(nn.Conv2d(3, 2, 1), torch.ones(1, 3, 8, 8))
        ['rows', 'columns', 'pointwise']
        >>> spellings_for(nn.Linear(3, 2), torch.ones(5, 3))
        []
    """
    kind = PLAIN[type(layer)]
    if x.ndim < 3 or x.numel() == 0 or x.ndim != RANKS.get(kind, x.ndim - 2) + 2:
        return []
    own = {"linear": "rows", "conv2d": "image"}.get(kind, kind)
    return [name for name in SPELLINGS if name != own]


class Spelled(nn.Module):
    """A pointwise layer computed in a chosen way; parameters, their names and shapes are its own.

    State dicts of the old layer load, and whoever reads its weight finds it.

    Args:
        layer: ``nn.Linear``, a 1x1 convolution of stride 1, or ``PointwiseConv``, without groups;
            its parameters are taken, not copied.
        spelling: Key of ``SPELLINGS``.

    Raises:
        ValueError: If there is no such spelling, or the layer cannot be respelled.

    Shape:
        What the layer takes, to what it gives.

    Example:
        >>> layer = nn.Conv2d(3, 2, 1)
        >>> x = torch.ones(1, 3, 4, 4)
        >>> torch.testing.assert_close(Spelled(layer, "rows")(x), layer(x))
    """

    def __init__(self, layer: nn.Module, spelling: str) -> None:
        super().__init__()
        if spelling not in SPELLINGS:
            raise ValueError(f"spelling must be one of {', '.join(SPELLINGS)}, got {spelling!r}")
        fits = is_pointwise(layer)
        if fits is not True:
            why = f": {fits}" if fits else ""
            raise ValueError(f"layer must be a pointwise map, got {describe(layer)}{why}")
        self.kind, self.spelling, self.was = PLAIN[type(layer)], spelling, describe(layer)
        self.c_in, self.c_out, _ = sizes(layer)
        if self.kind == "linear":
            self.in_features, self.out_features = self.c_in, self.c_out
        self.weight, self.bias = _parameters(layer)
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (as torch names it)
        """Apply the matrix to the channels, wherever the layer has them."""
        single = input.ndim == (1 if self.kind == "linear" else RANKS.get(self.kind, 0) + 1)
        alone = single and self.kind != "pointwise"
        x = input[None] if alone else input
        planar = x.movedim(-1, 1) if self.kind == "linear" else x  # (N, C, *S)
        self._check(planar, input)
        # An input without positions, or without values, is a row or nothing: no choice.
        usual = planar.ndim == 2 or planar.numel() == 0
        spell = dispatched if usual else SPELLINGS[self.spelling]
        y = spell(planar, self.weight.flatten(1), self.bias)
        if self.kind == "linear":
            y = y.movedim(1, -1)
        return y[0] if alone else y

    def extra_repr(self) -> str:
        """The layer and how it is computed, as ``print`` shows them."""
        return f"{self.was}, {self.spelling!r}"

    def _check(self, planar: Tensor, x: Tensor) -> None:
        """Refuse what the old layer refused."""
        rank = RANKS.get(self.kind)
        fits = planar.ndim >= 2 and planar.shape[1] == self.c_in
        if not fits or rank not in (None, planar.ndim - 2):
            raise ValueError(f"{self.was} cannot take x of shape {tuple(x.shape)}")


def _parameters(layer: Any) -> tuple[nn.Parameter, nn.Parameter | None]:
    return layer.weight, layer.bias


def _addmm(bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.addmm(bias[:, None], left, right)
