"""A network under the knife: its modules, its flow, and what speaks against changing a module."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from pointwise.surgery.flow import Call, Flow, Value, trace_flow
from pointwise.surgery.folding.following import Sinks, follow
from pointwise.surgery.folding.maps import LINEAR_MAPS, channel_axis
from pointwise.surgery.folding.scalings import Scaling, scaling
from pointwise.surgery.refusals import encoder_parts, refusal, subclass_refusal

VIEWS = frozenset(
    (
        *("as_strided", "chunk", "detach", "diagonal", "expand", "expand_as", "flatten", "movedim"),
        *("narrow", "permute", "reshape", "select", "slice", "split", "split_with_sizes"),
        *("squeeze", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as"),
    )
)
"""Operators whose result may lie in the memory of what they read."""


@dataclass(frozen=True)
class Step:
    """Changes that belong together.

    Attributes:
        modules: The new modules, by path.
        remarks: What was done, by path.
    """

    modules: dict[str, nn.Module]
    remarks: dict[str, str]


@dataclass(frozen=True)
class Findings:
    """What a rule found in a network.

    Attributes:
        steps: What can be done; no two of them change the same module.
        reasons: Why modules that the rule looked at stay as they are, by path.
    """

    steps: list[Step] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, step: Step) -> bool:
        """Take a step in, unless one of its modules is in another; whether it was taken."""
        taken = {path for other in self.steps for path in other.modules}
        if taken.isdisjoint(step.modules):
            self.steps.append(step)
            return True
        return False


class Network:
    """A model with its flow, and what is known of its modules.

    Args:
        model: The model, in evaluation mode.
        example: Its arguments.
        held: Why modules that something outside the tree holds must be left alone, by path.
    """

    def __init__(self, model: nn.Module, example: Any, held: dict[str, str]) -> None:
        self.model, self.held = model, held
        self.flow: Flow = trace_flow(model, example)
        self.modules = dict(model.named_modules())

    @cached_property
    def scalings(self) -> dict[str, Scaling | str]:
        """How modules scale channels, or why it is not known."""
        found = {path: scaling(module) for path, module in self.modules.items()}
        return {path: one for path, one in found.items() if one is not None}

    @cached_property
    def linears(self) -> dict[str, nn.Module]:
        """The layers that are linear maps or subclasses of such."""
        return {p: m for p, m in self.modules.items() if isinstance(m, LINEAR_MAPS)}

    @cached_property
    def sinks(self) -> dict[Call, Sinks]:
        """Where the outputs of all those go."""
        found = {}
        for path in {**self.scalings, **self.linears}:
            for call in self.flow.calls_of(path):
                axis = self.axis(path, call)
                found[call] = self._follow(call, axis)
        return found

    @cached_property
    def fed_by(self) -> dict[Call, list[Call]]:
        """The calls of linear layers whose outputs go to a call."""
        found: dict[Call, list[Call]] = {}
        for call, sinks in self.sinks.items():
            for taker, _ in sinks.calls if call.path in self.linears else ():
                found.setdefault(taker, []).append(call)
        return found

    def axis(self, path: str, call: Call, *, output: bool = True) -> int:
        """The axis that a module has its channels on, in a call of it."""
        values = call.outputs if output else call.inputs
        ndim = len(values[0].shape) if values else 0
        if path in self.linears:
            return channel_axis(self.linears[path], ndim)
        known = self.scalings[path]
        return known.axis % ndim if isinstance(known, Scaling) and ndim else 0

    def refusal(self, path: str) -> str | None:
        """Why a module must not be changed; ``None`` if nothing speaks against it."""
        module = self.modules[path]
        reason = refusal(module) or self.held.get(path) or self._fused.get(path)
        if reason is None and path in self.linears:
            reason = subclass_refusal(module, LINEAR_MAPS)
        if reason is None and any(p.is_meta for p in module.parameters(recurse=False)):
            reason = "is on the meta device: there are no values to fold"
        return reason or self._tie(path) or self.flow.read_elsewhere(path)

    @cached_property
    def _fused(self) -> dict[str, str]:
        reason = "torch's fused operator of encoder layers reads its weights"
        return dict.fromkeys(encoder_parts(self.model), reason)

    def written_later(self, call: Call, value: Value) -> str | None:
        """What writes into a value in place after a call, also through views; ``None`` if nothing.

        Args:
            call: The call.
            value: One of its inputs.

        Returns:
            The operator, in words.
        """
        began = [op.number for op in self.flow.operators if call in self.flow.around(op.call)]
        same = {value}
        for operator in self.flow.operators:
            if same.isdisjoint(operator.reads):
                continue
            if operator.name.endswith("_") and operator.number > max(began, default=-1):
                return f"{str(operator)!r} writes into its input afterwards"
            if str(operator) in VIEWS:
                same.update(operator.writes)
        return None

    def _tie(self, path: str) -> str | None:
        for name, parameter in self.modules[path].named_parameters(recurse=False):
            owners = self._owners[parameter]
            if len(owners) > 1:
                other = next(owner for owner in owners if owner != path)
                return f"shares its {name} with {other!r}: the two would no longer be tied"
        return None

    @cached_property
    def _owners(self) -> dict[nn.Parameter, list[str]]:
        owners: dict[nn.Parameter, list[str]] = {}
        for path, module in self.modules.items():
            for parameter in module.parameters(recurse=False):
                owners.setdefault(parameter, []).append(path)
        return owners

    def _follow(self, call: Call, axis: int) -> Sinks:
        if len(call.outputs) != 1 or not call.inputs:
            return Sinks((), "it does not give one tensor")
        return follow(self.flow, call.outputs[0], axis, self._stops)

    def _stops(self, path: str) -> bool:
        return path in self.linears or path in self.scalings
