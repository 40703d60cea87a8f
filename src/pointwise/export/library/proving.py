"""A library built and run here, and held against what it was made of."""

import ctypes
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.export.differences import check_rounding, numbers_differ
from pointwise.export.expected import TOLERANCE, maps_differ, rows_differ
from pointwise.export.inputs import checked_bands, drawn_bands, drawn_inputs
from pointwise.export.library.calling import run_network, run_pixels, run_table
from pointwise.export.library.running import compiler, linked
from pointwise.runtime import Chain
from pointwise.runtime.compile import reads_codes
from pointwise.runtime.reference import evaluate

COUNTS = (1, 2, 31, 100, 1000)
"""Positions of a network that are tried."""

Prove = Callable[[ctypes.CDLL], float]


def proved(files: Mapping[str, bytes], prove: Prove) -> tuple[float | None, str]:
    """Build a library and compare it.

    Args:
        files: Its files, for this machine.
        prove: The largest difference, of a library that was loaded.

    Returns:
        The largest difference, ``None`` with the reason where there is no C compiler that works.

    Raises:
        DifferenceError: If it is more than rounding.
    """
    command = compiler()
    if command is None:
        return None, "there is no C compiler (cc, or CC of the environment)"
    with tempfile.TemporaryDirectory() as folder:
        try:
            library = linked(files, Path(folder), command)
        except DataError as error:
            return None, str(error)
        return check_rounding(prove(library), TOLERANCE, "the library"), ""


def of_chain(chain: Chain, name: str, dtype: str, example: NDArray[Any] | None) -> Prove:
    """How far the library of a network is from the network in float64.

    Args:
        chain: The network.
        name: Of the functions.
        dtype: Type of the inputs.
        example: Rows ``(P, C_in)``, or ``None`` for drawn ones.

    Returns:
        The measure.
    """
    rows = _drawn_rows(chain, dtype) if example is None else example.astype(dtype)

    def prove(library: ctypes.CDLL) -> float:
        found = []
        for count in (*COUNTS, len(rows)):
            x = rows[:count]
            expected = evaluate(chain, torch.from_numpy(x.astype(np.float64))).numpy()
            for planar, gap in ((False, 0), (True, 0), (True, 7)):
                made = run_network(library, name, chain, x, planar=planar, gap=gap)
                if chain.dtype:
                    found.append(float(np.mean(made != expected)) * TOLERANCE / 0.01)
                else:
                    found.append(numbers_differ([expected])([made]))
        return max(found)

    return prove


def of_table(
    model: TableEstimator, name: str, example: Any, interval: float | None = None
) -> Prove:
    """How far the library of an estimator is from its predictions for rows.

    Args:
        model: The estimator.
        name: Of the functions.
        example: Rows, or ``None`` for drawn ones.
        interval: Coverage of the intervals whose half width it tells, or ``None``.

    Returns:
        The measure.
    """

    def prove(library: ctypes.CDLL) -> float:
        drawn = drawn_inputs(model)
        return max(
            rows_differ(model, rows, _numbers(model), interval)(
                _with_ends(run_table(library, name, model, rows), library, name, interval)
            )
            for rows in (drawn if example is None else example, drawn[:1])
        )

    return prove


def of_pixels(
    model: TableEstimator, name: str, dtype: str, example: Any, interval: float | None = None
) -> Prove:
    """How far the library of an estimator is from its maps.

    Args:
        model: The estimator.
        name: Of the functions.
        dtype: Type of the bands.
        example: Rasters ``(B, H, W)`` or ``(N, B, H, W)``, or ``None`` for drawn ones.
        interval: Coverage of the intervals whose half width it tells, or ``None``.

    Returns:
        The measure.
    """
    given = None if example is None else checked_bands(model, example)

    def prove(library: ctypes.CDLL) -> float:
        found = []
        for bands in drawn_bands(model) if given is None else given:
            values = _as_type(bands, dtype)
            for some in (values, values[:, :1, :1]):
                outputs = run_pixels(library, name, model, some.reshape(len(some), -1))
                as_maps = [out.reshape(1, *out.shape[:-1], *some.shape[1:]) for out in outputs]
                ends = _with_ends(as_maps, library, name, interval)
                found.append(maps_differ(model, some[None], _numbers(model), interval)(ends))
        return max(found)

    return prove


def _with_ends(
    outputs: list[NDArray[Any]], library: ctypes.CDLL, name: str, interval: float | None
) -> list[NDArray[Any]]:
    """Predictions, and the ends of their intervals if the library tells how wide these are."""
    if interval is None:
        return outputs
    values = outputs[0]
    targets = values.shape[1] if values.ndim > 1 else 1
    told = (ctypes.c_double * targets).in_dll(library, f"{name}_half_width")
    half = np.array(told).reshape(-1, *[1] * (values.ndim - 2))  # along the axis of the targets
    return [values, values - half, values + half]


def _as_type(bands: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Bands in a type that may hold no gaps, and not so large numbers."""
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        bands = np.nan_to_num(bands.astype(np.float64)).clip(limits.min, limits.max)
    return bands.astype(dtype)


def _drawn_rows(chain: Chain, dtype: str) -> NDArray[Any]:
    """Values that every step takes, or codes of categories."""
    rng = np.random.default_rng(0)
    shape = (max(COUNTS), chain.c_in)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if reads_codes(chain.steps):
        return rng.choice(np.array([-1.0, 0.0, np.nan], dtype), shape)
    return rng.standard_normal(shape).astype(dtype)


def _numbers(model: TableEstimator) -> NDArray[Any] | None:
    """What stands for classes in C: their numbers."""
    classes = getattr(model, "classes_", None)
    return None if classes is None else np.arange(len(classes))
