"""What a compressed model learns from: labels, or what the given model says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.errors import DataError
from pointwise.inspection.outputs import outputs_of
from pointwise.training.objective import UNKNOWN

Pick = Callable[[Any], Tensor]
"""Picks class scores ``(N, K, *S)`` out of what a model puts out."""


@dataclass(frozen=True)
class Divergence:
    """How far the class probabilities of a model are from those of the given one.

    The divergence of Kullback and Leibler, the mean over positions; learnt from at a temperature,
    judged without.

    Attributes:
        pick: Picks the class scores.
        taught: The scores of the given model, by the numbers of samples.
        temperature: What scores are divided by; the loss is multiplied with its square.

    Reference:
        Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    Example:
        >>> same = Divergence(lambda y: y, lambda numbers: torch.ones(2, 3))
        >>> same.loss(torch.ones(2, 3), torch.arange(2))
        tensor([0., 0.])
    """

    pick: Pick
    taught: Callable[[Tensor], Tensor]
    temperature: float = 2.0

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """The loss of each sample, ``(N,)``."""
        return self._at(self.temperature, output, target)

    def score(self, output: Any, target: Tensor) -> Tensor:
        """The divergence of each sample, ``(N,)``."""
        return self._at(1.0, output, target)

    def _at(self, temperature: float, output: Any, target: Tensor) -> Tensor:
        ours, theirs = two_classes(self.pick(output)), two_classes(self.taught(target))
        if ours.dtype in (torch.bfloat16, torch.float16):  # in which divergences are noise
            ours, theirs = ours.float(), theirs.float()
        mine = (ours / temperature).log_softmax(1)
        wanted = (theirs / temperature).log_softmax(1)
        never = wanted.isneginf()  # scores that are masked, and count for nothing
        mine, share = mine.masked_fill(never, 0), wanted.exp()
        apart = (share * (wanted.masked_fill(never, 0) - mine)).sum(1)  # (N, *S)
        return temperature**2 * apart.reshape(len(apart), -1).mean(1)


@dataclass(frozen=True)
class OutputError:
    """How far the outputs of a model are from wanted ones, as a share of what these vary.

    Attributes:
        wanted: The outputs that are wanted, ``(N, D)``, by the numbers of samples.
        variance: Of all of these, in the mean.

    Example:
        >>> error = OutputError(lambda numbers: torch.ones(2, 3), 0.5)
        >>> error.loss(torch.zeros(2, 3), torch.arange(2))
        tensor([2., 2.])
    """

    wanted: Callable[[Tensor], Tensor]
    variance: float = 1.0

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """The squared error of each sample, ``(N,)``."""
        apart = (flat(output) - self.wanted(target)).square().mean(1)
        return apart / self.variance

    def score(self, output: Any, target: Tensor) -> Tensor:
        """The same."""
        return self.loss(output, target)


@dataclass(frozen=True)
class LabelError:
    """Cross-entropy of labels, ``(N, *S)``; the mean over positions whose label is known.

    Attributes:
        pick: Picks the class scores.
        unknown: Label that does not count.

    Example:
        >>> error = LabelError(lambda y: y)
        >>> error.loss(torch.zeros(1, 2), torch.tensor([1]))
        tensor([0.6931])
    """

    pick: Pick
    unknown: int = -100

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """The cross-entropy of each sample, ``(N,)``."""
        scores, target = two_classes(self.pick(output)), target.long()
        each = F.cross_entropy(scores, target, ignore_index=self.unknown, reduction="none")
        if each.ndim == 1:
            return each
        known = (target != self.unknown).flatten(1).sum(1)
        return each.flatten(1).sum(1) / known.clamp(min=1)

    def score(self, output: Any, target: Tensor) -> Tensor:
        """The same."""
        return self.loss(output, target)


@dataclass(frozen=True)
class GivenLoss:
    """A loss that the user gives.

    Attributes:
        function: Makes of outputs and labels one loss for each sample, or their mean.
    """

    function: Callable[[Any, Tensor], Tensor]

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """The loss of each sample, ``(N,)``."""
        found = self.function(output, target)
        fits = isinstance(found, Tensor) and found.shape in ((), (len(target),))
        if not fits:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise DataError(
                f"loss must give one number for each sample ({len(target)}) or one for all, "
                f"got {got}"
            )
        return found.expand(len(target))

    def score(self, output: Any, target: Tensor) -> Tensor:
        """The same."""
        return self.loss(output, target)


def label_error(pick: Pick | None, output: Any, labels: Tensor) -> LabelError | OutputError:
    """The loss that suits labels.

    Args:
        pick: Picks class scores; ``None`` if there are none.
        output: What the model puts out for one sample.
        labels: All labels.

    Returns:
        Cross-entropy of class numbers, or the squared error of what the outputs should be.

    Raises:
        DataError: If the labels are neither.
    """
    if pick is None:
        wanted = flat(output).shape[1]
        if not labels.is_floating_point() or _in_rows(labels).shape[1] != wanted:
            raise DataError(
                f"labels must be the {wanted} numbers that a sample's outputs should be, where "
                f"these are no class scores, got {_words(labels)}; logits= says which are class "
                "scores, loss='distil' learns from the given model"
            )
        known = _in_rows(labels).double()
        variance = float(known.var(0, correction=0).mean())
        return OutputError(_in_rows, variance if variance > 0 else 1.0)
    scores = two_classes(pick(output))
    if labels.is_floating_point() or labels.shape[1:] != scores.shape[2:]:
        raise DataError(
            f"labels must be class numbers of shape {('N', *scores.shape[2:])}, got "
            f"{_words(labels)}; loss='distil' learns from the given model"
        )
    classes = scores.shape[1]
    unknown = UNKNOWN if labels.dtype == torch.uint8 and classes <= UNKNOWN else -100
    known = labels[labels != unknown]
    if not len(known):
        raise DataError("labels must hold at least one class number, all are unknown")
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"labels must be class numbers from 0 to {classes - 1}, got {low} to {high}"
        )
    return LabelError(pick, unknown)


def two_classes(scores: Tensor) -> Tensor:
    """Class scores; one score is that of the second of two classes.

    Args:
        scores: ``(N, K, *S)``.

    Returns:
        The same, of at least two classes.
    """
    return torch.cat([torch.zeros_like(scores), scores], 1) if scores.shape[1] == 1 else scores


def flat(output: Any) -> Tensor:
    """All numbers that a model puts out for each sample.

    Args:
        output: What it puts out.

    Returns:
        ``(N, D)``.

    Raises:
        DataError: If the first axes of its tensors differ, so that some are not of samples.
    """
    tensors = [t for t in outputs_of(output).values() if t.is_floating_point() and t.ndim]
    if len({len(t) for t in tensors}) > 1:
        raise DataError(
            "the model must put out tensors whose first axis is that of the samples, to learn from "
            "all of them: pick one with logits="
        )
    return torch.cat([t.flatten(1) if t.ndim > 1 else t[:, None] for t in tensors], 1)


def _in_rows(labels: Tensor) -> Tensor:
    return labels.reshape(len(labels), -1)


def _words(labels: Tensor) -> str:
    kind = str(labels.dtype).removeprefix("torch.")
    return f"{kind} labels of shape {('N', *labels.shape[1:])}"
