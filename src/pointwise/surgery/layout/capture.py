"""A model's forward as a graph, with the value of every step for an example."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from pointwise.errors import FlowError, first_line
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.axes import InPlaceOf, is_transposed
from pointwise.surgery.equivalence import Example, evaluating
from pointwise.surgery.inlining import inline
from pointwise.surgery.layout.operators import filled
from pointwise.surgery.refusals import refusal

WHOLE = (InPlaceOf, PointwiseConv, BatchNorm, FrozenBatchNorm, LayerNorm)
"""Layers of this package that are called as they are."""

FILLED = (torch.ones, torch.zeros, torch.full, torch.tensor)
"""What makes a tensor of sizes, or of numbers, and refuses symbols of them."""

WRITTEN = "model must have a forward that can be written out"

PATHS_DROPPED = ("DropPath", "StochasticDepth")
"""Classes of timm and torchvision that drop whole samples in training, whatever their axes."""


@dataclass(frozen=True)
class Captured:
    """A forward as a graph.

    Attributes:
        module: The graph over the model's own parts.
        hints: What the example makes of each step.
        writes: The steps that write into tensors that they are given, and into which.
        data: The steps whose tensors depend on the input's values.
    """

    module: fx.GraphModule
    hints: dict[fx.Node, Any]
    writes: dict[fx.Node, list[Tensor]]
    data: frozenset[fx.Node]


def capture(model: nn.Module, example: Example) -> Captured:
    """Write the forward of a model out, torch's layers left whole.

    Args:
        model: The model; it is followed in evaluation mode.
        example: Its input.

    Returns:
        The graph.

    Raises:
        FlowError: If the forward cannot be followed.
    """
    inputs = _by_name(model, tree_map_only(Tensor, lambda one: one.detach().clone(), example))
    try:
        with evaluating(model), torch.no_grad():
            made = inline(model, dict(inputs), lambda part: not is_whole(part), called=FILLED)
            _name_filled(made)
            run = _Run(made, inputs)
            run.run(*inputs.values())
    except FlowError as error:
        raise FlowError(f"{WRITTEN}: {error}") from error
    except Exception as error:  # whatever a step may raise that is not what the model runs
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise FlowError(f"{WRITTEN}: as a graph it does not run: {reason}") from error
    return Captured(made, run.hints, run.writes, _dependent(run.hints))


def _name_filled(made: fx.GraphModule) -> None:
    """Let unpickling, which traces the graph anew, pass by what refuses symbols of sizes."""
    for node in made.graph.nodes:
        if node.target in FILLED:
            node.args = (node.target.__name__, *node.args)
            node.target = filled
            node.meta["is_wrapped"] = True
    made.recompile()


def is_whole(part: nn.Module) -> bool:
    """Whether a part of a model is called as it is.

    Args:
        part: Any module.

    Returns:
        True for layers of torch, and for what more than its forward runs in.
    """
    if isinstance(part, (*WHOLE, nn.MultiheadAttention)) or is_transposed(part):
        return True
    if refusal(part) is not None:
        return True
    if next(part.children(), None) is not None:
        return False
    return type(part).__module__.startswith("torch.nn.") or type(part).__name__ in PATHS_DROPPED


def _by_name(model: nn.Module, example: Any) -> dict[str, Any]:
    """The arguments by the forward's names for them, as ``inline`` takes them."""
    signature = inspect.signature(model.forward)
    if isinstance(example, Mapping):
        bound = signature.bind(**example)
    else:
        bound = signature.bind(*(example if isinstance(example, Sequence) else (example,)))
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        else:
            star = "*" if kind is inspect.Parameter.VAR_POSITIONAL else ""
            found[star + name] = value
    return found


class Retracer(fx.Tracer):
    """Traces a pickled graph anew, buffers as symbols: they may be cut at places that are some."""

    proxy_buffer_attributes = True


class _Run(fx.Interpreter):
    """Runs a graph once and keeps all that it meets."""

    def __init__(self, module: fx.GraphModule, inputs: dict[str, Any]) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.inputs = inputs
        self.hints: dict[fx.Node, Any] = {}
        self.writes: dict[fx.Node, list[Tensor]] = {}

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.inputs[target]

    def run_node(self, n: fx.Node) -> Any:
        read = [one for node in n.all_input_nodes for one in _tensors(self.hints[node])]
        versions = [one._version for one in read]
        self.hints[n] = result = super().run_node(n)
        changed = [one for one, old in zip(read, versions, strict=True) if one._version != old]
        if changed:
            self.writes[n] = changed[:1]  # views of one memory count as changed with it
        return result


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in tree_leaves(value) if isinstance(one, Tensor)]


def _dependent(hints: dict[fx.Node, Any]) -> frozenset[fx.Node]:
    found: set[fx.Node] = set()
    for node, hint in hints.items():
        if _tensors(hint) and (node.op == "placeholder" or found & set(node.all_input_nodes)):
            found.add(node)
    return frozenset(found)
