"""Tables that scikit-learn carries with it, read by name: no file and no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TARGET = "target"

_LOADERS = {
    "breast_cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
}

BUNDLED_NAMES: tuple[str, ...] = tuple(_LOADERS)


def load_bundled(name: str) -> pd.DataFrame:
    """Load one of scikit-learn's own tables, its target in the last column, ``target``.

    Classes that scikit-learn names ("setosa") are strings; those it only numbers stay integers.

    Args:
        name: One of ``BUNDLED_NAMES``.

    Returns:
        A new frame; the features keep scikit-learn's names.

    Raises:
        DataError: If there is no such set.

    Example:
        >>> load_bundled("iris")["target"].unique().tolist()
        ['setosa', 'versicolor', 'virginica']
    """
    from sklearn import datasets

    if name not in _LOADERS:
        raise DataError(f"a bundled set is one of {', '.join(BUNDLED_NAMES)}, got {name!r}")
    bunch = getattr(datasets, _LOADERS[name])(as_frame=True)
    frame: pd.DataFrame = bunch.frame
    classes = [str(label) for label in bunch.get("target_names", [])]
    if classes and not all(label.isdigit() for label in classes):
        frame[TARGET] = [classes[code] for code in frame[TARGET]]
    return frame
