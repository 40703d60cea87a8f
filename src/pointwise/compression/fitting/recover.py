"""A compressed model that learns on, from labels or from the model that it was made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.compression.calibration import Data
from pointwise.compression.fitting.recovery_data import (
    Numbered,
    Samples,
    join_batches,
    read_samples,
)
from pointwise.compression.fitting.recovery_loss import (
    Divergence,
    GivenLoss,
    OutputError,
    Pick,
    flat,
    label_error,
)
from pointwise.compression.statistics.measure import Measured
from pointwise.compression.statistics.scores import pick_scores
from pointwise.errors import DataError
from pointwise.surgery.equivalence import evaluating
from pointwise.training import Objective, Rows, Settings, train

GivenLabels = Callable[[Any, Tensor], Tensor]

HELD_OUT = 0.1
"""Share of the samples that are not learnt from, and say whether learning helped."""

FEW_STEPS = 20
"""Steps below which batch norms keep their statistics: running ones could not follow."""

RATES = (1e-3, 2e-4)
"""Step sizes that are tried in this order until one helps: a network that has learnt all that
there is takes small ones only."""

LARGEST = 2**28
"""Numbers that the given model puts out for all samples: more are found anew for every batch."""


@dataclass(frozen=True)
class Recovery:
    """How a compressed model is to learn on.

    Attributes:
        epochs: How often all samples are gone through.
        data: What to learn from: batches as for ``compress``, all of which are taken into memory.
            What follows the input in a tuple, or is called ``labels``, ``target`` or the like in a
            mapping, is labels. Default: the data of ``compress``, without labels.
        learning_rate: The largest step size of AdamW; it rises and falls along one cycle. ``auto``:
            1e-3 and, where that does not help, 2e-4, which takes as long again.
        batch_size: Samples of one step.
        loss: ``labels``: cross-entropy of class numbers, or the squared error of what the outputs
            should be. ``distil``: to give what the given model gives, in class probabilities or, if
            there are none, in numbers. ``auto``: labels where there are any. Or a function of the
            model's output and the labels that gives the loss of each sample, or of all.
        temperature: What class scores are divided by to learn from those of the given model.

    Raises:
        ValueError: If one is out of range.

    Example:
        >>> Recovery(epochs=2).loss
        'auto'
    """

    epochs: int = 1
    data: Data | None = None
    learning_rate: float | Literal["auto"] = "auto"
    batch_size: int = 32
    loss: Literal["auto", "labels", "distil"] | GivenLabels = "auto"
    temperature: float = 2.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number above 0, got {value!r}")
        numbers: dict[str, object] = {"temperature": self.temperature}
        if self.learning_rate != "auto":
            numbers["learning_rate"] = self.learning_rate
        for name, value in numbers.items():
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        if not callable(self.loss) and self.loss not in ("auto", "labels", "distil"):
            raise ValueError(
                f"loss must be 'auto', 'labels', 'distil' or a function, got {self.loss!r}"
            )


def check_recovery(known: Measured, how: Recovery | None) -> None:
    """Refuse, before any long work, a recovery that has nothing to learn from.

    Args:
        known: What is known of the given model.
        how: How to learn; ``None`` not to.

    Raises:
        DataError: If there are no data.
        TypeError: If it is no ``Recovery``.
        ValueError: If no parameter of the model learns.
    """
    if how is not None and not isinstance(how, Recovery):
        raise TypeError(f"recover must be a Recovery, such as Recovery(epochs=1), got {how!r}")
    if how is not None and how.data is None and not known.batches:
        raise DataError("recover needs data: give compress data=, or Recovery(data=) its own")
    if how is not None and not any(one.requires_grad for one in known.model.parameters()):
        raise ValueError("recover needs parameters that learn: all have requires_grad=False")


def recover(built: nn.Module, known: Measured, how: Recovery, *, seed: int = 0) -> tuple[str, ...]:
    """Let a compressed model learn on; it is left as it was where that does not help.

    A tenth of the samples is held out. The weights of the epoch that does best on them are kept,
    or those from before, if none does better.

    Args:
        built: The compressed model; its weights are changed.
        known: What is known of the given model.
        how: How to learn.
        seed: Decides which samples are held out, the order of the others and the dropout.

    Returns:
        What there is to say, in whole sentences.

    Raises:
        DataError: If there are no data, or labels that do not suit.
    """
    samples = _samples(known, how)
    if samples.count < 2:
        raise DataError("data to recover on must hold at least two samples, got one")
    device = next(built.parameters()).device
    order = torch.randperm(samples.count, generator=torch.Generator().manual_seed(seed))
    numbers = order.to(device)
    held = max(1, round(HELD_OUT * samples.count))
    objective, labelled = _objective(known, how, samples, numbers[:1])
    target = samples.labels if labelled else torch.arange(samples.count, device=device)
    assert target is not None, "labels, or numbers"
    parts = [Rows(part, target[part]) for part in (numbers[held:], numbers[:held])]
    steps = how.epochs * -(-len(parts[0]) // how.batch_size)
    still = steps < FEW_STEPS or how.batch_size == 1  # one sample has no variance

    def moved(module: nn.Module) -> bool:
        if isinstance(module, _BatchNorm):
            return not still
        # What a model that drops some of its channels gives is not what the given one gives.
        return labelled or (isinstance(module, nn.RNNBase) and not module.dropout)

    settings = Settings(
        how.batch_size,
        schedule="one_cycle",
        max_epochs=how.epochs,
        patience=how.epochs,
        evaluation_rows=how.batch_size,
        seed=seed,
    )
    rates = RATES if how.learning_rate == "auto" else (how.learning_rate,)
    before, tried = _learn(Numbered(built, samples, moved), objective, parts, settings, rates)
    return _said(how, labelled, objective, [len(part) for part in parts], before, tried)


def _samples(known: Measured, how: Recovery) -> Samples:
    if how.data is not None:
        return read_samples(how.data, known.example)
    check_recovery(known, how)
    return join_batches(known.batches)


def _objective(
    known: Measured, how: Recovery, samples: Samples, first: Tensor
) -> tuple[Objective, bool]:
    """The loss, and whether it is one of labels."""
    model = known.model
    pick = pick_scores(model, samples.at(first), known.logits)
    if how.loss == "distil" or (how.loss == "auto" and samples.labels is None):
        return _distillation(model, pick, how, samples), False
    if samples.labels is None:
        raise DataError("data to recover on must hold labels for this loss, there are none")
    if callable(how.loss):
        return GivenLoss(how.loss), True
    with evaluating(model), torch.no_grad():
        output = Numbered(model, samples)(first)
    return label_error(pick, output, samples.labels), True


def _distillation(
    model: nn.Module, pick: Pick | None, how: Recovery, samples: Samples
) -> Divergence | OutputError:
    """The loss of a model that is to give what another gives."""
    run, read = Numbered(model, samples), flat if pick is None else pick

    def taught(numbers: Tensor) -> Tensor:
        with evaluating(model), torch.no_grad():
            return read(run(numbers)).detach()

    first = taught(torch.zeros(1, dtype=torch.long))
    if first.numel() * samples.count <= LARGEST:
        pieces = torch.arange(samples.count).split(how.batch_size)
        every = torch.cat([taught(numbers) for numbers in pieces])
        some, taught = every, lambda numbers: every[numbers]
    else:
        some = taught(torch.arange(min(samples.count, how.batch_size)))
    if pick is not None:
        return Divergence(pick, taught, how.temperature)
    variance = float(some.double().var(0, correction=0).mean())
    return OutputError(taught, variance if variance > 0 else 1.0)


def _learn(
    network: Numbered,
    objective: Objective,
    parts: list[Rows],
    settings: Settings,
    rates: Sequence[float],
) -> tuple[float, dict[float, float]]:
    """The loss on the held-out samples before, and after each rate; the weights are the better."""
    flags = {module: module.training for module in network.modules()}
    learning, held = parts
    start = {name: value.detach().clone() for name, value in network.state_dict().items()}
    before = _score(network, objective, held, settings.evaluation_rows)
    tried: dict[float, float] = {}
    try:
        for rate in rates:
            tried[rate] = float("inf")
            with torch.enable_grad():
                chosen = replace(settings, learning_rate=rate)
                for epoch in train(network, objective, learning, held, chosen):
                    if epoch.valid_loss < tried[rate]:  # which nan is not
                        tried[rate] = epoch.valid_loss
            if tried[rate] < before:
                break
            network.load_state_dict(start)
    finally:
        for module, training in flags.items():
            module.training = training
        for parameter in network.parameters():
            parameter.grad = None
    return before, tried


@torch.no_grad()
def _score(network: nn.Module, objective: Objective, rows: Rows, at_once: int) -> float:
    with evaluating(network):
        each = [
            objective.score(network(x), y)
            for x, y in zip(rows.x.split(at_once), rows.y.split(at_once), strict=True)
        ]
    return float(rows.mean(torch.cat(each)))


def _said(
    how: Recovery,
    labelled: bool,
    objective: Objective,
    counts: list[int],
    before: float,
    tried: dict[float, float],
) -> tuple[str, ...]:
    """What became of it, with the losses afterwards by the step sizes that were tried."""
    times = "1 epoch" if how.epochs == 1 else f"{how.epochs} epochs"
    source = "labels" if labelled else "the given model"
    what = "divergence of class probabilities" if isinstance(objective, Divergence) else "loss"
    head = f"Learnt from {source}: {times} of {counts[0]:,} samples"
    *others, rate = tried
    if not tried[rate] < before:
        after = " and ".join(f"{loss:.4g} with steps of {one:g}" for one, loss in tried.items())
        return (
            f"{head} did not help on {counts[1]:,} others, so the weights are those from before: "
            f"{what} {before:.4g}, afterwards {after}.",
        )
    without = f", where those of {others[0]:g} did not help" if others else ""
    return (
        f"{head} took the {what} on {counts[1]:,} others from {before:.4g} to {tried[rate]:.4g} "
        f"with steps of {rate:g}{without}; measured errors of layers are those from before.",
    )
