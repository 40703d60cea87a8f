"""The one training loop: a generator of epochs, with early stopping and checkpoints."""

from pointwise.training.checkpoint import Checkpoint
from pointwise.training.loop import train
from pointwise.training.objective import CrossEntropy, Objective, SquaredError
from pointwise.training.rows import Augment, Rows
from pointwise.training.settings import Epoch, Schedule, Settings

__all__ = [
    "Augment",
    "Checkpoint",
    "CrossEntropy",
    "Epoch",
    "Objective",
    "Rows",
    "Schedule",
    "Settings",
    "SquaredError",
    "train",
]
