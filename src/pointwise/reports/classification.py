"""Class probabilities as binned figures: confusion, calibration and ROC, without a row in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.reports.binning import Floats, at_least_one, bin_index

MOST_CLASSES = 30
CALIBRATION_BINS = 10
ROC_POINTS = 100


def classification_figures(
    actual: NDArray[Any], proba: NDArray[Any], classes: Sequence[str]
) -> dict[str, Any]:
    """Bin class probabilities: the confusion matrix, the calibration and, for two classes, the ROC.

    Rows with a probability that is not finite are counted and left out.

    Args:
        actual: Index of the actual class of each row, of shape ``(N,)``.
        proba: Class probabilities of shape ``(N, K)``.
        classes: Names of the ``K`` classes; of two, the second is the positive one.

    Returns:
        ``kind``; ``rows`` and ``not_finite``; ``confusion``, counts of shape
        ``(actual, predicted)`` (beyond 30 classes the rarer ones are one, named "other");
        ``calibration``, the probability of the predicted class (of two: of the positive one)
        beside how often it came true, in ten bins, and the expected calibration error;
        ``roc``, the curve at 100 points or fewer and the area under all of it, or ``None``.

    Raises:
        DataError: If the shapes do not fit, an index is no class, or no row is finite.

    Example:
        >>> proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
        >>> classification_figures(np.array([0, 0, 1]), proba, ["no", "yes"])["confusion"]
        {'labels': ['no', 'yes'], 'counts': [[1, 1], [0, 1]], 'lumped': 0}
    """
    actual, proba = np.asarray(actual), np.asarray(proba, dtype=np.float64)
    _check_classes(actual, proba, len(classes))
    finite = np.isfinite(proba).all(axis=1)
    actual, proba = actual[finite].astype(np.int64), at_least_one(proba[finite])
    names = [str(name) for name in classes]
    binary = len(names) == 2
    guess = proba.argmax(axis=1)
    chance = proba[:, 1] if binary else proba.max(axis=1)
    right = actual == 1 if binary else actual == guess
    return {
        "kind": "classification",
        "rows": int(finite.sum()),
        "not_finite": int((~finite).sum()),
        "confusion": _confusion(actual, guess, names),
        "calibration": _calibration(chance, right) | {"positive": names[1] if binary else None},
        "roc": _roc(chance, right) if binary else None,
    }


def _check_classes(actual: NDArray[Any], proba: NDArray[Any], classes: int) -> None:
    if proba.ndim != 2 or actual.shape != proba.shape[:1] or proba.shape[1] != classes:
        raise DataError(
            f"actual must have shape (N,) and proba (N, {classes}), a column per class, "
            f"got {actual.shape} and {proba.shape}"
        )
    if not np.issubdtype(actual.dtype, np.integer):
        raise DataError(f"actual must hold class indices, got {actual.dtype}; encode labels first")
    if actual.size and not 0 <= actual.min() <= actual.max() < classes:
        raise DataError(
            f"actual must hold class indices from 0 to {classes - 1}, "
            f"got {actual.min()} to {actual.max()}"
        )


def _confusion(actual: NDArray[Any], guess: NDArray[Any], names: list[str]) -> dict[str, Any]:
    lumped = max(len(names) - MOST_CLASSES, 0)
    often = np.argsort(-np.bincount(actual, minlength=len(names)), kind="stable")
    kept = np.sort(often[:MOST_CLASSES])
    place = np.full(len(names), len(kept))  # where a lumped class is counted
    place[kept] = np.arange(len(kept))
    labels = [names[k] for k in kept] + ([f"other ({lumped} classes)"] if lumped else [])
    side = len(labels)
    counts = np.bincount(place[actual] * side + place[guess], minlength=side * side)
    return {"labels": labels, "counts": counts.reshape(side, side).tolist(), "lumped": lumped}


def _calibration(chance: Floats, right: NDArray[np.bool_]) -> dict[str, Any]:
    place = bin_index(chance, 0.0, 1.0, CALIBRATION_BINS)
    rows = np.bincount(place, minlength=CALIBRATION_BINS)
    some = rows > 0
    probability = np.bincount(place, weights=chance, minlength=CALIBRATION_BINS)[some] / rows[some]
    frequency = np.bincount(place, weights=right, minlength=CALIBRATION_BINS)[some] / rows[some]
    gap = np.abs(probability - frequency)
    return {
        "probability": probability.tolist(),
        "frequency": frequency.tolist(),
        "rows": rows[some].tolist(),
        "error": float((gap * rows[some]).sum() / rows.sum()),
    }


def _roc(score: Floats, positive: NDArray[np.bool_]) -> dict[str, Any] | None:
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    hits, score = positive[order], score[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # last row of each score
    true = np.concatenate([[0.0], np.cumsum(hits)[ends] / hits.sum()])
    false = np.concatenate([[0.0], np.cumsum(~hits)[ends] / (~hits).sum()])
    # Even steps along the curve rather than along its rows, which crowd in one corner.
    kept = np.unique(
        np.searchsorted(true + false, np.linspace(0, 2, ROC_POINTS)).clip(max=ends.size)
    )
    return {
        "false_positive": false[kept].tolist(),
        "true_positive": true[kept].tolist(),
        "area": float(np.trapezoid(true, false)),
    }
