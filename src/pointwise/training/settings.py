"""How to train, and what an epoch did."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        batch_size: Rows of one step.
        learning_rate: Step size of AdamW after a warm-up of one epoch.
        weight_decay: Decay of weight matrices (biases are spared), per unit of learning rate.
        max_epochs: Most epochs.
        patience: Epochs without a better validation score after which training stops.
        time_limit_s: Seconds after which training stops, or ``None``.
        seed: Decides the order of rows and the dropout.
        autocast: Type that matrix products run in, or ``None`` for the network's own.
    """

    batch_size: int
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    max_epochs: int = 200
    patience: int = 20
    time_limit_s: float | None = None
    seed: int = 0
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean loss of the members on the training rows, while they were learnt from.
        valid_loss: Loss of the ensemble, with averaged weights, on the validation rows.
        learning_rate: Step size at the end of the epoch.
        seconds: Seconds since training began, those before a resume included.
        best: Whether the validation loss is the lowest so far.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    learning_rate: float
    seconds: float
    best: bool
