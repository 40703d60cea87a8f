"""What a scene is made of: its grid, its bands, and the files that hold them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

Transform: TypeAlias = tuple[float, float, float, float, float, float]

IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Columns and rows themselves: the transform of pixels whose place is not known."""

_EXACT_IN_FLOAT = 2**53


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Args:
        height: Number of rows.
        width: Number of columns.
        crs: The coordinate reference system as WKT; ``None`` where the file names none.
        transform: ``(a, b, c, d, e, f)``: column and row of a pixel's corner lie at
            ``x = a * column + b * row + c`` and ``y = d * column + e * row + f``.

    Example:
        >>> Grid(2, 3, None, (10.0, 0.0, 500.0, 0.0, -10.0, 900.0)).corners()[0]
        (500.0, 900.0)
    """

    height: int
    width: int
    crs: str | None = None
    transform: Transform = IDENTITY

    def corners(self) -> list[tuple[float, float]]:
        """Give the four corners of the raster.

        Returns:
            Pairs of x and y: of the first row and column, the last column, the last row, both.

        Example:
            >>> Grid(2, 3).corners()
            [(0.0, 0.0), (3.0, 0.0), (0.0, 2.0), (3.0, 2.0)]
        """
        a, b, c, d, e, f = self.transform
        ends = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        return [(a * column + b * row + c, d * column + e * row + f) for column, row in ends]


@dataclass(frozen=True)
class SceneBand:
    """One band of a scene, as its file tells of it.

    Args:
        name: Its description, or the stem of its file where that holds no other band; ``None``
            where nothing tells, or where another band has the same name.
        dtype: The type its values are stored in.
        nodata: The value that stands for "no value"; ``None`` if there is none.
        file: The file, for messages.

    Example:
        >>> SceneBand("red", np.dtype("uint8"), None, "a.tif").name
        'red'
    """

    name: str | None
    dtype: np.dtype[Any]
    nodata: float | None
    file: str


class SceneFile(Protocol):
    """One file, or one store, of a scene; it may be read from several threads at once."""

    @property
    def file(self) -> str:
        """Its path, for messages."""

    @property
    def grid(self) -> Grid:
        """Where its pixels lie."""

    @property
    def bands(self) -> tuple[SceneBand, ...]:
        """Its bands, without alpha."""

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of the blocks it is stored in."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it, a line each."""

    @property
    def full(self) -> bool:
        """Whether each pixel is sure to have a value: ``read`` leaves ``missing`` alone then."""

    @property
    def pixelwise(self) -> bool:
        """Whether all bands are read fastest with the values of a pixel side by side."""

    def read(
        self,
        window: Window,
        bands: Sequence[int],
        values: NDArray[Any],
        missing: NDArray[np.bool_],
    ) -> None:
        """Fill ``values`` (C, h, w), and set ``missing`` where there is no value."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True)
class Window:
    """A part of a raster.

    Args:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.

    Example:
        >>> str(Window(0, 10, 5, 6))
        'rows 0 to 4, columns 10 to 15'
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows as a slice."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns as a slice."""
        return slice(self.left, self.left + self.width)

    def __str__(self) -> str:
        """Say which rows and columns, both ends included, counted from 0."""
        bottom, right = self.top + self.height - 1, self.left + self.width - 1
        return f"rows {self.top} to {bottom}, columns {self.left} to {right}"


def common_dtype(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Give the smallest type that holds the values of all types.

    Integers of 64 bits beside floats, or beside the other sign, become float64, which holds them
    up to 2**53.

    Args:
        dtypes: One at least.

    Returns:
        The type.

    Example:
        >>> common_dtype([np.dtype("uint16"), np.dtype("int16")])
        dtype('int32')
    """
    return np.result_type(*dtypes)


def loses_integers(dtypes: Sequence[np.dtype[Any]]) -> bool:
    """Tell whether large integers of these types are rounded in their common type.

    Args:
        dtypes: One at least.

    Returns:
        Whether an integer type reaches beyond what the common float type holds exactly.

    Example:
        >>> loses_integers([np.dtype("int64"), np.dtype("float32")])
        True
        >>> loses_integers([np.dtype("int32"), np.dtype("float32")])
        False
    """
    if common_dtype(dtypes).kind != "f":
        return False
    return any(
        dtype.kind in "iu" and int(np.iinfo(dtype).max) > _EXACT_IN_FLOAT for dtype in dtypes
    )


def fitting_nodata(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """Give the nodata value as the band's type holds it.

    Args:
        nodata: As declared.
        dtype: The type of the band.

    Returns:
        An ``int`` for integers, rounded to the type for floats; ``None`` if the type cannot hold
        it, so that no pixel has this value.

    Example:
        >>> fitting_nodata(255.0, np.dtype("uint8"))
        255
        >>> fitting_nodata(-9999.0, np.dtype("uint8")) is None
        True
    """
    if nodata is None or (dtype.kind != "f" and not math.isfinite(nodata)):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            held = float(np.asarray(nodata, dtype))
        return None if math.isinf(held) and math.isfinite(nodata) else held
    info = np.iinfo(dtype if dtype.kind in "iu" else np.uint8)
    whole = int(nodata)
    return whole if whole == nodata and info.min <= whole <= info.max else None


def is_full(band: SceneBand) -> bool:
    """Tell whether no value of a band can stand for "no value".

    Args:
        band: The band.

    Returns:
        Whether it holds integers, and has no nodata value.

    Example:
        >>> is_full(SceneBand("red", np.dtype("uint8"), None, "a.tif"))
        True
    """
    return band.nodata is None and band.dtype.kind != "f"


def mark_value(values: NDArray[Any], nodata: float | None, missing: NDArray[np.bool_]) -> None:
    """Set ``missing`` where values are nodata, or NaN.

    Args:
        values: In the type of the band, any shape.
        nodata: As ``fitting_nodata`` gives it.
        missing: The same shape; written to.

    Example:
        >>> missing = np.zeros(3, bool)
        >>> mark_value(np.array([0.0, np.nan, 9.0]), 9, missing)
        >>> missing
        array([False,  True,  True])
    """
    if values.dtype.kind == "f":
        missing |= np.isnan(values)
    if nodata is not None and not math.isnan(nodata):
        missing |= values == values.dtype.type(nodata)


def need(library: str) -> Any:
    """Import a library of the extra ``raster``.

    Args:
        library: Its name.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed; the message says what installs it.

    Example:
        >>> need("no_such_library")
        Traceback (most recent call last):
        ImportError: no_such_library is not installed: pip install 'pointwise[raster]'
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise ImportError(f"{library} is not installed: pip install 'pointwise[raster]'") from error


def show_nodata(nodata: float) -> str:
    """Write a nodata value shortly.

    Args:
        nodata: The value.

    Returns:
        Without a point where it is whole.

    Example:
        >>> show_nodata(-99999.0), show_nodata(0.5), show_nodata(float("nan"))
        ('-99999', '0.5', 'nan')
    """
    whole = math.isfinite(nodata) and nodata == int(nodata) and abs(nodata) < 1e16
    return str(int(nodata)) if whole or isinstance(nodata, int) else repr(float(nodata))


def refuse_complex(file: str, name: str, dtype: str) -> None:
    """Refuse a band of complex numbers.

    Args:
        file: Its file.
        name: The band, for the message.
        dtype: The type of its values.

    Raises:
        DataError: If they are complex.

    Example:
        >>> refuse_complex("a.tif", "band 1", "complex64")
        Traceback (most recent call last):
        pointwise.errors.DataError: a.tif: bands hold real numbers, got complex64 in band 1: ...
    """
    if "complex" in dtype:
        raise DataError(
            f"{file}: bands hold real numbers, got {dtype} in {name}: write amplitude, or real and "
            "imaginary part, as bands of their own"
        )
