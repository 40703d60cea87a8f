"""Libraries called from Python, as C calls them."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import ColumnCoding
from pointwise.estimators.base import TableEstimator
from pointwise.export.inputs import missing_text, onnx_inputs, takes_rows
from pointwise.export.library.names import identifiers, utf8
from pointwise.runtime import Chain

Array = NDArray[Any]


def run_network(
    library: ctypes.CDLL, name: str, chain: Chain, x: Array, *, planar: bool, gap: int = 0
) -> Array:
    """Run a network's library.

    Args:
        library: The library.
        name: Of its functions.
        chain: The network.
        x: Rows ``(P, C_in)``.
        planar: Whether to lay them out by channels first.
        gap: Numbers between one channel and the next that are no positions.

    Returns:
        Rows ``(P, C_out)``.
    """
    count = len(x)
    dtype = np.int64 if chain.dtype else np.float32
    if not planar:
        given, rows = np.ascontiguousarray(x), np.empty((count, chain.c_out), dtype)
        library[f"{name}_rows"](_start(given), _start(rows), _size(count))
        return rows
    room = np.zeros((chain.c_in, count + gap), x.dtype)
    room[:, :count] = x.T
    made = np.empty((chain.c_out, count + gap), dtype)
    stride = _size(count + gap)
    library[f"{name}_planar"](_start(room), stride, _start(made), stride, _size(count))
    return made[:, :count].T


def run_table(library: ctypes.CDLL, name: str, model: TableEstimator, rows: Any) -> list[Array]:
    """Run the library of an estimator of tables.

    Args:
        library: The library.
        name: Of its functions.
        model: The estimator.
        rows: Rows as its ``predict`` takes them.

    Returns:
        Predictions ``(N,)`` or ``(N, targets)``; of a classifier class numbers and probabilities.
    """
    columns = onnx_inputs(model, rows)
    count = len(next(iter(columns.values())))
    if takes_rows(model):
        given: Any = _start(np.ascontiguousarray(columns["rows"]))
    else:
        used = [column for column in model.coding_.columns if not column.ignored]
        given = _records(used, columns, count)
    return _outputs(library[f"{name}_predict"], model, (given,), (count,), ())


def run_pixels(library: ctypes.CDLL, name: str, model: TableEstimator, bands: Array) -> list[Array]:
    """Run the library of an estimator of tables over images.

    Args:
        library: The library.
        name: Of its functions.
        model: The estimator.
        bands: Bands of pixels ``(B, P)``.

    Returns:
        Predictions ``(targets, P)``; of a classifier class numbers ``(P,)`` and probabilities
        ``(K, P)``.
    """
    pixels = bands.shape[1]
    given = np.ascontiguousarray(bands)
    head = (_start(given), _size(pixels))
    return _outputs(library[f"{name}_map"], model, head, (pixels,), (_size(pixels),))


def _outputs(
    function: Any,
    model: TableEstimator,
    head: tuple[Any, ...],
    shape: tuple[int],
    tail: tuple[Any, ...],
) -> list[Array]:
    """Call a function with room for what an estimator puts out; planar where a stride follows."""
    classes, planar = getattr(model, "classes_", None), bool(tail)
    outputs = len(model.network_.scale.scale)
    whole = (outputs, *shape) if planar else (*shape, outputs)
    if classes is not None:
        labels, shares = np.empty(shape, np.int32), np.empty(whole, np.float32)
        function(*head, _start(labels), _start(shares), *tail, _size(*shape))
        return [labels, shares]
    made = np.empty(whole, np.float32 if planar else np.float64)
    function(*head, _start(made), *tail, _size(*shape))
    single = getattr(model, "single_target_", False) and not planar
    return [made[:, 0] if single else made]


def _records(used: list[ColumnCoding], columns: dict[str, Array], count: int) -> Any:
    """Rows as C holds them."""
    kinds = {"category": ctypes.c_char_p, "date": ctypes.c_int64}
    names = identifiers(column.name for column in used)
    fields = [(n, kinds.get(c.kind, ctypes.c_double)) for n, c in zip(names, used, strict=True)]
    record: Any = type("Row", (ctypes.Structure,), {"_fields_": fields})
    rows = (record * count)()
    for name, column in zip(names, used, strict=True):
        values, nothing = columns[column.name][:, 0].tolist(), missing_text(column)
        for row, value in zip(rows, values, strict=True):
            if column.kind == "category":
                value = None if value == nothing else utf8(value)
            setattr(row, name, value)
    return rows


def _start(values: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


def _size(count: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(count)
