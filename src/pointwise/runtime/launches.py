"""What calls came down to that were made before, so that another of their kind starts at once.

A narrow chain goes over a million positions in three milliseconds, and leaves nothing of Python in
the caches: to look at two tensors and decide how to cut them then takes a tenth of that.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointwise.runtime.views import byte_range

MOST_KEPT = 64
"""Kinds of calls that a chain keeps in mind."""


@dataclass(frozen=True)
class Bound:
    """A compiled pipeline with the numbers of one chain.

    Attributes:
        call: The pipeline.
        constants: Its arguments between the input and the output.
        tile: Fewest positions that it runs on.
        members: Members that its output keeps apart.
        buffer: Makes an argument of an array.
    """

    call: Any
    constants: tuple[Any, ...]
    tile: int
    members: int
    buffer: Any


@dataclass(frozen=True)
class View:
    """Where a part of a tensor lies in it.

    Attributes:
        shape: Its sizes.
        strides: Its strides, in numbers.
        offset: Numbers between the first of the tensor and the first of the part.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, part: Tensor, whole: Tensor) -> "View":
        """Find a part in a tensor.

        Args:
            part: A view of the tensor.
            whole: The tensor.

        Returns:
            Where it lies.

        Example:
            >>> import torch
            >>> x = torch.ones(2, 3)
            >>> View.of(x[1, 1:], x)
            View(shape=(2,), strides=(1,), offset=4)
        """
        apart = part.data_ptr() - whole.data_ptr()
        return cls(tuple(part.shape), part.stride(), apart // whole.element_size())

    def array(self, whole: Tensor) -> Any:
        """The part of another tensor of that kind, as a NumPy array.

        Args:
            whole: The tensor.

        Returns:
            The array, on the tensor's memory.

        Example:
            >>> import torch
            >>> View((2,), (1,), 4).array(torch.arange(6).reshape(2, 3))
            array([4, 5])
        """
        if not self.offset:
            return whole.as_strided(self.shape, self.strides).numpy()
        start = whole.storage_offset() + self.offset
        return whole.as_strided(self.shape, self.strides, start).numpy()


@dataclass(frozen=True)
class Launch:
    """One start of a pipeline.

    Attributes:
        bound: The pipeline.
        x: What it reads of the input.
        out: What it writes of the output.
        tasks: Tiles of each task, of a pipeline on several threads.
    """

    bound: Bound
    x: View
    out: View
    tasks: tuple[int, ...]

    def start(self, x: Tensor, out: Tensor) -> None:
        """Run it.

        Args:
            x: The input.
            out: The output.
        """
        bound = self.bound
        source, target = bound.buffer(self.x.array(x)), bound.buffer(self.out.array(out))
        bound.call(source, *bound.constants, *self.tasks, target)


def kind_of_call(*tensors: Any) -> tuple[Any, ...]:
    """What decides what a call comes down to.

    Args:
        *tensors: What there is to know of its tensors.

    Returns:
        That, with the threads there are, and the process: a fork has none of those of its parent.

    Example:
        >>> kind_of_call("float32") == kind_of_call("float32")
        True
    """
    return os.getpid(), torch.get_num_threads(), *tensors


class Launches:
    """What calls of a chain came down to, by the kind of their tensors."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[int, int, tuple[Launch, ...]]] = {}

    def keep(self, key: Any, x: Tensor, out: Tensor, made: Sequence[Launch]) -> None:
        """Keep what was started for two tensors.

        Args:
            key: Their kind.
            x: The input.
            out: The output.
            made: What was started, with views of these.
        """
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        (start, end), (first, last) = byte_range(x), byte_range(out)
        self._kept[key] = (end - start, last - first, tuple(made))

    def repeat(self, key: Any, x: Tensor, out: Tensor) -> bool:
        """Start for two tensors what was started for others of their kind.

        Args:
            key: Their kind.
            x: The input.
            out: The output.

        Returns:
            Whether it was; not if their memory overlaps, or lies where numbers do not begin.
        """
        known = self._kept.get(key)
        if known is None:
            return False
        (read, written, made), start, target = known, x.data_ptr(), out.data_ptr()
        even = not (start % x.element_size() or target % out.element_size())
        if not even or not (start + read <= target or target + written <= start):
            return False
        for launch in made:
            launch.start(x, out)
        return True
