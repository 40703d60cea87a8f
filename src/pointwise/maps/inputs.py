"""Pixels as rasters hold them to what a network takes, and which of them have no prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import LARGEST
from pointwise.maps.levels import Levels
from pointwise.maps.pixel_model import InputBand

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Inputs:
    """Codes pixels for a network, and finds those that are nodata.

    Args:
        bands: The bands in the network's order.

    Raises:
        DataError: If a category has no level that is a number.

    Example:
        >>> inputs = Inputs([InputBand("red"), InputBand("nir", gaps=True)])
        >>> x, empty = inputs(np.array([[1.0, np.nan], [np.nan, 2.0]]))
        >>> x[:, 0], empty
        (array([ 1., nan], dtype=float32), array([False,  True]))
    """

    def __init__(self, bands: Sequence[InputBand]) -> None:
        self.bands = tuple(bands)
        self._levels = [Levels(b.name, b.levels) if b.levels else None for b in bands]
        self._coded = any(b.levels or b.offset for b in bands)
        self._gaps = any(b.gaps for b in bands)

    def __call__(
        self, values: Array, missing: Mask | None = None, *, room: Array | None = None
    ) -> tuple[Array, Mask | None]:
        """Code some pixels.

        Args:
            values: Bands ``(C, P)``.
            missing: True where a value is missing, ``(C, P)`` or ``(1, P)``.
            room: Memory for coded bands, ``(C, P)`` of float32 or longer.

        Returns:
            What the network takes, which is ``values`` itself where nothing is to be coded; and
            which pixels are nodata, ``None`` if none is.
        """
        floating = values.dtype.kind == "f"
        if missing is not None and not missing.any():
            missing = None
        if missing is None and not floating:
            each: list[Mask | None] = [None] * len(values)
        elif not self._gaps and not floating and missing is not None:
            anywhere: Mask = np.logical_or.reduce(missing, axis=0)
            return self._code(values, [None] * len(values), room), anywhere
        else:
            each = [_missing_in(values, missing, i) for i in range(len(values))]
        return self._code(values, each, room), self._empty(each)

    def _empty(self, each: Sequence[Mask | None]) -> Mask | None:
        """Pixels without any value, or without one that training always had."""
        empty: Mask | None = None
        for band, gone in zip(self.bands, each, strict=True):
            if gone is not None and not band.gaps:
                empty = gone.copy() if empty is None else np.logical_or(empty, gone, out=empty)
        every = [gone for gone in each if gone is not None]
        if self._gaps and len(every) == len(each):
            nothing = np.logical_and.reduce(every)
            empty = nothing if empty is None else np.logical_or(empty, nothing, out=empty)
        return empty

    def _code(self, values: Array, each: Sequence[Mask | None], room: Array | None) -> Array:
        filled = any(
            band.gaps and gone is not None for band, gone in zip(self.bands, each, strict=True)
        )
        if not (self._coded or filled):
            return values
        if room is None:
            room = np.empty(values.shape, np.float32)
        coded = room[:, : values.shape[1]]
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is nodata
            for i, band in enumerate(self.bands):
                levels = self._levels[i]
                if levels is not None:
                    levels.code(values[i], coded[i])
                elif band.offset:
                    np.subtract(
                        values[i], band.offset, out=coded[i], dtype=np.float64, casting="unsafe"
                    )
                else:
                    coded[i] = values[i]
                gone = each[i]
                if band.gaps and gone is not None:
                    np.copyto(coded[i], np.nan, where=gone)
        return coded


def _missing_in(values: Array, missing: Mask | None, band: int) -> Mask | None:
    """Where a band has no value; ``None`` if nowhere."""
    gone: Mask | None = None
    if missing is not None:
        said = missing[band if len(missing) > 1 else 0]
        gone = said if said.any() else None
    if values.dtype.kind == "f":
        strange = _not_finite(values[band])
        if strange is not None:
            gone = strange if gone is None else gone | strange
    return gone


def _not_finite(values: Array) -> Mask | None:
    """Where numbers are NaN, infinite or too large; ``None`` if nowhere."""
    limit = LARGEST
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype == np.float16:
            limit = np.inf
        elif float(np.dot(values, values)) <= limit:  # one pass, and almost always the last
            return None
        strange: Mask = ~(np.abs(values) <= limit)
        if values.dtype == np.float16:
            strange |= np.isinf(values)
    return strange if strange.any() else None
