"""The training loop: a generator of epochs that leaves the best one in the network."""

from collections.abc import Generator

from torch import nn

from pointwise.training.checkpoint import Checkpoint
from pointwise.training.objective import Objective
from pointwise.training.rows import Augment, Rows
from pointwise.training.run import Run
from pointwise.training.settings import Epoch, Settings


def train(
    network: nn.Module,
    objective: Objective,
    rows: Rows,
    valid: Rows,
    settings: Settings,
    *,
    forward: str | None = None,
    augment: Augment | None = None,
    checkpoint: Checkpoint | None = None,
) -> Generator[Epoch]:
    """Train a network, epoch by epoch; however it ends, the best epoch's weights are in place.

    The same seed gives the same weights, bit for bit, on the same machine and number of threads,
    and so does a run that was killed and resumed from its checkpoint: every epoch's randomness is
    drawn from the seed and its number alone.

    Args:
        network: The network; trained in place.
        objective: Losses per row.
        rows: Training rows, on the network's device.
        valid: Validation rows, which decide the best epoch.
        settings: How to train.
        forward: Name of the network's method to call in place of its ``forward``.
        augment: Changes every training batch at random; its ``repr`` tells it from others.
        checkpoint: Where to keep the state; a state of the same run found there is resumed.

    Yields:
        One record per epoch, those before a resume included.

    Raises:
        CheckpointError: If the checkpoint belongs to another run or cannot be read.

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (AdamW). Shamir and
        Zhang, Stochastic Gradient Descent for Non-smooth Optimization, 2013, section 4 (averaging).

    Example:
        >>> import torch
        >>> from pointwise.training import SquaredError
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> rows = Rows(x, 2 * x)
        >>> network = nn.Linear(1, 1)
        >>> settings = Settings(batch_size=16, learning_rate=0.05, max_epochs=40)
        >>> *_, last = train(network, SquaredError(1), rows, rows, settings)
        >>> last.valid_loss < 1e-2
        True
    """
    run = Run(network, objective, rows, valid, settings, forward, augment)
    key = run.fingerprint() if checkpoint else ""
    if checkpoint and (found := checkpoint.read(key)):
        run.restore(*found)
    try:
        yield from run.progress.history
        while not run.finished():
            record = run.epoch()
            if checkpoint and checkpoint.due:
                checkpoint.write(key, *run.state())
            yield record
        if checkpoint:
            checkpoint.write(key, *run.state())
    finally:
        run.load_best()
