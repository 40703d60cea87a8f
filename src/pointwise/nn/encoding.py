"""A table's columns to channels, inside the network: per channel, so that it also runs per pixel.

Both encoders take coded columns ``(N, C, *S)``: numbers with NaN where a value is missing, or the
codes of categories. They keep float32 when the network around them is cast lower or autocast:
a date in bfloat16 would keep 8 bits.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pointwise.functional.checks import check_input

UNSEEN = -1.0
"""The code of a level that the training rows did not have."""

ONE_HOT_LEVELS = 64
"""Categories with more levels than this are embedded."""

FAR = 1e9
"""Beyond this many scales from the centre a number's channel no longer changes in float32."""

EMBEDDING_CHANNELS = 16
"""Channels of an embedded category."""


class FullPrecision(nn.Module):
    """A per-channel map that keeps float32 or better, whatever the network around it runs in.

    Shape:
        ``(N, C, *S)`` to ``(N, C_out, *S)``, with ``C`` the map's ``c_in``.
    """

    @property
    @abstractmethod
    def c_in(self) -> int:
        """Number of input channels."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FullPrecision":
        def keep_precision(tensor: Tensor) -> Tensor:
            made = fn(tensor)
            low = made.dtype in (torch.bfloat16, torch.float16)
            return tensor.to(made.device) if low else made

        super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape ``(N, C, *S)`` outside of autocast."""
        check_input(x, self.c_in)
        kind = x.device.type
        if not torch.amp.is_autocast_available(kind):  # "meta", where networks are counted
            return self._map(x)
        with torch.autocast(kind, enabled=False):
            return self._map(x)

    @abstractmethod
    def _map(self, x: Tensor) -> Tensor: ...


class NumberEncoder(FullPrecision):
    """Numbers to channels: impute, scale, clip smoothly, and cut into linear pieces.

    A column gives one channel ``z / sqrt(1 + (z / 3)^2)`` with ``z = (x - centre) / scale`` (so
    far outliers stay within 3), one indicator channel if values are missing in training, and one
    channel per piece between two of its ``edges``: 0 below the piece, 1 above it, linear inside. A
    missing value is replaced by the column's centre.

    Args:
        centre: Centre of each of the ``C`` columns, the median say.
        scale: Positive scale of each column, the interquartile range say.
        missing: Whether each column gets an indicator channel.
        edges: Ascending edges of the pieces of each column; fewer than two make no piece.

    Raises:
        ValueError: If lengths differ, a scale is not positive or edges do not ascend.

    Shape:
        ``(N, C, *S)`` to ``(N, self.c_out, *S)``.

    Reference:
        Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features, 2022, equation 1
        (pieces, here within [0, 1]). Holzmüller, Grinsztajn and Steinwart, Better by Default,
        2024, section 3 (robust scaling and smooth clipping).

    Example:
        >>> encoder = NumberEncoder([0.0], [1.0], [True], [[0.0, 1.0, 3.0]])
        >>> encoder(torch.tensor([[2.0], [float("nan")]]))
        tensor([[1.6641, 0.0000, 1.0000, 0.5000],
                [0.0000, 1.0000, 0.0000, 0.0000]])
    """

    centre: Tensor
    scale: Tensor
    indicated: Tensor
    piece_column: Tensor
    piece_low: Tensor
    piece_width: Tensor

    def __init__(
        self,
        centre: Sequence[float],
        scale: Sequence[float],
        missing: Sequence[bool],
        edges: Sequence[Sequence[float]],
    ) -> None:
        super().__init__()
        if not len(centre) == len(scale) == len(missing) == len(edges):
            raise ValueError("centre, scale, missing and edges must have one entry per column")
        for value in scale:
            if not np.float32(value) > 0:  # in float32, where a tiny one is zero
                raise ValueError(f"every scale must be positive in float32, got {value}")
        pieces = [
            (column, low, high - low)
            for column, ends in enumerate(edges)
            for low, high in pairwise(ends)
        ]
        if any(not width > 0 for _, _, width in pieces):
            raise ValueError("the edges of every column must ascend")
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        indicated = [i for i, gaps in enumerate(missing) if gaps]
        self.register_buffer("indicated", torch.tensor(indicated, dtype=torch.long))
        column, low, width = zip(*pieces, strict=True) if pieces else ((), (), ())
        self.register_buffer("piece_column", torch.tensor(column, dtype=torch.long))
        self.register_buffer("piece_low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("piece_width", torch.tensor(width, dtype=torch.float32))

    @classmethod
    def fit(
        cls, x: NDArray[np.float64], weight: NDArray[np.float64], *, pieces: int
    ) -> "NumberEncoder":
        """Centre at the medians, scale by the interquartile ranges, cut near the quantiles.

        The cuts are quantiles of the distinct values, each with the square root of its rows: where
        most rows share one value (a gain that is mostly zero), plain quantiles would leave the rest
        in one piece.

        Args:
            x: Coded numbers ``(N, C)``, NaN where a value is missing.
            weight: Weight of each row, ``(N,)``; a weight of 2 counts as the row twice.
            pieces: Most pieces of a column.

        Returns:
            The encoder of columns like these.
        """
        ranks = np.linspace(0, 1, pieces + 1)
        centre, scale, edges = [], [], []
        for values in x.T:
            known = ~np.isnan(values)
            low, median, high = _quantiles(values[known], weight[known], [0.25, 0.5, 0.75])
            ends = _quantiles(*_evened(values[known], weight[known]), ranks)
            ends = np.unique(ends.astype(np.float32))
            spread = next((s for s in (high - low, ends[-1] - ends[0]) if np.float32(s) > 0), 1.0)
            centre.append(median)
            scale.append(float(spread))
            edges.append(ends.tolist() if len(ends) > 2 else [])  # two values: one channel will do
        missing = [bool(np.isnan(values[weight > 0]).any()) for values in x.T]
        return cls(centre, scale, missing, edges)

    @classmethod
    def blank(cls, columns: int, indicated: int, pieces: int) -> "NumberEncoder":
        """An encoder of the given sizes, to load a state dict into."""
        missing = [i < indicated for i in range(columns)]
        edges = [[float(e) for e in range(pieces + 1)] if i == 0 else [] for i in range(columns)]
        return cls([0.0] * columns, [1.0] * columns, missing, edges)

    @property
    def c_in(self) -> int:
        """Number of columns."""
        return len(self.centre)

    @property
    def c_out(self) -> int:
        """Number of output channels."""
        return len(self.centre) + len(self.indicated) + len(self.piece_column)

    def _map(self, x: Tensor) -> Tensor:
        gaps = x.isnan()
        filled = torch.where(gaps, per_channel(self.centre, x), x)
        z = (filled - per_channel(self.centre, x)) / per_channel(self.scale, x)
        z = z.clamp(-FAR, FAR)  # its square must be finite
        clipped = z * torch.rsqrt(1 + (z / 3).square())
        parts = [clipped, gaps.index_select(1, self.indicated).to(clipped.dtype)]
        inside = filled.index_select(1, self.piece_column) - per_channel(self.piece_low, x)
        parts.append((inside / per_channel(self.piece_width, x)).clamp(0, 1))
        return torch.cat(parts, 1)


class CategoryEncoder(FullPrecision):
    """Category codes to channels: one-hot, or a learned embedding for many levels.

    A column with ``K`` levels takes the codes ``0`` to ``K - 1``, ``NaN`` for a missing value,
    which has a channel (or a row) of its own, and ``UNSEEN`` for a level that training did not
    have. That one is encoded as the average training row: the frequencies of the levels.

    Args:
        frequencies: Per column the share of every level and, last, of missing values.

    Raises:
        ValueError: If a column has no frequencies.

    Shape:
        ``(N, C, *S)`` to ``(N, self.c_out, *S)``.

    Example:
        >>> encoder = CategoryEncoder([[0.75, 0.25, 0.0]])
        >>> encoder(torch.tensor([[1.0], [float("nan")], [UNSEEN]]))
        tensor([[0.0000, 1.0000, 0.0000],
                [0.0000, 0.0000, 1.0000],
                [0.7500, 0.2500, 0.0000]])
    """

    hot_column: Tensor
    hot_code: Tensor
    hot_share: Tensor

    def __init__(self, frequencies: Sequence[Sequence[float]]) -> None:
        super().__init__()
        if any(not column for column in frequencies):
            raise ValueError("every column must have the frequency of missing values at least")
        self.sizes = tuple(len(column) for column in frequencies)
        hot = [i for i, size in enumerate(self.sizes) if size - 1 <= ONE_HOT_LEVELS]
        flat = [(i, code, share) for i in hot for code, share in enumerate(frequencies[i])]
        column, code, share = zip(*flat, strict=True) if flat else ((), (), ())
        self.register_buffer("hot_column", torch.tensor(column, dtype=torch.long))
        self.register_buffer("hot_code", torch.tensor(code, dtype=torch.float32))
        self.register_buffer("hot_share", torch.tensor(share, dtype=torch.float32))
        self.embedded = tuple(i for i in range(len(self.sizes)) if i not in hot)
        self.embeddings = nn.ParameterList(
            nn.Parameter(torch.randn(self.sizes[i], EMBEDDING_CHANNELS)) for i in self.embedded
        )
        for i in self.embedded:
            self.register_buffer(f"share_{i}", torch.tensor(frequencies[i], dtype=torch.float32))
        missing = torch.tensor([size - 1 for size in self.sizes], dtype=torch.float32)
        self.register_buffer("missing_code", missing)

    @classmethod
    def fit(
        cls, x: NDArray[np.float64], weight: NDArray[np.float64], levels: Sequence[int]
    ) -> "CategoryEncoder":
        """Count how frequent every level is.

        Args:
            x: Category codes ``(N, C)``, NaN where a value is missing.
            weight: Weight of each row, ``(N,)``.
            levels: Number of levels of each column.

        Returns:
            The encoder of columns like these.
        """
        frequencies = []
        for codes, count in zip(x.T, levels, strict=True):
            seen = codes != UNSEEN
            index = np.where(np.isnan(codes), count, codes)[seen].astype(int)
            total = np.bincount(index, weight[seen], minlength=count + 1)
            frequencies.append((total / max(total.sum(), 1e-30)).tolist())
        return cls(frequencies)

    @property
    def c_in(self) -> int:
        """Number of columns."""
        return len(self.sizes)

    @property
    def c_out(self) -> int:
        """Number of output channels."""
        return len(self.hot_column) + len(self.embedded) * EMBEDDING_CHANNELS

    def _map(self, x: Tensor) -> Tensor:
        codes = torch.where(x.isnan(), per_channel(self.get_buffer("missing_code"), x), x)
        picked = codes.index_select(1, self.hot_column)
        dtype = self.hot_share.dtype
        hot = (picked == per_channel(self.hot_code, x)).to(dtype)
        parts = [torch.where(picked == UNSEEN, per_channel(self.hot_share, x), hot)]
        for i, table in zip(self.embedded, self.embeddings, strict=True):
            average = self.get_buffer(f"share_{i}") @ table
            rows = torch.cat([table, average[None]])  # UNSEEN is the last row
            index = torch.where(codes[:, i] == UNSEEN, float(len(table)), codes[:, i]).long()
            parts.append(F.embedding(index, rows).movedim(-1, 1))
        return torch.cat(parts, 1)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """View ``(C,)`` so that it broadcasts against ``x`` of shape ``(N, C, *S)``."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _evened(
    values: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    distinct, place = np.unique(values, return_inverse=True)
    return distinct, np.sqrt(np.bincount(place, weight, minlength=len(distinct)))


def _quantiles(
    values: NDArray[np.float64], weight: NDArray[np.float64], ranks: Sequence[float] | NDArray[Any]
) -> NDArray[np.float64]:
    # By the inverse of the distribution function, so that the quantiles are values of the data and
    # a weight of 2 gives what the row twice would give; interpolating definitions do not.
    values, weight = values[weight > 0], weight[weight > 0]
    if len(values) == 0:
        return np.zeros(len(ranks))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order])
    index = np.searchsorted(share / share[-1], np.asarray(ranks) - 1e-12)
    return values[order][np.minimum(index, len(values) - 1)]
