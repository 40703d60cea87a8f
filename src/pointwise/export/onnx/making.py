"""The graph of each kind of model, checked before anything is written."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pointwise.errors import DataError, DifferenceError, first_line
from pointwise.estimators.backbones import check_size
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.image_base import ImageEstimator
from pointwise.export.differences import classes_differ, numbers_differ
from pointwise.export.expected import TOLERANCE, half_widths, maps_differ, rows_differ
from pointwise.export.inputs import (
    BANDS,
    IMAGES,
    checked_bands,
    drawn_bands,
    drawn_inputs,
    onnx_inputs,
    takes_rows,
)
from pointwise.export.onnx.checking import Case, largest_difference
from pointwise.export.onnx.graphs import ArrayGraph, ImageGraph, PixelGraph, TableGraph
from pointwise.export.onnx.trace import check_bytes, trace
from pointwise.export.onnx.wrapping import wrap
from pointwise.inspection.copying import copy_model

LOOSE = 1e-3
"""What outputs of a network may differ by, of the largest: ONNX Runtime adds up in other orders."""


@dataclass
class Made:
    """A graph that was checked.

    Attributes:
        proto: The graph.
        data: The same as its file holds it.
        difference: The largest from the model.
        checked: What it was checked on.
        notes: What to know besides.
    """

    proto: onnx.ModelProto
    data: bytes
    difference: float
    checked: str
    notes: list[str] = field(default_factory=list)

    def ports(
        self, kind: Literal["input", "output"]
    ) -> Iterator[tuple[str, str, tuple[int | str, ...]]]:
        """Name, type and sizes of each input or output.

        Args:
            kind: Which.

        Yields:
            Such as ``("age", "float64", ("N", 1))``.
        """
        for port in getattr(self.proto.graph, kind):
            tensor = port.type.tensor_type
            shape = tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
            text = tensor.elem_type == TensorProto.STRING
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            yield port.name, "text" if text else str(dtype), shape


def of_table(
    model: TableEstimator, example: Any, opset: int | None, interval: float | None = None
) -> Made:
    """The graph of a fitted estimator of tables.

    Args:
        model: The estimator.
        example: Rows to check it with, or ``None`` for drawn ones.
        opset: Version of the operators, or ``None``.
        interval: Coverage of the intervals whose ends it gives, too, or ``None``.

    Returns:
        The graph, checked.
    """
    check_is_fitted(model, "network_")
    half = half_widths(model, interval)
    classes = getattr(model, "classes_", None)
    network = copy.deepcopy(model.network_).cpu().eval()
    table = TableGraph(
        model.coding_,
        network,
        None if classes is None else len(classes),
        single=getattr(model, "single_target_", False),
        half=half,
    )
    drawn = drawn_inputs(model)
    rows = drawn if example is None else example
    feeds = onnx_inputs(model, drawn)  # many: of one row torch's exporter would take no more
    outputs = _outputs(classes, half)
    graph: nn.Module = table
    categories = {column.name: column for column in model.coding_.categories}
    if takes_rows(model):
        kept = [i for i, column in enumerate(model.coding_.columns) if not column.ignored]
        graph, categories = ArrayGraph(table, kept), {}
    inputs = [
        torch.zeros(values.shape) if name in categories else torch.from_numpy(values)
        for name, values in feeds.items()
    ]
    proto = trace(graph, inputs, outputs=outputs, sizes_vary=False, opset=opset)
    targets = getattr(model, "target_names_", None) if classes is None else None
    made = wrap(
        proto,
        inputs={name: categories.get(name) for name in feeds},
        outputs=outputs,
        classes=classes,
        made_of=type(model).__name__,
        facts={
            "columns": [column.name for column in model.coding_.columns],
            "targets": targets,
            "interval": interval,
        },
    )

    def case(rows: Any) -> Case:
        return Case(onnx_inputs(model, rows), rows_differ(model, rows, classes, interval))

    first = case(rows)
    count = len(next(iter(first.feeds.values())))
    whose = "drawn rows" if example is None else "rows"
    return _checked(made, [first, case(drawn[:1])], TOLERANCE, f"{count:,} {whose}")


def of_pixels(
    model: TableEstimator, example: Any, opset: int | None, interval: float | None = None
) -> Made:
    """The graph of a fitted estimator of tables over images whose bands are its columns.

    Args:
        model: The estimator.
        example: A raster ``(B, H, W)`` or several ``(N, B, H, W)``, or ``None`` for drawn ones.
        opset: Version of the operators, or ``None``.
        interval: Coverage of the intervals whose ends it gives, too, or ``None``.

    Returns:
        The graph, checked.

    Raises:
        DataError: If a column held dates or texts, or the example has not a band for each column.
    """
    pixel_model, half = model.pixel_model(), half_widths(model, interval)
    graph = PixelGraph(pixel_model, half).eval()
    drawn = drawn_bands(model)
    bands = drawn if example is None else checked_bands(model, example).astype(np.float32)
    names = [band.name for band in pixel_model.bands]
    classes = getattr(model, "classes_", None)
    outputs = _outputs(classes, half)
    x = torch.from_numpy(drawn)
    made = wrap(
        trace(graph, [x], outputs=outputs, sizes_vary=True, opset=opset),
        inputs={BANDS: None},
        outputs=outputs,
        classes=classes,
        made_of=type(model).__name__,
        facts={
            "bands": names,
            "targets": pixel_model.targets if classes is None else (),
            "interval": interval,
        },
    )

    def case(bands: NDArray[Any]) -> Case:
        return Case({BANDS: bands}, maps_differ(model, bands, classes, interval))

    cases = [case(one) for one in (bands, bands[:1, :, :1, :1])]
    cases += [case(other.numpy()) for other in _other_sizes(x[:1])]
    whose = "drawn pixels" if example is None else "pixels"
    return _checked(made, cases, TOLERANCE, f"{bands[:, 0].size:,} {whose}")


def _outputs(classes: NDArray[Any] | None, half: Sequence[float]) -> list[str]:
    """Names of what an estimator of tables gives."""
    if classes is not None:
        return ["label", "probabilities"]
    return ["prediction", "low", "high"] if half else ["prediction"]


def of_images(model: ImageEstimator, example: Any, opset: int | None) -> Made:
    """The graph of a fitted classifier or segmenter of images.

    Args:
        model: The estimator.
        example: Images to check it with, or ``None`` for drawn ones.
        opset: Version of the operators, or ``None``.

    Returns:
        The graph, checked.
    """
    check_is_fitted(model, "network_")
    graph = ImageGraph(copy.deepcopy(model.network_).cpu().eval())

    def takes(images: Tensor) -> bool:
        try:
            check_size(model.network_.backbone, *images.shape[2:])
        except DataError:
            return False
        return True

    drawn = onnx_inputs(model, drawn_inputs(model))[IMAGES]
    some = drawn if example is None else onnx_inputs(model, example)[IMAGES]
    others = [other for other in _other_sizes(torch.from_numpy(drawn)) if takes(other)]

    def case(images: NDArray[Any]) -> Case:
        expected = model.predict_proba(images)
        return Case({IMAGES: images}, classes_differ(expected, model.classes_, TOLERANCE))

    def make(sizes_vary: bool) -> Made:
        names = ["label", "probabilities"]
        like = drawn if sizes_vary or example is None else np.concatenate([some[:1]] * 3)
        x = torch.from_numpy(like)
        made = wrap(
            trace(graph, [x], outputs=names, sizes_vary=sizes_vary, opset=opset),
            inputs={IMAGES: None},
            outputs=names,
            classes=model.classes_,
            made_of=type(model).__name__,
            facts={"class_names": getattr(model, "class_names_", None)},
        )
        cases = [case(some), case(like[:1])]
        if sizes_vary:
            cases += [case(other.numpy()) for other in others]
        whose = "drawn images" if example is None else "images"
        return _checked(made, cases, TOLERANCE, f"{len(some):,} {whose}")

    made = _of_any_size(make, "x".join(map(str, some.shape[2:])))
    smallest = getattr(model.network_.backbone, "smallest", 1)
    if smallest > 1 and not made.notes:
        made.notes.append(f"of images of at least {smallest} x {smallest} pixels")
    return made


def of_network(model: nn.Module, example: Any, opset: int | None) -> Made:
    """The graph of a network.

    Args:
        model: The network.
        example: Its input, or a tuple of several.
        opset: Version of the operators, or ``None``.

    Returns:
        The graph, checked.

    Raises:
        DataError: If there is no example, the network cannot take it, or gives what ONNX cannot.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise DataError(
            "torch's exporter cannot follow a scripted network: export the one it was made of"
        )
    inputs = _example_inputs(example)
    network = copy_model(model).cpu().eval()
    twice = [torch.cat([x, x]) for x in inputs]
    names = [f"input{i}" if len(inputs) > 1 else "input" for i in range(len(inputs))]

    def run(given: Sequence[Tensor]) -> list[NDArray[Any]]:
        with torch.no_grad():
            found = tree_leaves(network(*(x.clone() for x in given)))  # it may work in place
        return [_as_array(y) for y in found if y is not None]

    def case(given: Sequence[Tensor]) -> Case:
        feeds = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        return Case(feeds, numbers_differ(run(given)))

    def make(sizes_vary: bool) -> Made:
        like = larger if sizes_vary else twice  # of a size of one the exporter would take no more
        proto = trace(network, like, outputs=None, sizes_vary=sizes_vary, opset=opset)
        count = len(proto.graph.output)
        made = wrap(
            proto,
            inputs=dict.fromkeys(names),
            outputs=[f"output{i}" for i in range(count)] if count > 1 else ["output"],
            classes=None,
            made_of=type(model).__name__,
            facts={},
        )
        cases = [case(given) for given in (inputs, twice, [torch.cat([x, x, x]) for x in twice])]
        one = [x[:1] for x in inputs]
        if _takes(network, *one):
            cases.append(case(one))
        if sizes_vary:
            cases += [case([other]) for other in others]
        return _checked(made, cases, LOOSE, "the example")

    try:
        run(inputs)
        run(twice)
    except DataError:
        raise
    except Exception as error:  # whatever the network raises
        raise DataError(
            f"{type(model).__name__} cannot take the example, or not twice as many samples along "
            f"its first axis: {first_line(error)}"
        ) from error
    others = _other_sizes(inputs[0]) if len(inputs) == 1 else []
    others = [other for other in others if _takes(network, other)]
    size = "x".join(map(str, inputs[0].shape[2:]))
    if not others:
        return make(False)
    largest = max([*twice, *others], key=lambda x: min(x.shape[2:]))
    larger = [torch.cat([largest, largest])]
    return _of_any_size(make, size)


def _example_inputs(example: Any) -> list[Tensor]:
    """The inputs of a network that an example gives, on the CPU."""
    inputs = [example] if isinstance(example, Tensor) else example
    if (
        not isinstance(inputs, list | tuple)
        or not inputs
        or not all(isinstance(x, Tensor) and x.ndim and x.numel() for x in inputs)
    ):
        raise DataError(
            "a network needs an example: a tensor that it takes, with the samples along the first "
            "axis, or a tuple of several"
        )
    inputs = [x.detach().cpu() for x in inputs]
    for x in inputs:
        _as_array(x)
    return inputs


def _as_array(value: Any) -> NDArray[Any]:
    """An input or output of a network, if files and ONNX Runtime can have it."""
    if not isinstance(value, Tensor):
        raise DataError(
            "a network must give tensors, alone or in tuples, lists and dicts, for ONNX, got also "
            f"{type(value).__name__}: wrap it in a module that gives the tensors"
        )
    if value.dtype is torch.bfloat16 or value.is_complex():
        kind = str(value.dtype).removeprefix("torch.")
        raise DataError(
            f"inputs and outputs of type {kind} cannot be checked by ONNX Runtime: export a "
            "network of float32, with an example of float32"
        )
    array: NDArray[Any] = value.numpy()
    return array


def _checked(proto: onnx.ModelProto, cases: Sequence[Case], limit: float, on: str) -> Made:
    check_bytes(proto.ByteSize())
    data = proto.SerializeToString()
    return Made(proto, data, largest_difference(data, cases, limit), on)


def _of_any_size(make: Callable[[bool], Made], size: str) -> Made:
    """A graph for images of any size; where that cannot be, for those of one size."""
    try:
        return make(True)
    except (DataError, DifferenceError):
        made = make(False)
        made.notes.append(f"of size {size} alone: torch's exporter cannot follow other sizes")
        return made


def _other_sizes(x: Tensor) -> list[Tensor]:
    """Inputs of other sizes: larger and smaller ones, odd ones, of equal sizes and of unequal."""
    sizes = tuple(x.shape[2:])
    if not sizes:
        return []
    larger, smaller = [2 * n + 1 for n in sizes], [-(-n // 2) for n in sizes]
    mixed = [ends[i % 2] for i, ends in enumerate(zip(larger, smaller, strict=True))]
    wanted = (larger, smaller, mixed, [max(larger)] * len(sizes), [max(sizes)] * len(sizes))
    found = []
    for size in dict.fromkeys(map(tuple, wanted)):
        if size != sizes:
            other = x.repeat(1, 1, *(-(-m // n) for m, n in zip(size, sizes, strict=True)))
            for axis, positions in enumerate(size, 2):
                other = other.narrow(axis, 0, positions)
            found.append(other.contiguous())
    return found


def _takes(network: nn.Module, *inputs: Tensor) -> bool:
    try:
        with torch.no_grad():
            network(*(x.clone() for x in inputs))
    except Exception:  # whatever the network raises
        return False
    return True
