"""Fold what inference need not compute: norms, scalings, chains, parallel branches, dropout."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from pointwise.errors import FlowError, first_line
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.copying import copy_model
from pointwise.surgery.closeness import closeness
from pointwise.surgery.equivalence import call
from pointwise.surgery.excluding import excluded_modules
from pointwise.surgery.folding.branches import merge_branches
from pointwise.surgery.folding.chains import merge_chains
from pointwise.surgery.folding.dropouts import remove_dropouts
from pointwise.surgery.folding.neighbours import fold_batch_norms, fold_scalings
from pointwise.surgery.folding.network import Findings, Network, Step
from pointwise.surgery.folding.scalings import scaling
from pointwise.surgery.holders import held_outside
from pointwise.surgery.replace import replace_named, unchanged_on_error
from pointwise.surgery.swap import Swap, describe

Rules = tuple[Callable[[Network], Findings], ...]

RULES: Rules = (
    remove_dropouts,
    fold_scalings,
    merge_branches,
    merge_chains,
)
"""The rules in their order; each is applied until it finds nothing more."""


def fold(
    model: nn.Module,
    example: Any,
    *,
    in_place: bool = False,
    atol: float = 0.0,
    rtol: float | None = None,
) -> tuple[nn.Module, list[Swap]]:
    """Fold what a network for inference need not compute as steps of its own.

    - Batch norms and other scalings of channels go into the linear layer before them, else into
      those after them, where that is exact; so do scale and offset of layer norms.
    - Linear layers that follow one another become one, where that takes fewer multiply-adds.
    - Blocks that add up convolutions and scalings of one input become one convolution.
    - Dropouts and stochastic depth are removed.

    All of it is computed in float64 and rounded once. The result is compared with the given model
    on the example.

    Args:
        model: The model, in evaluation mode. It is left as it is unless ``in_place``.
        example: One input tensor, a sequence of arguments, or a mapping of arguments by name. The
            flow of data is taken from it: it must be the same for all inputs to come.
        in_place: Whether to change the given model in place of a deep copy.
        atol: What the outputs on the example may differ by.
        rtol: What they may differ by in addition, as a share of the largest output. Default: by
            type, as in ``check_equivalent``.

    Returns:
        The folded model, and what became of each module that a rule looked at. If any changed,
        the last is for the whole model: how far the outputs on the example differ.

    Raises:
        ValueError: If a module is in training mode, or the model does not take the example.
        DifferenceError: If the outputs differ by more; the given model is then as it was.

    Reference:
        Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
        Only Inference, 2018, section 3.2 (batch norm); Ding et al., RepVGG, 2021, section 3.3.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> folded, swaps = fold(net, torch.randn(1, 3, 8, 8))
        >>> print(folded[1], "|", swaps[1])
        Identity() | 1: BatchNorm2d(4) -> Identity (folded into '0')
    """
    return _fold(model, example, RULES, {}, in_place=in_place, atol=atol, rtol=rtol)


def fold_norms(
    model: nn.Module,
    example: Any,
    *,
    exclude: Sequence[str] = (),
    in_place: bool = False,
    atol: float = 0.0,
    rtol: float | None = None,
) -> tuple[nn.Module, list[Swap]]:
    """Fold batch norms alone: every other layer stays where it is, and keeps its sizes.

    Args:
        model: As for ``fold``.
        example: As for ``fold``.
        exclude: Paths of modules that are to stay as they are, with all that is in them.
        in_place: As for ``fold``.
        atol: As for ``fold``.
        rtol: As for ``fold``.

    Returns:
        As for ``fold``.

    Raises:
        TypeError: If ``exclude`` is a single path.
        ValueError: As for ``fold``, or if the model has no module of an excluded path.
        DifferenceError: As for ``fold``.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).eval()
        >>> folded, _ = fold_norms(net, torch.randn(1, 3, 8, 8))
        >>> [type(layer).__name__ for layer in folded]
        ['Conv2d', 'Identity', 'Conv2d']
    """
    kept = excluded_modules(model, exclude)
    stay = {path: "is excluded" for path, module in model.named_modules() if module in kept}
    rules = (fold_batch_norms,)
    return _fold(model, example, rules, stay, in_place=in_place, atol=atol, rtol=rtol)


def _fold(
    model: nn.Module,
    example: Any,
    rules: Rules,
    stay: dict[str, str],
    *,
    in_place: bool,
    atol: float,
    rtol: float | None,
) -> tuple[nn.Module, list[Swap]]:
    for path, module in model.named_modules():
        if module.training:
            where = f"{path!r} ({type(module).__name__})" if path else type(module).__name__
            raise ValueError(
                f"model must be in evaluation mode, got training mode in {where}: "
                "call model.eval() first"
            )
    held = {**held_outside(model, copied=not in_place), **stay}
    reference = copy_model(model) if in_place else model
    work = _Work(model if in_place else copy_model(model), example, held)
    with unchanged_on_error(model):
        try:
            for rule in rules:
                work.apply(rule)
        except FlowError as error:
            _check_example(model, example)
            work.give_up(str(error))
        swaps = list(work.swaps.values())
        if not any(swap.after is not None for swap in swaps):
            return work.model, swaps
        found = closeness(reference, work.model, example, atol=atol, rtol=rtol)
    return work.model, [*swaps, Swap("", describe(reference), describe(work.model), found)]


def _check_example(model: nn.Module, example: Any) -> None:
    """Refuse an example that the model does not take: the flow is then no wonder unknown."""
    try:
        with torch.no_grad(), kept_buffers(model):
            call(model, example)
    except Exception as error:  # whatever the model raises
        first = first_line(error)
        raise ValueError(
            f"example must be an input of the model, which fails on it: {first}"
        ) from error


class _Work:
    """A model that is being folded, and what was done to it."""

    def __init__(self, model: nn.Module, example: Any, held: dict[str, str]) -> None:
        self.model, self.example, self.held = model, example, held
        self.swaps: dict[str, Swap] = {}
        self.network: Network | None = None

    def apply(self, rule: Callable[[Network], Findings]) -> None:
        """Apply a rule until it finds nothing more."""
        refused: dict[str, str] = {}
        while True:
            network = self.network or Network(self.model, self.example, self.held)
            self.network = network
            findings = rule(network)
            steps = [step for step in findings.steps if refused.keys().isdisjoint(step.modules)]
            for path, reason in {**findings.reasons, **refused}.items():
                self._leave(path, network.modules[path], reason)
            if not steps:
                return
            before = network.modules
            failed = self._try(steps)
            if failed:
                refused |= failed
                continue
            for step in steps:
                for path, new in step.modules.items():
                    self._note(path, before[path], new, step.remarks[path])

    def _try(self, steps: list[Step]) -> dict[str, str]:
        """Put the new modules in; where that fails, undo it and tell which must stay, and why."""
        network = self.network
        reasons, old = self._put(steps)
        if not reasons:
            try:
                self.network = Network(self.model, self.example, self.held)
                return {}
            except FlowError as error:
                reasons = {p: f"without it {error}" for step in steps for p in step.modules}
        self._put([Step(old, {})])
        self.network = network
        if len(steps) > 1:
            alone = {path: why for step in steps for path, why in self._alone(step).items()}
            reasons = alone or reasons
        return reasons

    def _alone(self, step: Step) -> dict[str, str]:
        """Whether the model takes a step without the others; it is as before afterwards."""
        network = self.network
        failed = self._try([step])
        if not failed and network is not None:
            self._put([Step({path: network.modules[path] for path in step.modules}, {})])
            self.network = network
        return failed

    def give_up(self, why: str) -> None:
        """Leave alone whatever could have been folded."""
        for path, module in self.model.named_modules():
            if path not in self.swaps and scaling(module) is not None:
                self._leave(path, module, f"the flow of data is not known: {why}")

    def _put(self, steps: list[Step]) -> tuple[dict[str, str], dict[str, nn.Module]]:
        """Put new modules in; the reasons against some of them, and the old ones."""
        new = {path: module for step in steps for path, module in step.modules.items()}
        old = {path: m for path, m in self.model.named_modules() if path in new}
        self.model, swaps = replace_named(self.model, lambda p, _: new.get(p), in_place=True)
        left = {swap.path: swap.reason for swap in swaps if swap.path in new and not swap.after}
        return left, {path: module for path, module in old.items() if path not in left}

    def _leave(self, path: str, module: nn.Module, reason: str) -> None:
        known = self.swaps.get(path)
        if known is None or known.after is None:
            self.swaps[path] = Swap(path, describe(module), None, reason)

    def _note(self, path: str, old: nn.Module, new: nn.Module, remark: str) -> None:
        known = self.swaps.get(path)
        swap = Swap(path, describe(old), describe(new), remark)
        if known is not None and known.after is not None:
            remark = f"{known.reason}; {remark}"
            swap = dataclasses.replace(swap, before=known.before, reason=remark)
        self.swaps[path] = swap
        inside = f"{path}." if path else ""
        gone = [p for p, s in self.swaps.items() if p.startswith(inside) and s.after is None]
        for part in gone:
            del self.swaps[part]
