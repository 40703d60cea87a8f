"""Class labels of any kind to class numbers."""

from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from pointwise.data.table import missing_in
from pointwise.errors import DataError


def read_labels(y: Any, rows: int, what: str = "rows") -> NDArray[Any]:
    """Labels ``(N,)`` of one kind, in the type that NumPy has for it.

    Args:
        y: Array, list or series.
        rows: How many there must be.
        what: What has a label each, for the message.

    Returns:
        The labels.

    Raises:
        ValueError: If ``y`` is ``None``, or of continuous numbers.
        DataError: If a label is missing, they are of several kinds, or not one each.

    Example:
        >>> read_labels(["b", "a"], 2)
        array(['b', 'a'], dtype='<U1')
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    labels = _of_one_kind(y)
    check_classification_targets(labels)
    if len(labels) != rows:
        one = what.removesuffix("s")
        raise DataError(f"y must have one entry per {one}: got {len(labels)} for {rows} {what}")
    return labels


def find_classes(labels: NDArray[Any]) -> NDArray[Any]:
    """The classes that labels name, sorted.

    Args:
        labels: Labels ``(N,)``.

    Returns:
        Each once.

    Raises:
        DataError: If there is only one.
    """
    classes: NDArray[Any] = np.unique(labels)
    if len(classes) < 2:
        raise DataError(
            f"y must have at least 2 classes, got 1 class: all are {classes.tolist()[0]!r}"
        )
    return classes


def class_numbers(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Number of every label's class.

    Args:
        labels: Labels ``(N,)``.
        classes: The classes, sorted.

    Returns:
        Indices into ``classes``.

    Raises:
        DataError: If a label is none of them.

    Example:
        >>> class_numbers(np.array(["b", "a"]), np.array(["a", "b"]))
        array([1, 0])
    """
    index = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    strange = labels != classes[index]
    if strange.any():
        raise DataError(
            f"y holds a class that training did not have: {labels[strange].tolist()[0]!r}; "
            f"known are {', '.join(map(repr, classes[:10].tolist()))}"
        )
    return index


def labels_array(classes: list[Any]) -> NDArray[Any]:
    """Class labels from JSON, as the array that a fit has of them.

    Args:
        classes: Labels of one kind.

    Returns:
        The array; texts are objects in it.
    """
    text = all(isinstance(label, str) for label in classes)
    return np.array(classes, dtype=object if text else None)


def _of_one_kind(y: Any) -> NDArray[Any]:
    y = nw.from_native(y, series_only=True, pass_through=True)
    labels: NDArray[Any] = column_or_1d(y.to_numpy() if isinstance(y, nw.Series) else y, warn=True)
    missing = ~np.isfinite(labels) if labels.dtype.kind == "f" else missing_in(labels)
    if missing.any():
        raise DataError(
            f"y must have a class in every row: {int(missing.sum())} rows hold NaN, infinity or "
            f"nothing, the first is row {int(missing.argmax())}; remove those rows"
        )
    if labels.dtype.kind != "O" or all(isinstance(label, str) for label in labels):
        return labels
    kinds = {type(label).__name__: label for label in labels}
    if len(kinds) > 1:
        shown = " and ".join(f"{label!r} ({kind})" for kind, label in kinds.items())
        raise DataError(f"y must hold labels of one kind, got {shown}: write all of them as text")
    return np.array(labels.tolist())
