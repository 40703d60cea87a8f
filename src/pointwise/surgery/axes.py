"""A layer in another's place: the axes of the input moved to where it expects them."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional import pointwise
from pointwise.functional.layout import is_channels_last, like_memory
from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv
from pointwise.surgery.read_weights import read_weight

Kind = Literal["linear", "transposed", "conv1d", "conv2d", "conv3d", "pointwise"]
"""Which axis holds the channels: the last; the one before the last 1, 2 or 3; the second."""

KINDS = get_args(Kind)
LAST: tuple[Kind, ...] = ("linear", "transposed")

TRANSPOSED = "transformers.pytorch_utils.Conv1D"
"""The linear layer of GPT-2, whose weight has a row per input channel."""

CONVS = tuple(CONVOLUTIONS.values())
"""A tuple, which ``torch.export`` follows from torch 2.6 on."""

PRODUCTS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

RANKS: dict[str, int] = {"conv1d": 1, "conv2d": 2, "conv3d": 3}


class InPlaceOf(nn.Module):
    """A pointwise layer that takes and gives what another kind of layer takes and gives.

    ``nn.Linear``, and GPT-2's linear layer with its transposed weight, have the channels on the
    last axis of any input, a convolution before its position axes, with or without a batch axis,
    ``PointwiseConv`` on the second axis. Whoever reads the ``weight``, the ``bias`` or the sizes of
    the old layer finds them as they were, and state dicts of the old layer load. ``F.linear`` with
    that weight, as attention with windows calls it, runs the layer.

    Args:
        layer: The layer that runs: ``nn.Linear``, a 1x1 convolution or ``PointwiseConv``.
        kind: Whose place it takes: ``"linear"``, ``"transposed"``, ``"conv1d"``, ``"conv2d"``,
            ``"conv3d"`` or ``"pointwise"``.

    Raises:
        ValueError: If there is no such kind.

    Shape:
        What a layer of that kind takes, to what it gives.

    Example:
        >>> import torch
        >>> layer = InPlaceOf(nn.Conv2d(10, 20, 1), "linear")
        >>> layer(torch.ones(3, 7, 10)).shape, layer.weight.shape
        (torch.Size([3, 7, 20]), torch.Size([20, 10]))
    """

    def __init__(self, layer: nn.Module, kind: Kind) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.layer, self.kind = layer, kind
        self.on_read: Callable[[], None] | None = None  # told when something reads the weights
        c_in, c_out, groups = sizes(layer)
        if kind == "linear":
            self.in_features, self.out_features = c_in, c_out
        elif kind == "transposed":
            self.nx, self.nf = c_in, c_out
        elif kind == "pointwise":
            self.c_in, self.c_out, self.groups = c_in, c_out, groups
        else:
            ones = (1,) * RANKS[kind]
            self.in_channels, self.out_channels, self.groups = c_in, c_out, groups
            self.kernel_size = self.stride = self.dilation = ones
            self.padding = (0,) * RANKS[kind]
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The matrix in the shape that the old layer's weight had."""
        if self.on_read is not None:
            self.on_read()
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        if self.kind == "transposed":
            return weight.flatten(1).T
        shaped = weight.reshape(*weight.shape[:2], *(1,) * RANKS.get(self.kind, 0))
        if self.kind == "linear" and not isinstance(self.layer, nn.Linear):
            return read_weight(shaped, self._product)
        return shaped

    @property
    def bias(self) -> Tensor | None:
        """The offset."""
        return self.layer.bias  # type: ignore[return-value]

    def forward(
        self,
        x: Tensor | None = None,
        *,
        input: Tensor | None = None,  # noqa: A002  (the name that torch's layers have for it)
    ) -> Tensor:
        """Apply the layer to the channels, wherever the old one had them."""
        given = input if x is None else x
        if given is None:
            raise TypeError("forward must be given x, or input by name, got neither")
        return self._moved(given, self.layer)

    def _moved(self, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Move the channels to where the layer has them, and those of its output back."""
        single = self._is_single(x)
        many = x[None] if single else x
        planar = many.movedim(-1, 1) if self.kind in LAST else many  # (N, C, *S)
        y = self._run(layer, planar)
        if self.kind in LAST:
            y = y.movedim(1, -1).contiguous()
        elif not is_channels_last(planar):
            y = y.contiguous()
        return y[0] if single else y

    def _product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """What ``F.linear`` with this weight gives; the bias may be another."""
        if bias is self.layer.bias:
            return self.forward(x)

        def layer(planar: Tensor) -> Tensor:
            return _map(self.layer, planar, bias)

        return self._moved(x, layer)

    def extra_repr(self) -> str:
        """Whose place it takes, as ``print`` shows it."""
        return f"kind={self.kind!r}"

    def _run(self, layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run what maps as the layer does, on ``(N, C, *S)``."""
        if isinstance(self.layer, nn.Linear):
            return layer(x.movedim(1, -1)).movedim(-1, 1)
        if not isinstance(self.layer, CONVS):
            return layer(x)
        rank = self.layer.weight.ndim - 2
        if x.numel() == 0:  # torch's convolutions refuse it
            conv: Any = self.layer
            return pointwise(x, conv.weight.flatten(1), conv.bias, conv.groups)
        y = layer(at_rank(x, rank))
        y = y.reshape(y.shape[0], y.shape[1], *x.shape[2:])
        return like_memory(y, x) if x.ndim > 2 else y

    def _is_single(self, x: Tensor) -> bool:
        """Whether it is one sample without a batch axis; refuses what the old layer refused."""
        if self.kind in LAST:
            return x.ndim == 1
        if self.kind == "pointwise":
            if x.ndim < 2:
                raise ValueError(f"x must have shape (N, {self.c_in}, *S), got {tuple(x.shape)}")
            return False
        rank = RANKS[self.kind]
        if x.ndim not in (rank + 1, rank + 2):
            raise ValueError(
                f"x must have shape (N, C, *S) or (C, *S) with {rank} position axes, "
                f"got {tuple(x.shape)}"
            )
        return x.ndim == rank + 1

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the old layer's values too."""
        for name, own in self.layer.named_parameters():
            if prefix + name in state_dict:
                given = state_dict.pop(prefix + name)
                if self.kind == "transposed" and name == "weight" and given.ndim == 2:
                    given = given.T
                fits = given.shape[:2] == own.shape[:2] and given.numel() == own.numel()
                state_dict[f"{prefix}layer.{name}"] = given.reshape(own.shape) if fits else given
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def is_transposed(layer: nn.Module) -> bool:
    """Whether a layer is the linear one of GPT-2, whose weight has a row per input channel.

    Args:
        layer: Any module.

    Returns:
        Whether its class has that name; subclasses have another.
    """
    return f"{type(layer).__module__}.{type(layer).__name__}" == TRANSPOSED


def sizes(layer: nn.Module) -> tuple[int, int, int]:
    """Input channels, output channels and groups of a pointwise layer.

    Args:
        layer: ``nn.Linear``, that of GPT-2, a convolution, or ``PointwiseConv``.

    Returns:
        The three numbers.

    Raises:
        TypeError: If it is none of these.

    Example:
        >>> sizes(nn.Conv1d(4, 6, 1, groups=2))
        (4, 6, 2)
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, 1
    if isinstance(layer, PointwiseConv):
        return layer.c_in, layer.c_out, layer.groups
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return layer.in_channels, layer.out_channels, layer.groups
    if is_transposed(layer):
        weight: Tensor = layer.weight  # type: ignore[assignment]
        return weight.shape[0], weight.shape[1], 1
    raise TypeError(
        f"layer must be nn.Linear, a convolution or PointwiseConv, got {type(layer).__name__}"
    )


def at_rank(x: Tensor, rank: int) -> Tensor:
    """Give a map so many position axes: unit axes are put first, or the first axes joined.

    Args:
        x: Map of shape ``(N, C, *S)``.
        rank: Number of position axes, at least 1.

    Returns:
        The same values with ``rank`` position axes; ``(N, C, L)`` at rank 2 is ``(N, C, 1, L)``.

    Example:
        >>> import torch
        >>> at_rank(torch.ones(2, 3, 7), 2).shape, at_rank(torch.ones(2, 3, 4, 5, 6), 2).shape
        (torch.Size([2, 3, 1, 7]), torch.Size([2, 3, 20, 6]))
    """
    n, channels, *space = x.shape
    if len(space) == rank:
        return x
    if len(space) < rank:
        return x.reshape(n, channels, *(1,) * (rank - len(space)), *space)
    return x.flatten(2, len(space) - rank + 2)


def _map(layer: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    """What a convolution or ``PointwiseConv`` gives with another bias."""
    if isinstance(layer, PointwiseConv):
        return pointwise(x, layer.weight, bias, layer.groups)
    return PRODUCTS[x.ndim - 2](x, layer.weight, bias)
