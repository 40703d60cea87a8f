"""How good predictions are, in the field's usual figures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss"})


@dataclass(frozen=True)
class Score:
    """Predictions for known rows, and how good they are.

    Attributes:
        metrics: Figure by name.
        predicted: Predicted targets ``(N, targets)``, or probabilities ``(N, K)``.
    """

    metrics: dict[str, float]
    predicted: NDArray[np.float64]


def regression_metrics(actual: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """Root mean squared error, mean absolute error and R2, meaned over targets.

    Args:
        actual: Actual values ``(N,)`` or ``(N, targets)``.
        predicted: Predicted values of the same shape.

    Returns:
        ``rmse``, ``mae`` and ``r2``; ``r2`` is NaN for a single row.

    Example:
        >>> regression_metrics(np.array([1.0, 3.0]), np.array([1.0, 1.0]))["mae"]
        1.0
    """
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    r2 = float(r2_score(actual, predicted)) if len(actual) > 1 else float("nan")
    return {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "r2": r2,
    }


def classification_metrics(
    actual: NDArray[Any], proba: NDArray[np.float64], classes: NDArray[Any]
) -> dict[str, float]:
    """Accuracy, log loss and area under the ROC curve (one against the rest, if more than two).

    Args:
        actual: Class labels ``(N,)``.
        proba: Probabilities ``(N, K)``.
        classes: Labels of the ``K`` classes, sorted.

    Returns:
        ``accuracy``, ``log_loss`` and ``roc_auc``; the last is NaN where a class has no row.

    Example:
        >>> proba = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> classification_metrics(np.array(["a", "b"]), proba, np.array(["a", "b"]))["accuracy"]
        1.0
    """
    from sklearn.metrics import log_loss, roc_auc_score

    index = np.searchsorted(classes, actual)
    labels = np.arange(len(classes))
    area = float("nan")
    if len(np.unique(index)) == len(classes):
        scores = proba[:, 1] if len(classes) == 2 else proba
        area = float(roc_auc_score(index, scores, multi_class="ovr", labels=labels))
    return {
        "accuracy": float(np.mean(proba.argmax(1) == index)),
        "log_loss": float(log_loss(index, proba, labels=labels)),
        "roc_auc": area,
    }


def score(model: Any, x: Any, y: NDArray[Any]) -> Score:
    """Predict known rows with a fitted estimator and say how good it is.

    Args:
        model: Any fitted regressor, or classifier with ``predict_proba``.
        x: Table of the rows.
        y: Actual targets, or class labels.

    Returns:
        Metrics and predictions.

    Raises:
        ValueError: If the table or the targets do not fit the model.

    Example:
        >>> from sklearn.dummy import DummyRegressor
        >>> x, y = np.zeros((2, 1)), np.array([1.0, 3.0])
        >>> score(DummyRegressor().fit(x, y), x, y).metrics
        {'rmse': 1.0, 'mae': 1.0, 'r2': 0.0}
    """
    if hasattr(model, "classes_"):
        proba = model.predict_proba(x)
        return Score(classification_metrics(y, proba, model.classes_), proba)
    predicted = np.asarray(model.predict(x), dtype=np.float64)
    return Score(regression_metrics(y, predicted), predicted.reshape(len(predicted), -1))
