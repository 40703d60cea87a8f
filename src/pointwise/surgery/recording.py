"""What is written down of one run of a model: its calls, its operators and their values."""

from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor of the run; what changes in place becomes another value.

    Attributes:
        kind: An argument of the model, a parameter or buffer, any other tensor that was there
            before the run, or made by an operator.
        shape: Its shape.
        dtype: Its type.
        names: Paths of a parameter or buffer, all of them where it is shared; else the number or
            name of an argument.
    """

    kind: Literal["input", "weight", "constant", "made"]
    shape: tuple[int, ...]
    dtype: torch.dtype
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module.

    Attributes:
        number: Its place in the order in which calls began; the model's own is 0.
        path: Name of the module; the first one where it has several.
        parent: Number of the call that made it; ``None`` for the model's own.
        inputs: The tensors that it was given.
        outputs: The tensors that it gave back.
        plain: Whether it was given one tensor and nothing else, and gave back a tensor, not one in
            a tuple or another container.
    """

    number: int
    path: str
    parent: int | None
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    plain: bool


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator that ran.

    Attributes:
        number: Its place in the order of the run.
        name: Such as ``aten::add``; ``hook`` for what a foreign hook may do at a module's border.
        call: Number of the innermost call that it ran in.
        args: Its arguments by name, with values in the places of tensors.
        reads: The values that it read.
        writes: The values that it made, also by changing others in place.
    """

    number: int
    name: str
    call: int
    args: dict[str, Any]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]

    def __str__(self) -> str:
        """Its name without ``aten::`` and without the mark of changes in place."""
        return self.name.removeprefix("aten::").rstrip("_")


@dataclass(frozen=True)
class Recording:
    """What was written down.

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
