"""Which of a model's outputs are class scores, and the loss that follows from it."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pointwise.compression.statistics.fisher import EnergyLoss, LabelLoss, Loss
from pointwise.errors import DataError, first_line
from pointwise.surgery.equivalence import Example, call, evaluating

Logits = Callable[[Any], Tensor] | Literal[False]
"""What picks class scores out of a model's output; ``False`` where it holds none."""


def choose_loss(
    model: nn.Module, batch: Example, logits: Logits | None, *, seed: int = 0
) -> tuple[Loss, str]:
    """Choose what tells how much outputs are worth.

    Args:
        model: The model.
        batch: An input.
        logits: As for ``compress``.
        seed: Seeds what the loss draws.

    Returns:
        The loss, and how to say that in a whole sentence.

    Raises:
        DataError: As for ``pick_scores``.

    Example:
        >>> choose_loss(nn.Linear(3, 2), torch.ones(1, 3), None)[1]
        'Errors are in nats of the loss of class scores, with labels drawn from the model.'
    """
    pick = pick_scores(model, batch, logits)
    if pick is not None:
        scores = "Errors are in nats of the loss of class scores, with labels drawn from the model."
        return LabelLoss(pick, seed=seed), scores
    hint = "" if logits is False else "; logits= would say which outputs are class scores"
    return EnergyLoss(seed=seed), (
        f"Errors are shares of the variance of the model's outputs, halved{hint}."
    )


def pick_scores(
    model: nn.Module, batch: Example, logits: Logits | None
) -> Callable[[Any], Tensor] | None:
    """Find out what picks class scores out of a model's output.

    Args:
        model: The model.
        batch: An input.
        logits: As for ``compress``.

    Returns:
        The function; ``None`` if there are no class scores, or none that are known.

    Raises:
        DataError: If the model does not take the input, or the function fails.

    Example:
        >>> pick_scores(nn.Linear(3, 2), torch.ones(1, 3), None) is not None
        True
        >>> pick_scores(nn.Linear(3, 2), torch.ones(1, 3), False) is None
        True
    """
    try:
        with evaluating(model), torch.no_grad():
            result = call(model, batch)
    except Exception as error:  # whatever the model raises
        raise DataError(
            f"data must be inputs of the model, which fails on batch 0: {first_line(error)}"
        ) from error
    if logits is False:
        return None
    if logits is not None:
        try:
            logits(result)
        except Exception as error:  # whatever the function raises
            raise DataError(
                "logits must pick class scores out of the model's output, it fails: "
                f"{first_line(error)}"
            ) from error
        return logits
    classes = isinstance(result, Tensor) and result.ndim == 2 and result.shape[1] > 1
    return _itself if classes and result.is_floating_point() else None


def _itself(output: Any) -> Tensor:
    scores: Tensor = output
    return scores
