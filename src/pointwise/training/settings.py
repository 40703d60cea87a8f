"""How to train, and what an epoch did."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

Schedule: TypeAlias = Literal["average", "one_cycle"]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        batch_size: Rows of one step.
        learning_rate: Largest step size of AdamW.
        schedule: ``"average"`` keeps the step size after a warm-up of one epoch and judges by the
            running average of the weights, so that it may end at any time. ``"one_cycle"`` warms up
            over a fifth of the epochs and then falls to zero along a cosine (Smith and Topin,
            Super-Convergence, 2018): better where the number of epochs is known, as for images.
        weight_decay: Decay of weight matrices (biases are spared), per unit of learning rate.
        max_epochs: Most epochs.
        patience: Epochs without a better validation score after which training stops.
        time_limit_s: Seconds after which training stops, in the middle of an epoch if need be, or
            ``None``. One cycle plans for as many epochs as the pace so far leaves time for.
        evaluation_rows: Rows that validation puts through the network at a time.
        seed: Decides the order of rows, the augmentation and the dropout.
        autocast: Type that matrix products run in, or ``None`` for the network's own.
    """

    batch_size: int
    learning_rate: float = 1e-3
    schedule: Schedule = "average"
    weight_decay: float = 1e-2
    max_epochs: int = 200
    patience: int = 20
    time_limit_s: float | None = None
    evaluation_rows: int = 8192
    seed: int = 0
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean loss of the members on the training rows, while they were learnt from.
        valid_loss: Loss of the ensemble on the validation rows; with averaged weights where the
            schedule averages.
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
