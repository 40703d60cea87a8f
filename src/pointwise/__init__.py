"""MLPs as stacks of 1x1 convolutions: accurate on tables, the same on tokens, pixels and voxels.

Everything is imported on first use, so that ``import pointwise`` costs little beyond torch.

Example:
    >>> import pointwise
    >>> pointwise.nn.MLP([3, 8, 1])
    MLP(...)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pointwise import (
        compression,
        functional,
        inspection,
        maps,
        networks,
        nn,
        runtime,
        surgery,
    )
    from pointwise.estimators import (
        ImageClassifier,
        PointwiseClassifier,
        PointwiseRegressor,
        Segmenter,
        load,
        save,
    )

__version__ = "0.1.0"

__all__ = [
    "ImageClassifier",
    "PointwiseClassifier",
    "PointwiseRegressor",
    "Segmenter",
    "__version__",
    "compression",
    "functional",
    "inspection",
    "load",
    "maps",
    "networks",
    "nn",
    "runtime",
    "save",
    "surgery",
]

_HOMES = {
    "ImageClassifier": "pointwise.estimators",
    "Segmenter": "pointwise.estimators",
    "PointwiseClassifier": "pointwise.estimators",
    "PointwiseRegressor": "pointwise.estimators",
    "load": "pointwise.estimators",
    "save": "pointwise.estimators",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"pointwise.{name}")
    raise AttributeError(f"module 'pointwise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
