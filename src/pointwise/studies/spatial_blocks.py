"""Pixels in spatial blocks, and blocks held out whole: neighbouring pixels resemble each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.names import shorten
from pointwise.errors import DataError
from pointwise.estimators.splitting import split_rows

ENOUGH_BLOCKS = 25
"""With this many blocks a fifth of them is five: blocks get no smaller than this takes."""

SMALL_SIDE = 8
"""Blocks of fewer rows and columns keep few neighbours apart."""

_SHRINK = 0.85
_TRIES = 1000
_SAMPLE = 100_000


@dataclass(frozen=True)
class SpatialBlocks:
    """Which block each pixel is in.

    Args:
        numbers: Block of each pixel, from 0 on, ``(N,)``.
        side: Rows and columns of a block.
    """

    numbers: NDArray[np.int64]
    side: int

    @property
    def count(self) -> int:
        """Number of blocks that hold a pixel."""
        return int(self.numbers.max()) + 1


@dataclass(frozen=True)
class HeldBlocks:
    """A seed under which whole blocks are held out, and what the parts lack then.

    Args:
        seed: Of ``study_table``: it holds the same blocks out.
        test: Blocks that are scored on.
        unscored: Classes that no pixel of those blocks has.
    """

    seed: int
    test: int
    unscored: tuple[Any, ...]


def make_blocks(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shapes: NDArray[np.int64],
    *,
    side: int | None = None,
) -> SpatialBlocks:
    """Put pixels into square blocks of the scene.

    The pixels of one polygon stay together, in the block of its middle, unless it is larger than a
    block: then each of its pixels is in the block that it lies in. The side is the largest of which
    25 blocks hold pixels; where no side gives so many, that of most blocks.

    Args:
        rows: Row of each pixel, ``(N,)``.
        columns: Column of each.
        shapes: Number of the polygon of each; below 0 for none.
        side: Rows and columns of a block; by default chosen as said.

    Returns:
        The blocks.

    Reference:
        Roberts et al., Cross-validation strategies for data with temporal, spatial, hierarchical,
        or phylogenetic structure, Ecography 2017.

    Example:
        >>> rows, columns = np.divmod(np.arange(100), 10)
        >>> blocks = make_blocks(rows, columns, np.full(100, -1))
        >>> blocks.side, blocks.count
        (2, 25)
    """
    if side is None:
        side = _choose_side(rows, columns, shapes)
    return SpatialBlocks(_number(rows, columns, shapes, side), side)


def hold_blocks(
    blocks: SpatialBlocks, labels: NDArray[Any], *, valid: float, test: float, seed: int
) -> HeldBlocks:
    """Choose the seed of a study by groups so that its parts are alike.

    Of many seeds the one is taken that leaves every class to the training blocks, then the most
    classes to the test blocks, then to the validation blocks, and whose shares of pixels are the
    nearest to those asked for. Nothing but labels is looked at. Numbers count as five classes.

    Args:
        blocks: The block of each pixel.
        labels: Class or number of each pixel.
        valid: Share of the blocks that chooses the epoch.
        test: Share of the blocks to score on; 0 scores on those for validation.
        seed: The first seed to try; the others follow from it.

    Returns:
        The best of them.

    Raises:
        DataError: If blocks are too few, or no seed leaves every class to the training blocks.

    Example:
        >>> blocks = SpatialBlocks(np.arange(100) // 5, 10)
        >>> labels = np.array(["a"] * 95 + ["b"] * 5)
        >>> hold_blocks(blocks, labels, valid=0.15, test=0.2, seed=0).unscored
        ('b',)
    """
    least = 3 if test else 2
    if blocks.count < least:
        raise DataError(
            f"labelled pixels must lie in {least} blocks at least to hold some out, they lie in "
            f"{blocks.count} of {blocks.side} x {blocks.side} pixels: give a smaller --block-size, "
            "or labels from more places"
        )
    classes, codes = np.unique(_as_classes(labels), return_inverse=True)
    counts = np.zeros((blocks.count, len(classes)), dtype=np.int64)
    np.add.at(counts, (blocks.numbers, codes), 1)
    rest = np.random.SeedSequence(seed).generate_state(_TRIES - 1)
    best: tuple[tuple[float, ...], HeldBlocks] | None = None
    for tried in (seed, *(int(one) for one in rest)):
        learn, chosen, scored = _split(blocks.count, valid, test, tried)
        lacking = [(counts[part].sum(0) == 0) for part in (learn, scored, chosen)]
        shares = [counts[part].sum() / counts.sum() for part in (scored, chosen)]
        wanted = [test or valid, valid * (1 - test)]
        off = sum(abs(a - b) for a, b in zip(shares, wanted, strict=True))
        rank = (*(float(one.sum()) for one in lacking), off)
        if best is None or rank < best[0]:
            best = rank, HeldBlocks(tried, len(scored), tuple(classes[lacking[1]].tolist()))
    assert best is not None
    if best[0][0]:
        raise DataError(
            f"labels lie in too few blocks ({blocks.count} of {blocks.side} x {blocks.side} "
            f"pixels) to learn all {len(classes)} classes and hold blocks out: give a smaller "
            "--block-size, or labels from more places"
        )
    return best[1]


def describe_blocks(blocks: SpatialBlocks, held: HeldBlocks, unscored: Sequence[Any]) -> list[str]:
    """Say how pixels are held out, why, and what that leaves out.

    Args:
        blocks: The blocks.
        held: The held ones.
        unscored: Classes without a pixel to be scored on.

    Returns:
        Sentences.

    Example:
        >>> blocks = SpatialBlocks(np.arange(30), 50)
        >>> describe_blocks(blocks, HeldBlocks(0, 6, ()), ())[0][:57]
        'whole blocks of 50 x 50 pixels are held out, not pixels a'
    """
    said = [
        f"whole blocks of {blocks.side} x {blocks.side} pixels are held out, not pixels at random: "
        "neighbouring pixels resemble each other, so a model would be scored on what it has all "
        f"but seen; {blocks.count} blocks hold labels, {held.test} of them are scored on"
    ]
    if blocks.side < SMALL_SIDE:
        said.append(
            f"blocks of {blocks.side} x {blocks.side} pixels keep few neighbours apart, so the "
            "figures may still flatter: labels from more places would help"
        )
    if unscored:
        names = shorten([str(one) for one in unscored], 10)
        said.append(
            f"the blocks that are scored on hold no pixel of {names}: the figures do not tell of "
            "it, labels from more places would"
        )
    return said


def _choose_side(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shapes: NDArray[np.int64]
) -> int:
    step = -(-len(rows) // _SAMPLE)
    rows, columns, shapes = rows[::step], columns[::step], shapes[::step]
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    most, chosen = 0, side
    while True:
        count = int(_number(rows, columns, shapes, side).max()) + 1
        if count > most:
            most, chosen = count, side
        if most >= ENOUGH_BLOCKS or side <= 2:
            return chosen
        side = max(2, min(side - 1, int(side * _SHRINK)))


def _number(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shapes: NDArray[np.int64], side: int
) -> NDArray[np.int64]:
    """Block of each pixel, numbered from 0 on in the order of the scene."""
    down, across = rows // side, columns // side
    names, number = np.unique(shapes, return_inverse=True)
    if names[-1] >= 0 and len(names) < len(rows):
        middles = []
        whole = names >= 0
        for places in (rows, columns):
            low, high = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
            np.minimum.at(low, number, places)
            np.maximum.at(high, number, places)
            whole &= high - low < side
            middles.append((low + high) // 2)
        kept = whole[number]
        down = np.where(kept, middles[0][number] // side, down)
        across = np.where(kept, middles[1][number] // side, across)
    block: NDArray[np.int64] = down * (int(across.max()) + 1) + across
    return np.unique(block, return_inverse=True)[1].astype(np.int64)


def _split(
    count: int, valid: float, test: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Blocks to learn from, to choose with and to score on, as ``holdout.hold_out`` takes them."""
    rng, every = np.random.RandomState(seed), np.arange(count)
    rest, held = split_rows(count, test, rng, groups=every) if test else (every, None)
    learn, chosen = split_rows(len(rest), valid, rng, groups=rest)
    return rest[learn], rest[chosen], rest[chosen] if held is None else held


def _as_classes(labels: NDArray[Any]) -> NDArray[Any]:
    """Classes as they are; of numbers with many values which fifth each is in."""
    if labels.dtype.kind != "f":
        return labels
    return np.searchsorted(np.quantile(labels, [0.2, 0.4, 0.6, 0.8]), labels)
