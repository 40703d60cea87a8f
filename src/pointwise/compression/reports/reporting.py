"""What the report and the plan say of a compressed model."""

from collections.abc import Mapping, Sequence

from torch import nn

from pointwise.compression.allocation.candidates import Candidate
from pointwise.compression.allocation.latency import summary, time_share
from pointwise.compression.budget import Budget, Costs
from pointwise.compression.folding import Folded
from pointwise.compression.forms.stages import Stage
from pointwise.compression.plans.plan import Plan, PlannedLayer
from pointwise.compression.reports.report import CompressionReport, LayerRow, Target, Totals
from pointwise.compression.statistics.measure import Measured
from pointwise.surgery.swap import describe

Times = tuple[Sequence[float], Sequence[float]]


def make_plan(
    known: Measured, built: nn.Module, final: Folded, chosen: Sequence[Candidate]
) -> Plan:
    """Say what became of each layer.

    Args:
        known: What is known of the given model.
        built: The compressed model, with the norms of the given one.
        final: The same with the norms folded, where they were.
        chosen: What each layer became.

    Returns:
        The plan.
    """
    return Plan(
        tuple(_planned(built, one) for one in chosen if one.form is not None),
        type(known.model).__name__,
        channels_last=known.base is not known.model,
        folded=final.norms,
        offsets=final.offsets,
    )


def make_report(
    known: Measured,
    final: Folded,
    chosen: Sequence[Candidate],
    budget: Budget,
    after: Costs,
    errors: Mapping[str, float],
    times: Times | None,
) -> CompressionReport:
    """Say what compression did.

    Args:
        known: What is known of the given model.
        final: The compressed model.
        chosen: What each layer became.
        budget: What was asked for.
        after: What the compressed model costs.
        errors: The measured error of each layer that was changed.
        times: The seconds of both models, round by round; ``None`` if they were not timed.

    Returns:
        The report, without scores.
    """
    before = known.whole
    return CompressionReport(
        model=type(known.model).__name__,
        rows=_rows(known, final.model, chosen, errors),
        before=_totals(before, times and times[0]),
        after=_totals(after, times and times[1]),
        targets=_targets(budget, before, after, times),
        unit=known.unit,
        notes=(*known.notes, *_free_note(known, final), *_routing_note(known, chosen, errors)),
    )


def _free_note(known: Measured, final: Folded) -> tuple[str, ...]:
    """What made the model faster and costs no accuracy."""
    if known.laid is None:
        return ()
    said = []
    if known.base is not known.model:
        said.append("The weights of convolutions lie channels-last")
    if final.norms:
        count = len(final.norms)
        norms = "a batch norm is" if count == 1 else f"{count} batch norms are"
        said.append(f"{norms} folded into the layers beside {'it' if count == 1 else 'them'}")
    if not said:
        return ()
    text = " and ".join(said)
    ratio = known.laid.given_s / known.laid.seconds
    return (
        f"{text[0].upper()}{text[1:]}: that alone made it {ratio:.2f} times as fast, and costs no "
        "accuracy.",
    )


def _routing_note(
    known: Measured, chosen: Sequence[Candidate], errors: Mapping[str, float]
) -> tuple[str, ...]:
    alone = [one.path for one in chosen if one.form is not None and one.path not in errors]
    if not known.batches or not alone:
        return ()
    return (
        f"Not refitted to what they get, nor measured: {', '.join(alone)}. The model chooses by "
        "values what reaches them, and other rows may reach them now.",
    )


def _totals(costs: Costs, times: Sequence[float] | None) -> Totals:
    latency = summary(times) if times else None
    return Totals(costs.macs, costs.params, costs.bytes, latency)


def _targets(
    budget: Budget, before: Costs, after: Costs, times: Times | None
) -> tuple[Target, ...]:
    given = budget.given()
    found = []
    for name in ("macs", "params", "bytes"):
        if name in given:
            total = getattr(before, name)
            reached = getattr(after, name) / total if total else 0.0
            found.append(Target(name, given[name], reached, reached <= given[name] + 1e-12))
    if budget.latency is not None and times is not None:
        reached = time_share(*times)
        found.append(Target("latency", budget.latency, reached, reached <= budget.latency))
    return tuple(found)


def _planned(built: nn.Module, one: Candidate) -> PlannedLayer:
    assert one.form is not None, "a layer that is changed"
    layers = built.get_submodule(one.path)
    assert isinstance(layers, nn.Sequential), "plain layers one after another"
    stages = tuple(Stage.of(layer) for layer in layers)
    return PlannedLayer(one.path, one.form, one.rank, stages, layers[-1].bias is not None)


def _rows(
    known: Measured, built: nn.Module, chosen: Sequence[Candidate], errors: Mapping[str, float]
) -> tuple[LayerRow, ...]:
    """One row for each layer, in the order of the model."""
    rows: dict[str, LayerRow] = {}
    for layer, one in zip(known.layers, chosen, strict=True):
        keep = layer.candidates[0]
        changed = one.form is not None
        module = known.model.get_submodule(one.path)
        after = built.get_submodule(one.path)
        reason = layer.reason or "nothing smaller is worth what it saves"
        rows[one.path] = LayerRow(
            path=one.path,
            before=describe(module),
            after=", ".join(map(describe, after.children())) if changed else None,
            form=one.form,
            rank=one.rank,
            macs=keep.macs,
            new_macs=one.macs,
            params=keep.params,
            new_params=one.params,
            predicted_error=one.error if changed else None,
            measured_error=errors.get(one.path),
            reason="" if changed else reason,
        )
    for swap in known.found.left:
        macs = known.whole.layers.get(swap.path, 0)
        parts = known.model.get_submodule(swap.path).parameters(recurse=False)
        params = sum(part.numel() for part in parts)
        rows[swap.path] = LayerRow(
            swap.path, swap.before, None, None, (), macs, macs, params, params, reason=swap.reason
        )
    return tuple(rows[path] for path, _ in known.model.named_modules() if path in rows)
