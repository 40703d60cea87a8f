"""A trained network rewritten with 1x1 convolutions under a budget, in one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from pointwise.compression.allocation.choosing import choose
from pointwise.compression.allocation.latency import time_models, time_share
from pointwise.compression.budget import Budget, count_costs
from pointwise.compression.calibration import Data
from pointwise.compression.fitting.recover import Recovery, check_recovery
from pointwise.compression.fitting.recover import recover as learn_on
from pointwise.compression.fitting.rewriting import check_kind, rewrite
from pointwise.compression.folding import Folded, fold_away
from pointwise.compression.plans.plan import Plan
from pointwise.compression.reports.report import CompressionReport
from pointwise.compression.reports.reporting import make_plan, make_report
from pointwise.compression.statistics.isolation import own_random_state
from pointwise.compression.statistics.measure import SAMPLES, Errors, Measured, measure
from pointwise.compression.statistics.scores import Logits
from pointwise.inspection.buffers import kept_buffers
from pointwise.surgery.equivalence import Example, evaluating

Evaluate = Callable[[nn.Module], float]

UNCHANGED = "Nothing was learnt: no layer was replaced."


@dataclass(frozen=True)
class Compressed:
    """A compressed model, and what was done.

    Attributes:
        model: The model, of plain layers; its training flags are those of the given one.
        report: What it costs, and how wrong each layer is, before and after.
        plan: What became of each layer, to be saved with the weights.
    """

    model: nn.Module
    report: CompressionReport
    plan: Plan


def compress(
    model: nn.Module,
    budget: Budget,
    example: Example,
    *,
    data: Data | None = None,
    evaluate: Evaluate | None = None,
    logits: Logits | None = None,
    exclude: Sequence[str] = (),
    forms: Sequence[str] | str = "auto",
    recover: Recovery | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    errors: Errors = "predicted",
) -> Compressed:
    """Rewrite a trained model with smaller plain layers, so that it keeps to a budget.

    No labels and no training are needed: moments of what each layer reads and gives tell which
    form and rank costs how much accuracy, the budget is spent where it saves most, and layers are
    refitted front to back to what they gave in the given model.

    Args:
        model: The model; it is left as it is, and so is torch's random state.
        budget: What the result may cost. A share of the time is measured here, with the example
            and torch's threads as they are. First the weights of convolutions are laid
            channels-last and batch norms are folded, where that is faster: it costs no accuracy.
            If nothing is faster, all stays as it is.
        example: An input, on which costs are counted: a tensor, a sequence of arguments, or a
            mapping of arguments by name.
        data: Inputs such as the model is made for: batches, each a tensor, a tuple or a list whose
            first entries are the input, or a mapping; or all samples in one tensor, of which as
            many go through the model at once as memory holds. Some hundred samples do. Default:
            none, the weights alone decide, which costs accuracy.
        evaluate: Called with the model before and after, for the report.
        logits: Picks class scores ``(N, K, *S)`` out of the model's output; ``False`` where it
            holds none. Default: an output of shape ``(N, K)`` with ``K`` above 1 is class scores;
            any other counts as it is.
        exclude: Paths of modules that are to stay as they are.
        forms: Names of the forms that layers may take, of ``FORMS``. Default: all.
        recover: How the result learns on, from labels or from the given model. Default: not at all.
        seed: Seeds the labels that are drawn, and what the result learns in which order.
        samples: So many samples of the data are taken, from the start, into memory.
        errors: ``"predicted"``: what a layer's error does to the outputs is found from gradients,
            in seconds. ``"measured"``: some candidates of each layer are tried in the model
            besides, which corrects the others, in minutes; it needs data, and seldom wins much.

    Returns:
        The model, the report and the plan.

    Raises:
        DataError: If there are no data, the model does not take them, or what goes through it is
            not finite.
        DifferenceError: If the result does not give what the model gives in kind.
        TypeError: If the model is no module, or the budget no ``Budget``.
        ValueError: If the budget is out of reach, the model does not take the example or draws
            random numbers, or an option makes no sense.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        >>> x = torch.randn(256, 64)
        >>> done = compress(model, Budget(macs=0.5), x[:1], data=x)
        >>> done.report.after.macs / done.report.before.macs <= 0.5
        True
    """
    if not isinstance(budget, Budget):
        raise TypeError(f"budget must be a Budget, such as Budget(macs=0.5), got {budget!r}")
    known = measure(
        model,
        example,
        data=data,
        logits=logits,
        exclude=exclude,
        forms=forms,
        seed=seed,
        samples=samples,
        errors=errors,
        timed=budget.latency is not None,
    )
    return compress_measured(known, budget, evaluate=evaluate, recover=recover, seed=seed)


def compress_measured(
    known: Measured,
    budget: Budget,
    *,
    evaluate: Evaluate | None = None,
    recover: Recovery | None = None,
    seed: int = 0,
) -> Compressed:
    """Compress a model of which all is known, for one of several budgets.

    Args:
        known: What ``measure`` found out.
        budget: As for ``compress``.
        evaluate: As for ``compress``.
        recover: As for ``compress``.
        seed: As for ``compress``.

    Returns:
        The model, the report and the plan.

    Raises:
        DataError: As for ``compress``.
        DifferenceError: As for ``compress``.
        ValueError: If the budget is out of reach.
    """
    check_recovery(known, recover)
    with torch.inference_mode(False), kept_buffers(known.model):
        return _compress(known, budget, evaluate, recover, seed)


def _compress(
    known: Measured,
    budget: Budget,
    evaluate: Evaluate | None,
    recover: Recovery | None,
    seed: int,
) -> Compressed:
    chosen = choose(known, budget)
    with own_random_state(seed):
        built, errors = rewrite(known, chosen)
        final = _finished(known, built)
        times = None
        if budget.latency is not None:
            with kept_buffers(final.model):
                times = time_models(known.model, final.model, known.example)
            if time_share(*times) >= 1:
                known = replace(known, laid=None)
                chosen = tuple(layer.candidates[0] for layer in known.layers)
                built, errors = rewrite(known, chosen)
                final = _finished(known, built)
                times = (times[0], times[0])
        with kept_buffers(final.model):
            after = count_costs(final.model, known.example)

    def score(one: nn.Module) -> float | None:
        return None if evaluate is None else _score(evaluate, one, seed)

    report = make_report(known, final, chosen, budget, after, errors, times)
    report = replace(report, score_before=score(known.model), score_after=score(final.model))
    if recover is not None and not any(one.form for one in chosen):
        report = replace(report, notes=(*report.notes, UNCHANGED))
    elif recover is not None:
        with own_random_state(seed):
            said = learn_on(built, known, recover, seed=seed)  # with the norms still in it
            final = _finished(known, built)
        with kept_buffers(final.model):
            check_kind(known.model, final.model, known.example)
        report = replace(
            report,
            score_unrecovered=report.score_after,
            score_after=score(final.model),
            notes=(*report.notes, *said),
        )
    return Compressed(final.model, report, make_plan(known, built, final, chosen))


def _finished(known: Measured, built: nn.Module) -> Folded:
    """A rewritten model without its norms, where the given one was faster without."""
    if known.laid is None or known.laid.folded is None:
        return Folded(built)
    return fold_away(built, known.example, batches=known.batches, exclude=known.exclude)


def _score(evaluate: Evaluate, model: nn.Module, seed: int) -> float:
    with evaluating(model), kept_buffers(model), own_random_state(seed):
        score = evaluate(model)
    try:
        return float(score)
    except (TypeError, ValueError):
        raise TypeError(f"evaluate must return a number, got {score!r}") from None
