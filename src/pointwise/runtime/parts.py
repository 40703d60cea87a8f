"""Chains inside a larger network: maximal runs of pointwise modules become one module each."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointwise.runtime.chain import Chain
from pointwise.runtime.compiled import CompiledChain
from pointwise.runtime.lowering import READERS, Reading, UnreadableError, join, read
from pointwise.runtime.simplify import simplify

FEWEST_STEPS = 2
"""A lone matrix gains nothing by fusion: PyTorch's is as fast."""

MakeCallable = Callable[[Chain, torch.dtype], CompiledChain]


@dataclass(frozen=True)
class Part:
    """One place of a network: what runs there, or why PyTorch does.

    Attributes:
        path: Dotted name of the module, of the first one of a run; empty for the network itself.
        what: The chain, or the kind of the module.
        engine: ``"fused"``, ``"chunks"`` or ``"PyTorch"``.
        reason: Why not fused; empty if it is.
    """

    path: str
    what: str
    engine: str
    reason: str = ""

    def __str__(self) -> str:
        """One line."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.path or 'network'}: {self.what}: {self.engine}{reason}"


class CompiledPart(nn.Module):
    """A compiled chain in the place of the modules that it was read from.

    Args:
        compiled: The chain.
    """

    def __init__(self, compiled: CompiledChain) -> None:
        super().__init__()
        self.compiled = compiled

    def forward(self, x: Tensor) -> Tensor:
        """Run the chain, without gradients."""
        out: Tensor = self.compiled(x)
        return out

    def extra_repr(self) -> str:
        """The chain, as ``print`` shows it."""
        return f"{self.compiled.chain.describe()}, engine={self.compiled.engine}"


def compile_parts(model: nn.Module, make: MakeCallable) -> tuple[nn.Module, list[Part]]:
    """Copy a network with its pointwise runs compiled.

    In an ``nn.Sequential`` the first module of a run becomes the chain and the others pass their
    input on, so that names stay. Elsewhere modules that are chains of their own are replaced.

    Args:
        model: The network, in evaluation mode.
        make: Compiles a chain.

    Returns:
        The copy, and what became of every place that was looked at.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.ReLU()).eval()
        >>> make = lambda chain, dtype: CompiledChain(chain, engine="chunks", dtype=dtype)
        >>> for part in compile_parts(network, make)[1]:
        ...     print(part)
        0: Conv2d: PyTorch (Conv2d has kernel size (3, 3), not 1)
        1: 8 -> 8 relu: chunks
    """
    made = copy.deepcopy(model)
    parts: list[Part] = []
    _visit(made, "", make, parts)
    return made, parts


def precision(modules: Sequence[nn.Module]) -> torch.dtype:
    """Choose the type to compute in: float64 if any value of the modules is, else float32.

    Args:
        modules: The modules.

    Returns:
        The type.

    Example:
        >>> precision([nn.ReLU(), nn.Linear(3, 2)])
        torch.float32
    """
    tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _visit(module: nn.Module, path: str, make: MakeCallable, parts: list[Part]) -> None:
    if type(module) is nn.Sequential:
        _sequence(module, path, make, parts)
        return
    for name, child in list(module.named_children()):
        inner = f"{path}.{name}" if path else name
        compiled = _compiled([child], make, parts, inner)
        if compiled is not None:
            setattr(module, name, compiled)
        else:
            _visit(child, inner, make, parts)


def _sequence(module: nn.Sequential, path: str, make: MakeCallable, parts: list[Part]) -> None:
    children = list(module.named_children()) if _no_twins(module) else []
    start = 0
    while start < len(children):
        length = _run_length([child for _, child in children[start:]])
        name = children[start][0]
        inner = f"{path}.{name}" if path else name
        run = [child for _, child in children[start : start + max(length, 1)]]
        compiled = _compiled(run, make, parts, inner)
        if compiled is None:
            for other, module_ in children[start : start + len(run)]:
                _visit(module_, f"{path}.{other}" if path else other, make, parts)
        else:
            setattr(module, name, compiled)
            for other, _ in children[start + 1 : start + len(run)]:
                setattr(module, other, nn.Identity())
        start += len(run)


def _no_twins(module: nn.Sequential) -> bool:
    """Whether no module stands in it twice: ``named_children`` would leave the second out."""
    return len(set(module)) == len(module)


def _run_length(modules: list[nn.Module]) -> int:
    """How many of the first modules are one chain together."""
    readings: list[Reading] = []
    for module in modules:
        try:
            longer = [*readings, read(module)]
            joined = join(longer)
            if joined.c_in is not None:
                Chain(joined.c_in, joined.steps, joined.axes)
        except (UnreadableError, ValueError):
            break
        readings = longer
    return len(readings)


def _compiled(
    run: list[nn.Module], make: MakeCallable, parts: list[Part], path: str
) -> CompiledPart | None:
    """The run as one module; ``None`` if it is no chain, or too short to gain."""
    what = " ".join(type(module).__name__ for module in run)
    try:
        reading = join(read(module) for module in run)
    except UnreadableError as reason:
        if not any(run[0].children()) or type(run[0]) in READERS:
            parts.append(Part(path, what, "PyTorch", str(reason)))
        return None
    if reading.c_in is None:
        return None  # activations and the like on their own
    chain = Chain(reading.c_in, reading.steps, reading.axes)
    if len(simplify(chain).steps) < FEWEST_STEPS:
        parts.append(Part(path, what, "PyTorch", "a single map gains nothing by fusion"))
        return None
    compiled = make(chain, precision(run))
    parts.append(Part(path, compiled.chain.describe(), compiled.engine, compiled.reason))
    return CompiledPart(compiled)
