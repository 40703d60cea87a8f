"""Chains inside a larger network: maximal runs of pointwise modules become one module each.

A run is kept where it gains: one of two matrices or more, unless it is measured to be slower than
PyTorch; one of a single matrix only where it is measured to be faster.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pointwise.functional import Affine
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.copying import copy_model
from pointwise.inspection.timing import Timer
from pointwise.runtime.chain import Chain, Concat, Residual, Step
from pointwise.runtime.compiled import CompiledChain
from pointwise.runtime.lines import lines_of
from pointwise.runtime.lowering import (
    DROPOUTS,
    READERS,
    Reading,
    UnreadableError,
    join,
    read,
)
from pointwise.runtime.simplify import simplify
from pointwise.runtime.trial import compare, short_turns

PYTORCH = "PyTorch"

FEWEST_STEPS = 2
"""A lone matrix gains nothing by fusion: PyTorch's is as fast."""

FEWEST_MATRICES = 2
"""With fewer there is no hidden layer to keep out of memory; only a trial tells what is gained."""

WORTH_S = 1e-3
"""A run of a single matrix that takes PyTorch less is not worth compiling to find out."""

SINGLE_MAP = "a single map gains nothing by fusion"

SINGLE_MATRIX = "a single matrix, which gains too little by fusion"

PASSING = (nn.Identity, *DROPOUTS)
"""In evaluation these give back what they are given: what follows writes into that."""

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


@dataclass
class Run:
    """Modules that are one chain together.

    Attributes:
        paths: Their dotted names, in the order in which they run.
        modules: The modules.
        chain: What they compute, simplified.
        matrices: How many matrices that has.
        compiled: The chain compiled, once it is.
        reason: Why PyTorch runs it; empty while nothing speaks against it.
    """

    paths: tuple[str, ...]
    modules: tuple[nn.Module, ...]
    chain: Chain
    matrices: int
    compiled: CompiledChain | None = None
    reason: str = ""

    @property
    def kinds(self) -> str:
        """The classes of the modules."""
        return " ".join(type(module).__name__ for module in self.modules)

    def through_pytorch(self, x: Tensor) -> Tensor:
        """What the modules make of an input."""
        for module in self.modules:
            x = module(x)
        return x

    def part(self) -> Part:
        """What became of it."""
        if self.compiled is None:
            return Part(self.paths[0], self.kinds, PYTORCH, self.reason)
        run = self.compiled
        return Part(self.paths[0], run.chain.describe(), run.engine, run.reason)


def compile_parts(
    model: nn.Module,
    make: MakeCallable,
    *,
    example: Tensor | None = None,
    timer: Timer = short_turns,
) -> tuple[nn.Module, list[Part]]:
    """Copy a network with its pointwise runs compiled, those that gain by it.

    The first module of a run becomes the chain and the others pass their input on, so that names
    stay. Runs are found in an ``nn.Sequential``, and in forwards that can be traced.

    Args:
        model: The network, in evaluation mode.
        make: Compiles a chain.
        example: An input to time each run with, against PyTorch. Default: nothing is timed; runs
            of two matrices or more are compiled, others are not.
        timer: Times calls against one another; a stand-in in tests.

    Returns:
        The copy, and what became of every place that was looked at.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.ReLU(),
        ...     nn.Conv2d(8, 4, 1)).eval()
        >>> make = lambda chain, dtype: CompiledChain(chain, engine="chunks", dtype=dtype)
        >>> for part in compile_parts(network, make)[1]:
        ...     print(part)
        0: Conv2d: PyTorch (Conv2d has kernel size (3, 3), not 1)
        1: 8 -> 8 relu -> 4: chunks
    """
    made = copy_model(model)
    finder = _Finder()
    with kept_buffers(made):  # a forward that is followed may count that, too
        finder.visit(made, "")
        if example is not None:
            _try(made, finder.runs, make, example, timer)
    if example is None:
        for run in finder.runs:
            if run.matrices < FEWEST_MATRICES:
                run.reason = SINGLE_MATRIX
            else:
                run.compiled = make(run.chain, precision(run.modules))
    for run in finder.runs:
        if run.compiled is not None:
            first, *others = run.paths
            _replace(made, first, CompiledPart(run.compiled))
            for path in others:
                _replace(made, path, nn.Identity())
    order = {name: i for i, (name, _) in enumerate(model.named_modules(remove_duplicate=False))}
    parts = [*finder.left, *(run.part() for run in finder.runs)]
    return made, sorted(parts, key=lambda part: order[part.path])


def given_up(parts: Sequence[Part], reason: str) -> list[Part]:
    """Parts as they are when PyTorch runs the network after all.

    Args:
        parts: What became of every place.
        reason: Why.

    Returns:
        The same places, with the reason where something was compiled.

    Example:
        >>> print(*given_up([Part("0", "3 -> 8 relu -> 1", "fused")], "it is slower"))
        0: 3 -> 8 relu -> 1: PyTorch (it is slower)
    """
    return [
        part if part.engine == PYTORCH else replace(part, engine=PYTORCH, reason=reason)
        for part in parts
    ]


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


class _Finder:
    """Walks a network and collects runs, and what is none."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.left: list[Part] = []
        self._done: set[str] = set()

    def visit(self, module: nn.Module, path: str) -> None:
        for line in lines_of(module):
            self._split(module, path, line)
        for name, child in module.named_children():
            inner = _joined(path, name)
            if inner in self._done:
                continue
            if _write_their_input([child]) or not self._take((inner,), (child,)):
                self.visit(child, inner)

    def _split(self, module: nn.Module, path: str, line: list[str]) -> None:
        """Cut a line into maximal runs."""
        modules = [module.get_submodule(name) for name in line]
        start = 0
        while start < len(line) and _write_their_input(modules[start:]):
            start += 1  # others may read what it writes
        while start < len(line):
            length = _run_length(modules[start:])
            if length > 1:
                paths = tuple(_joined(path, name) for name in line[start : start + length])
                self._take(paths, tuple(modules[start : start + length]))
            start += max(length, 1)

    def _take(self, paths: tuple[str, ...], modules: tuple[nn.Module, ...]) -> bool:
        """Note a run, or why it is none; false if there may be runs inside of it."""
        kinds = " ".join(type(module).__name__ for module in modules)
        try:
            reading = join(read(module) for module in modules)
        except UnreadableError as reason:
            kind = type(modules[0])
            if not any(modules[0].children()) or (kind in READERS and kind is not nn.Sequential):
                self.left.append(Part(paths[0], kinds, PYTORCH, str(reason)))
            return False
        if reading.c_in is None:
            return len(modules) > 1  # activations and the like on their own
        self._done.update(paths)
        chain = simplify(Chain(reading.c_in, reading.steps, reading.axes))
        if len(chain.steps) < FEWEST_STEPS:
            self.left.append(Part(paths[0], kinds, PYTORCH, SINGLE_MAP))
        else:
            self.runs.append(Run(paths, modules, chain, _matrices(chain.steps)))
        return True


def _write_their_input(modules: Iterable[nn.Module]) -> bool:
    """Whether a line begins in place: what it is given is then another for all who read it."""
    first = next((one for one in _leaves(modules) if type(one) not in PASSING), None)
    return bool(getattr(first, "inplace", False))


def _leaves(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        if type(module) is nn.Sequential:
            yield from _leaves(module)
        else:
            yield module


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _replace(model: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def _matrices(steps: Sequence[Step]) -> int:
    count = 0
    for step in steps:
        match step:
            case Affine():
                count += 1
            case Residual(body):
                count += _matrices(body)
            case Concat(branches):
                count += sum(_matrices(branch) for branch in branches)
    return count


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


def _try(
    model: nn.Module, runs: Sequence[Run], make: MakeCallable, example: Tensor, timer: Timer
) -> None:
    """Compile runs and time each where it stands, on what an example brings there."""
    for run in runs:
        run.reason = "the example does not reach it"
        _watch(run, make, timer)
    with torch.no_grad():
        model(example)


def _watch(run: Run, make: MakeCallable, timer: Timer) -> None:
    """Try a run when its first module is called for the first time."""

    def hook(_: nn.Module, given: tuple[object, ...]) -> None:
        handle.remove()
        run.reason = ""
        if len(given) == 1 and isinstance(given[0], Tensor):
            _judge(run, make, given[0].clone(), timer)
        else:
            run.reason = "it is called with something else than one tensor"

    handle = run.modules[0].register_forward_pre_hook(hook)


def _judge(run: Run, make: MakeCallable, x: Tensor, timer: Timer) -> None:
    if run.matrices < FEWEST_MATRICES and _seconds(run.through_pytorch, x) < WORTH_S:
        run.reason = SINGLE_MATRIX
        return
    compiled = make(run.chain, precision(run.modules))
    try:
        trial = compare(run.through_pytorch, compiled, x, timer)
    except ValueError as error:
        run.reason = str(error)
        return
    if trial.verdict == "faster" or (
        trial.verdict == "as fast" and run.matrices >= FEWEST_MATRICES
    ):
        run.compiled = compiled
    else:
        run.reason = f"compiled it is {trial.verdict} on the example: {trial.speedup}"


def _seconds(call: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Of the faster of two calls."""
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        call(x)
        taken.append(time.perf_counter() - began)
    return min(taken)
