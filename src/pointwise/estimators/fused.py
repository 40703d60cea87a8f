"""Predictions of many rows, through the fused runtime."""

from collections.abc import Callable

import torch
from torch import Tensor

from pointwise.nn import TableNetwork
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime.chain import Scale

FUSED_MACS = 100_000_000_000
"""Predictions of fewer MACs than this are over before the code for them has been made."""

CHECKED_ROWS = 256
"""Rows that the fused network is held against the network on."""

TOLERANCE = 1e-4
"""Of the largest output, or of 1 if that is larger: rounding stays far below."""


def fused_outputs(network: TableNetwork, x: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Make a fast ``network.scaled`` for many rows on a CPU.

    It is held against the network on the first rows, and given up for it where it cannot be made.

    Args:
        network: The network, with float32 weights.
        x: The coded rows that it is for, ``(N, C)``.

    Returns:
        A function of rows ``(N, C)`` to ``(N, M * C_out)``; ``None`` where PyTorch is as fast.

    Example:
        >>> from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder
        >>> numbers = NumberEncoder([0.0], [1.0], [False], [[]])
        >>> scale = ChannelScale([1.0], [0.0])
        >>> network = TableNetwork(numbers, CategoryEncoder([]), MLP([1, 4, 1]), scale)
        >>> fused_outputs(network, torch.ones(5, 1)) is None
        True
    """
    weight = network.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    if len(x) * sum(p.numel() for p in network.mlp.parameters()) < FUSED_MACS:
        return None
    chain = read_chain(network)
    if isinstance(chain, str) or not isinstance(chain.steps[-1], Scale):
        return None
    run = CompiledChain(Chain(chain.c_in, chain.steps[:-1]))  # the scale is applied in float64
    some = x[:CHECKED_ROWS]
    expected = network.scaled(some)
    limit = TOLERANCE * max(1.0, float(expected.abs().max()))
    if not float((run(some) - expected).abs().max()) <= limit:
        return None
    return run
