"""A fit while its epochs go by."""

import warnings
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from pointwise.errors import DataError
from pointwise.estimators.progress import with_progress
from pointwise.estimators.threads import threads_for
from pointwise.training import Epoch, Settings


def follow(
    epochs: Generator[Epoch], settings: Settings, *, macs: int, layers: int, unit: str | None
) -> tuple[list[dict[str, Any]], int]:
    """Train to the end; Ctrl-C keeps the best epoch so far.

    Args:
        epochs: A training.
        settings: What it was started with.
        macs: MACs of a forward pass over one batch.
        layers: Number of layers that they are spent in.
        unit: Name of the validation loss on a progress bar, or ``None`` for no bar.

    Returns:
        The history, a record per epoch, and the number of the best epoch.

    Raises:
        DataError: If the first epoch has no finite loss.
        KeyboardInterrupt: If it came before an epoch ended.
    """
    history: list[Epoch] = []
    with closing(epochs), threads_for(macs, layers):
        shown = with_progress(epochs, settings.max_epochs, unit) if unit else epochs
        try:
            for epoch in shown:
                history.append(epoch)
        except KeyboardInterrupt:
            if not history:
                raise
            warnings.warn(
                f"interrupted after {len(history)} epochs: the best one so far is kept",
                UserWarning,
                4,
            )
    best = [epoch.epoch for epoch in history if epoch.best]
    if not best:
        raise DataError(
            "training diverged in its first epoch (the loss is not finite): "
            f"lower learning_rate (now {settings.learning_rate:g})"
        )
    return [asdict(epoch) for epoch in history], best[-1]
