"""Maps of arrays: block by block, so that a memory-mapped raster may be larger than memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.maps.matching import match_bands
from pointwise.maps.outputs import Asked, plan_output
from pointwise.maps.pixel_model import PixelModel, as_pixel_model
from pointwise.maps.predictor import Predictor
from pointwise.maps.ranges import SAMPLED, warn_of_far_pixels
from pointwise.runtime.compiled import Engine, pays_to_compile

Array = NDArray[Any]

BLOCK_VALUES = 1 << 22
"""Values of a block, of all bands."""

OTHER_WORK = 300
"""What a pixel takes besides its MACs is as much work as so many more."""


def map_array(
    model: Any,
    raster: Any,
    *,
    nodata: float | Sequence[float | None] | None = None,
    bands: Sequence[str | None] | None = None,
    output: Asked = "auto",
    spread: bool = False,
    interval: float | None = None,
    out_nodata: float | None = None,
    out: Array | None = None,
    engine: Engine = "auto",
) -> Array:
    """Predict every pixel of an array.

    The memory needed beside the array and the map does not grow with them.

    Args:
        model: A fitted estimator for tables, or what else ``as_pixel_model`` takes.
        raster: Numbers ``(bands, rows, columns)`` in any memory order, memory-mapped or masked;
            fewer or more axes than two after the bands are taken too.
        nodata: Number that stands for a missing value, or one for each band of the raster.
        bands: Names of the raster's bands. Default: the model's columns in their order.
        output: Class numbers, probabilities of the classes, or values of the targets.
        spread: Whether bands follow that hold the standard deviation over the members.
        interval: As for ``plan_output``.
        out_nodata: What stands where there is no prediction. Default: see ``plan_output``.
        out: Where to put the map, in its shape and type. Default: new memory.
        engine: As for ``Predictor``; ``"auto"`` compiles nothing for a small map.

    Returns:
        ``(rows, columns)`` if the map has one band, else ``(B, rows, columns)``.

    Raises:
        DataError: If the raster has not the model's bands, or an argument does not fit.

    Example:
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([2, 8, 3]), classes=[10, 20, 30])
        >>> raster = np.full((2, 1, 3), 255, np.uint8)
        >>> map_array(model, raster, nodata=255)
        array([[0, 0, 0]], dtype=uint8)
    """
    made = as_pixel_model(model)
    plan = plan_output(made, output, spread=spread, interval=interval, nodata=out_nodata)
    pixels, mask = _as_array(raster)
    _check_bands_first(made, pixels)
    names = [None] * len(pixels) if bands is None else list(bands)
    if len(names) != len(pixels):
        raise DataError(f"bands must name all {len(pixels)} bands of the raster, got {len(names)}")
    where = "the array"
    order = list(match_bands(made, names, where=where))
    empty = _nodata_values(nodata, pixels)
    space = pixels.shape[1:]
    shape = space if len(plan.bands) == 1 else (len(plan.bands), *space)
    if out is None:
        out = np.empty(shape, plan.dtype)
    elif out.shape not in (shape, (len(plan.bands), *space)) or out.dtype != plan.dtype:
        raise DataError(
            f"out must hold {plan.dtype} of shape {shape}, got {out.dtype} of shape {out.shape}"
        )
    target = out[np.newaxis] if out.ndim == len(space) else out
    source = _Source(pixels, mask, [empty[i] for i in order], order)
    warn_of_far_pixels(made, *source.sample(), where=where)
    if engine == "auto" and is_small(made, math.prod(space)):
        engine = "chunks"
    _fill(Predictor(made, plan, engine=engine), source, target)
    return out


def is_small(model: PixelModel, pixels: int) -> bool:
    """Whether the map is made before code for it could be compiled."""
    macs = sum(parameter.numel() for parameter in model.network.parameters())
    return not pays_to_compile(pixels * (macs + OTHER_WORK))


@dataclass(frozen=True)
class _Source:
    """Where pixels come from, a block at a time.

    Attributes:
        pixels: All bands of the raster, ``(bands, rows, *S)``.
        mask: True where a value is missing, of the same shape.
        empty: Of each band that the model takes: the number for a missing value.
        order: Which bands those are.
    """

    pixels: Array
    mask: NDArray[np.bool_] | None
    empty: list[Any]
    order: list[int]

    def read(self, rows: slice | None) -> tuple[Array, NDArray[np.bool_] | None]:
        """Values and what is missing, of the bands that the model takes; ``None``: of no axis."""
        values = self._picked(self.pixels, rows)
        hidden = None if self.mask is None else self._picked(self.mask, rows)
        if all(number is None for number in self.empty):
            return values, hidden
        missing = np.zeros(values.shape, np.bool_)
        for band, number, gone in zip(values, self.empty, missing, strict=True):
            if number is not None:
                np.equal(band, number, out=gone)
        return values, missing if hidden is None else np.logical_or(missing, hidden, out=missing)

    def sample(self) -> tuple[Array, NDArray[np.bool_] | None]:
        """Some pixels from all over, in a row: a grid of about ``SAMPLED``."""
        axes = self.pixels.ndim - 1
        side = round(SAMPLED ** (1 / max(axes, 1)))
        grid = (slice(None), *(slice(None, None, max(1, n // side)) for n in self.pixels.shape[1:]))
        mask = None if self.mask is None else self.mask[grid]
        some = replace(self, pixels=self.pixels[grid], mask=mask)
        values, missing = some.read(slice(None) if axes else None)
        flat = (len(values), math.prod(values.shape[1:]))
        return values.reshape(flat), None if missing is None else missing.reshape(flat)

    def _picked(self, array: Array, rows: slice | None) -> Array:
        if self.order == list(range(len(array))):
            return array[:, rows]
        part: Array = array[self.order, rows]
        return part


def _fill(predictor: Predictor, source: _Source, out: Array) -> None:
    """Predict block by block, along the axis of the rows."""
    if out.ndim == 1:  # a single pixel
        out = out[:, np.newaxis]
        mask = None if source.mask is None else source.mask[:, np.newaxis]
        source = replace(source, pixels=source.pixels[:, np.newaxis], mask=mask)
    strides = source.pixels.strides
    if out.ndim == 3 and abs(strides[1]) < abs(strides[2]):  # columns lie side by side
        mask = None if source.mask is None else source.mask.swapaxes(1, 2)
        source = replace(source, pixels=source.pixels.swapaxes(1, 2), mask=mask)
        out = out.swapaxes(1, 2)
    width = max(1, math.prod(out.shape[2:]))
    step = max(1, BLOCK_VALUES // (len(source.order) * width))
    for start in range(0, out.shape[1], step):
        rows = slice(start, start + step)
        values, missing = source.read(rows)
        predictor(values, missing, out=out[:, rows])


def _as_array(raster: Any) -> tuple[Array, NDArray[np.bool_] | None]:
    """Numbers and the mask of a masked array."""
    mask: NDArray[np.bool_] | None = None
    if isinstance(raster, np.ma.MaskedArray):
        if raster.mask is not np.ma.nomask:
            mask = np.ma.getmaskarray(raster)
        raster = raster.data
    pixels = np.asarray(raster)
    if pixels.ndim < 1 or pixels.dtype.kind not in "buif":
        raise DataError(
            "a raster must be numbers of shape (bands, rows, columns), "
            f"got {pixels.dtype} of shape {pixels.shape}"
        )
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize > 8:
        raise DataError(
            f"a raster must hold numbers of 64 bits at most, got {pixels.dtype}: give "
            "raster.astype('float64')"
        )
    return pixels, mask


def _check_bands_first(model: PixelModel, pixels: Array) -> None:
    """Refuse a raster whose bands plainly come last."""
    fit = {len(model.used), len(model.bands)}
    if pixels.ndim == 3 and len(pixels) not in fit and pixels.shape[-1] in fit:
        raise DataError(
            f"a raster must have shape (bands, rows, columns), got {pixels.shape} with the bands "
            "last: give np.moveaxis(raster, -1, 0)"
        )


def _nodata_values(nodata: float | Sequence[float | None] | None, pixels: Array) -> list[Any]:
    """For each band what stands for a missing value, in the raster's type."""
    given: Any = nodata
    if isinstance(given, np.ndarray):
        given = given.tolist()  # of one without axes its number
    if isinstance(given, Sequence):
        if len(given) != len(pixels):
            raise DataError(
                f"nodata must be one number, or one for each of the {len(pixels)} bands of the "
                f"raster: got {len(given)}"
            )
    else:
        given = [given] * len(pixels)
    return [_in_type(number, pixels.dtype) for number in given]


def _in_type(number: Any, dtype: np.dtype[Any]) -> Any:
    """A number as pixels of this type can be it; ``None`` if they cannot."""
    if number is None or not np.isfinite(number):
        return None  # what is not finite is missing anyway
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(number)
    if number != int(number):
        return None
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(number) if least <= number <= most else None
