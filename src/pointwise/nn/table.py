"""The network of a table: columns in, targets in their own units out, as 1x1s from end to end."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.nn.encoding import CategoryEncoder, FullPrecision, NumberEncoder, per_channel
from pointwise.nn.mlp import MLP


class ChannelScale(FullPrecision):
    """A fixed scale and shift per channel: a diagonal 1x1.

    Kept in float32 or better: a target of 100,000 in bfloat16 would be off by 256.

    Args:
        scale: Factor of each channel.
        shift: Offset of each channel.

    Raises:
        ValueError: If there are not as many of both.

    Shape:
        ``(N, C, *S)`` to the same.

    Example:
        >>> ChannelScale([2.0], [1.0])(torch.ones(1, 1))
        tensor([[3.]])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        if len(scale) != len(shift):
            raise ValueError(
                "scale and shift must have one entry per channel: "
                f"got {len(scale)} and {len(shift)}"
            )
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32))

    @property
    def c_in(self) -> int:
        """Number of channels."""
        return len(self.scale)

    def _map(self, x: Tensor) -> Tensor:
        return x * per_channel(self.scale, x) + per_channel(self.shift, x)


class TableNetwork(nn.Module):
    """Encoders, an MLP with members, and the scale of the targets: one network of 1x1s.

    Args:
        numbers: Encoder of the first columns, the numbers.
        categories: Encoder of the columns after them, the categories.
        mlp: Network over all encoded channels.
        scale: Scale of the outputs of one member, repeated over its members.

    Raises:
        ValueError: If the MLP's inputs are not the encoders' outputs, or the scale does not fit.

    Shape:
        ``(N, C, *S)`` to ``(N, M * C_out, *S)``, with ``C`` numbers and categories.

    Example:
        >>> numbers = NumberEncoder([0.0], [1.0], [False], [[]])
        >>> mlp, scale = MLP([1, 4, 1]), ChannelScale([1.0], [0.0])
        >>> TableNetwork(numbers, CategoryEncoder([]), mlp, scale)(torch.ones(2, 1, 5)).shape
        torch.Size([2, 1, 5])
    """

    def __init__(
        self, numbers: NumberEncoder, categories: CategoryEncoder, mlp: MLP, scale: ChannelScale
    ) -> None:
        super().__init__()
        encoded = numbers.c_out + categories.c_out
        if mlp.channels[0] != encoded:
            raise ValueError(f"the MLP must take {encoded} channels, takes {mlp.channels[0]}")
        if len(scale.scale) != mlp.channels[-1]:
            raise ValueError(
                f"the scale must have {mlp.channels[-1]} channels, has {len(scale.scale)}"
            )
        self.numbers, self.categories, self.mlp, self.scale = numbers, categories, mlp, scale

    @property
    def weight(self) -> Tensor:
        """The first matrix of the MLP: tells the network's device and type."""
        return next(self.mlp.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map coded columns ``(N, C, *S)`` to targets in their own units."""
        y = self.scaled(x)
        members = y.unflatten(1, (self.mlp.members, -1))  # (N, M, C_out, *S)
        n, m = members.shape[:2]
        out: Tensor = self.scale(members.flatten(0, 1)).unflatten(0, (n, m)).flatten(1, 2)
        return out

    def scaled(self, x: Tensor) -> Tensor:
        """Map coded columns to targets with zero mean and unit variance, as the loss sees them."""
        split = self.numbers.c_in
        columns = split + self.categories.c_in
        check_input(x, columns)
        encoded = torch.cat([self.numbers(x[:, :split]), self.categories(x[:, split:])], 1)
        out: Tensor = self.mlp(encoded.to(self.weight.dtype))
        return out
