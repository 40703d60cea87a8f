"""Fitted estimators and networks as ONNX files, run once to see that they compute the same."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pointwise._atomic import why_no_file, write_bytes
from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.image_base import ImageEstimator

NEEDS = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Port:
    """An input or output of an exported model.

    Attributes:
        name: Its name.
        kind: Type of its values, such as ``float32`` or ``text``.
        shape: Its sizes; a name stands for any number.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """Such as ``age: float64 (rows, 1)``."""
        sizes = ", ".join(map(str, self.shape)) + ("," if len(self.shape) == 1 else "")
        return f"{self.name}: {self.kind} ({sizes})"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written, and how near it is to the model that it was made of.

    Attributes:
        path: The file.
        inputs: What it takes.
        outputs: What it gives.
        largest_difference: Between its outputs, run by ONNX Runtime, and the model's: of
            probabilities, of numbers over the deviation of their target, and of the outputs of a
            network over the largest.
        checked: What both were run on.
        notes: What to know besides.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    largest_difference: float
    checked: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A few lines to read."""
        ports = [f"  in   {port}" for port in self.inputs]
        ports += [f"  out  {port}" for port in self.outputs]
        held = f"equal to {self.largest_difference:.1g} on {self.checked}"
        size = f"{self.path.stat().st_size:,} bytes: {self.path}"
        return "\n".join([*ports, held, *self.notes, size])


def to_onnx(
    model: TableEstimator | ImageEstimator | nn.Module,
    path: str | Path,
    *,
    example: Any = None,
    pixels: bool = False,
    interval: float | None = None,
    opset: int | None = None,
) -> OnnxFile:
    """Write a fitted estimator, or a network, as one ONNX file that needs no Python.

    All that ``predict`` does is inside: of a table text, dates, missing values, offsets and scales,
    of images the scale of the pixels. The file is run by ONNX Runtime before it is written, and
    must give what the model gives. ``onnx_inputs`` makes its inputs of a frame or of images.

    Args:
        model: A fitted estimator, or a network in any mode (it is exported for evaluation).
        path: File to write.
        example: Rows or images to check an estimator with; by default some are drawn. Of a network
            its input ``(N, C, ...)``, or a tuple of several, which it needs. For ``pixels`` rasters
            ``(B, H, W)`` or ``(N, B, H, W)``.
        pixels: Of an estimator of tables: whether the file takes images of any size whose bands are
            the columns, ``(N, B, H, W)`` in float32, NaN where a value is missing, and predicts
            each pixel as ``predict_map`` does.
        interval: Of a calibrated regression of tables: the share of true values that are to lie in
            their intervals, 0.9 say, whose ends ``low`` and ``high`` become outputs, too.
        opset: Version of the ONNX operators, for a reader that knows older ones only. Default: that
            of torch's exporter.

    Returns:
        What was written: inputs, outputs and the largest difference.

    Raises:
        DataError: If the packages of the extra ``onnx`` are missing, the folder of ``path`` is
            not there, a network comes without an example, a raster cannot have the columns, or
            torch cannot follow the model.
        DifferenceError: If the file would compute something else; nothing is written then.
        NotFittedError: If the estimator is not fitted, or for an interval not calibrated.
        TypeError: If the model is neither.

    Example:
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = to_onnx(model, f"{folder}/iris.onnx")
        >>> print(done.inputs[0], "and", done.outputs[0])
        sepal length (cm): float64 (N, 1) and label: int64 (N,)
    """
    path = Path(path)
    check_ready(path)
    from pointwise.export.onnx import making  # with the packages that may be missing

    if pixels and not isinstance(model, TableEstimator):
        raise DataError("pixels=True is for estimators of tables, whose columns become bands")
    if interval is not None and not isinstance(model, TableEstimator):
        raise DataError("interval= is for calibrated regressions of tables")
    if isinstance(model, TableEstimator):
        make = making.of_pixels if pixels else making.of_table
        made = make(model, example, opset, interval)
    elif isinstance(model, ImageEstimator):
        made = making.of_images(model, example, opset)
    elif isinstance(model, nn.Module):
        made = making.of_network(model, example, opset)
    else:
        raise TypeError(
            "model must be a fitted estimator of this package or a torch.nn.Module, got "
            f"{type(model).__name__}"
        )
    try:
        write_bytes(path, made.data)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    ports = ([Port(*port) for port in made.ports(kind)] for kind in ("input", "output"))
    inputs, outputs = map(tuple, ports)
    return OnnxFile(path, inputs, outputs, made.difference, made.checked, tuple(made.notes))


def check_ready(path: Path) -> None:
    """Refuse, before any work, what could not be written after it.

    Args:
        path: File to write.

    Raises:
        DataError: If the packages of the extra ``onnx`` are missing, or there is no such folder.
    """
    lacking = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if lacking:
        raise DataError(f"to write ONNX, {', '.join(lacking)} must be installed: pointwise[onnx]")
    if why := why_no_file(path):
        raise DataError(f"{path}: {why}")
