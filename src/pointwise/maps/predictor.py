"""Pixels to predictions: the same for arrays, windows of files and the chunks of dask."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.maps.inputs import Inputs
from pointwise.maps.network_runs import NetworkRun
from pointwise.maps.outputs import Output
from pointwise.maps.pixel_model import PixelModel
from pointwise.runtime.compiled import Engine

Array = NDArray[Any]

PIECE_VALUES = 1 << 20
SHORTEST, LONGEST = 1 << 14, 1 << 18
"""Pixels that go through the network at a time: fewer wait for the calls, more for memory."""


class Predictor:
    """Predicts pixels, with the rule of what is nodata.

    A pixel is nodata where all its bands are missing, or one is missing that had no missing value
    in training. A value is missing where ``missing`` says so, and where it is NaN, infinite or
    beyond what float32 holds.

    It is compiled once and may be called from several threads at once; a copy or an unpickled one
    compiles anew.

    Args:
        model: The model.
        output: What to put out, from ``plan_output``.
        engine: ``"fused"`` through Halide, ``"chunks"`` through PyTorch, ``"auto"`` the first if
            it can run the network.

    Attributes:
        model: As given.
        output: As given.
        engine: What runs: ``"fused"``, ``"chunks"``, or ``"network"`` for one that is no chain of
            pointwise maps.

    Raises:
        DataError: If the network looks at more than one pixel, a category has no level that is a
            number, or the output is not one of the model's.
        ImportError: If the fused engine was asked for and Halide is not installed.
        ValueError: If the engine is unknown, or the fused one cannot run the network.

    Example:
        >>> from pointwise.maps.outputs import plan_output
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([2, 8, 3]), classes=["a", "b", "c"])
        >>> predictor = Predictor(model, plan_output(model), engine="chunks")
        >>> predictor(np.array([[[1.0, np.nan]], [[2.0, 2.0]]]))[0, 0, 1]
        np.uint8(0)
    """

    def __init__(self, model: PixelModel, output: Output, *, engine: Engine = "auto") -> None:
        self.model, self.output, self._asked = model, output, engine
        self._inputs = Inputs(model.used)
        self._run = NetworkRun(model, output, engine)
        self.engine = self._run.engine
        self._labels = np.array(list(output.codes), dtype=output.dtype)

    def __reduce__(self) -> Any:
        """Compiled code does not travel: the copy compiles anew."""
        return _remake, (self.model, self.output, self._asked)

    def __call__(
        self, values: Array, missing: NDArray[np.bool_] | None = None, *, out: Array | None = None
    ) -> Array:
        """Predict every pixel.

        Args:
            values: The bands in ``model.used``, ``(C, *S)``, of any numbers.
            missing: True where a band has no value: ``(C, *S)``, or ``(1, *S)`` for all bands.
            out: Where to put the result. Default: new memory.

        Returns:
            ``(B, *S)`` in the type of the output, nodata filled in; ``out`` if it was given.

        Raises:
            DataError: If shapes or types do not fit.
        """
        values = self._checked(values, missing)
        shape = (len(self.output.bands), *values.shape[1:])
        if out is None:
            out = np.empty(shape, self.output.dtype)
        elif out.shape != shape or out.dtype != self.output.dtype:
            raise DataError(
                f"out must hold {self.output.dtype} of shape {shape}, "
                f"got {out.dtype} of shape {out.shape}"
            )
        pixels = math.prod(shape[1:])
        flat = out.reshape(shape[0], pixels)  # a view if the memory allows one
        if not (np.may_share_memory(flat, out) and _runs_forward(flat)):
            flat = np.empty((shape[0], pixels), out.dtype)
        self._fill(
            values.reshape(len(values), pixels),
            None if missing is None else missing.reshape(len(missing), pixels),
            flat,
        )
        if not np.may_share_memory(flat, out):
            out[...] = flat.reshape(shape)
        return out

    def _checked(self, values: Array, missing: NDArray[np.bool_] | None) -> Array:
        values = np.asarray(values)
        bands = len(self.model.used)
        if values.ndim < 1 or len(values) != bands:
            raise DataError(
                f"pixels must have shape ({bands}, *S), one channel for each of the model's bands; "
                f"got {values.shape}"
            )
        if values.dtype.kind not in "buif":
            raise DataError(f"pixels must be numbers, got {values.dtype}")
        if missing is not None:
            shapes = (values.shape, (1, *values.shape[1:]))
            if missing.dtype != np.bool_ or missing.shape not in shapes:
                raise DataError(
                    f"missing must hold bool of shape {shapes[0]} or {shapes[1]}, "
                    f"got {missing.dtype} of shape {missing.shape}"
                )
        return values

    def _fill(self, values: Array, missing: NDArray[np.bool_] | None, out: Array) -> None:
        """Predict piece by piece: ``(C, P)`` to ``(B, P)``."""
        pixels = values.shape[1]
        length = min(max(PIECE_VALUES // len(values), SHORTEST), LONGEST, pixels)
        room = np.empty((len(values), length), np.float32)
        numbers = np.empty((1, length if self.output.codes else 0), np.int64)
        for start in range(0, pixels, length or 1):
            some = slice(start, start + length)
            part = out[:, some]
            gone = None if missing is None else missing[:, some]
            x, empty = self._inputs(values[:, some], gone, room=room)
            if empty is not None and empty.all():
                part[...] = self.output.nodata
                continue
            if self.output.kind == "class":
                best = numbers[:, : part.shape[1]]
                self._run(x, best)
                np.take(self._labels, best, out=part, mode="clip")
            else:
                self._run(x, part)
            if empty is not None:
                np.copyto(part, self.output.nodata, where=empty)


def _runs_forward(array: Array) -> bool:
    """Whether PyTorch can see its memory."""
    return all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)


def _remake(model: PixelModel, output: Output, engine: Engine) -> Predictor:
    return Predictor(model, output, engine=engine)
