"""What one pass over data tells of each layer: moments of what it reads, gives and is worth.

One streaming pass, in float64; memory does not grow with the data. A module that is called at
several places has the moments of all of them together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.compression.forms.stages import Stage
from pointwise.compression.statistics.fisher import Loss, tapped
from pointwise.compression.statistics.patches import input_rows, output_rows, patch_rows, patch_sum
from pointwise.compression.statistics.running import RunningMoments
from pointwise.errors import DataError, first_line
from pointwise.inspection.copying import computed_tensors
from pointwise.surgery.equivalence import Example, call, evaluating

LARGEST_PATCH = 2304
"""Patches of more numbers (channels of a group times taps) are told by their channels alone."""

MOST_CHANNELS = 4096
"""More channels than these, and taps besides, are taken for white noise."""


@dataclass(frozen=True)
class Moments:
    """What is known of one layer; all in float64, by groups.

    Attributes:
        samples: How many samples went through the model; 0 without data.
        positions: How many positions the layer gave, at all places where it is called.
        output: Covariance of the outputs, ``(G, O, O)``.
        output_mean: Their mean, ``(G, O)``.
        patch_mean: Mean of what the layer reads for a position, ``(G, C * T)``, taps innermost.
        seen: Covariance of what the layer reads for a position, ``(G, C * T, C * T)``; where that
            would be too large, of the input's channels at one position, ``(G, C, C)``; ``None`` of
            layers of one tap, whose outputs say enough.
        gradient: Second moment of the loss's gradient with respect to the outputs,
            ``(G, O, O)``; ``None`` if none reaches the layer or none was asked for.
    """

    samples: int
    positions: int
    output: Tensor
    output_mean: Tensor
    patch_mean: Tensor
    seen: Tensor | None = None
    gradient: Tensor | None = None

    @classmethod
    def of_weights(cls, stage: Stage, weight: Tensor) -> "Moments":
        """What is known without data: inputs are taken for white noise about zero.

        Args:
            stage: The layer.
            weight: Its weight, ``(G, O, C, *K)``.

        Returns:
            The moments.

        Example:
            >>> stage = Stage.of(nn.Linear(3, 2))
            >>> Moments.of_weights(stage, torch.ones(1, 2, 3)).output[0, 0, 0].item()
            3.0
        """
        flat = weight.double().flatten(2)
        groups, outputs, size = flat.shape
        white = torch.eye(stage.inputs, dtype=flat.dtype, device=flat.device)
        seen = None if stage.taps == 1 else white.expand(groups, -1, -1)
        return cls(
            samples=0,
            positions=0,
            output=flat @ flat.mT,
            output_mean=flat.new_zeros(groups, outputs),
            patch_mean=flat.new_zeros(groups, size),
            seen=seen,
        )

    @property
    def energy(self) -> float:
        """The variance of the outputs, of all channels together."""
        return float(self.output.diagonal(dim1=-2, dim2=-1).sum())


def gather_moments(
    model: nn.Module,
    layers: Iterable[str],
    data: Iterable[Example],
    *,
    loss: Loss | None = None,
    largest_patch: int = LARGEST_PATCH,
    most_positions: int | Callable[[Stage], int] | None = None,
) -> dict[str, Moments]:
    """Run data through a model and gather the moments of its layers.

    The model runs in evaluation mode and is left as it was.

    Args:
        model: The model.
        layers: Paths of layers, each one of ``stages.KINDS``.
        data: Inputs, each as ``check_equivalent`` takes it: a tensor, a sequence of arguments, or a
            mapping of arguments by name.
        loss: Makes of the outputs a loss whose gradients tell what each layer's outputs are worth,
            see ``fisher``. Default: gradients are not gathered.
        largest_patch: Patches of more numbers are told by their channels alone.
        most_positions: Covariances of patches are taken at no more positions of each sample and
            call, always the same ones: it is they that take the time. A number, or a function of
            the layer. Default: at all.

    Returns:
        The moments of each layer.

    Raises:
        DataError: If there are no data, the model does not take them, a layer gets none of them, or
            what goes through it is not finite.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> found = gather_moments(model, ["0"], [torch.ones(5, 3), torch.zeros(5, 3)])
        >>> found["0"].positions, found["0"].patch_mean.tolist()
        (10, [[0.5, 0.5, 0.5]])
    """
    gatherers = {}
    for path in layers:
        layer = model.get_submodule(path)
        most = most_positions(Stage.of(layer)) if callable(most_positions) else most_positions
        gatherers[path] = _Gatherer(layer, largest_patch, most)
    samples = 0
    before = {id(t) for t in computed_tensors(model)}
    handles = [
        gatherer.layer.register_forward_hook(gatherer.hook(loss is not None), with_kwargs=True)
        for gatherer in gatherers.values()
    ]
    try:
        with evaluating(model), _frozen(model), torch.set_grad_enabled(loss is not None):
            for number, batch in enumerate(data):
                samples += _run(model, batch, number, loss)
    finally:
        for handle in handles:
            handle.remove()
    if samples == 0:
        raise DataError("data must hold at least one sample, got none")
    if loss is not None and any(id(t) not in before for t in computed_tensors(model)):
        with evaluating(model), torch.no_grad():
            call(model, batch)  # so that activations which it keeps hold no graph
    scale = 1.0 if loss is None else loss.scale(samples)
    return {path: one.result(path, samples, scale) for path, one in gatherers.items()}


def _run(model: nn.Module, batch: Example, number: int, loss: Loss | None) -> int:
    """Run one batch forward, and backward from the loss; how many samples it had."""
    try:
        result = call(model, batch)
    except Exception as error:  # whatever the model raises
        raise DataError(
            f"data must be inputs of the model, which fails on batch {number}: {first_line(error)}"
        ) from error
    if loss is not None:
        value = loss(result)
        if value.requires_grad:
            value.backward()
    return _samples(batch)


def _samples(batch: Example) -> int:
    """The length of the first tensor in a batch."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.ndim else 1
    parts = list(batch.values()) if isinstance(batch, Mapping) else list(batch)
    found = next((part for part in parts if isinstance(part, Tensor) and part.ndim), None)
    return 1 if found is None else found.shape[0]


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Let no parameter of the model gather gradients."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


class _Gatherer:
    """Sums up one layer."""

    def __init__(self, layer: nn.Module, largest_patch: int, most_positions: int | None) -> None:
        self.layer, self.most_positions = layer, most_positions
        self.stage = stage = Stage.of(layer)
        device = next(layer.parameters()).device
        size = stage.inputs * stage.taps
        self.output = RunningMoments.empty(stage.groups, stage.outputs, device)
        self.patch = self.channel = None
        if stage.taps > 1 and size <= largest_patch:
            self.patch = RunningMoments.empty(stage.groups, size, device)
        elif stage.taps > 1 and stage.inputs <= MOST_CHANNELS:
            self.channel = RunningMoments.empty(stage.groups, stage.inputs, device)
        self.patch_sum = torch.zeros(stage.groups, size, dtype=torch.float64, device=device)
        self.gradient = torch.zeros_like(self.output.scatter)
        self.reached = False

    def hook(self, with_gradients: bool) -> Callable[..., Tensor | None]:
        """What to call after the layer."""

        def hook(_: nn.Module, args: Any, named: dict[str, Any], y: Tensor) -> Tensor | None:
            x = args[0] if args else named["input" if "input" in named else "x"]
            with torch.no_grad():
                self._see(x, y)
            return tapped(y, self._worth) if with_gradients else None

        return hook

    def _see(self, x: Tensor, y: Tensor) -> None:
        self.output.add(output_rows(self.stage, y))
        if self.channel is not None:
            self.channel.add(input_rows(self.stage, x))
        if self.patch is None or self.most_positions is not None:
            self.patch_sum += patch_sum(self.stage, x)[0]
        if self.patch is not None:
            for rows in patch_rows(self.stage, x, most=self.most_positions):
                self.patch.add(rows)

    def _worth(self, gradient: Tensor) -> None:
        rows = output_rows(self.stage, gradient)
        self.gradient += rows.mT @ rows
        self.reached = True

    def result(self, path: str, samples: int, scale: float) -> Moments:
        """All that was seen.

        Args:
            path: Name of the layer, for errors.
            samples: How many samples there were.
            scale: What the loss's second moments are multiplied with.

        Returns:
            The moments.

        Raises:
            DataError: If nothing was seen, or something that is not finite.
        """
        positions = self.output.count
        if positions == 0:
            raise DataError(f"data must reach every layer, none of it reaches {path!r}")
        known = self.patch or self.channel
        seen = None if known is None else known.covariance
        if seen is None and self.stage.taps > 1:
            white = torch.eye(self.stage.inputs, dtype=torch.float64, device=self.patch_sum.device)
            seen = white.expand(self.stage.groups, -1, -1)
        mean = self.patch_sum / positions
        if self.patch is not None and self.most_positions is None:
            mean = self.patch.mean
        gradient = self.gradient * (scale / positions) if self.reached else None
        found = Moments(
            samples,
            positions,
            self.output.covariance,
            self.output.mean,
            mean,
            seen,
            gradient,
        )
        for what, value in (("outputs", found.output), ("inputs", mean), ("gradients", gradient)):
            if value is not None and not value.isfinite().all():
                raise DataError(f"the {what} of {path!r} must be finite on the data, they are not")
        return found
