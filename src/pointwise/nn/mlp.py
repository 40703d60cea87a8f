"""Multi-layer perceptrons as stacks of 1x1 convolutions; many side by side as one grouped stack."""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.functional.layout import from_columns, to_columns
from pointwise.nn.dropout import Dropout
from pointwise.nn.pointwise import PointwiseConv


class NormMaker(Protocol):
    """Makes a norm over ``channels`` in ``groups``, as ``nn.BatchNorm`` and ``LayerNorm`` do."""

    def __call__(self, channels: int, *, groups: int) -> nn.Module:
        """Make the norm."""
        ...


class MLP(nn.Module):
    """A multi-layer perceptron as a stack of 1x1 convolutions, at any number of position axes.

    With ``members=M`` it is M independent networks in one: a plain 1x1 to ``M * C`` channels, then
    1x1s in M groups. The members share their input and nothing else; each draws its own weights.

    Args:
        channels: Channels of the input, of every hidden layer, and of the output of one member.
        members: Number of independent networks ``M``.
        activation: Makes the activation after every hidden layer.
        norm: Makes the norm before every activation. Default: none.
        dropout: Share of hidden channels dropped in training.
        residual: Whether to add a hidden layer's input to its output, from the second hidden layer
            on and where their widths agree.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there are fewer than two channel counts or ``members`` is not positive.

    Shape:
        ``(N, C_in, *S)`` to ``(N, M * C_out, *S)``, the channels of a member side by side;
        channels-last if the input is.

    Example:
        >>> mlp = MLP([8, 64, 64, 1], members=4)
        >>> mlp(torch.ones(2, 8)).shape, mlp(torch.ones(2, 8, 5, 7)).shape
        (torch.Size([2, 4]), torch.Size([2, 4, 5, 7]))
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        members: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: NormMaker | None = None,
        dropout: float = 0.0,
        residual: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"channels must name input and output at least, got {list(channels)}")
        if members < 1:
            raise ValueError(f"members must be at least 1, got {members}")
        self.channels, self.members, self.residual = tuple(channels), members, residual
        self.norm = norm
        self.layers = nn.ModuleList()
        for i, (c_in, c_out) in enumerate(pairwise(channels)):
            shared = i == 0  # all members read the same input
            self.layers.append(
                PointwiseConv(
                    c_in if shared else members * c_in,
                    members * c_out,
                    groups=1 if shared else members,
                    device=device,
                    dtype=dtype,
                )
            )
        hidden = [members * c for c in channels[1:-1]]
        norms = [norm(c, groups=members) for c in hidden] if norm else []
        self.norms = nn.ModuleList(norms).to(device=device, dtype=dtype)
        activations = nn.ModuleList(activation() for _ in hidden)
        self.activations = activations.to(device=device, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, M * C_out, *S)``."""
        check_input(x, self.channels[0])
        if self.members == 1:
            return self._stack(x)
        # All positions become those of one planar sample (1, C, P). There the layers are batched
        # products on memory as it lies: no copy between them, nor of the weights' gradients.
        y = self._stack(to_columns(x).unsqueeze(0))
        if y.requires_grad and not torch.compiler.is_compiling():
            y.register_hook(Tensor.contiguous)  # its transpose would be copied member by member
        return from_columns(y.squeeze(0), x)

    def _stack(self, x: Tensor) -> Tensor:
        first, *rest = self.layers
        h: Tensor = first(x)
        for i, layer in enumerate(rest):
            h = self._activate(i, h)
            adds = self.residual and i + 1 < len(rest) and layer.c_in == layer.c_out
            h = h + layer(h) if adds else layer(h)
        return h

    def _activate(self, i: int, h: Tensor) -> Tensor:
        """Norm, activation and dropout after hidden layer ``i``."""
        if self.norms:
            h = self.norms[i](h)
        out: Tensor = self.dropout(self.activations[i](h))
        return out

    def member(self, index: int) -> "MLP":
        """Copy one member out as a network of its own.

        Args:
            index: Number of the member, from 0.

        Returns:
            An ``MLP`` with ``members=1`` that puts out the member's channels.

        Raises:
            ValueError: If there is no such member.

        Example:
            >>> mlp = MLP([3, 4, 2], members=5)
            >>> mlp.member(1)(torch.ones(1, 3)).allclose(mlp(torch.ones(1, 3))[:, 2:4])
            True
        """
        if not 0 <= index < self.members:
            raise ValueError(f"member must be from 0 to {self.members - 1}, got {index}")
        alone = MLP(self.channels, norm=self.norm, dropout=self.dropout.p, residual=self.residual)
        alone.activations = copy.deepcopy(self.activations)
        parts = self.state_dict()
        for name, own in alone.state_dict().items():
            if own.shape != parts[name].shape:  # of all members, side by side
                parts[name] = parts[name].chunk(self.members)[index]
        alone.load_state_dict({name: part.clone() for name, part in parts.items()}, assign=True)
        for mine, theirs in zip(self.parameters(), alone.parameters(), strict=True):
            theirs.requires_grad_(mine.requires_grad)
        return alone.train(self.training)
