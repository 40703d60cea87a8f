"""A model rewritten with what was chosen for its layers, refitted and recalibrated."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pointwise.compression.allocation.candidates import Candidate, build, metric_of
from pointwise.compression.fitting.recalibrate import norms_of, recalibrate
from pointwise.compression.fitting.sequential import keep_targets, refit
from pointwise.compression.statistics.measure import Measured
from pointwise.compression.statistics.patches import output_rows
from pointwise.compression.statistics.routing import routed_layers
from pointwise.compression.statistics.rows import KeptRows, run_hooked
from pointwise.errors import DifferenceError
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import Example, call, evaluating
from pointwise.surgery.replace import replace_named


def rewrite(known: Measured, chosen: Sequence[Candidate]) -> tuple[nn.Module, dict[str, float]]:
    """Rewrite a model with what was chosen for each of its layers, refitted front to back.

    Args:
        known: What is known of the model.
        chosen: What becomes of each layer that can be compressed.

    Returns:
        The compressed model, and the measured error of each layer that was changed; empty
        without data, and without the layers that values choose the rows of.

    Raises:
        DifferenceError: If a layer cannot be replaced, or the result does not give what the model
            gives in kind.

    Example:
        >>> from pointwise.compression.statistics.measure import measure
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> known = measure(model, torch.ones(1, 8), data=torch.randn(64, 8))
        >>> smallest = [layer.candidates[-1] for layer in known.layers]
        >>> built, errors = rewrite(known, smallest)
        >>> list(errors)
        ['0', '2']
    """
    changed = {one.path: one for one in chosen if one.form is not None}
    built = _build(known, changed)
    with kept_buffers(built, norms=False):
        errors = _fit(known, built, changed) if known.batches and changed else {}
        check_kind(known.model, built, known.example)
    return built, errors


def _build(known: Measured, changed: Mapping[str, Candidate]) -> nn.Module:
    """The model with its layers factored by what the data tell of them."""
    mixtures = {layer.layer.path: layer.mixtures for layer in known.layers}

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        one = changed.get(path)
        if one is None:
            return None
        moments = known.moments.get(path)
        return build(one, module, moments, unit=known.unit, mixtures=mixtures[path])

    built, swaps = replace_named(known.base, rule)
    for swap in swaps:
        if swap.after is None and swap.path in changed:  # ``find_layers`` saw nothing against it
            raise DifferenceError(f"{swap.path!r} cannot be replaced: {swap.reason}")
    return built


def _fit(known: Measured, built: nn.Module, changed: Mapping[str, Candidate]) -> dict[str, float]:
    """Refit and recalibrate; the measured error of each layer."""
    samples = next(iter(known.moments.values())).samples
    every = {layer.path: len(layer.calls) for layer in known.found.layers}
    routed = routed_layers(known.model, changed, known.batches[0])
    calls = {path: every[path] for path in changed if path not in routed}
    kept = keep_targets(known.model, built, calls, known.batches, samples=samples)
    others = refit(built, kept, known.batches)
    kept = {path: rows for path, rows in kept.items() if path not in others}
    if norms_of(known.model, exclude=known.exclude):
        recalibrate(built, known.model, known.batches, exclude=known.exclude)
    return _measure_errors(known, built, kept)


def _measure_errors(
    known: Measured, built: nn.Module, kept: Mapping[str, KeptRows]
) -> dict[str, float]:
    """How far each layer's outputs in the compressed model are from those in the given one."""
    sums = dict.fromkeys(kept, 0.0)
    counts = dict.fromkeys(kept, 0)
    others: set[str] = set()
    metrics = {path: metric_of(known.moments[path], known.unit) for path in kept}
    for number, batch in enumerate(known.batches):
        queues = {path: iter(rows.batches[number]) for path, rows in kept.items()}

        def comparing(path: str, queue: Iterator[Tensor]) -> Callable[..., None]:
            def hook(_m: nn.Module, _a: object, _n: object, y: Tensor) -> None:
                wanted = kept[path].wanted
                ours, theirs = output_rows(wanted.stage, y, most=wanted.most), next(queue, None)
                if theirs is None or theirs.shape != ours.shape:
                    others.add(path)
                    return
                apart = ours - theirs.double()
                metric = metrics[path][0]
                worth = apart if metric is None else apart @ metric
                sums[path] += float((worth * apart).sum())
                counts[path] += apart.shape[1]

            return hook

        hooks = {path: comparing(path, queue) for path, queue in queues.items()}
        run_hooked(built, hooks, batch)
    told = [path for path in kept if path not in others]
    return {path: metrics[path][1] * sums[path] / max(counts[path], 1) for path in told}


def check_kind(model: nn.Module, built: nn.Module, example: Example) -> None:
    """Refuse a result that does not give tensors of the same shapes, or no numbers.

    Args:
        model: The model as it was given.
        built: The compressed one.
        example: An input.

    Raises:
        DifferenceError: If it does not.

    Example:
        >>> check_kind(nn.Linear(3, 2), nn.Linear(3, 2), torch.ones(1, 3))
    """
    found = []
    for one in (model, built):
        with evaluating(one), torch.no_grad():
            found.append(outputs_of(call(one, example)))
    before, after = found
    for name, old in before.items():
        new = after.get(name)
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            raise DifferenceError(f"{name} must keep its shape and type, it does not")
        masked = bool(old.isinf().any())  # on purpose, and perhaps at other places now
        broken = new[~old.isnan()].isnan() if masked else ~new[old.isfinite()].isfinite()
        if new.is_floating_point() and broken.any():
            raise DifferenceError(f"{name} of the compressed model must be finite, it is not")
