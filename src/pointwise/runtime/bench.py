"""How fast a network runs here: through PyTorch, in chunks and fused, timed in turns."""

import contextlib
import importlib.util
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pointwise.inspection.timing import FEWEST, Speedup, Timer, speedup, take_turns
from pointwise.runtime.bench_inputs import draw_input, largest_bytes
from pointwise.runtime.compile import Compiled
from pointwise.runtime.compile import compile as compile_network
from pointwise.runtime.compiled import NO_HALIDE, CompiledChain
from pointwise.runtime.parts import Part

PYTORCH, CHUNKS, FUSED = "PyTorch", "chunks", "fused"

ROWS = (1, 1_000, 1_000_000)
"""Rows to time where an input has no axes but channels: one, a table, a raster."""

EXAMPLE_ROWS = 1_000
"""Rows to verify with; as many are timed in any case."""

PATIENCE = 10
"""A number of rows is not timed if it would take so many times the seconds asked for."""

MEMORY = 4 << 30
"""Bytes that PyTorch's layers may take."""

LIVE = 3
"""Tensors as large as the largest one that PyTorch holds at a time: in, out, and in between."""

NOTHING = "no chain of pointwise maps was found in it"


@dataclass(frozen=True)
class Run:
    """One way to run a network, on one input.

    Attributes:
        name: ``"PyTorch"``, ``"chunks"`` or ``"fused"``.
        seconds: Median over the rounds.
        speedup: How many times faster than PyTorch, with its bounds; ``None`` for PyTorch.
    """

    name: str
    seconds: float
    speedup: Speedup | None = None


@dataclass(frozen=True)
class Race:
    """All ways to run a network, on one input.

    Attributes:
        shape: Shape of the input.
        positions: Positions of the input: everything but its channels.
        runs: The ways, PyTorch first.
    """

    shape: tuple[int, ...]
    positions: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Cut:
    """A number of rows that was not timed.

    Attributes:
        wanted: The number.
        used: How many were, with as many zeros as fit.
        limit: What more would take too much of: ``"time"`` or ``"memory"``.
    """

    wanted: int
    used: int
    limit: Literal["time", "memory"]


@dataclass(frozen=True)
class Contenders:
    """The ways to run a network.

    Attributes:
        calls: Runs of one input, by name; PyTorch first.
        compiled: What was compiled, fused if it can be.
        differences: By name the largest difference from PyTorch.
        missing: Why there is no fused one; empty if there is.
    """

    calls: Mapping[str, Callable[[Tensor], Any]]
    compiled: Compiled
    differences: Mapping[str, float]
    missing: str


@dataclass(frozen=True)
class Bench:
    """How fast a network runs on this machine.

    Attributes:
        races: One for each input.
        threads: Threads that PyTorch used, and the others with it.
        parts: What was compiled and what not, and why.
        description: The same in lines, with the largest difference.
        differences: By name the largest difference from PyTorch.
        missing: Why nothing ran fused; empty if something did.
        cut: The number of rows that was not timed, if there is one.
    """

    races: tuple[Race, ...]
    threads: int
    parts: tuple[Part, ...]
    description: str
    differences: Mapping[str, float]
    missing: str = ""
    cut: Cut | None = None

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {
            "threads": self.threads,
            "inputs": [_race_dict(race) for race in self.races],
            "parts": [asdict(part) for part in self.parts],
            "largest_difference": dict(self.differences),
            "missing": self.missing,
            "cut": None if self.cut is None else asdict(self.cut),
        }


def bench(
    model: nn.Module,
    shape: Sequence[int],
    *,
    seconds: float = 2.0,
    threads: int | None = None,
    timer: Timer = take_turns,
) -> Bench:
    """Time a network through PyTorch, in chunks and fused, on random input.

    Args:
        model: A network in evaluation mode, on the CPU.
        shape: Channels and sizes of one input. Channels alone: 1, 1,000 and 1,000,000 rows, the
            last with fewer zeros where they would take too long, or too much memory in PyTorch.
        seconds: For how long each input is timed, about; never less than fifteen rounds.
        threads: Threads to use. Default: as many as PyTorch does.
        timer: Times calls against one another; a stand-in in tests.

    Returns:
        The figures.

    Raises:
        ValueError: If the network does not take such an input, gives more than one tensor, or is
            not on the CPU.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1)).eval()
        >>> found = bench(network, (3, 8, 8), seconds=0.0)
        >>> found.races[0].positions, [run.name for run in found.races[0].runs][:2]
        (64, ['PyTorch', 'chunks'])
    """
    rows = len(shape) == 1
    with _threads(threads):
        example = draw_input(model, shape, batch=EXAMPLE_ROWS if rows else 1)
        row_bytes = largest_bytes(model, example) / len(example)
        ways = find_contenders(model, example)
        cut = None
        if rows:
            races, cut = _rows(model, ways, shape[0], row_bytes, seconds=seconds, timer=timer)
        else:
            races = [time_contenders(ways, example, seconds=seconds, timer=timer)]
        return Bench(
            races=tuple(races),
            threads=torch.get_num_threads(),
            parts=ways.compiled.parts,
            description=ways.compiled.describe(),
            differences=ways.differences,
            missing=ways.missing,
            cut=cut,
        )


def find_contenders(model: nn.Module, example: Tensor) -> Contenders:
    """Compile a network every way there is, verified on an example.

    Args:
        model: The network, in evaluation mode.
        example: An input that it takes.

    Returns:
        The ways: PyTorch always, the others where the network has chains.

    Example:
        >>> list(find_contenders(nn.ReLU().eval(), torch.ones(2, 3)).calls)
        ['PyTorch']
    """

    def plain(x: Tensor) -> Any:
        with torch.no_grad():
            return model(x)

    chunks = compile_network(model, example=example, engine="chunks")
    if not _runs(chunks, CHUNKS):
        return Contenders({PYTORCH: plain}, chunks, {}, NOTHING)
    calls: dict[str, Callable[[Tensor], Any]] = {PYTORCH: plain, CHUNKS: chunks}
    differences = {CHUNKS: chunks.largest_difference}
    if importlib.util.find_spec("halide") is None:
        return Contenders(calls, chunks, differences, NO_HALIDE)
    refused = ""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NO_HALIDE.partition(":")[0])
        try:
            fused = compile_network(model, example=example, engine="fused")  # slower or not
        except ValueError as error:  # one of its chains cannot be
            fused, refused = compile_network(model, example=example), str(error)
    if not _runs(fused, FUSED):
        reasons = dict.fromkeys(part.reason for part in fused.parts if part.engine == CHUNKS)
        return Contenders(calls, fused, differences, "; ".join(reasons) or refused)
    differences[FUSED] = fused.largest_difference
    return Contenders({**calls, FUSED: fused}, fused, differences, "")


def time_contenders(
    ways: Contenders, x: Tensor, *, seconds: float = 2.0, timer: Timer = take_turns
) -> Race:
    """Time all ways on one input; they take turns.

    Args:
        ways: The ways.
        x: The input ``(N, C, *S)``.
        seconds: For how long, about.
        timer: Times calls against one another; a stand-in in tests.

    Returns:
        The figures.

    Example:
        >>> ways = find_contenders(nn.ReLU().eval(), torch.ones(2, 3))
        >>> race = time_contenders(ways, torch.ones(2, 3),
        ...     timer=lambda calls, *, seconds: {"PyTorch": [1.0, 3.0, 2.0]})
        >>> race.positions, race.runs
        (2, (Run(name='PyTorch', seconds=2.0, speedup=None),))
    """
    calls = {name: _bound(call, x) for name, call in ways.calls.items()}
    taken = timer(calls, seconds=seconds)
    runs = tuple(
        Run(
            name,
            statistics.median(taken[name]),
            None if name == PYTORCH else speedup(taken[PYTORCH], taken[name]),
        )
        for name in calls
    )
    run = ways.compiled.run
    axis = run.chain.axes.get(x.ndim, 1) if isinstance(run, CompiledChain) else 1
    return Race(tuple(x.shape), math.prod(x.shape) // max(x.shape[axis], 1), runs)


def cut_rows(wanted: int, *, row_seconds: float, row_bytes: float, seconds: float) -> Cut | None:
    """Decide whether a number of rows is too many.

    Args:
        wanted: The number.
        row_seconds: Seconds that a round takes, for each row.
        row_bytes: Bytes of the largest tensor in PyTorch, for each row.
        seconds: For how long to time; the fewest rounds may take ten times as long.

    Returns:
        How many to take instead, 1,000 at least; ``None`` if it is not.

    Example:
        >>> cut_rows(1_000_000, row_seconds=1e-9, row_bytes=16384.0, seconds=1.0)
        Cut(wanted=1000000, used=10000, limit='memory')
    """
    limits: dict[Literal["time", "memory"], float] = {
        "time": PATIENCE * seconds / max((FEWEST + 2) * row_seconds, 1e-30),
        "memory": MEMORY / max(LIVE * row_bytes, 1e-30),
    }
    limit = min(limits, key=lambda name: limits[name])
    if wanted <= limits[limit]:
        return None
    used = wanted
    while used > max(limits[limit], EXAMPLE_ROWS):
        used //= 10
    return Cut(wanted, used, limit)


def _rows(
    model: nn.Module,
    ways: Contenders,
    columns: int,
    row_bytes: float,
    *,
    seconds: float,
    timer: Timer,
) -> tuple[list[Race], Cut | None]:
    """Time ever more rows, as long as they can be afforded."""
    races: list[Race] = []
    for rows in ROWS:
        used, cut = rows, None
        if rows > EXAMPLE_ROWS:
            last = races[-1]
            row_seconds = sum(run.seconds for run in last.runs) / last.positions
            cut = cut_rows(rows, row_seconds=row_seconds, row_bytes=row_bytes, seconds=seconds)
            used = rows if cut is None else cut.used
        if races and used <= races[-1].positions:
            return races, cut
        x = draw_input(model, (columns,), batch=used)
        races.append(time_contenders(ways, x, seconds=seconds, timer=timer))
        if cut is not None:
            return races, cut
    return races, None


def _runs(compiled: Compiled, engine: str) -> bool:
    return any(part.engine == engine for part in compiled.parts)


def _bound(call: Callable[[Tensor], Any], x: Tensor) -> Callable[[], Any]:
    return lambda: call(x)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _race_dict(race: Race) -> dict[str, Any]:
    runs = [
        {
            "name": run.name,
            "seconds": run.seconds,
            "positions_per_s": race.positions / run.seconds,
            "speedup": None if run.speedup is None else asdict(run.speedup),
        }
        for run in race.runs
    ]
    return {"shape": list(race.shape), "positions": race.positions, "runs": runs}
