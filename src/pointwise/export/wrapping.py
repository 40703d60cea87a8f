"""A traced graph with the inputs and outputs of its user around it: names, text and labels."""

import json
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from pointwise.data.coding import ColumnCoding
from pointwise.errors import DataError
from pointwise.export.inputs import missing_text
from pointwise.export.trace import INSIDE
from pointwise.nn.encoding import UNSEEN

AXES = {3: ("L",), 4: ("H", "W"), 5: ("D", "H", "W")}
"""Names of positions, by the number of axes."""

ML_VERSION = 3
"""Of the operators for text, ``ai.onnx.ml``."""


class Wrapping:
    """A traced graph, with inputs and outputs of its user's put around it.

    Args:
        proto: The traced graph, which is changed.
        classes: Labels of the classes whose numbers are its first output, if it gives any.
    """

    def __init__(self, proto: onnx.ModelProto, classes: NDArray[Any] | None) -> None:
        self.proto, self.classes = proto, classes
        self.traced = [list(ports) for ports in (proto.graph.input, proto.graph.output)]
        self.before: list[onnx.NodeProto] = []
        self.after: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def take(self, name: str, index: int, category: ColumnCoding | None = None) -> None:
        """Give an input its name, and have the text of a category coded.

        Args:
            name: The name.
            index: Which of the traced inputs.
            category: The category, whose codes the traced input takes.
        """
        port = self.traced[0][index]
        if category is None:
            self.before.append(helper.make_node("Identity", [name], [port.name]))
            self.inputs.append(_described(name, port))
            return
        self.before.append(_text_to_codes(category, name, port.name))
        self.inputs.append(_described(name, port, TensorProto.STRING))

    def give(self, name: str, index: int) -> None:
        """Give an output a name, and turn class numbers into labels.

        Args:
            name: The name; underscores follow where an input or an output has it.
            index: Which of the traced outputs.
        """
        port = self.traced[1][index]
        taken = {one.name for one in (*self.inputs, *self.outputs)}
        while name in taken:
            name += "_"
        if index or self.classes is None:
            self.after.append(helper.make_node("Identity", [port.name], [name]))
            self.outputs.append(_described(name, port))
            return
        table = _class_table(self.classes)
        self.proto.graph.initializer.append(table)
        self.after.append(helper.make_node("Gather", [table.name, port.name], [name]))
        self.outputs.append(_described(name, port, table.data_type))

    def finish(self, name: str, facts: dict[str, Any]) -> onnx.ModelProto:
        """Put it all together.

        Args:
            name: What it was made of.
            facts: What readers may want to know of it; kept as JSON with the model.

        Returns:
            The whole graph.
        """
        graph, proto = self.proto.graph, self.proto
        _name_sizes(
            [*self.inputs, *self.outputs, *self.traced[0], *self.traced[1], *graph.value_info]
        )
        nodes = [*self.before, *graph.node, *self.after]
        for name_of, new in (("node", nodes), ("input", self.inputs), ("output", self.outputs)):
            old = getattr(graph, name_of)
            del old[:]
            old.extend(new)
        for ports in self.traced:
            graph.value_info.extend(ports)
        if any(node.op_type == "LabelEncoder" for node in nodes):
            proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_VERSION))
        if self.classes is not None:
            facts = {"classes": self.classes.tolist(), **facts}
        version = metadata.version("pointwise")
        proto.producer_name, proto.producer_version = "pointwise", version
        graph.name = name
        told = {key: value for key, value in facts.items() if value}
        helper.set_model_props(
            proto, {"model": name, **{key: json.dumps(value) for key, value in told.items()}}
        )
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
