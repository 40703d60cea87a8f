r"""Layers refitted front to back: from what they get now to what the given model had there.

The last stage of each compressed layer is fitted by least squares, in closed form, from its inputs
in the compressed network, errors of all earlier layers included, to the outputs of the layer in the
given one. So errors do not add up on their way to the end.

Reference:
    Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and Detection,
    2015, section 3.3 (asymmetric reconstruction).
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from pointwise.compression.fitting.lockstep import Lockstep, StuckError
from pointwise.compression.forms.stages import Stage
from pointwise.compression.statistics.patches import patch_rows
from pointwise.compression.statistics.rows import KeptRows, Wanted, keep_rows
from pointwise.compression.statistics.running import RunningMoments
from pointwise.functional.refit import refit_last
from pointwise.surgery.equivalence import Example

ROWS_EACH = 32
"""So many rows for each number that a row of weights has: more would tell little more."""

MOST_PRODUCTS = 4e11
"""Multiply-adds of the moments of these rows, which bound them where weights have many numbers."""

FEWEST_ROWS = 8192
"""Rows of any layer, if there are as many."""

SHRINKAGE = 0.1
"""How much the weights before the refit count: as much as this times as many rows as weights in a
row, in which inputs vary as they do on average."""


def wanted_rows(stage: Stage, last: Stage, calls: int, samples: int) -> Wanted:
    """How much to keep of a layer for the refit of its last stage.

    Args:
        stage: The layer.
        last: The last of the stages in its place.
        calls: How often it is called.
        samples: How many samples there are.

    Returns:
        What to keep.

    Example:
        >>> stage = Stage.of(nn.Conv2d(8, 8, 3))
        >>> wanted_rows(stage, stage.mix(4, 8), 1, 1024).most
        8
    """
    width = last.inputs * last.taps
    rows = max(FEWEST_ROWS, min(ROWS_EACH * width, MOST_PRODUCTS / (width + last.outputs) ** 2))
    return Wanted(stage, max(1, math.ceil(rows / (calls * samples))))


def keep_targets(
    given: nn.Module,
    built: nn.Module,
    calls: Mapping[str, int],
    batches: Sequence[Example],
    *,
    samples: int,
) -> dict[str, KeptRows]:
    """Keep what the last stages of compressed layers are fitted to.

    Args:
        given: The given model.
        built: The compressed model, with an ``nn.Sequential`` of plain layers at each path.
        calls: How often a forward calls each of these layers, by path.
        batches: The data.
        samples: How many samples there are.

    Returns:
        What the layers of the given model put out, in the order of their calls.

    Example:
        >>> given = nn.Sequential(nn.Linear(4, 4))
        >>> built = nn.Sequential(nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 4)))
        >>> kept = keep_targets(given, built, {"0": 1}, [torch.ones(5, 4)], samples=5)
        >>> kept["0"].batches[0][0].shape
        torch.Size([1, 5, 4])
    """
    wanted: dict[str, Wanted] = {}
    for path, count in calls.items():
        layers = built.get_submodule(path)
        assert isinstance(layers, nn.Sequential), "plain layers one after another"
        stage = Stage.of(given.get_submodule(path))
        wanted[path] = wanted_rows(stage, Stage.of(layers[-1]), count, samples)
    return keep_rows(given, wanted, batches)


def refit(
    model: nn.Module,
    kept: Mapping[str, KeptRows],
    batches: Sequence[Example],
    *,
    waiting: int | None = None,
) -> frozenset[str]:
    """Refit the compressed layers of a model front to back.

    Args:
        model: The compressed model, with an ``nn.Sequential`` of plain layers at each path. Their
            last layers are changed.
        kept: What the layers of the given model put out on the batches, in the order of their
            calls.
        batches: The same batches.
        waiting: How many of them have forwards that wait at the layers, for speed: the weights
            are the same. Default: as many as fit into memory.

    Returns:
        The layers that other rows reach than in the given model, since it decides by values which
        do: these are not refitted.
    """
    lasts: dict[str, KeptRows] = {}
    paths: dict[str, str] = {}
    for path, rows in kept.items():
        layers = model.get_submodule(path)
        assert isinstance(layers, nn.Sequential), "plain layers one after another"
        if layers[-1].bias is not None:  # a layer without reads zeros alone
            last = f"{path}.{len(layers) - 1}".strip(".")
            lasts[last], paths[last] = rows, path
    before = [copy.deepcopy(model.get_submodule(path).state_dict()) for path in lasts]
    others: set[str] = set()
    for count in (waiting, 0):
        others.clear()
        with suppress(StuckError), Lockstep(model, list(lasts), batches, waiting=count) as runs:
            for path, rows in lasts.items():
                if not _refit_layer(model, path, rows, runs):
                    others.add(paths[path])
            if runs.agree():  # always, where none waited
                break
        for path, state in zip(lasts, before, strict=True):
            model.get_submodule(path).load_state_dict(state)
    return frozenset(others)


def _refit_layer(model: nn.Module, path: str, rows: KeptRows, runs: Lockstep) -> bool:
    """Refit a layer, unless other rows reach it; whether the same did."""
    last = model.get_submodule(path)
    stage = Stage.of(last)
    weight, _ = stage.read(last)
    prior = weight.flatten(2)  # (G, O, D)
    width = prior.shape[-1]
    moments = RunningMoments.empty(stage.groups, width + stage.outputs, weight.device)
    same = True
    for number, targets in enumerate(rows.batches):
        queue = iter(targets)

        def see(x: Tensor, queue: Iterator[Tensor] = queue) -> None:
            nonlocal same
            y, start = next(queue, None), 0
            for part in patch_rows(stage, x, most=rows.wanted.most):
                end = start + part.shape[1]
                if y is None or end > y.shape[1]:
                    same = False
                    return
                moments.add(torch.cat([part, y[:, start:end].double()], -1))
                start = end
            same = same and y is not None and start == y.shape[1]

        runs.visit(number, path, len(targets), see)
        if not same or next(queue, None) is not None:
            return False
    mean, covariance = moments.mean, moments.covariance
    seen, cross = covariance[..., :width, :width], covariance[..., width:, :width]
    matrix = _fit(cross, seen, prior, moments.count)
    bias = mean[..., width:] - (matrix @ mean[..., :width, None])[..., 0]
    built = stage.build(matrix.unflatten(-1, weight.shape[2:]), bias, last)
    last.load_state_dict(built.state_dict())
    return True


def _fit(cross: Tensor, seen: Tensor, prior: Tensor, count: int) -> Tensor:
    """Least squares, drawn a little towards the weights before."""
    width = seen.shape[-1]
    pull = SHRINKAGE * width / max(count, 1) * seen.diagonal(dim1=-2, dim2=-1).mean(-1)
    drawn = seen.clone()
    drawn.diagonal(dim1=-2, dim2=-1).add_(pull[..., None])
    return refit_last(cross + pull[..., None, None] * prior, drawn, prior=prior)
