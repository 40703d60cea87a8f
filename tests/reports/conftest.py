"""Fields of two small but complete reports, to change one thing at a time."""

from typing import Any

import numpy as np
import pytest

from pointwise.reports import classification_figures, regression_figures


def _history(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "valid_loss": 1 / epoch + 0.001 * epoch,
            "learning_rate": 1e-3,
            "seconds": 0.5 * epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.fixture
def regression_fields() -> dict[str, Any]:
    """A regression with everything filled in; made anew for each test."""
    rng = np.random.default_rng(0)
    actual = rng.normal(size=500)
    return {
        "title": "houses",
        "task": "regression",
        "target": ["price"],
        "created": "2026-01-31T12:30:45+00:00",
        "seconds": 83.2,
        "history": _history(40),
        "best_epoch": 32,
        "metrics": {"rmse": 0.31, "mae": 0.24, "r2": 0.9},
        "metrics_rows": "500 held-out rows",
        "baselines": [
            {"name": "mean", "metrics": {"rmse": 1.0, "mae": 0.8, "r2": 0.0}, "seconds": 0.001},
            {"name": "boosting", "metrics": {"rmse": 0.33, "mae": 0.21, "r2": 0.89}},
        ],
        "figures": {"price": regression_figures(actual, actual + rng.normal(0, 0.3, 500))},
        "importance": [
            {"name": "area", "mean": 0.8, "sd": 0.05},
            {"name": "age", "mean": -0.01, "sd": 0.02},
        ],
        "columns": [
            {
                "name": "area",
                "kind": "number",
                "missing": 3,
                "distinct": 480,
                "minimum": 20.0,
                "median": 85.5,
                "maximum": 400.0,
            },
            {
                "name": "city",
                "kind": "category",
                "missing": 0,
                "distinct": 12,
                "note": "two levels differ only in case",
                "levels": [{"level": "Oslo", "rows": 300}, {"level": "oslo", "rows": 20}],
            },
        ],
        "layers": [
            {"name": "encode", "kind": "ColumnEncoder", "shape": "2 to 8", "parameters": 16},
            {"name": "mlp.0", "kind": "PointwiseConv", "shape": [8, 64], "parameters": 576},
        ],
        "rows": {"train": 4000, "valid": 500, "test": 500},
        "warnings": ["area has 3 missing values"],
        "members": 4,
        "parameters": 592,
    }


@pytest.fixture
def classification_fields(regression_fields: dict[str, Any]) -> dict[str, Any]:
    """A binary classification; made anew for each test."""
    rng = np.random.default_rng(1)
    actual = rng.integers(0, 2, 400)
    chance = np.clip(0.5 + 0.3 * (actual - 0.5) + rng.normal(0, 0.2, 400), 0, 1)
    figures = classification_figures(actual, np.stack([1 - chance, chance], 1), ["no", "yes"])
    return regression_fields | {
        "task": "classification",
        "target": ["bought"],
        "metrics": {"accuracy": 0.8125, "log_loss": 0.45, "roc_auc": 0.87},
        "baselines": [{"name": "majority class", "metrics": {"accuracy": 0.51}}],
        "figures": {"bought": figures},
    }
