"""A convolution in one word: ``7x7:512->64@28x28``."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

FORM = "KERNEL[/STRIDE]:C_IN->C_OUT@SIZE"
EXAMPLE = "7x7:512->64@28x28"
SHELL = "512-64 or 512to64 where a shell would take the > for itself"
MOST = 1_000_000
_SIZES = re.compile(r"[0-9]+(x[0-9]+)*")
_CHANNELS = re.compile("([0-9]+)(?:->|-|>|to|\N{RIGHTWARDS ARROW})([0-9]+)")


@dataclass(frozen=True)
class Spec:
    """A convolution that keeps the size but for its stride, and what it is applied to.

    Attributes:
        kernel: Size of the kernel along each axis, odd.
        stride: Step between output positions along every axis.
        c_in: Number of input channels.
        c_out: Number of output channels.
        size: Input positions along each axis.
    """

    kernel: tuple[int, ...]
    stride: int
    c_in: int
    c_out: int
    size: tuple[int, ...]

    @property
    def out_size(self) -> tuple[int, ...]:
        """Output positions along each axis."""
        return tuple(-(-one // self.stride) for one in self.size)

    @property
    def macs(self) -> int:
        """Multiply-adds of the convolution."""
        taps = math.prod(self.kernel) * math.prod(self.out_size)
        return taps * self.c_in * self.c_out

    @property
    def label(self) -> str:
        """The kernel in words: ``7x7``, and ``kernel 3`` where there is one axis."""
        return f"kernel {self.kernel[0]}" if len(self.kernel) == 1 else _joined(self.kernel)

    @property
    def title(self) -> str:
        """The convolution in words."""
        one_axis = len(self.size) == 1
        what = f"Convolution of {self.label}" if one_axis else f"{self.label} convolution"
        stride = f" with stride {self.stride}" if self.stride > 1 else ""
        size = _joined(self.size) + (" positions" if one_axis else "")
        return f"{what}{stride}, {self.c_in:,} to {self.c_out:,} channels, on {size}"

    def __str__(self) -> str:
        """The convolution in the form that ``parse_spec`` reads."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        size = _joined(self.size)
        return f"{_joined(self.kernel)}{stride}:{self.c_in}->{self.c_out}@{size}"


def parse_spec(text: str) -> Spec:
    """Read a convolution from its form ``KERNEL[/STRIDE]:C_IN->C_OUT@SIZE``.

    Args:
        text: Such as ``"7x7:512->64@28x28"``, ``"3:3->64@196"``, ``"3x3/2:64->128@56x56"``; for
            the arrow, ``-`` and ``to`` will do.

    Returns:
        The convolution.

    Raises:
        ValueError: If the text has another form, or no such convolution can be.

    Example:
        >>> parse_spec("3x3/2:64to128@56x56").out_size
        (28, 28)
        >>> parse_spec("3x3:64->128")
        Traceback (most recent call last):
        ValueError: a convolution is written KERNEL[/STRIDE]:C_IN->C_OUT@SIZE, such as
        '7x7:512->64@28x28': '3x3:64->128' lacks '@' and the size of the input
    """
    written = "".join(text.split()).lower().replace("\N{MULTIPLICATION SIGN}", "x")
    try:
        return _parsed(written)
    except _FormError as wrong:
        message = f"a convolution is written {FORM}, such as {EXAMPLE!r}: {text!r} {wrong}"
        raise ValueError(message) from None


class _FormError(Exception):
    """What is wrong with a text, as the end of a sentence about it."""


def _parsed(text: str) -> Spec:
    kernel_text, colon, rest = text.partition(":")
    if not colon:
        raise _FormError("lacks ':' between kernel and channels")
    channels, at, size_text = rest.partition("@")
    if not at:
        raise _FormError(
            f"ends before the output's channels; write {SHELL}"
            if channels.endswith("-")
            else "lacks '@' and the size of the input"
        )
    kernel_text, slash, stride_text = kernel_text.partition("/")
    kernel = _numbers("kernel", kernel_text, "7x7")
    stride = _numbers("stride", stride_text, "2") if slash else (1,)
    if len(stride) > 1:
        raise _FormError(
            f"has the stride {stride_text}: it is one number, the same along every axis"
        )
    found = _CHANNELS.fullmatch(channels)
    if not found:
        raise _FormError(f"has no channels in {channels!r}: write 512->64, or {SHELL}")
    c_in, c_out = (*_numbers("channels", found[1], "512"), *_numbers("channels", found[2], "64"))
    size = _numbers("size", size_text, "28x28")
    _check_kernel(kernel, size)
    return Spec(kernel, stride[0], c_in, c_out, size)


def _joined(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _numbers(what: str, text: str, example: str) -> tuple[int, ...]:
    if not _SIZES.fullmatch(text):
        raise _FormError(f"has no {what} in {text!r}: write it like {example}")
    numbers = tuple(int(one) if len(one) < 9 else MOST + 1 for one in text.split("x"))
    if min(numbers) < 1 or max(numbers) > MOST:
        raise _FormError(f"has {what} {text}: every number must be from 1 to {MOST:,}")
    return numbers


def _check_kernel(kernel: tuple[int, ...], size: tuple[int, ...]) -> None:
    if len(kernel) != len(size):
        axes = "axis" if len(kernel) == 1 else "axes"
        raise _FormError(f"has a kernel of {len(kernel)} {axes} and a size of {len(size)}")
    if len(size) > 3:
        raise _FormError(f"has {len(size)} axes: 1, 2 or 3 can be counted")
    if any(one % 2 == 0 for one in kernel):
        raise _FormError("has an even kernel: only odd ones keep the size")
    if set(kernel) == {1}:
        raise _FormError("has a kernel of one position, which is a 1x1 already")
