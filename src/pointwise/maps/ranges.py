"""Pixels far outside of what a model was fitted on: other units, another sensor."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataWarning
from pointwise.maps.pixel_model import InputBand, PixelModel

Array = NDArray[Any]

SAMPLED = 4096
"""Pixels that are looked at."""

MANY = 0.1
"""Share of them from which on something is wrong with the raster, and not with single pixels."""


def warn_of_far_pixels(
    model: PixelModel, values: Array, missing: NDArray[np.bool_] | None, *, where: str
) -> None:
    """Warn of bands of which many pixels lie far outside the training range.

    Far is more than half the range outside of it.

    Args:
        model: The model.
        values: A sample of pixels, the bands in ``model.used``: ``(C, P)``.
        missing: True where a value is missing, ``(C, P)``.
        where: What the raster is called, for the message.

    Example:
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([1, 1]), bands=[InputBand("nir", low=0.0, high=1.0)])
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_far_pixels(model, np.array([[0.5, 900.0]]), None, where="scene.tif")
        >>> str(caught[0].message)[:57]
        "scene.tif: 50 % of a sample of band 'nir' lie far outside"
    """
    for i, band in enumerate(model.used):
        known = values[i].astype(np.float64)
        known = known[np.isfinite(known) if missing is None else np.isfinite(known) & ~missing[i]]
        share = _far_share(band, known)
        if share >= MANY:
            warnings.warn(
                f"{where}: {share:.0%}".replace("%", " %")
                + f" of a sample of band {band.name!r} lie far outside the training range "
                f"({band.low:g} to {band.high:g}): their predictions are guesses; "
                "is it in the units of the training?",
                DataWarning,
                4,
            )


def _far_share(band: InputBand, known: NDArray[np.float64]) -> float:
    if band.levels or not (math.isfinite(band.low) and math.isfinite(band.high) and len(known)):
        return 0.0
    margin = (band.high - band.low) / 2
    return float(((known < band.low - margin) | (known > band.high + margin)).mean())
