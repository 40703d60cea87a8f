"""What a pipeline under construction is made of: values, places to read them, stored stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pointwise.runtime.schedules import Block

Expr: TypeAlias = Any
Func: TypeAlias = Any
"""Of Halide, which ships without types."""


HALIDE_TYPES: dict[str, tuple[str, int]] = {
    "float32": ("Float", 32),
    "float64": ("Float", 64),
    "uint8": ("UInt", 8),
    "int8": ("Int", 8),
    "uint16": ("UInt", 16),
    "int16": ("Int", 16),
    "int32": ("Int", 32),
}
"""Types that a pipeline reads as they are."""


class UnsupportedError(Exception):
    """Carries the reason why a chain cannot be one pipeline."""


@dataclass(frozen=True)
class Layout:
    """What a pipeline is compiled for.

    Attributes:
        dtype: NumPy's name of the input's type.
        rows_in: Whether the channels of a position lie side by side in the input.
        rows_out: The same of the output.
        parallel: Whether it runs on several threads.
        dense: Whether it reads rows, and all rows that it reads or writes follow one another
            without gaps.
        copied: Whether planar channels are copied together first, several tiles at a time.
        by_blocks: Whether each block of the last product goes through several tiles before the next
            one does. The chain must be plain, its input and output planar.
        alone: Whether several threads share a single sample.
        few: Whether it is for few positions, a vector of them at a time.
    """

    dtype: str
    rows_in: bool
    rows_out: bool
    parallel: bool
    dense: bool = False
    copied: bool = False
    by_blocks: bool = False
    alone: bool = False
    few: bool = False


@dataclass(frozen=True)
class Place:
    """Where an expression is asked for: a position, a channel and a member."""

    p: Expr
    o: Expr
    m: Expr


@dataclass
class Value:
    """Channels in the middle of a chain.

    Attributes:
        at: The expression at a position, channel and member.
        channels: Number of channels, of one member.
        room: How many may be asked for: those that a padded product computes.
        members: Whether each member has its own.
        stored: Whether reading it costs no arithmetic.
        product: The product that it ends in, if that is not yet stored.
    """

    at: Callable[[Place], Expr]
    channels: int
    room: int
    members: bool = False
    stored: bool = False
    product: "Product | None" = None


@dataclass(frozen=True)
class Sum:
    """One way through some input channels of a product.

    Attributes:
        along: What runs over channels, or over parts.
        terms: How many of them.
        part: The sum of one part, if there are parts.
        within: What runs over the channels of a part.
    """

    along: Any
    terms: int
    part: Func | None = None
    within: Any = None


@dataclass(frozen=True)
class Product:
    """The sums of a matrix product.

    Attributes:
        total: The function that holds them.
        sums: What is added, in this order.
        block: What is kept in registers.
    """

    total: Func
    sums: tuple[Sum, ...]
    block: Block


@dataclass
class Stage:
    """A stored function and how it is to be scheduled.

    Attributes:
        func: The function.
        channels: Values that it stores for a position, of one member.
        members: Whether each member has its own.
        product: The product that it ends in, if any.
        reductions: What its updates run over.
        across: Whether it holds the values of all members at a time.
    """

    func: Func
    channels: int
    members: bool
    product: Product | None = None
    reductions: Sequence[Any] = ()
    across: bool = False
