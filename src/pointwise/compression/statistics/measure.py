"""All that is to be known of a model before a budget is set: layers, moments and candidates."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.compression.allocation.candidates import LayerCandidates, Unit, list_candidates
from pointwise.compression.allocation.effects import correct_errors
from pointwise.compression.allocation.latency import Laid, lay_fastest, time_candidates
from pointwise.compression.budget import Costs, count_costs
from pointwise.compression.calibration import Data, batch_size, read_batches
from pointwise.compression.forms.form import Form
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import FoundLayers, find_layers
from pointwise.compression.statistics.fisher import EnergyLoss, LabelLoss, Loss
from pointwise.compression.statistics.moments import Moments, gather_moments
from pointwise.errors import DataError, first_line
from pointwise.surgery.equivalence import Example, call, evaluating, outputs_of

SAMPLES = 1024
"""Samples that are taken of the data: more tell little more."""

FEW_SAMPLES = 32
"""Below these the report says that data are few."""

ROWS_EACH = 32
"""Patches for each number in one, from which their covariance is taken."""

FEWEST_ROWS = 16384
"""Patches of any layer, if there are as many."""

Logits = Callable[[Any], Tensor] | Literal[False]
"""What picks class scores out of a model's output; ``False`` where it holds none."""

Errors = Literal["predicted", "measured"]

STEADY = 1e-3
"""What two runs of one input may differ by, as a share of the largest output."""


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
    _check_given(model, example, samples)
    _check_errors(errors, data)
    with torch.inference_mode(False), own_random_state(seed), kept_buffers(model):
        found = find_layers(model, example, exclude=exclude)
        _check_steady(model, example)
        whole = count_costs(model, example)
        batches = [] if data is None else read_batches(data, example, samples=samples)
        notes = []
        count = sum(map(batch_size, batches))
        if 0 < count < FEW_SAMPLES:
            notes.append(
                f"Only {count} sample{'s' if count > 1 else ''} of data: what they do not show is "
                "taken not to occur, and some hundred would keep more accuracy."
            )
        moments: dict[str, Moments] = {}
        unit: Unit = "energy"
        paths = [layer.path for layer in found.layers]
        if data is not None and paths:
            loss, note = _loss(model, batches[0], logits, seed)

            def most(stage: Stage) -> int:
                rows = max(FEWEST_ROWS, ROWS_EACH * stage.inputs * stage.taps)
                return max(1, math.ceil(rows / count))

            moments = gather_moments(model, paths, batches, loss=loss, most_positions=most)
            if any(one.gradient is not None for one in moments.values()):
                unit = "loss"
                notes.append(note)
            else:
                notes.append(
                    "No gradient comes back to any layer, so errors are shares of the variance of "
                    "each layer's outputs."
                )
        elif data is None:
            notes.append(
                "No data were given, so the weights alone decide: nothing was refitted or "
                "recalibrated, and much more accuracy is lost than with some hundred inputs, "
                "labels not needed."
            )
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
        if errors == "measured" and batches:
            pick = pick_scores(model, batches[0], logits)
            layers = correct_errors(model, layers, batches, moments=moments, unit=unit, pick=pick)
            notes.append("Predicted errors are corrected by those of candidates that were tried.")
        laid = lay_fastest(model, example) if timed else None
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


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Draw random numbers that depend on the seed alone, and leave torch's state as it is.

    Args:
        seed: The seed.

    Yields:
        Nothing.

    Example:
        >>> with own_random_state(0):
        ...     a = torch.rand(())
        >>> with own_random_state(0):
        ...     print(bool(torch.rand(()) == a))
        True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def kept_buffers(model: nn.Module, *, norms: bool = True) -> Iterator[None]:
    """Run a model that counts or keeps what it sees, and leave its buffers as they were.

    Args:
        model: The model.
        norms: Whether those of batch norms are kept, too.

    Yields:
        Nothing.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with kept_buffers(norm):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item()
        0
    """
    before = [
        (module, name, value, value.clone())
        for module in model.modules()
        if norms or not isinstance(module, _BatchNorm)
        for name, value in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, value, was in before:
                if not value.is_meta and not torch.equal(value, was):
                    value.copy_(was)
                if not isinstance(module, torch.jit.ScriptModule):  # which swaps none
                    module._buffers[name] = value


def _forms(forms: Sequence[str] | str) -> tuple[Form, ...]:
    if forms == "auto":
        return tuple(FORMS.values())
    names = [forms] if isinstance(forms, str) else list(forms)
    unknown = [name for name in names if name not in FORMS]
    if unknown or not names:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"forms must be 'auto' or some of {', '.join(FORMS)}, got {got}")
    return tuple(FORMS[name] for name in names)


def _check_given(model: nn.Module, example: Example, samples: int) -> None:
    """Refuse arguments of which nothing can be made, before anything is run."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if type(samples) is not int or samples < 1:
        raise ValueError(f"samples must be a whole number above 0, got {samples!r}")
    if batch_size(example) == 0:
        raise ValueError("example must hold at least one sample, got none")


def _check_errors(errors: str, data: Data | None) -> None:
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {', '.join(get_args(Errors))}, got {errors!r}")
    if errors == "measured" and data is None:
        raise ValueError("errors='measured' needs data to try candidates on: give data=")


def _check_steady(model: nn.Module, example: Example) -> None:
    """Refuse a model that gives no finite numbers, or others every time."""
    first, second = (_run(model, example, seed) for seed in (0, 1))
    if not first:
        raise ValueError("model must put out at least one tensor, it puts out none")
    for name, one in first.items():
        other = second.get(name)
        if one.is_meta:
            raise ValueError(f"model must have values, its {name} is on the meta device")
        if one.is_floating_point() and one.isnan().any():
            raise ValueError(f"model must give numbers for the example, its {name} holds nan")
        same = other is not None and other.shape == one.shape
        if same and one.is_floating_point() and one.numel():
            assert other is not None
            apart = (one.double() - other.double()).nan_to_num().abs().max()
            same = bool(apart <= STEADY * one.double().nan_to_num().abs().max())
        if not same:
            raise ValueError(
                "model must give the same every time in evaluation mode, its "
                f"{name} changes from one run to the next: it draws random numbers"
            )


def _run(model: nn.Module, example: Example, seed: int) -> dict[str, Tensor]:
    with evaluating(model), torch.no_grad():
        torch.manual_seed(seed)
        return outputs_of(call(model, example))


def _loss(model: nn.Module, batch: Example, logits: Logits | None, seed: int) -> tuple[Loss, str]:
    """What tells how much outputs are worth, and how to say that."""
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
