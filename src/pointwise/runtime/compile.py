"""Compile a network or a chain: what is pointwise runs fused, verified against the network."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pointwise.errors import DifferenceError
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.copying import copy_model
from pointwise.inspection.outputs import outputs_of
from pointwise.inspection.timing import Timer
from pointwise.runtime.chain import Chain, Concat, Lookup, OneHot, Step
from pointwise.runtime.compiled import NO_HALIDE, CompiledChain, Engine
from pointwise.runtime.lowering import read_chain
from pointwise.runtime.parts import (
    PYTORCH,
    Part,
    compile_parts,
    given_up,
    precision,
)
from pointwise.runtime.reference import evaluate
from pointwise.runtime.trial import compare, short_turns
from pointwise.runtime.views import as_tensor

ROWS = 1000
"""Positions of the random example."""

TOLERANCE = 1e-4
"""Of the largest output, or of 1 if that is larger: rounding stays far below, mistakes above."""

AS_FAR = 2.0
"""Where the network itself rounds more than that, the result may lie this many times as far from
float64 as the network does."""

MOST_OTHER_CLASSES = 1e-2
"""Share of positions whose class may differ: those where two classes are as likely."""


@dataclass(frozen=True)
class Compiled:
    """A compiled network: call it as the network is called.

    Attributes:
        run: What runs: a chain, or a copy of the network with chains in it.
        parts: What was compiled and what not, and why.
        largest_difference: The largest absolute difference from the network on the example; of
            class numbers, the share of positions with another class.
    """

    run: CompiledChain | nn.Module
    parts: tuple[Part, ...]
    largest_difference: float

    def __call__(self, x: Any, *, axis: int | None = None, out: Any = None) -> Any:
        """Run it on a NumPy array or a tensor.

        Args:
            x: The input.
            axis: Its channels, for chains only. Default: where the network takes them.
            out: Where to put the output, for chains only.

        Returns:
            What the network gives, of the kind of ``x``.

        Raises:
            ValueError: If ``axis`` or ``out`` is given and the network is not a single chain.
        """
        if isinstance(self.run, CompiledChain):
            return self.run(x, axis=axis, out=out)
        if axis is not None or out is not None:
            raise ValueError("axis and out are for networks that are one chain: this one is not")
        if isinstance(x, np.ndarray):
            x = _as_floats_of(self.run, as_tensor(x)).numpy()
        return _through(self.run, x)

    def describe(self) -> str:
        """What was compiled and what not, a line each, and the largest difference."""
        lines = [str(part) for part in self.parts]
        return "\n".join([*lines, f"largest difference: {self.largest_difference:.1e}"])


def compile(  # noqa: A001  (the builtin is not needed here, and the name says what it does)
    model_or_chain: nn.Module | Chain,
    *,
    example: Tensor | NDArray[Any] | None = None,
    engine: Engine = "auto",
) -> Compiled:
    """Compile a network: its chains of pointwise maps run fused, the rest through PyTorch.

    Where Halide is not installed chains run in chunks that stay in cache, and a warning says so.
    The compiled network holds the values that the network has now, and gives no gradients.

    Args:
        model_or_chain: A network in evaluation mode, or a chain.
        example: An input to verify the result with. Default: random values, for a network that
            is one chain; others need an example.
        engine: ``"fused"`` or ``"chunks"`` for that engine alone. Default: the fused one where it
            can run.

    Returns:
        A callable with a description and the largest difference from the network.

    Raises:
        TypeError: If it is neither a network nor a chain, or the example is no array.
        ValueError: If the network needs an example or is in training mode, or the engine cannot
            run it.
        DifferenceError: If the result differs from the network by more than rounding: by more than
            1e-4 of its largest output, and lies further than twice as far as the network from
            what that gives in float64.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> compiled = compile(network, engine="chunks")
        >>> compiled(torch.ones(5, 3)).shape, compiled.largest_difference < 1e-5
        (torch.Size([5, 1]), True)
        >>> print(compiled.parts[0])
        network: 3 -> 8 relu -> 1: chunks
    """
    given: Any = model_or_chain
    if not isinstance(given, nn.Module | Chain):
        kind = type(given).__name__
        raise TypeError(f"model_or_chain must be a torch.nn.Module or a Chain, got {kind}")
    x = _example(example)
    if isinstance(model_or_chain, Chain):
        chain: Chain | str = model_or_chain
        dtype = torch.float32
    else:
        chain, dtype = read_chain(model_or_chain), precision([model_or_chain])
    if isinstance(chain, Chain) and x is not None and x.ndim not in chain.axes:
        chain = f"an input of {x.ndim} axes has its channels elsewhere"
    if isinstance(chain, str):
        assert isinstance(model_or_chain, nn.Module)
        return _compile_network(model_or_chain, x, engine, chain)
    run = CompiledChain(chain, engine=engine, dtype=dtype)
    _warn(run, 3)
    difference = _verify_chain(model_or_chain, chain, run, x)
    part = Part("", run.chain.describe(), run.engine, run.reason)
    return Compiled(run, (part,), difference)


def _example(given: Any) -> Tensor | None:
    if given is None or isinstance(given, Tensor):
        return given
    if isinstance(given, np.ndarray):
        return as_tensor(given)
    raise TypeError(f"example must be a tensor or a NumPy array, got {type(given).__name__}")


def _compile_network(
    model: nn.Module,
    example: Tensor | None,
    engine: Engine,
    reason: str,
    timer: Timer = short_turns,
) -> Compiled:
    if example is None:
        raise ValueError(
            f"example must be given, to verify the result with: the network is not one chain "
            f"({reason})"
        )
    learning = next((name for name, part in model.named_modules() if part.training), None)
    if learning is not None:
        name = f"its {learning!r}" if learning else "it"
        raise ValueError(f"the network must be in evaluation mode, {name} is not: call eval()")

    example = _as_floats_of(model, example.clone())  # a network may work in place
    tried: list[CompiledChain] = []

    def make(chain: Chain, dtype: torch.dtype) -> CompiledChain:
        tried.append(CompiledChain(chain, engine=engine, dtype=dtype))
        return tried[-1]

    timed = example if engine == "auto" else None
    run, parts = compile_parts(model, make, example=timed, timer=timer)
    without = [one for one in tried if one.reason == NO_HALIDE]
    if without:
        _warn(without[0], 4)
    expected = _without_trace(model, example.clone())
    try:
        got = _without_trace(run, example.clone())
    except (AttributeError, TypeError) as error:
        return _as_given(model, parts, f"the network reads more of it: {error}")
    except ValueError as error:
        return _as_given(model, parts, f"it does not take what it gets there: {error}")
    difference = _checked(model, example, got, expected)
    if timed is not None and any(part.engine != PYTORCH for part in parts):
        with kept_buffers(model), kept_buffers(run):
            trial = compare(model, run, timed, timer)
        if trial.verdict == "slower":
            why = f"the network as a whole would be slower: {trial.speedup}"
            return _as_given(model, parts, why)
    return Compiled(run, tuple(parts), difference)


def _as_given(model: nn.Module, parts: Sequence[Part], reason: str) -> Compiled:
    """All of it through PyTorch, after all."""
    return Compiled(copy_model(model), tuple(given_up(parts, reason)), 0.0)


def _warn(run: CompiledChain, stacklevel: int) -> None:
    """Python shows a warning of one line of a program once."""
    if run.reason == NO_HALIDE:
        warnings.warn(
            f"{NO_HALIDE}; until then chains run in chunks through PyTorch, which is slower",
            stacklevel=stacklevel,
        )


def _verify_chain(
    model: nn.Module | Chain, chain: Chain, run: CompiledChain, example: Tensor | None
) -> float:
    x = _random_example(chain, run.dtype) if example is None else example
    got = run(x)
    if isinstance(model, nn.Module):
        x = x.to(run.dtype, copy=True)  # as a chain converts its inputs
        return _checked(model, x, got, _without_trace(model, x.clone()))
    axis = chain.axes[x.ndim]
    rows = x.movedim(axis, -1)
    flat = evaluate(chain, rows.reshape(-1, chain.c_in)).to(run.out_dtype)
    return _difference(got, flat.reshape(*rows.shape[:-1], chain.c_out).movedim(-1, axis))


def _random_example(chain: Chain, dtype: torch.dtype) -> Tensor:
    """Values that every step takes, or codes of categories, with the axes that the chain takes."""
    generator = torch.Generator().manual_seed(0)
    ndim = 2 if 2 in chain.axes else min(chain.axes)
    shape = (*(1,) * (ndim - 2), ROWS, chain.c_in)[-ndim:]
    if reads_codes(chain.steps):
        codes = torch.tensor([-1.0, 0.0, float("nan")], dtype=dtype)
        x = codes[torch.randint(3, shape, generator=generator)]
    else:
        x = torch.randn(shape, generator=generator, dtype=dtype)
    return x.movedim(-1, chain.axes[ndim])


def reads_codes(steps: Sequence[Step]) -> bool:
    """Whether steps read codes of categories, and not any number.

    Args:
        steps: Of a chain.

    Returns:
        Whether one of them does.

    Example:
        >>> reads_codes([Lookup(torch.ones(3, 2))])
        True
    """
    return any(
        isinstance(step, OneHot | Lookup)
        or (isinstance(step, Concat) and any(reads_codes(branch) for branch in step.branches))
        for step in steps
    )


def _as_floats_of(model: nn.Module, x: Tensor) -> Tensor:
    """Fractions in the network's precision, as NumPy's are float64 unless one asks for others."""
    return x.to(precision([model])) if x.dtype == torch.float64 else x


def _through(model: nn.Module, x: Any) -> Any:
    """Call a network without gradients, on whichever kind of array."""
    with torch.no_grad():
        if isinstance(x, Tensor):
            return model(x)
        made = model(as_tensor(x) if isinstance(x, np.ndarray) else torch.as_tensor(x))
        return tree_map_only(Tensor, Tensor.numpy, made)


def _without_trace(model: nn.Module, x: Tensor) -> Any:
    """Call a network that may count what it sees, and leave its buffers as they were."""
    with kept_buffers(model):
        return _through(model, x)


def _checked(model: nn.Module, x: Tensor, got: Any, expected: Any) -> float:
    """The largest difference, if it is no more than rounding, of either side."""
    try:
        return _largest_difference(got, expected)
    except DifferenceError:
        largest, ours, theirs = _from_float64(model, x, got, expected)
        if not ours <= AS_FAR * theirs < math.inf:
            raise
        return largest


def _from_float64(
    model: nn.Module, x: Tensor, got: Any, expected: Any
) -> tuple[float, float, float]:
    """How far both are from each other, and from what the network gives in float64; NaN if not."""
    try:
        exact = _through(copy_model(model).double(), x.to(torch.float64, copy=True))
        pairs = ((got, expected), (got, exact), (expected, exact))
        both, ours, theirs = (_largest_difference(*pair, limit=math.inf) for pair in pairs)
    except Exception:  # whatever a network raises that does not take float64
        return math.nan, math.nan, math.nan
    return both, ours, theirs


def _largest_difference(got: Any, expected: Any, limit: float | None = None) -> float:
    """Over all tensors that a network puts out."""
    ours, theirs = outputs_of(got), outputs_of(expected)
    if ours.keys() != theirs.keys():
        raise DifferenceError(
            f"the compiled network gives {', '.join(ours)} where the network gives "
            f"{', '.join(theirs)}"
        )
    return max((_difference(ours[name], one, limit) for name, one in theirs.items()), default=0.0)


def _difference(got: Tensor, expected: Tensor, limit: float | None = None) -> float:
    """The largest difference, if it is no more than a limit; by default than rounding."""
    if got.shape != expected.shape:
        raise DifferenceError(
            f"the compiled network gives shape {tuple(got.shape)} where the network gives "
            f"{tuple(expected.shape)}"
        )
    if got.numel() == 0:
        return 0.0
    if not expected.is_floating_point():
        largest = float((got != expected).double().mean())
        usual = MOST_OTHER_CLASSES
    else:
        apart = (got.double() - expected.double()).abs()
        same = (got == expected) | (got.isnan() & expected.isnan())
        largest = float(torch.where(same, 0.0, apart).max())
        usual = TOLERANCE * max(1.0, float(expected.double().nan_to_num().abs().max()))
    limit = usual if limit is None else limit
    if not largest <= limit:
        raise DifferenceError(
            f"the compiled network differs from the network by {largest:.3g}, more than {limit:.3g}"
        )
    return largest
