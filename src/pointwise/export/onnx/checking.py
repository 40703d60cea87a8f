"""ONNX models run by ONNX Runtime, and held against what they were made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pointwise.errors import DifferenceError, first_line
from pointwise.export.differences import Arrays, check_rounding


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
    return check_rounding(max(found), limit, "the ONNX model")
