"""What training minimises for one member, and what the whole ensemble is judged by.

Every member learns on its own: the loss is the mean of the members' losses, never the loss of their
mean, which would let members cancel out each other's errors on the training rows alone.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from pointwise.functional.overlap import confusion, mean_iou

UNKNOWN = 255
"""Class number of pixels whose class is not known: masks are bytes."""


class Objective(Protocol):
    """A loss per row, for training and for validation."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over members of each row's loss: ``(N, M * C_out)`` to ``(N,)``."""
        ...

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of the ensemble on each row, lower is better: ``(N, M * C_out)`` to ``(N,)``."""
        ...


@dataclass(frozen=True)
class SquaredError:
    """Squared error, meaned over targets; the ensemble predicts its members' mean.

    Attributes:
        members: Number of members ``M`` side by side in the output.

    Raises:
        ValueError: If the targets do not have the shape of one member's output.

    Example:
        >>> import torch
        >>> output, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0]])
        >>> SquaredError(2).loss(output, target), SquaredError(2).score(output, target)
        (tensor([1.]), tensor([0.]))
    """

    members: int

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over members of each row's squared error, ``(N,)``."""
        errors = (self._split(output, target) - target[:, None]).square()
        return errors.mean((1, 2))

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        """Squared error of the members' mean on each row, ``(N,)``."""
        mean = self._split(output, target).mean(1)
        return (mean - target).square().mean(1)

    def _split(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs as ``(N, M, C_out)``; a target of another shape would broadcast unnoticed."""
        n, c_out = len(output), output.shape[1] // self.members
        if target.shape != (n, c_out):
            raise ValueError(f"targets must have shape {(n, c_out)}, got {tuple(target.shape)}")
        members: Tensor = output.unflatten(1, (self.members, -1))
        return members


def mixed_scores(output: Tensor, members: int) -> Tensor:
    """Class scores of an ensemble: the logarithms of the members' mean probabilities.

    Args:
        output: Scores of every member, ``(N, members * K)``.
        members: Number of members.

    Returns:
        Scores ``(N, K)``.

    Example:
        >>> import torch
        >>> mixed_scores(torch.zeros(1, 4), 2).exp()
        tensor([[0.5000, 0.5000]])
    """
    each: Tensor = output.unflatten(1, (members, -1)).log_softmax(2)
    return each.logsumexp(1) - math.log(members)


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of class numbers; the ensemble predicts its members' mean probabilities.

    Attributes:
        members: Number of members ``M`` side by side in the output.

    Example:
        >>> import torch
        >>> output = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
        >>> CrossEntropy(2).loss(output, torch.tensor([1]))
        tensor([0.6931])
    """

    members: int

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over members of each row's cross-entropy, ``(N,)``."""
        logits = output.unflatten(1, (self.members, -1)).movedim(2, 1)  # (N, K, M)
        targets = target[:, None].expand(-1, self.members)
        return F.cross_entropy(logits, targets, reduction="none").mean(1)

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the members' mean probability on each row, ``(N,)``."""
        return F.nll_loss(mixed_scores(output, self.members), target, reduction="none")


@dataclass(frozen=True)
class PixelCrossEntropy:
    """Cross-entropy of every pixel's class; judged by how far the predicted masks overlap.

    An image's loss is the mean over its pixels of known class, each times the weight of its class.
    Weights that are 1 on average over all training pixels leave the losses' unit as it is.

    Attributes:
        weight: Weight of each class, or ``None`` for equal ones.
        unknown: Class number of the pixels that do not count.

    Example:
        >>> import torch
        >>> output, mask = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 255]]])
        >>> PixelCrossEntropy().loss(output, mask), PixelCrossEntropy().score(output, mask)
        (tensor([0.6931]), tensor([0.7500]))
    """

    weight: tuple[float, ...] | None = None
    unknown: int = UNKNOWN

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Each image's weighted cross-entropy: ``(N, K, *S)`` and ``(N, *S)`` to ``(N,)``."""
        weight = None if self.weight is None else output.new_tensor(self.weight)
        losses = F.cross_entropy(
            output, target.long(), weight, ignore_index=self.unknown, reduction="none"
        )
        known = (target != self.unknown).flatten(1).sum(1)
        return losses.flatten(1).sum(1) / known.clamp(min=1)

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        """1 - each image's mean overlap, over the classes that are there or predicted: ``(N,)``."""
        # Cross-entropy would choose an epoch before the masks are best: few sure mistakes raise it.
        overlap = mean_iou(confusion(target, output.argmax(1), output.shape[1])).nan_to_num(1.0)
        broken = 0 * output.flatten(1).sum(1)  # NaN where the output is not finite
        return (1 - overlap).to(output.dtype) + broken
