from pathlib import Path
from typing import Any

import pytest
import torch

from pointwise.modelfiles import write_model


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "task": "classification",
        "estimator": "PointwiseClassifier",
        "columns": [{"name": "area", "kind": "number"}, {"name": "town", "kind": "category"}],
        "targets": ["sold"],
        "classes": ["no", "yes"],
        "network": {"channels": [2, 8, 2], "members": 4, "parameters": 1234},
        "parameters": {"members": 4, "time_limit": None},
        "training": {"epochs": 12},
        "metrics": {"accuracy": 0.875, "log_loss": 0.25},
    }


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"0.weight": torch.arange(16.0).reshape(8, 2), "0.bias": torch.linspace(0, 1, 8)}


@pytest.fixture
def folder(tmp_path: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    """A model folder with a report."""
    path = tmp_path / "houses"
    write_model(path, tensors, config, card="# Houses\n", report={"curve": [1.0, 0.5]})
    return path
