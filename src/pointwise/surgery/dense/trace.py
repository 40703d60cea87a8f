"""One run of a network on an example, as a graph that knows which module ran which operator."""

import operator
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from pointwise.nn.image import ImageScale
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv

LEAVES = (PointwiseConv, BatchNorm, FrozenBatchNorm, LayerNorm, ImageScale)
"""Layers that treat every position by itself at any rank: taken whole, however they compute it."""


@dataclass(frozen=True)
class Call:
    """One call of a module: the nodes that ran in it, and what it read and gave back.

    Attributes:
        path: Dotted name of the module.
        module: The module.
        nodes: What ran in it, in order.
        source: The only value that depends on the network's input and came from outside it;
            ``None`` if there are none or several.
        result: The only value read outside it; ``None`` if there are none or several.
    """

    path: str
    module: nn.Module
    nodes: tuple[fx.Node, ...]
    source: fx.Node | None
    result: fx.Node | None


@dataclass(frozen=True)
class Trace:
    """What a network did with an example.

    Attributes:
        model: The network.
        source: The node of its input.
        result: The node of its output.
        nodes: Every operator, in order.
        attributes: Name and value of the parameters, buffers and constants, by their node.
        data: The nodes that depend on the input.
        calls: Every module call by its key.
    """

    model: nn.Module
    source: fx.Node
    result: fx.Node
    nodes: tuple[fx.Node, ...]
    attributes: dict[fx.Node, tuple[str, Any]]
    data: frozenset[fx.Node]
    calls: dict[str, Call]

    def calls_of(self, node: fx.Node) -> list[Call]:
        """The module calls that a node ran in, the network's own first."""
        return [self.calls[key] for key in _stack(node)]

    def leaf_of(self, node: fx.Node) -> Call | None:
        """The call of a layer taken whole that a node ran in."""
        leaves = (call for call in self.calls_of(node) if isinstance(call.module, LEAVES))
        return next(leaves, None)

    def where(self, node: fx.Node) -> str:
        """The module that a node ran in, in words."""
        calls = self.calls_of(node)
        if not calls or not calls[-1].path:
            return f"the forward of {type(self.model).__name__}"
        return f"{calls[-1].path} ({type(calls[-1].module).__name__})"


def trace(model: nn.Module, example: Tensor) -> Trace:
    """Record what a network in evaluation mode does with an example.

    Args:
        model: The network, which takes one tensor and gives one back.
        example: Its input.

    Returns:
        The record.

    Raises:
        ValueError: If the network cannot be exported, or gives back something else than a tensor.
    """
    try:
        program = torch.export.export(model, (example,), strict=False)
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(
            "classifier must be a network that torch.export can follow, without decisions that "
            f"depend on the data, got {type(error).__name__}: {first}"
        ) from error
    attributes: dict[fx.Node, tuple[str, Any]] = {}
    values = {**program.state_dict, **program.constants}
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    source = None
    for spec in program.graph_signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            source = node
        else:
            name = str(spec.target)
            attributes[node] = (name, _attribute(model, name, values))
    nodes = tuple(node for node in program.graph.nodes if node.op == "call_function")
    result = _result(program.graph)
    assert source is not None
    data = _dependent(source, nodes)
    return Trace(model, source, result, nodes, attributes, data, _calls(model, nodes, data))


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operator by name, with the defaults of its schema.

    Args:
        node: A call of an operator of torch.

    Returns:
        Every argument.
    """
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    named = {argument.name: argument.default_value for argument in schema}
    named.update(zip(named, node.args, strict=False))
    return {**named, **node.kwargs}


def operator_name(node: fx.Node) -> str:
    """Name of an operator without its namespace and overload: ``conv2d``, ``relu_``.

    Args:
        node: A call of an operator.

    Returns:
        The name.
    """
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.split("::")[-1]
    return str(getattr(node.target, "__name__", node.target))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of a value, as it was for the example.

    Args:
        node: A node that gives one tensor.

    Returns:
        The shape.
    """
    return tuple(int(size) for size in node.meta["val"].shape)


def _attribute(model: nn.Module, name: str, values: dict[str, Any]) -> Any:
    """The model's own parameter or buffer, else the constant that the export made."""
    owner, _, last = name.rpartition(".")
    try:
        return getattr(model.get_submodule(owner), last)
    except AttributeError:
        return values[name]


def _result(graph: fx.Graph) -> fx.Node:
    (output,) = (node for node in graph.nodes if node.op == "output")
    results = list(fx.node.map_arg(output.args[0], lambda node: node) or ())
    if len(results) != 1 or not isinstance(results[0], fx.Node):
        raise ValueError(f"classifier must give back one tensor, got {len(results)} values")
    return results[0]


def _dependent(source: fx.Node, nodes: tuple[fx.Node, ...]) -> frozenset[fx.Node]:
    found = {source}
    for node in nodes:
        if found & set(node.all_input_nodes):
            found.add(node)
    return frozenset(found)


def _stack(node: fx.Node) -> Iterator[str]:
    return iter(node.meta.get("nn_module_stack") or {})


def _calls(
    model: nn.Module, nodes: tuple[fx.Node, ...], data: frozenset[fx.Node]
) -> dict[str, Call]:
    inside: dict[str, list[fx.Node]] = defaultdict(list)
    paths: dict[str, str] = {}
    for node in nodes:
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            inside[key].append(node)
            paths[key] = path.split("@")[0]
    calls = {}
    for key, members in inside.items():
        own = set(members)
        read = {given for node in members for given in node.all_input_nodes} - own
        sources = [node for node in read if node in data]
        results = [node for node in members if set(node.users) - own]
        calls[key] = Call(
            paths[key],
            model.get_submodule(paths[key]),
            tuple(members),
            sources[0] if len(sources) == 1 else None,
            results[0] if len(results) == 1 else None,
        )
    return calls
