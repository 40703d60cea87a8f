"""Named case tables: what a layer is, and how its input lies in memory. Tensors are made lazily."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor, nn

SPACES = {0: (), 1: (20,), 2: (4, 5), 3: (2, 5, 3)}
"""Position axes of each rank; all but one have more positions than the dispatch calls few."""

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class LayerCase:
    """One 1x1 layer on one input; ``repr`` is its id."""

    rank: int = 2
    groups: int = 1
    bias: bool = True
    dtype: torch.dtype = torch.float32
    samples: int = 3
    c_in: int = 6
    c_out: int = 4

    def __repr__(self) -> str:
        bias = "bias" if self.bias else "no_bias"
        return f"rank{self.rank}-groups{self.groups}-{bias}-{str(self.dtype).split('.')[1]}"

    def x(self) -> Tensor:
        return torch.randn(self.samples, self.c_in, *SPACES[self.rank], dtype=self.dtype)

    def weight(self) -> Tensor:
        return torch.randn(self.c_out, self.c_in // self.groups, dtype=self.dtype)

    def offset(self) -> Tensor | None:
        return torch.randn(self.c_out, dtype=self.dtype) if self.bias else None

    def oracle(self, x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        """What torch's own layer gives, computed in float64 and rounded once."""
        return oracle(x, weight, offset, self.groups)


def oracle(x: Tensor, weight: Tensor, offset: Tensor | None, groups: int = 1) -> Tensor:
    """``nn.Linear`` or the convolution of the right rank, computed in float64 and rounded once."""
    rank, bias = x.ndim - 2, offset is not None
    c_in, c_out = x.shape[1], weight.shape[0]
    if rank == 0 and groups == 1:
        layer: nn.Module = nn.Linear(c_in, c_out, bias, dtype=torch.float64)
    else:  # a grouped map of rows is a convolution at one position
        layer = CONVS[max(rank, 1)](c_in, c_out, 1, groups=groups, bias=bias, dtype=torch.float64)
        x = x if rank else x[..., None]
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        if offset is not None:
            layer.bias.copy_(offset)
        y: Tensor = layer(x.double().contiguous()).to(weight.dtype)
    return y if rank else y.flatten(1)


LAYERS = [
    LayerCase(rank, groups, bias, dtype)
    for rank, groups, bias, dtype in product(
        SPACES, (1, 2), (True, False), (torch.float64, torch.float32, torch.bfloat16)
    )
]

TOLERANCES = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
}
"""What one rounding of each product may leave; PyTorch sums bfloat16 in float32."""


def channels_last(x: Tensor) -> Tensor:
    """The same values with the channels of a position side by side."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


MEMORY: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels_last": channels_last,
    "other_channels": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "some_channels": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "some_channels_last": lambda x: channels_last(torch.cat([x, x], 1))[:, : x.shape[1]],
    "other_samples": lambda x: x.repeat_interleave(2, 0)[::2],
    "other_positions": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "samples_last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "channels_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "positions_swapped": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "one_sample_expanded": lambda x: x[:1].expand_as(x),
    "one_channel_expanded": lambda x: x[:, :1].expand_as(x),
}
"""Ways for an input to lie in memory: each gives a tensor of the same shape."""

NEED_POSITIONS = ("other_positions", "positions_swapped")

each_layer = pytest.mark.parametrize("case", LAYERS, ids=repr)
each_rank = pytest.mark.parametrize("rank", SPACES)
each_layer_in_memory = pytest.mark.parametrize(
    ("case", "memory"),
    [
        pytest.param(case, memory, id=f"{case!r}-{memory}")
        for case, memory in product(LAYERS, MEMORY)
        if case.rank or memory not in NEED_POSITIONS
    ],
)
