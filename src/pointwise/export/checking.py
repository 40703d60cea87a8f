"""ONNX models run by ONNX Runtime, and held against what they were made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pointwise.errors import DifferenceError, first_line

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """Inputs of a model, and how far outputs are from what they should be.

    Attributes:
        feeds: An array for each input.
        difference: From the outputs to the largest difference, infinite where they are of another
            form.
    """

    feeds: Mapping[str, NDArray[Any]]
    difference: Callable[[Arrays], float]


def largest_difference(data: bytes, cases: Sequence[Case], limit: float) -> float:
    """Run a model on some inputs.

    Args:
        data: The model as its file holds it.
        cases: What it is run on.
        limit: What it may differ by.

    Returns:
        The largest difference.

    Raises:
        DifferenceError: If it is larger than the limit, or ONNX Runtime cannot run the model.
    """
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, too
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found = [case.difference(session.run(None, dict(case.feeds))) for case in cases]
    except Exception as error:  # ONNX Runtime has many classes
        raise DifferenceError(
            f"ONNX Runtime cannot run what torch exported: {first_line(error)}"
        ) from error
    worst = max(found)
    if not worst <= limit:
        raise DifferenceError(
            f"the ONNX model computes something else: it differs by {worst:.2g}, {limit:.2g} are "
            "allowed"
        )
    return worst


def classes_differ(
    expected: NDArray[Any], classes: NDArray[Any], limit: float
) -> Callable[[Arrays], float]:
    """Hold labels and probabilities against a model's probabilities.

    Args:
        expected: The model's probabilities ``(N, K, ...)``.
        classes: The labels.
        limit: Between probabilities that lie nearer than twice this, either label is right.

    Returns:
        The largest difference of probabilities; infinite where a label is wrong.
    """

    def difference(outputs: Arrays) -> float:
        labels, shares = outputs
        if shares.shape != expected.shape:
            return np.inf
        ranked = np.sort(expected, 1)
        sure = ranked[:, -1] - ranked[:, -2] > 2 * limit
        right = labels == classes[expected.argmax(1)]
        return _largest(shares, expected) if np.all(right | ~sure) else np.inf

    return difference


def numbers_differ(
    expected: Arrays, unit: NDArray[np.float64] | None = None
) -> Callable[[Arrays], float]:
    """Hold numbers against a model's.

    Args:
        expected: The model's outputs.
        unit: What differences are told in. Default: the largest value of each output.

    Returns:
        The largest difference in that unit.
    """

    def difference(outputs: Arrays) -> float:
        if [y.shape for y in outputs] != [y.shape for y in expected]:
            return np.inf
        worst = 0.0
        for found, one in zip(outputs, expected, strict=True):
            known = np.abs(one[np.isfinite(one)], dtype=np.float64)
            scale = unit if unit is not None else max(float(known.max(initial=0)), 1e-30)
            worst = max(worst, _largest(found / scale, one / scale))
        return worst

    return difference


def _largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference; none where both are the same infinity or no number."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
