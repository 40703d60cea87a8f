"""What a value of the classifier is on the training size, and how it slides on larger images."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, fx

MAP = ("n", "c", "h", "w")
VECTOR = ("n", "c")
ROW = ("n", "f")

Pair = tuple[int, int]


@dataclass(frozen=True)
class Form:
    """How one value stands to the positions of the image.

    Attributes:
        kind: ``"map"``: a feature map, the same axes on larger images. ``"head"``: what the head
            makes of one window of the feature map; on larger images ``(N, C, H', W')``, with a
            position per window. ``"image"``: a statistic of the whole image, kept as it is.
        axes: The axes of the original value: ``n``, ``c``, ``h``, ``w``, ``1`` where the head
            keeps an axis of one value, ``f`` where a window is flattened.
        stride: Input pixels between two positions.
        window: Positions that a head's value holds side by side.
        step: Feature cells between them.
        order: The order in which a window was flattened.
        bins: Matrices that average rows and columns of the feature map to the window, where
            adaptive pooling has uneven bins; they go into the next linear layer.
        pools: The poolings over the whole map that a value comes from.
    """

    kind: Literal["map", "head", "image"]
    axes: tuple[str, ...]
    stride: Pair
    window: Pair = (1, 1)
    step: Pair = (1, 1)
    order: tuple[str, ...] = ("c", "h", "w")
    bins: tuple[Tensor, Tensor] | None = None
    pools: frozenset[fx.Node] = frozenset()

    @property
    def is_unit(self) -> bool:
        """Whether a head's value is one vector of channels."""
        return self.window == (1, 1) and self.bins is None and "f" not in self.axes

    def with_axes(self, *axes: str) -> "Form":
        """The same with other axes."""
        return replace(self, axes=axes)

    def with_stride(self, stride: Pair) -> "Form":
        """The same after a step between positions."""
        return replace(self, stride=(self.stride[0] * stride[0], self.stride[1] * stride[1]))


def pair(value: object) -> Pair:
    """One size for both axes, or one for each, as torch's operators take them.

    Args:
        value: An integer or a sequence of one or two.

    Returns:
        Both sizes.
    """
    if isinstance(value, int):
        return value, value
    sizes = tuple(value)  # type: ignore[arg-type, var-annotated]
    return (int(sizes[0]), int(sizes[-1]))
