"""All that is to be known of a model before a budget is set: layers, moments and candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pointwise.compression.allocation.candidates import LayerCandidates, Unit, list_candidates
from pointwise.compression.allocation.effects import correct_errors
from pointwise.compression.allocation.latency import Laid, lay_fastest, time_candidates
from pointwise.compression.budget import Costs, count_costs
from pointwise.compression.calibration import BATCH, Data, batch_size, read_batches
from pointwise.compression.forms.form import Form
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import FoundLayers, find_layers
from pointwise.compression.statistics.checks import check_given, check_steady
from pointwise.compression.statistics.held import made_bytes
from pointwise.compression.statistics.isolation import own_random_state
from pointwise.compression.statistics.moments import Moments, gather_moments
from pointwise.compression.statistics.scores import Logits, choose_loss, pick_scores
from pointwise.errors import DataError
from pointwise.inspection.buffers import kept_buffers
from pointwise.surgery.equivalence import Example

SAMPLES = 1024
"""Samples that are taken of the data: more tell little more."""

FEW_SAMPLES = 32
"""Below these the report says that data are few."""

ROWS_EACH = 32
"""Patches for each number in one, from which their covariance is taken."""

FEWEST_ROWS = 16384
"""Patches of any layer, if there are as many."""

MOST_BYTES = 2**30
"""Activations of a batch, at most, where the data are one tensor."""

NO_DATA = (
    "No data were given, so the weights alone decide: nothing was refitted or recalibrated, and "
    "much more accuracy is lost than with some hundred inputs, labels not needed."
)

NO_GRADIENT = (
    "No gradient comes back to any layer, so errors are shares of the variance of each layer's "
    "outputs."
)

Errors = Literal["predicted", "measured"]


@dataclass(frozen=True)
class Measured:
    """What is known of a model.

    Attributes:
        model: The model.
        example: An input.
        batches: The calibration data; empty without any.
        exclude: Paths that are to stay.
        found: Its layers.
        whole: What it costs.
        moments: What the data tell of each layer that can be compressed; empty without data.
        unit: The unit of errors.
        layers: What can become of each layer that can be compressed, in the order of the model.
        notes: What there is to say, in whole sentences.
        laid: The model in its fastest memory order, with the seconds that it takes for the
            example; ``None`` if nothing was timed.
        logits: What picks class scores, as it was given.
    """

    model: nn.Module
    example: Example
    batches: list[Example]
    exclude: tuple[str, ...]
    found: FoundLayers
    whole: Costs
    moments: dict[str, Moments]
    unit: Unit
    layers: tuple[LayerCandidates, ...]
    notes: tuple[str, ...]
    laid: Laid | None = None
    logits: Logits | None = None

    @property
    def base(self) -> nn.Module:
        """What is rewritten: the model, in its fastest memory order if it was timed."""
        return self.model if self.laid is None else self.laid.model


def measure(
    model: nn.Module,
    example: Example,
    *,
    data: Data | None = None,
    logits: Logits | None = None,
    exclude: Sequence[str] = (),
    forms: Sequence[str] | str = "auto",
    seed: int = 0,
    samples: int = SAMPLES,
    errors: Errors = "predicted",
    timed: bool = False,
) -> Measured:
    """Find out all that is to be known of a model before a budget is set.

    Args:
        model: The model; it is left as it is.
        example: As for ``compress``.
        data: As for ``compress``.
        logits: As for ``compress``.
        exclude: As for ``compress``.
        forms: As for ``compress``.
        seed: As for ``compress``.
        samples: As for ``compress``.
        errors: As for ``compress``.
        timed: Whether to time all that layers may become, for budgets of latency.

    Returns:
        What ``compress_measured`` needs, for any number of budgets.

    Raises:
        DataError: If there are no data, the model does not take them, or what goes through it is
            not finite.
        TypeError: If the model is no module.
        ValueError: If the model does not take the example, draws random numbers, or an option
            makes no sense.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> measure(model, torch.ones(1, 8)).unit
        'energy'
    """
    chosen = _forms(forms)
    exclude = exclude if isinstance(exclude, str) else tuple(exclude)  # read more than once
    check_given(model, example, samples)
    _check_errors(errors, data)
    with torch.inference_mode(False), own_random_state(seed), kept_buffers(model):
        found = find_layers(model, example, exclude=exclude)
        check_steady(model, example)
        whole = count_costs(model, example)
        size = _batch_length(model, example) if isinstance(data, Tensor) else BATCH
        batches = [] if data is None else read_batches(data, example, samples=samples, size=size)
        moments, unit, notes = _look(model, found, batches, logits, seed)
        modules = dict(model.named_modules())
        layers = tuple(
            list_candidates(
                layer,
                modules[layer.path],
                moments.get(layer.path),
                unit=unit,
                forms=chosen,
                beaten=timed,
            )
            for layer in found.layers
        )
        if errors == "measured":
            pick = pick_scores(model, batches[0], logits)
            layers = correct_errors(model, layers, batches, moments=moments, unit=unit, pick=pick)
            notes.append("Predicted errors are corrected by those of candidates that were tried.")
        laid = lay_fastest(model, example, exclude=exclude) if timed else None
        if laid is not None:
            layers = time_candidates(laid, layers)
    return Measured(
        model=model,
        example=example,
        batches=batches,
        exclude=tuple(exclude),
        found=found,
        whole=whole,
        moments=moments,
        unit=unit,
        layers=layers,
        notes=tuple(notes),
        laid=laid,
        logits=logits,
    )


def _look(
    model: nn.Module,
    found: FoundLayers,
    batches: Sequence[Example],
    logits: Logits | None,
    seed: int,
) -> tuple[dict[str, Moments], Unit, list[str]]:
    """What the data tell of each layer, the unit of errors that it allows, and what to say."""
    if not batches:
        return {}, "energy", [NO_DATA]
    count = sum(map(batch_size, batches))
    notes = []
    if count < FEW_SAMPLES:
        notes.append(
            f"Only {count} sample{'s' if count > 1 else ''} of data: what they do not show is "
            "taken not to occur, and some hundred would keep more accuracy."
        )
    paths = [layer.path for layer in found.layers]
    if not paths:
        return {}, "energy", notes
    loss, told = choose_loss(model, batches[0], logits, seed=seed)

    def most(stage: Stage) -> int:
        rows = max(FEWEST_ROWS, ROWS_EACH * stage.inputs * stage.taps)
        return max(1, math.ceil(rows / count))

    moments = gather_moments(model, paths, batches, loss=loss, most_positions=most)
    if any(one.gradient is not None for one in moments.values()):
        return moments, "loss", [*notes, told]
    return moments, "energy", [*notes, NO_GRADIENT]


def _batch_length(model: nn.Module, example: Example) -> int:
    """How many samples may go into a batch, so that memory holds what their gradients need."""
    try:
        each = made_bytes(model, example) // batch_size(example)
    except DataError:  # some layers run under no mode of torch's dispatcher
        return BATCH
    return max(1, min(BATCH, MOST_BYTES // max(each, 1)))


def _forms(forms: Sequence[str] | str) -> tuple[Form, ...]:
    if forms == "auto":
        return tuple(FORMS.values())
    names = [forms] if isinstance(forms, str) else list(forms)
    unknown = [name for name in names if name not in FORMS]
    if unknown or not names:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"forms must be 'auto' or some of {', '.join(FORMS)}, got {got}")
    return tuple(FORMS[name] for name in names)


def _check_errors(errors: str, data: Data | None) -> None:
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {', '.join(get_args(Errors))}, got {errors!r}")
    if errors == "measured" and data is None:
        raise ValueError("errors='measured' needs data to try candidates on: give data=")
