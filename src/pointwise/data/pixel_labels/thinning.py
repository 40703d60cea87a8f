"""A bounded number of labelled pixels, drawn at random from any number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP, _FIRST, _SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


class Thinned:
    """Keeps the pixels whose hash is least, so that a pixel that comes twice is kept or not twice.

    The hash of a pixel depends on the seed and on nothing else: in whatever parts the pixels come,
    the same ones are kept.

    Args:
        most: Pixels to keep at most; all if ``None``.
        seed: Seed of the draw.

    Attributes:
        total: How many pixels came, counted each time.

    Example:
        >>> thinned = Thinned(2, seed=0)
        >>> thinned.add(np.arange(0, 5), np.array(list("abcde")))
        >>> thinned.add(np.arange(5, 9), np.array(list("fghi")))
        >>> pixels, labels = thinned.take()
        >>> thinned.total, "".join(labels), pixels.tolist()
        (9, 'hi', [7, 8])
    """

    def __init__(self, most: int | None, seed: int) -> None:
        self._most, self._seed = most, seed
        self._parts: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[Any]]] = []
        self._held = self.total = 0
        self._limit: np.uint64 | None = None

    def add(self, pixels: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Take some pixels.

        Args:
            pixels: Number of each, ``(N,)``.
            values: What belongs to each, ``(N,)``.
        """
        self.total += len(pixels)
        keys = np.zeros(len(pixels) if self._most is not None else 0, np.uint64)
        if self._most is not None:
            keys = _hashed(pixels, self._seed)
            if self._limit is not None:
                near = keys <= self._limit
                keys, pixels, values = keys[near], pixels[near], values[near]
        self._parts.append((keys, pixels, values))
        self._held += len(pixels)
        if self._most is not None and self._held > 2 * self._most:
            self._prune(self._most)

    def take(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Give what is kept.

        Returns:
            The pixels and what belongs to them, in the order in which they came.
        """
        if not self._parts:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if self._most is not None and self._held > self._most:
            self._prune(self._most)
        pixels, values = (np.concatenate([part[n] for part in self._parts]) for n in (1, 2))
        return pixels, values

    @property
    def drawn(self) -> bool:
        """Whether some were left out."""
        return self._limit is not None

    def _prune(self, most: int) -> None:
        keys, pixels, values = (np.concatenate([p[n] for p in self._parts]) for n in range(3))
        self._limit = np.partition(keys, most - 1)[most - 1]
        near = keys <= self._limit
        self._parts = [(keys[near], pixels[near], values[near])]
        self._held = int(near.sum())


def _hashed(pixels: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """A hash of each number by SplitMix64, no two alike; in place, as there may be many."""
    keys: NDArray[np.uint64] = pixels.astype(np.uint64)
    start = np.random.default_rng(seed).integers(0, 2**63, dtype=np.uint64)
    shifted = np.empty_like(keys)
    with np.errstate(over="ignore"):
        keys *= _STEP
        keys += start
        for shift, factor in ((30, _FIRST), (27, _SECOND)):
            keys ^= np.right_shift(keys, np.uint64(shift), out=shifted)
            keys *= factor
    keys ^= np.right_shift(keys, np.uint64(31), out=shifted)
    return keys
