"""Predictions of a number as binned figures: small, and without a single row in them."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.reports.binning import Floats, at_least_one, bin_count, bin_index, robust_range

QUANTILES = (5, 25, 50, 75, 95)
MOST_BANDS = 20
LEAST_ROWS_OF_A_BAND = 20


def regression_figures(actual: NDArray[Any], predicted: NDArray[Any]) -> dict[str, Any]:
    """Bin one target's predictions: against the actual values, and their residuals.

    A residual is ``actual - predicted``. Rows where either is not finite are counted and left out.
    Values beyond the drawn range are counted in the outermost bins, so that counts add up.

    Args:
        actual: Actual values of shape ``(N,)``.
        predicted: Predicted values of shape ``(N,)``.

    Returns:
        ``kind``; ``rows`` and ``not_finite``; ``density``, the counts of shape
        ``(predicted bins, actual bins)`` over one shared range; ``residuals``, their histogram,
        mean, sd and quantiles; ``bands``, quantiles of the residuals over bins of the predicted
        values, each of 20 rows or more.

    Raises:
        DataError: If the shapes differ, or no row has two finite values.

    Example:
        >>> figures = regression_figures(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 3.0]))
        >>> figures["rows"], sum(figures["residuals"]["counts"])
        (3, 3)
    """
    actual = np.asarray(actual, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    if actual.ndim != 1 or actual.shape != predicted.shape:
        raise DataError(
            "actual and predicted must be two arrays of the same shape (N,), "
            f"got {actual.shape} and {predicted.shape}; pass one target at a time"
        )
    finite = np.isfinite(actual) & np.isfinite(predicted)
    actual, predicted = at_least_one(actual[finite]), predicted[finite]
    return {
        "kind": "regression",
        "rows": int(finite.sum()),
        "not_finite": int((~finite).sum()),
        "density": _density(actual, predicted),
        "residuals": _residuals(actual - predicted),
        "bands": _bands(predicted, actual - predicted),
    }


def _density(actual: Floats, predicted: Floats) -> dict[str, Any]:
    bins = bin_count(actual.size)
    low, high = robust_range(np.concatenate([actual, predicted]))
    cells = bin_index(predicted, low, high, bins) * bins + bin_index(actual, low, high, bins)
    beyond = (np.minimum(actual, predicted) < low) | (np.maximum(actual, predicted) > high)
    return {
        "low": low,
        "high": high,
        "counts": np.bincount(cells, minlength=bins * bins).reshape(bins, bins).tolist(),
        "beyond": int(beyond.sum()),
    }


def _residuals(residuals: Floats) -> dict[str, Any]:
    bins = bin_count(residuals.size)
    low, high = robust_range(residuals)
    return {
        "low": low,
        "high": high,
        "counts": np.bincount(bin_index(residuals, low, high, bins), minlength=bins).tolist(),
        "beyond": int(((residuals < low) | (residuals > high)).sum()),
        "mean": float(residuals.mean()),
        "sd": float(residuals.std()),
        "quantiles": _quantiles(residuals),
    }


def _bands(predicted: Floats, residuals: Floats) -> list[dict[str, Any]]:
    order = np.argsort(predicted, kind="stable")
    predicted, residuals = predicted[order], residuals[order]
    cuts = [0, *_cuts(predicted), predicted.size]
    return [
        {
            "low": float(predicted[start]),
            "high": float(predicted[stop - 1]),
            "middle": float(np.median(predicted[start:stop])),
            "rows": stop - start,
            "quantiles": _quantiles(residuals[start:stop]),
        }
        for start, stop in itertools.pairwise(cuts)
    ]


def _cuts(ordered: Floats) -> list[int]:
    """Cut sorted values into bands of about equal counts; equal values stay in one band."""
    cuts: list[int] = []
    bands = int(np.clip(ordered.size // LEAST_ROWS_OF_A_BAND, 1, MOST_BANDS))
    for band in range(1, bands):
        cut = int(np.searchsorted(ordered, ordered[band * ordered.size // bands]))
        last = cuts[-1] if cuts else 0
        if min(cut - last, ordered.size - cut) >= LEAST_ROWS_OF_A_BAND:
            cuts.append(cut)
    return cuts


def _quantiles(values: Floats) -> list[float]:
    """Quantiles at the percentages of ``QUANTILES``."""
    return [float(q) for q in np.percentile(values, QUANTILES)]
