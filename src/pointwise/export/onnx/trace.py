"""Modules to ONNX graphs, by torch's exporter."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from pointwise.errors import DataError, first_line
from pointwise.export.onnx.quiet import quiet

INSIDE = "pointwise:inside/"
"""Begins every name inside the graph, so that columns may be called anything else."""

LARGEST = 2**31
"""Bytes of a file in the format that ONNX is written in."""


def trace(
    module: nn.Module,
    example: Sequence[Tensor],
    *,
    outputs: Sequence[str] | None,
    sizes_vary: bool,
    opset: int | None,
) -> onnx.ModelProto:
    """Let torch's exporter follow a module.

    Args:
        module: The module, in evaluation mode.
        example: Its inputs, each with the samples along its first axis.
        outputs: Names of its outputs. Default: the exporter's.
        sizes_vary: Whether the axes from the third on are of any size, too, not the samples alone.
        opset: Version of the operators. Default: the exporter's.

    Returns:
        The graph, with all names inside beginning with ``INSIDE``, and nothing of the code that it
        was traced from.

    Raises:
        DataError: If the module cannot be followed, or is too large.
    """
    names = [f"input{i}" for i in range(len(example))]
    axes = [_axes(x, sizes_vary) for x in example]
    try:
        with torch.no_grad(), quiet():
            warnings.simplefilter("ignore")  # the exporter warns of its own parts
            program = torch.onnx.export(
                module,
                tuple(example),
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=None if outputs is None else list(outputs),
                dynamic_shapes=_as_arguments(module, axes),
                opset_version=opset,
            )
    except Exception as error:  # the exporter has many reasons and classes
        raise DataError(
            f"{type(module).__name__} cannot be exported to ONNX: {first_line(_cause(error))}"
        ) from error
    assert program is not None
    ranges = getattr(program.exported_program, "range_constraints", {})
    if any(_is_bounded(str(one.upper)) for one in ranges.values()):
        raise DataError(
            f"{type(module).__name__} computes something else from some size on, which one graph "
            "cannot"
        )
    weights = program.model.graph.initializers.values()
    check_bytes(sum(one.const_value.nbytes for one in weights if one.const_value is not None))
    made = _cleaned(program)
    version = next(one.version for one in made.opset_import if not one.domain)
    if opset not in (None, version):
        raise DataError(f"opset {opset} cannot be written, {version} can: give from 18 on, or none")
    return made


def check_bytes(size: int) -> None:
    """Refuse what no file holds, before it is copied.

    Args:
        size: Bytes of the weights, or of all.

    Raises:
        DataError: If they are too many.
    """
    if size >= LARGEST:
        raise DataError(
            f"the model takes {size / 1e9:.1f} GB, and one ONNX file holds 2: compress it, or "
            "export parts of it"
        )


def _cleaned(program: torch.onnx.ONNXProgram) -> onnx.ModelProto:
    """The graph with names of ours, and without what the exporter notes of every part.

    Those notes hold lines of the user's code and paths on this machine, but files are for others;
    numbers in them also differ from one export to the next.

    Returns:
        The graph.
    """
    model = program.model
    for part in (model, *model.graphs(), *model.functions.values()):
        _forget(part)
    for graph in model.graphs():  # those of branches, too: these see names around them
        for node in graph:
            _forget(node)
        made = (value for node in graph for value in node.outputs)
        for value in list(dict.fromkeys((*graph.inputs, *graph.initializers.values(), *made))):
            _forget(value)
            if value.name:
                value.name = INSIDE + value.name
    for node in (node for function in model.functions.values() for node in function):
        _forget(node)
    return program.model_proto


def _forget(part: Any) -> None:
    part.doc_string = None
    part.metadata_props.clear()


def _is_bounded(upper: str) -> bool:
    """Whether a size that varies may not be larger: the traced rule ends there."""
    return upper.isdigit() and int(upper) < 2**31


def _cause(error: BaseException) -> BaseException:
    """What an error comes from: the exporter's own first lines are advice on its reports."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _axes(x: Tensor, sizes_vary: bool) -> dict[int, Any]:
    return {0: Dim.AUTO} | (dict.fromkeys(range(2, x.ndim), Dim.AUTO) if sizes_vary else {})


def _as_arguments(module: nn.Module, axes: Sequence[Any]) -> tuple[Any, ...]:
    """What belongs to each input, as the exporter wants it: all that ``*args`` takes as one."""
    kinds = [one.kind for one in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return tuple(axes)
    first = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    rest = tuple(axes[first:])
    return (*axes[:first], rest) if rest else tuple(axes)
