"""Arrays of any shape as ``(B, C, P)``: batches, channels, positions, without copying them.

Planar memory gives one batch a sample and positions side by side; rows and channels-last memory
give a single batch whose channels lie side by side. Which it is stands in the strides.
"""

import ctypes
import math
from typing import Any

import numpy as np
import torch
from numpy.lib.array_utils import byte_bounds
from torch import Tensor

LARGE_BYTES = 1 << 22
"""From so many on NumPy asks for large pages. Small ones, each handed out and cleared when it is
first written, take longer than a narrow chain does."""

LINE_BYTES = 64
"""Of the cache: vectors that begin on a line are written in one go."""


def is_rows(x: Tensor, axis: int) -> bool:
    """Whether the channels of a position lie side by side: rows, or channels-last memory.

    Args:
        x: Any tensor.
        axis: Its channels, counted from the end.

    Returns:
        Whether they do; true if the channels come last.

    Example:
        >>> is_rows(torch.ones(4, 3), -1), is_rows(torch.ones(4, 3, 5), -2)
        (True, False)
    """
    return axis == -1 or (x.shape[axis] > 1 and x.stride(axis) == 1 and not x.is_contiguous())


def flat_view(x: Tensor, axis: int, *, rows: bool) -> Tensor | None:
    """Flatten ``x`` to ``(B, C, P)`` without copying it.

    Args:
        x: Any tensor.
        axis: Its channels, counted from the end.
        rows: Whether the axes before the channels count as positions too; there is one batch then.

    Returns:
        A view, or ``None`` if the memory allows none.

    Example:
        >>> x = torch.ones(2, 3, 5, 7)
        >>> flat_view(x, -3, rows=False).shape
        torch.Size([2, 3, 35])
        >>> flat_view(x.movedim(1, -1), -1, rows=True) is None
        True
    """
    shape = tuple(x.shape)
    c, before, after = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis:][1:])
    try:
        if rows:
            return x.movedim(axis, -1).view(before * after, c).T.unsqueeze(0)
        return x.view(before, c, after)
    except RuntimeError:
        return None


def empty_like(x: Tensor, axis: int, channels: int, dtype: torch.dtype) -> Tensor:
    """Room for an output that lies in memory as the input does.

    Args:
        x: The input.
        axis: Its channels, counted from the end.
        channels: Channels of the output.
        dtype: Type of the output.

    Returns:
        A tensor of the shape of ``x`` but for the channels.

    Example:
        >>> empty_like(torch.ones(2, 3, 5), -2, 7, torch.int64).shape
        torch.Size([2, 7, 5])
    """
    lead, trail = x.shape[:axis], x.shape[axis:][1:]
    if is_rows(x, axis):
        return _room(*lead, *trail, channels, dtype=dtype).movedim(-1, axis)
    return _room(*lead, channels, *trail, dtype=dtype)


def _room(*shape: int, dtype: torch.dtype) -> Tensor:
    """Unset memory; of much of it, as NumPy asks the system for it, and PyTorch does not."""
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE_BYTES:
        return torch.empty(shape, dtype=dtype)
    memory = np.empty(size + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return torch.from_numpy(memory[start : start + size]).view(dtype).view(shape)


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the memory of two tensors may overlap: their address ranges do.

    Args:
        a: A tensor.
        b: Another one.

    Returns:
        Whether they do; parts that alternate count as overlapping.

    Example:
        >>> x = torch.ones(4)
        >>> overlap(x, x[2:]), overlap(x[:2], x[2:])
        (True, False)
    """
    if a.numel() == 0 or b.numel() == 0:
        return False
    (start_a, end_a), (start_b, end_b) = byte_range(a), byte_range(b)
    return start_a < end_b and start_b < end_a


def byte_range(x: Tensor) -> tuple[int, int]:
    """The addresses between which the numbers of a tensor lie.

    Args:
        x: A tensor that holds a number.

    Returns:
        The first address, and the one behind the last.

    Example:
        >>> start, end = byte_range(torch.ones(4, 3).T[1:])
        >>> end - start
        44
    """
    start = x.data_ptr()
    if x.is_contiguous():
        return start, start + x.nbytes
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return start, start + (last + 1) * x.element_size()


def as_tensor(array: Any) -> Tensor:
    """See a NumPy array as a tensor of the same memory.

    Args:
        array: The array; it may be read-only.

    Returns:
        A view; a copy if the array runs backwards or holds bytes in foreign order.

    Raises:
        TypeError: If it holds anything but numbers.

    Example:
        >>> as_tensor(np.ones(2, dtype=np.uint16)).dtype
        torch.uint16
    """
    if array.dtype.kind not in "buif":
        raise TypeError(f"x must hold numbers, got an array of {array.dtype}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else _writable(array))


def _writable(array: Any) -> Any:
    """The same memory without its flag, of which ``torch.from_numpy`` warns; we only read it."""
    if array.size == 0:
        return np.empty(array.shape, array.dtype)
    low, high = byte_bounds(array)
    memory = (ctypes.c_byte * (high - low)).from_address(low)
    memory.owner = array  # type: ignore[attr-defined]  # keeps it alive
    return np.ndarray(array.shape, array.dtype, buffer=memoryview(memory), strides=array.strides)
