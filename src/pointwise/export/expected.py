"""What a fitted estimator of tables gives, to hold an exported model against."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from pointwise.errors import DataError, DataWarning
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.regressor import UNCALIBRATED, PointwiseRegressor
from pointwise.export.differences import Arrays, classes_differ, numbers_differ

TOLERANCE = 1e-4
"""What predictions may differ by: probabilities, and numbers over the deviation of their target."""


def half_widths(model: TableEstimator, interval: float | None) -> tuple[float, ...]:
    """How far the intervals of a model reach to both sides of its predictions.

    Args:
        model: The fitted estimator.
        interval: Share of the true values that lie in theirs; ``None`` for no interval.

    Returns:
        For each target; nothing without an interval.

    Raises:
        DataError: If the model is a classifier, or was calibrated with too few rows.
        NotFittedError: If it is not calibrated.
        ValueError: If it is no share between 0 and 1.
    """
    if interval is None:
        return ()
    if not isinstance(model, PointwiseRegressor):
        raise DataError("a classifier has no interval: it gives the probabilities of all classes")
    check_is_fitted(model, "held_out_errors_", msg=UNCALIBRATED)
    return tuple(float(half) for half in model.held_out_errors_.half_widths(interval))


def rows_differ(
    model: TableEstimator,
    rows: Any,
    labels: NDArray[Any] | None,
    interval: float | None = None,
) -> Callable[[Arrays], float]:
    """Hold outputs for rows against what the model predicts.

    Args:
        model: The fitted estimator.
        rows: Rows as its ``predict`` takes them.
        labels: What stands for each of its classes; ``None`` of a regression.
        interval: Of a regression: coverage of the intervals whose ends follow.

    Returns:
        The largest difference of predictions, or of labels and probabilities.
    """
    with _without_warnings():
        if labels is not None:
            return classes_differ(model.predict_proba(rows), labels, TOLERANCE)
        unit = model.network_.scale.scale.double().cpu().numpy()
        single = getattr(model, "single_target_", False)
        expected = [model.predict(rows)]
        if interval is not None:
            expected += list(np.moveaxis(model.predict_interval(rows, interval), -1, 0))
        return numbers_differ(expected, unit[0] if single else unit)


def maps_differ(
    model: TableEstimator,
    bands: NDArray[Any],
    labels: NDArray[Any] | None,
    interval: float | None = None,
) -> Callable[[Arrays], float]:
    """Hold outputs for pixels against what ``predict_map`` gives.

    Args:
        model: The fitted estimator.
        bands: Images ``(N, B, H, W)`` whose bands are its columns.
        labels: What stands for each of its classes; ``None`` of a regression.
        interval: Of a regression: coverage of the intervals whose ends follow.

    Returns:
        The largest difference of predictions ``(N, targets, H, W)``, or of labels ``(N, H, W)`` and
        probabilities ``(N, K, H, W)``.
    """
    asked: Literal["value", "proba"] = "value" if labels is None else "proba"
    with _without_warnings():
        maps = [
            np.asarray(model.predict_map(one, output=asked, interval=interval)) for one in bands
        ]
    expected = np.stack([one.reshape(-1, *one.shape[-2:]) for one in maps])
    if labels is not None:
        return classes_differ(expected, labels, TOLERANCE)
    network = model.network_
    scale, shift = (v.double().cpu().numpy() for v in (network.scale.scale, network.scale.shift))
    rounding = np.abs(shift) * np.finfo(np.float32).eps  # maps of numbers are float32
    unit = np.maximum(scale, 4 * rounding / TOLERANCE)
    parts = 1 if interval is None else 3
    return numbers_differ(np.split(expected, parts, 1), unit[:, None, None])


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Without what predictions warn of: of drawn levels that training did not have, say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        yield
