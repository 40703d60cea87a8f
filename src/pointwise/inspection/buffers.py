"""Runs of a model that leave no trace in its buffers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy


@contextmanager
def kept_buffers(model: nn.Module, *, norms: bool = True) -> Iterator[None]:
    """Run a model that counts or keeps what it sees, and leave its buffers as they were.

    Args:
        model: The model.
        norms: Whether those of batch norms are kept, too.

    Yields:
        Nothing.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with kept_buffers(norm):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item()
        0
    """
    before = [
        (module, name, value, value.clone())
        for module in model.modules()
        if norms or not isinstance(module, _BatchNorm)
        for name, value in module.named_buffers(recurse=False)
        if not is_lazy(value)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, value, was in before:
                plain = value.layout == torch.strided and not value.is_meta
                if plain and not torch.equal(value, was):
                    value.copy_(was)
                if not isinstance(module, torch.jit.ScriptModule):  # which swaps none
                    module._buffers[name] = value
