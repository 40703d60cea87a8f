r"""What the outputs of a layer are worth: gradients of a loss that needs no labels.

A change ``d`` of the outputs of a layer changes what the model says by about ``1/2 d^T F d`` with
the Fisher matrix ``F``, the second moment of the gradients of ``-log p(label)`` where labels are
drawn from the model itself. So errors of all layers come in one unit: nats per sample for class
scores, and for other outputs half their squared change, as a share of their variance.

Reference:
    Martens and Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature,
    2015, section 2.2 (labels from the model) and 3; Grosse and Martens, A Kronecker-factored
    Approximate Fisher Matrix for Convolution Layers, 2016, section 3.1 (positions).
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.errors import DataError
from pointwise.inspection.outputs import outputs_of


class Loss(Protocol):
    """A loss of the outputs of a model, drawn at random.

    ``scale`` is what second moments of its gradients are to be multiplied with, after all samples.
    """

    def __call__(self, result: Any) -> Tensor:
        """The loss of a batch, summed over its samples."""
        ...

    def scale(self, samples: int) -> float:
        """What makes of second moments the unit of the loss."""
        ...


class LabelLoss:
    """Minus the log-likelihood of labels that are drawn from the class scores of the model.

    Scores at many positions (of masks) count as their mean.

    Args:
        logits: Picks the class scores ``(N, K, *S)`` out of what the model puts out; one score
            (``K = 1``) is that of the second of two classes.
        seed: Seeds the labels; they are the same however the samples come in batches.

    Example:
        >>> loss = LabelLoss(lambda output: output)
        >>> loss(torch.tensor([[9.0, -9.0]])).item() < 1e-6
        True
    """

    def __init__(self, logits: Callable[[Any], Tensor], *, seed: int = 0) -> None:
        self.logits = logits
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, result: Any) -> Tensor:
        """The loss of a batch, with gradients of the size that their second moments must have."""
        scores = self.logits(result)
        if not isinstance(scores, Tensor) or scores.ndim < 2 or not scores.is_floating_point():
            got = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else repr(scores)
            raise DataError(f"logits must pick class scores of shape (N, K, *S), got {got}")
        if scores.shape[1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], 1)
        rows = scores.movedim(1, -1).flatten(0, -2)  # (N * S, K)
        shares = rows.detach().double().softmax(-1).cumsum(-1)
        draw = torch.rand(len(rows), 1, generator=self._random, dtype=torch.float64)
        labels = (draw.to(shares.device) > shares).sum(-1).clamp(max=rows.shape[-1] - 1)
        loss = F.cross_entropy(rows, labels, reduction="sum")
        return loss / math.sqrt(math.prod(scores.shape[2:]))

    def scale(self, samples: int) -> float:
        """One: gradients come in nats."""
        return 1.0


class EnergyLoss:
    """Random signs times the outputs: their gradients tell how outputs of any meaning change.

    Args:
        seed: Seeds the signs; they are the same however the samples come in batches.

    Reference:
        Hutchinson, A Stochastic Estimator of the Trace of the Influence Matrix, 1990.

    Example:
        >>> abs(EnergyLoss()(torch.ones(1, 1)).item())
        1.0
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._seen: dict[int, tuple[int, Tensor]] = {}  # by size: how many samples, and their sum
        self._squares = 0.0

    def __call__(self, result: Any) -> Tensor:
        """The loss of a batch, and the variance of its outputs on the way."""
        tensors = [t for t in outputs_of(result).values() if t.is_floating_point() and t.ndim]
        if not tensors:
            raise DataError("the model must put out at least one tensor of numbers, got none")
        alike: dict[int, list[Tensor]] = {}
        for t in tensors:  # not all begin with the axis of the samples: states, boxes
            alike.setdefault(len(t), []).append(t.flatten(1) if t.ndim > 1 else t[:, None])
        return sum((self._of(torch.cat(parts, 1)) for parts in alike.values()), torch.zeros(()))

    def _of(self, flat: Tensor) -> Tensor:
        flat = flat.masked_fill(~flat.isfinite(), 0)  # what is masked tells nothing
        seen = flat.detach().double()
        count, total = self._seen.get(seen.shape[1], (0, 0.0))
        self._seen[seen.shape[1]] = (count + len(seen), total + seen.sum(0).cpu())
        self._squares += float(seen.square().sum())
        draw = torch.rand(flat.shape, generator=self._random, dtype=torch.float64)
        signs = torch.where(draw < 0.5, -1.0, 1.0).to(flat)
        return (signs * flat).sum()

    def scale(self, samples: int) -> float:
        """One over the variance of the outputs of a sample."""
        means = sum(float(total.square().sum()) / n for n, total in self._seen.values() if n)
        variance = (self._squares - means) / max(samples, 1)
        return 1 / variance if variance > 0 else 1.0


def tapped(y: Tensor, seen: Callable[[Tensor], None]) -> Tensor:
    """A tensor through which gradients are seen, whether or not anything before it learns.

    Args:
        y: The outputs of a layer.
        seen: Called with each gradient that comes back.

    Returns:
        The same values; operators in place may follow.
    """
    if not torch.is_grad_enabled():  # the model itself turned gradients off
        return y
    anchor = torch.zeros((), dtype=y.dtype, device=y.device, requires_grad=True)
    return _Tap.apply(y, anchor, seen)  # type: ignore[no-any-return,no-untyped-call]


class _Tap(torch.autograd.Function):
    """The identity; backward it shows what comes."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, _anchor: Tensor, seen: Callable[[Tensor], None]) -> Tensor:
        ctx.seen = seen
        return y.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.seen(gradient)
        return gradient, None, None
