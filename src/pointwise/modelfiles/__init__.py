"""Model folders: safetensors and JSON, checked when read, replaced as one step when written."""

from pointwise.modelfiles.card import model_card
from pointwise.modelfiles.folder import (
    ModelFolder,
    read_config,
    read_model,
    read_report,
    write_model,
)
from pointwise.modelfiles.target import check_target

__all__ = [
    "ModelFolder",
    "check_target",
    "model_card",
    "read_config",
    "read_model",
    "read_report",
    "write_model",
]
