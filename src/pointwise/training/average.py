"""The running average of a network's weights: what a decaying learning rate gives, at any time."""

import copy

import torch
from torch import Tensor, nn

MEMORY = 10.0
"""The average reaches back over about a tenth of the steps taken, however many those are."""


class WeightAverage:
    """Polynomial-decay average of a network's parameters; buffers are taken as they are.

    Args:
        network: The network being trained; a copy of it holds the average.

    Reference:
        Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, 2013, section 4.

    Example:
        >>> average = WeightAverage(nn.Linear(1, 1))
        >>> average.network.weight.requires_grad
        False
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        learnt = [(mean, new) for mean, new in pairs if new.requires_grad]
        self._means: list[Tensor] = [mean for mean, _ in learnt]
        self._news: list[Tensor] = [new for _, new in learnt]
        self._buffers = list(zip(self.network.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        torch._foreach_lerp_(self._means, self._news, MEMORY / (step + MEMORY - 1))
        for mean, new in self._buffers:
            mean.copy_(new)
