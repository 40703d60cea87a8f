"""A chain of pointwise maps as plain data: what the executors run.

Every step maps the channels of one position. Its numbers are float64 tensors on the CPU; each
executor rounds them to the type it computes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pointwise.functional import Affine

ActivationKind: TypeAlias = Literal[
    "elu",
    "gelu",
    "gelu_tanh",
    "hardswish",
    "leaky_relu",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]


@dataclass(frozen=True)
class Activation:
    """A function of single values.

    Attributes:
        kind: Which one; ``"gelu"`` is the exact one, by the error function.
        parameter: Slope of ``"leaky_relu"``, alpha of ``"elu"``, beta of ``"softplus"``.
        threshold: Beyond it ``"softplus"`` is the identity.
    """

    kind: ActivationKind
    parameter: float = 1.0
    threshold: float = 20.0


@dataclass(frozen=True, eq=False)
class Scale:
    """Per channel ``(x - centre) * factor + shift``; three tensors of shape ``(C,)``."""

    centre: Tensor
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True, eq=False)
class Clip:
    """Per channel limits, of shape ``(C,)``; missing values stay missing."""

    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class SmoothClip:
    """``x / sqrt(1 + (x / limit)^2)``: within the limit, and nearly ``x`` around zero."""

    limit: float


@dataclass(frozen=True, eq=False)
class Impute:
    """Per channel the value that replaces a missing one (NaN), of shape ``(C,)``."""

    values: Tensor


@dataclass(frozen=True)
class Missing:
    """1 where a value is missing (NaN), else 0."""


@dataclass(frozen=True)
class Pick:
    """The channels with these numbers, in this order; one may come several times."""

    channels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class OneHot:
    """Per channel: 1 where the value is ``codes``, else 0; ``shares`` where it is ``unseen``."""

    codes: Tensor
    shares: Tensor
    unseen: float = -1.0


@dataclass(frozen=True, eq=False)
class Lookup:
    """One channel of codes to the rows of a table ``(rows, C_out)``.

    The code -1, and NaN, takes the last row; codes out of range take the nearest one.
    """

    table: Tensor


@dataclass(frozen=True)
class Concat:
    """Branches that read the same channels; their outputs side by side."""

    branches: tuple[tuple["Step", ...], ...]


@dataclass(frozen=True)
class Residual:
    """The input plus what the body makes of it."""

    body: tuple["Step", ...]


@dataclass(frozen=True)
class Normalize:
    """Zero mean and unit variance over the channels of each group, at each position."""

    groups: int = 1
    eps: float = 1e-5


@dataclass(frozen=True)
class Softmax:
    """Probabilities over the channels of each of ``parts`` equal parts (members, say)."""

    parts: int = 1


@dataclass(frozen=True)
class Spread:
    """Mean over members, whose channels lie side by side, and their standard deviation if wanted.

    Attributes:
        members: Number of members ``M``; ``M * C`` channels become ``C``, or ``2 * C``.
        deviation: Whether the deviations (those of the members at hand, not an estimate for more)
            follow the means.
    """

    members: int
    deviation: bool = True


@dataclass(frozen=True)
class Argmax:
    """The number of the largest channel, the first of equals: one channel of int64."""


Step: TypeAlias = (
    Affine
    | Activation
    | Scale
    | Clip
    | SmoothClip
    | Impute
    | Missing
    | Pick
    | OneHot
    | Lookup
    | Concat
    | Residual
    | Normalize
    | Softmax
    | Spread
    | Argmax
)

Axes: TypeAlias = dict[int, int]
"""Which axis holds the channels, counted from the end, for each number of axes of an input."""

MOST_AXES = 8

CHANNELS_FIRST: Axes = {ndim: 1 - ndim for ndim in range(2, MOST_AXES + 1)}
"""``(N, C, *S)``."""

CHANNELS_LAST: Axes = dict.fromkeys(range(1, MOST_AXES + 1), -1)
"""``(*, C)``, as ``nn.Linear`` takes it."""


SINGLE_VALUES = (Activation, Scale, Clip, SmoothClip, Impute)
"""Steps that become part of the product before them."""


class Chain:
    """Steps that follow one another at every position.

    Args:
        c_in: Number of input channels.
        steps: The steps, in the order in which they run.
        axes: Which axis of an input holds the channels. Default: the second, as in ``(N, C, *S)``.

    Attributes:
        c_in: Number of input channels.
        c_out: Number of output channels.
        steps: The steps.
        axes: As given.

    Raises:
        ValueError: If a step does not fit the channels that the steps before it put out.

    Example:
        >>> chain = Chain(3, [Affine(torch.ones(8, 3)), Activation("relu")])
        >>> chain.c_out, chain.macs
        (8, 24)
    """

    def __init__(self, c_in: int, steps: Sequence[Step], axes: Axes | None = None) -> None:
        if c_in < 1:
            raise ValueError(f"c_in must be at least 1, got {c_in}")
        self.c_in, self.steps = c_in, tuple(steps)
        self.axes: Axes = dict(CHANNELS_FIRST if axes is None else axes)
        self.c_out = channels_after(self.steps, c_in)
        if any(isinstance(step, Argmax) for step in self.steps[:-1]):
            raise ValueError("Argmax must be the last step")

    def __repr__(self) -> str:
        """Channels and the names of the steps."""
        names = ", ".join(describe_step(step) for step in self.steps)
        return f"Chain({self.c_in} -> {self.c_out}: {names})"

    @property
    def macs(self) -> int:
        """Multiply-adds of the matrices at one position."""
        return sum(step_macs(step) for step in self.steps)

    @property
    def is_plain(self) -> bool:
        """Whether it is whole matrices, one after the other, and what becomes part of them."""
        first = self.steps[0] if self.steps else None
        return isinstance(first, Affine) and all(
            step.groups == 1 if isinstance(step, Affine) else isinstance(step, SINGLE_VALUES)
            for step in self.steps
        )

    @property
    def dtype(self) -> torch.dtype | None:
        """``int64`` if the chain ends in class numbers, else ``None``: what it computes in."""
        last = self.steps[-1] if self.steps else None
        return torch.int64 if isinstance(last, Argmax) else None

    def then(self, *steps: Step) -> "Chain":
        """Append steps.

        Args:
            steps: What follows: ``Softmax``, ``Spread``, ``Argmax``, say.

        Returns:
            A longer chain.

        Example:
            >>> Chain(3, [Affine(torch.ones(8, 3))]).then(Softmax(), Argmax()).c_out
            1
        """
        return Chain(self.c_in, (*self.steps, *steps), self.axes)

    def describe(self) -> str:
        """The steps in words, as in ``"3 -> 8 relu -> 1"``."""
        words = [str(self.c_in), *(describe_step(step) for step in self.steps)]
        return " ".join(words)


def channels_after(steps: Sequence[Step], c_in: int) -> int:
    """Count the channels that steps put out, and check that each fits the one before.

    Args:
        steps: The steps.
        c_in: Number of channels of their input.

    Returns:
        Number of channels of their output.

    Raises:
        ValueError: If a step does not fit.

    Example:
        >>> channels_after([Pick((0, 0, 1)), Spread(3)], 2)
        2
    """
    channels = c_in
    for step in steps:
        channels = _after(step, channels)
    return channels


def _after(step: Step, c: int) -> int:
    match step:
        case Affine():
            _check(step.c_in == c, step, f"takes {step.c_in} channels", c)
            return step.c_out
        case Scale(values) | Clip(values) | Impute(values) | OneHot(values):
            _check(len(values) == c, step, f"has {len(values)} channels", c)
        case Pick(numbers):
            fits = all(0 <= number < c for number in numbers)
            _check(fits, step, f"picks channels {list(numbers)}", c)
            return len(numbers)
        case Lookup(table):
            _check(c == 1, step, "takes 1 channel", c)
            return int(table.shape[1])
        case Concat(branches):
            return sum(channels_after(branch, c) for branch in branches)
        case Residual(body):
            after = channels_after(body, c)
            _check(after == c, step, f"has a body that puts out {after} channels", c)
        case Normalize(parts) | Softmax(parts) | Spread(parts):
            _check(parts > 0 and c % parts == 0, step, f"needs a multiple of {parts} channels", c)
            if isinstance(step, Spread):
                return c // parts * (2 if step.deviation else 1)
        case Argmax():
            return 1
    return c


def _check(fits: bool, step: Step, what: str, got: int) -> None:
    if not fits:
        raise ValueError(f"{type(step).__name__} {what}, got {got}")


def step_macs(step: Step) -> int:
    """Multiply-adds of one step at one position.

    Args:
        step: The step.

    Returns:
        Those of its matrices; other steps count as nothing.

    Example:
        >>> step_macs(Residual((Affine(torch.ones(4, 2), groups=2), Activation("relu"))))
        8
    """
    match step:
        case Affine():
            return step.weight.numel()
        case Residual(body):
            return sum(step_macs(inner) for inner in body)
        case Concat(branches):
            return sum(step_macs(inner) for branch in branches for inner in branch)
    return 0


def describe_step(step: Step) -> str:
    """One step in a word or two.

    Args:
        step: The step.

    Returns:
        ``"-> 64"`` for a matrix to 64 channels, ``"relu"``, ``"scale"`` and so on.

    Example:
        >>> describe_step(Affine(torch.ones(4, 2), groups=2))
        '-> 4 in 2 groups'
    """
    match step:
        case Affine():
            return f"-> {step.c_out}" + (f" in {step.groups} groups" if step.groups > 1 else "")
        case Activation(kind):
            return kind
        case Residual(body):
            return f"(+ {' '.join(describe_step(inner) for inner in body)})"
        case Concat(branches):
            inner = (" ".join(describe_step(s) for s in branch) for branch in branches)
            return f"[{' | '.join(inner)}]"
        case Spread():
            return f"mean{' and deviation' if step.deviation else ''} of {step.members} members"
    return type(step).__name__.lower()
