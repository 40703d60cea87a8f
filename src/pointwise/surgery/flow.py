"""Who feeds whom: the data flow between the module calls of one run.

The run is on a copy in evaluation mode, with tensors that have shapes and no values, so nothing is
computed and a forward that looks at values cannot be followed. Surgery reads the flow and edits
modules, never graphs.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from pointwise.surgery.recorder import record
from pointwise.surgery.recording import Call, Operator, Value

__all__ = ["Call", "Flow", "Operator", "Value", "trace_flow"]


@dataclass(frozen=True)
class Flow:
    """The data flow of one run; it holds for inputs shaped like the example.

    Attributes:
        calls: The module calls, in the order in which they began.
        operators: The operators, in their order.
        kept: Values that outlive the run: the model's outputs, and what a module stored.
        names: The first path of a module, by each of its paths.
    """

    calls: tuple[Call, ...]
    operators: tuple[Operator, ...]
    kept: frozenset[Value]
    names: dict[str, str]

    def calls_of(self, path: str) -> tuple[Call, ...]:
        """The calls of a module.

        Args:
            path: Any name of the module.

        Returns:
            Its calls, in their order; also those made under other names of the same module.
        """
        return tuple(self._calls_by_path.get(self.names.get(path, path), ()))

    def maker(self, value: Value) -> Operator | None:
        """The operator that made a value; ``None`` for what was there before."""
        return self._makers.get(value)

    def readers(self, value: Value) -> tuple[Operator, ...]:
        """The operators that read a value, in their order."""
        return tuple(self._readers.get(value, ()))

    def source(self, value: Value) -> Call | Operator | None:
        """Where a value comes from.

        Args:
            value: Any value of the run.

        Returns:
            The innermost call that made it and gave it back, else the operator that made it;
            ``None`` for what was there before the run.
        """
        maker = self.maker(value)
        if maker is None:
            return None
        around = self.around(maker.call)
        return next((call for call in around if value in call.outputs), maker)

    def takers(self, value: Value) -> tuple[Call | Operator, ...]:
        """What reads a value.

        Args:
            value: Any value of the run.

        Returns:
            For each operator that reads it, the innermost call that was given the value and that
            the operator ran in, else the operator itself; each once. Calls that pass the value on
            unread, such as those of ``nn.Identity``, are not among them. See also ``kept``.
        """
        found: dict[Call | Operator, None] = {}
        for reader in self.readers(value):
            takes = (call for call in self.around(reader.call) if value in call.inputs)
            found[next(takes, reader)] = None
        return tuple(found)

    def only_taker(self, value: Value) -> Call | Operator | None:
        """What alone reads a value; ``None`` if nothing or several do, or if it is kept."""
        takers = self.takers(value)
        return takers[0] if len(takers) == 1 and value not in self.kept else None

    def around(self, call: int) -> Iterator[Call]:
        """A call and the calls around it, from the inside out."""
        inner: int | None = call
        while inner is not None:
            yield self.calls[inner]
            inner = self.calls[inner].parent

    def read_elsewhere(self, path: str) -> str | None:
        """Whether a module's own parameters and buffers are read outside its calls.

        Args:
            path: Any name of the module.

        Returns:
            Which is read and where, in words; ``None`` if its own calls alone read them.
        """
        first = self.names.get(path, path)
        for value in self._weights_by_owner.get(first, ()):
            for reader in self.readers(value):
                if all(call.path != first for call in self.around(reader.call)):
                    where = self.calls[reader.call].path
                    own = next(n for n in value.names if self._owner(n) == first)
                    place = f"in the forward of {where!r}" if where else "in the model's forward"
                    return f"its {own.rpartition('.')[2]} is read elsewhere, {place}"
        return None

    def _owner(self, name: str) -> str:
        """The first path of the module that a parameter's name belongs to."""
        path = name.rpartition(".")[0]
        return self.names.get(path, path)

    @cached_property
    def _calls_by_path(self) -> dict[str, list[Call]]:
        found = defaultdict(list)
        for call in self.calls:
            found[call.path].append(call)
        return found

    @cached_property
    def _makers(self) -> dict[Value, Operator]:
        return {value: operator for operator in self.operators for value in operator.writes}

    @cached_property
    def _readers(self) -> dict[Value, list[Operator]]:
        found = defaultdict(list)
        for operator in self.operators:
            for value in dict.fromkeys(operator.reads):
                found[value].append(operator)
        return found

    @cached_property
    def _weights_by_owner(self) -> dict[str, list[Value]]:
        found: dict[str, list[Value]] = defaultdict(list)
        weights = (v for v in self._readers if v.kind == "weight")
        for value in weights:
            for owner in {self._owner(name) for name in value.names}:
                found[owner].append(value)
        return found


def trace_flow(model: nn.Module, example: Any) -> Flow:
    """Follow one run of a model: which module call and operator feeds which.

    ``torch.export`` would tell much of this, but it drops the calls of modules that run no operator
    and takes several times as long; and a flow that is only read needs no program that can run.
    Foreign hooks are not run, as they may do anything with what they see; at their modules' borders
    stands an operator called ``hook`` in place of them.

    Args:
        model: Any module; it is left as it is, and followed in evaluation mode.
        example: One input tensor, a sequence of arguments, or a mapping of arguments by name.
            Shapes count, values do not.

    Returns:
        The flow. It holds for inputs shaped like the example: a forward that goes another way for
        other shapes has another flow.

    Raises:
        FlowError: If the run cannot be followed: the forward looks at values, fails, or the model
            cannot be copied. The message says which and where.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        >>> flow = trace_flow(net, torch.ones(1, 3, 8, 8))
        >>> (conv,) = flow.calls_of("0")
        >>> flow.only_taker(conv.outputs[0]).path
        '1'
    """
    run = record(model, example)
    return Flow(run.calls, run.operators, run.kept, run.names)
