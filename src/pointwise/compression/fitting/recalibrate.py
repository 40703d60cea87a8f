"""Batch norms of a compressed model told anew what their inputs are like."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.compression.statistics.rows import Hook, first_argument, run_hooked
from pointwise.surgery.equivalence import Example
from pointwise.surgery.excluding import excluded_modules

SMALLEST, LARGEST = 0.05, 20.0
"""By what factors a variance may change: what is left of a channel that almost vanished is noise,
and is not to be blown up."""


@dataclass
class InputStatistics:
    """Mean and variance of what each channel of a norm gets, batch by batch.

    Attributes:
        count: How many values of each channel there were.
        mean: Their mean, in float64.
        scatter: Their squares about the mean.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def like(cls, norm: _BatchNorm) -> "InputStatistics":
        """Nothing yet.

        Args:
            norm: The norm.

        Returns:
            The statistics.
        """
        zeros = torch.zeros_like(_mean(norm), dtype=torch.float64)
        return cls(0, zeros, zeros.clone())

    def add(self, x: Tensor) -> None:
        """Take in the input ``(N, C, *S)`` of a norm."""
        x = x.detach()
        count = x.numel() // max(x.shape[1], 1)
        if count == 0:
            return
        axes = [axis for axis in range(x.ndim) if axis != 1]
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        variance, mean = (one.double() for one in torch.var_mean(exact, axes, correction=0))
        total = self.count + count
        apart = mean - self.mean
        self.scatter += count * variance
        self.scatter += apart.square() * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """The variance of each channel."""
        return self.scatter / max(self.count, 1)


def norms_of(model: nn.Module, *, exclude: Sequence[str] = ()) -> dict[str, _BatchNorm]:
    """The batch norms of a model that keep running statistics.

    Args:
        model: The model.
        exclude: Paths of modules whose norms stay as they are.

    Returns:
        The norms by path.

    Example:
        >>> list(norms_of(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))
        ['1']
    """
    kept = excluded_modules(model, exclude)
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and isinstance(module.running_mean, Tensor)
        and isinstance(module.running_var, Tensor)
        and module not in kept
    }


def recalibrate(
    model: nn.Module,
    given: nn.Module,
    batches: Iterable[Example],
    *,
    exclude: Sequence[str] = (),
) -> None:
    """Set the running statistics of a compressed model's batch norms.

    They keep what they know from training, and change by what the inputs of the norm differ from
    those in the given model, on the same data: where a norm gets what it got before, they stay.
    Norms are set from the front to the end in one pass: each normalises with all that was seen of
    it so far.

    Args:
        model: The compressed model; its norms are changed.
        given: The given model.
        batches: The data.
        exclude: Paths of modules whose norms stay as they are.

    Reference:
        Li et al., Revisiting Batch Normalization for Practical Domain Adaptation, 2017 (statistics
        without labels).
    """
    before = norms_of(given, exclude=exclude)
    norms = {path: model.get_submodule(path) for path in before}
    was = {path: InputStatistics.like(norm) for path, norm in before.items()}
    now = {path: InputStatistics.like(norm) for path, norm in before.items()}

    def seeing(statistics: InputStatistics) -> Hook:
        return lambda _, args, named, __: statistics.add(first_argument(args, named))

    def setting(path: str) -> Any:
        def hook(_: nn.Module, args: Any, named: Any) -> None:
            now[path].add(first_argument(args, named))
            _set(norms[path], before[path], was[path], now[path])

        return hook

    hooks = {path: seeing(statistics) for path, statistics in was.items()}
    handles = [
        norm.register_forward_pre_hook(setting(path), with_kwargs=True)
        for path, norm in norms.items()
    ]
    try:
        for batch in batches:
            run_hooked(given, hooks, batch)
            run_hooked(model, {}, batch)
    finally:
        for handle in handles:
            handle.remove()


def _set(norm: nn.Module, before: _BatchNorm, was: InputStatistics, now: InputStatistics) -> None:
    assert isinstance(norm, _BatchNorm)
    assert before.running_var is not None
    assert norm.running_var is not None
    old = was.variance
    factor = torch.where(old > 0, now.variance / old.clamp(min=1e-300), 1.0)
    factor = factor.clamp(SMALLEST, LARGEST)
    # An input scaled and shifted gives what it gave, also where it is not about the running mean.
    _mean(norm).copy_(now.mean + (_mean(before).double() - was.mean) * factor.sqrt())
    norm.running_var.copy_(before.running_var.double() * factor)


def _mean(norm: _BatchNorm) -> Tensor:
    assert norm.running_mean is not None
    return norm.running_mean
