"""Categories in a raster: the numbers of its pixels to the numbers of the levels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.nn.encoding import UNSEEN

_TRUTH = {"True": 1.0, "False": 0.0}


class Levels:
    """Codes a band that was a category in training.

    A level is the number that its text spells, so that 3, 3.0 and ``"3"`` are one level. What is no
    level gets the code of the unseen.

    Args:
        name: Name of the band, for messages.
        levels: Text of each level.

    Attributes:
        numbers: The numbers that are levels, ascending.
        codes: The code of each.

    Raises:
        DataError: If no level is a number, or two are the same one.

    Example:
        >>> out = np.empty(3, np.float32)
        >>> Levels("soil", ["10", "3.0"]).code(np.array([3, 10, 4]), out)
        >>> out
        array([ 1.,  0., -1.], dtype=float32)
    """

    def __init__(self, name: str, levels: Sequence[str]) -> None:
        known = {text: number for text in levels if (number := _number(text)) is not None}
        if not known:
            shown = ", ".join(repr(text) for text in levels[:5])
            raise DataError(
                f"column {name!r} held texts in training ({shown}), but a raster holds numbers: "
                "fit on numbers in their place, or leave the column out"
            )
        numbers = np.array(list(known.values()))
        order = np.argsort(numbers, kind="stable")
        self.numbers = numbers[order]
        twice = np.flatnonzero(np.diff(self.numbers) == 0)
        if len(twice):
            number = self.numbers[twice[0]]
            texts = " and ".join(repr(t) for t, n in known.items() if n == number)
            raise DataError(
                f"levels {texts} of column {name!r} are the same number in a raster: "
                "write them alike, and fit again"
            )
        codes = np.array([i for i, text in enumerate(levels) if text in known], np.float32)
        self.codes = codes[order]
        self._tables: dict[np.dtype[Any], NDArray[np.float32]] = {}

    def code(self, values: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Write the code of every pixel.

        Args:
            values: The band, ``(P,)``.
            out: Room for the codes, ``(P,)``.
        """
        dtype = values.dtype
        if dtype.kind not in "bui" or dtype.itemsize > 2 or not dtype.isnative:
            out[:] = self._search(values.astype(np.float64))
            return
        unsigned = np.dtype(f"u{dtype.itemsize}")
        if dtype not in self._tables:  # of all values that the type has
            every = np.arange(2 ** (8 * dtype.itemsize)).astype(unsigned)
            shown = every if dtype.kind == "b" else every.view(dtype)
            self._tables[dtype] = self._search(shown.astype(np.float64))
        np.take(self._tables[dtype], values.view(unsigned), out=out, mode="clip")

    def _search(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        place = np.searchsorted(self.numbers, values).clip(max=len(self.numbers) - 1)
        found: NDArray[np.float32] = np.where(
            self.numbers[place] == values, self.codes[place], np.float32(UNSEEN)
        )
        return found


def _number(text: str) -> float | None:
    """The number that a level spells; truth values count as 1 and 0."""
    if text in _TRUTH:
        return _TRUTH[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
