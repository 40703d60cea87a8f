"""Predictions of many rows and of many images, through the fused runtime."""

import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from pointwise.nn import TableNetwork
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime import compile as compile_network
from pointwise.runtime.chain import Scale
from pointwise.runtime.compiled import pays_to_compile

PATIENCE_S = 30.0
"""Once images have taken so long, a few seconds are spent on finding out what gains in their
network: a tenth at most is lost where nothing does."""

TRIED_IMAGES = 16
"""Images that it is found out on."""

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
    macs = len(x) * sum(p.numel() for p in network.mlp.parameters())
    if not pays_to_compile(macs):
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


def image_outputs(network: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Put batches of images through a network, its chains of 1x1s fused where there are many.

    The first batches go through the network itself. If they take long, its chains are compiled,
    timed on a few images, and kept where they are faster, for the rest.

    Args:
        network: The network, in evaluation mode.
        batches: The images.

    Yields:
        The outputs of each batch, on the CPU.

    Example:
        >>> [tuple(y.shape) for y in image_outputs(nn.Conv2d(3, 2, 1), [torch.ones(4, 3, 5, 5)])]
        [(4, 2, 5, 5)]
    """
    run: Callable[[Tensor], Tensor] = network
    spent, tried = 0.0, False
    for images in batches:
        if spent > PATIENCE_S and not tried:
            run, tried = _compiled(network, images[:TRIED_IMAGES]), True
        start = time.perf_counter()
        made = run(images).cpu()
        spent += time.perf_counter() - start
        yield made


def _compiled(network: nn.Module, some: Tensor) -> Callable[[Tensor], Tensor]:
    """The network compiled, or as it is where that cannot be."""
    if some.device.type != "cpu" or importlib.util.find_spec("halide") is None:
        return network
    try:
        return compile_network(network, example=some)
    except Exception:
        return network  # a network made elsewhere has predicted so far, whatever copies of it do
