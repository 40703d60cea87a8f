"""Estimators and tables that fit in a blink, for tests whose point is not the accuracy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.estimators import PointwiseClassifier, PointwiseRegressor

TINY: dict[str, Any] = {"members": 2, "hidden": (8,), "max_epochs": 4, "random_state": 0}
ROWS = 120


def regressor(**changes: Any) -> PointwiseRegressor:
    return PointwiseRegressor(**{**TINY, **changes})


def classifier(**changes: Any) -> PointwiseClassifier:
    return PointwiseClassifier(**{**TINY, **changes})


def table(rows: int = ROWS, columns: int = 3) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Columns, a number to predict and a class (text) to predict."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    y = x[:, 0] - 0.5 * x[:, 1] + 0.1 * rng.normal(size=rows)
    return x, y, np.where(y > 0, "up", "down")
