"""A traced graph with the inputs and outputs of its user around it: names, text and labels."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from pointwise.data.coding import ColumnCoding
from pointwise.errors import DataError
from pointwise.export.inputs import missing_text
from pointwise.export.onnx.trace import INSIDE
from pointwise.nn.encoding import UNSEEN

AXES = {3: ("L",), 4: ("H", "W"), 5: ("D", "H", "W")}
"""Names of positions, by the number of axes."""

ML_VERSION = 3
"""Of the operators for text, ``ai.onnx.ml``."""


def wrap(
    proto: onnx.ModelProto,
    *,
    inputs: Mapping[str, ColumnCoding | None],
    outputs: Sequence[str],
    classes: NDArray[Any] | None,
    made_of: str,
    facts: Mapping[str, Any],
) -> onnx.ModelProto:
    """Put the inputs and outputs of a user around a traced graph.

    Args:
        proto: The traced graph, which is changed.
        inputs: Names of its inputs; of a text the category whose codes the traced one takes.
        outputs: Names of its outputs; underscores follow where an input has the name.
        classes: Labels of the classes whose numbers are its first output, if it gives any.
        made_of: What it was made of.
        facts: What readers may want to know of it, kept as JSON with the model; nothing empty is.

    Returns:
        The whole graph.

    Raises:
        DataError: If an input has no name or one of the graph's own, or classes are dates.
    """
    graph = proto.graph
    traced_in, traced_out = list(graph.input), list(graph.output)
    before, after, taken, given = [], [], [], []
    for (name, category), port in zip(inputs.items(), traced_in, strict=True):
        if not name:
            raise DataError("a column has no name, and ONNX has no input without one: rename it")
        if name.startswith(INSIDE):
            raise DataError(f"column {name!r} is called like a part of the graph: rename it")
        if category is None:
            before.append(helper.make_node("Identity", [name], [port.name]))
            taken.append(_described(name, port))
        else:
            before.append(_text_to_codes(category, name, port.name))
            taken.append(_described(name, port, TensorProto.STRING))
    for number, (name, port) in enumerate(zip(outputs, traced_out, strict=True)):
        while name in inputs:
            name += "_"
        if number or classes is None:
            after.append(helper.make_node("Identity", [port.name], [name]))
            given.append(_described(name, port))
        else:
            table = _class_table(classes)
            graph.initializer.append(table)
            after.append(helper.make_node("Gather", [table.name, port.name], [name]))
            given.append(_described(name, port, table.data_type))
    _name_sizes([*taken, *given, *traced_in, *traced_out, *graph.value_info])
    nodes = [*before, *graph.node, *after]
    for part, parts in ((graph.node, nodes), (graph.input, taken), (graph.output, given)):
        del part[:]
        part.extend(parts)
    graph.value_info.extend([*traced_in, *traced_out])
    if any(inputs.values()):
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_VERSION))
    proto.producer_name, proto.producer_version = "pointwise", metadata.version("pointwise")
    graph.name = made_of
    told = {"classes": [] if classes is None else classes.tolist(), **facts}
    kept = {key: json.dumps(value) for key, value in told.items() if value}
    helper.set_model_props(proto, {"model": made_of, **kept})
    return proto


def _text_to_codes(column: ColumnCoding, source: str, target: str) -> NodeProto:
    """Turn the text of a category into the code of its level."""
    codes = {level: float(i) for i, level in enumerate(column.levels)}
    codes[missing_text(column)] = float("nan")
    return helper.make_node(
        "LabelEncoder",
        [source],
        [target],
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_floats=list(codes.values()),
        default_float=UNSEEN,
    )


def _class_table(classes: NDArray[Any]) -> TensorProto:
    """The labels of a classifier: text, or numbers of 64 bits."""
    if classes.dtype.kind == "M":
        raise DataError("classes that are dates have no type in ONNX: fit on their text")
    wide = {"i": np.int64, "u": np.int64, "f": np.float64, "U": object}
    return numpy_helper.from_array(
        classes.astype(wide.get(classes.dtype.kind, classes.dtype)), f"{INSIDE}classes"
    )


def _described(name: str, like: ValueInfoProto, kind: int | None = None) -> ValueInfoProto:
    """An input or output by another name, and of another type of values if need be."""
    tensor = like.type.tensor_type
    shape = [axis.dim_param or axis.dim_value for axis in tensor.shape.dim]
    return helper.make_tensor_value_info(name, kind or tensor.elem_type, shape)


def _name_sizes(ports: Sequence[ValueInfoProto]) -> None:
    """Give sizes that vary the names that people know: ``N``, and ``H`` and ``W`` of images."""
    names: dict[str, str] = {}
    for port in ports:
        axes = port.type.tensor_type.shape.dim
        usual = ("N", "C", *AXES.get(len(axes), ()))
        for number, axis in enumerate(axes):
            if axis.dim_param.isidentifier() and axis.dim_param not in names:
                wanted = usual[number] if number < len(usual) else f"size{number}"
                while wanted in names.values():
                    wanted += "_"
                names[axis.dim_param] = wanted
    for port in ports:
        for axis in port.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(
                    r"[^\W\d]\w*", lambda found: names.get(found[0], found[0]), axis.dim_param
                )
