"""A network's graph written anew, value by value, so that its head slides over larger images."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import fx, nn

from pointwise.surgery.dense.forms import MAP, VECTOR, Form, pair
from pointwise.surgery.dense.trace import Trace, operator_name, shape_of
from pointwise.surgery.swap import Swap, describe

Value = Any
"""A node of the new graph, or a tuple of them for an operator that gives several."""


class WholeImageError(Exception):
    """A statistic of the whole map comes back onto the map: as in squeeze-and-excitation."""

    def __init__(self, pools: frozenset[fx.Node], node: fx.Node) -> None:
        super().__init__(str(node))
        self.pools, self.node = pools, node


class Rewriting:
    """The new graph while it grows.

    Args:
        trace: The network's run on the example.
        whole_image: Whether statistics of the whole image may stay what they are.
        pools: The poolings known to be such statistics.

    Attributes:
        graph: The new graph.
        forms: What every value of the old graph is.
        values: What stands for it in the new one.
        kept: The nodes of feature maps that are the same in both.
        kept_vectors: The nodes of the head that are.
        objects: Modules and tensors by the name that the new graph calls them.
        swaps: What was changed.
        replaced: The module that each new one stands for, where there was one.
    """

    def __init__(self, trace: Trace, whole_image: bool, pools: frozenset[fx.Node]) -> None:
        self.trace, self.whole_image, self.pools = trace, whole_image, pools
        self.graph = fx.Graph()
        self.forms: dict[fx.Node, Any] = {trace.source: Form("map", MAP, (1, 1))}
        self.values: dict[fx.Node, Value] = {trace.source: self.graph.placeholder("x")}
        self.kept: set[fx.Node] = set()
        self.kept_vectors: set[fx.Node] = set()
        self.objects: dict[str, Any] = {}
        self.swaps: list[Swap] = []
        self.replaced: dict[nn.Module, nn.Module] = {}

    def refuse(self, node: fx.Node, why: str) -> NoReturn:
        """Say what cannot slide, and where it stands."""
        raise ValueError(f"classifier cannot be made dense: {self.trace.where(node)} {why}")

    def data(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of a node that depend on the image."""
        return [given for given in node.all_input_nodes if given in self.trace.data]

    def form(self, node: fx.Node) -> Form:
        """The form of the first input that depends on the image."""
        found = self.forms[self.data(node)[0]]
        if not isinstance(found, Form):
            self.refuse(node, f"hands several values at once to {operator_name(node)}")
        return found

    def value(self, node: fx.Node | None) -> Value:
        """What stands for a value in the new graph; constants come over when first asked for."""
        if node is None:
            return None
        if node not in self.values:
            if node in self.trace.attributes:
                name, held = self.trace.attributes[node]
                self.values[node] = self.attribute(name, held)
            else:
                self.values[node] = self.graph.node_copy(node, self.value)
        return self.values[node]

    def attribute(self, name: str, held: Any) -> fx.Node:
        """A tensor by its name."""
        self.objects[name] = held
        return self.graph.create_node("get_attr", name)

    def keep(self, node: fx.Node) -> None:
        """Take an operator over as it is."""
        self.values[node] = self.graph.node_copy(node, self.value)
        form = self.form(node)
        (self.kept_vectors if form.kind == "head" else self.kept).add(node)

    def same(self, node: fx.Node) -> None:
        """Drop an operator that changes nothing any more."""
        self.values[node] = self.value(self.data(node)[0])

    def call(self, node: fx.Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Put a function in the place of an operator."""
        self.values[node] = self.graph.call_function(function, args, kwargs)

    def image(self, node: fx.Node) -> fx.Node:
        """The map that a node reads, its channels before rows and columns."""
        value: fx.Node = self.value(self.data(node)[0])
        form = self.form(node)
        if form.kind == "head" or form.axes == MAP:
            return value
        order = [form.axes.index(axis) for axis in MAP]
        return self.graph.call_function(torch.ops.aten.permute.default, (value, order))

    def install(self, node: fx.Node, module: nn.Module, *, remark: str = "") -> None:
        """Put a module in the place of an operator, under its own name where it had one."""
        module.eval()  # as the network is while it is looked at; its flag is set at the end
        calls = self.trace.calls_of(node)
        owner = calls[-1] if calls else None
        alone = owner is not None and not list(owner.module.children()) and owner.path != ""
        if owner is not None and alone:
            path, before = owner.path, describe(owner.module)
            self.replaced[module] = owner.module
        else:
            prefix = owner.path + "." if owner is not None and owner.path else ""
            path, before = prefix + node.name, f"{operator_name(node)} in the forward"
            while _has(self.trace.model, path):
                path += "_"
        name = self.name_of(path, module)
        self.values[node] = self.graph.call_module(name, (self.image(node),))
        self.swaps.append(Swap(path, before, _describe(module), remark))

    def name_of(self, path: str, module: nn.Module) -> str:
        """Enter a module under its path, or a name beside it where the path has another."""
        name, count = path, 1
        while self.objects.get(name, module) is not module:
            count += 1
            name = f"{path}_{count}"
        self.objects[name] = module
        return name

    def note(self, node: fx.Node, after: str | None, reason: str) -> None:
        """Say what became of the module that a node ran in, where no module came for it."""
        calls = self.trace.calls_of(node)
        own = calls[-1] if calls and calls[-1].path else None
        children = own is not None and list(own.module.children())
        before = (
            f"{operator_name(node)} in the forward"
            if own is None or children
            else describe(own.module)
        )
        self.swaps.append(Swap(own.path if own else "", before, after, reason))


Rule = Callable[[Rewriting, fx.Node], Any]
"""Writes one operator into the new graph; gives the form of its result."""


def rewrite(
    trace: Trace, rules: dict[str, Rule], *, whole_image: bool, pools: frozenset[fx.Node]
) -> Rewriting:
    """Write the graph anew.

    Args:
        trace: The network's run on the example.
        rules: What to do with every operator, by its name.
        whole_image: Whether statistics of the whole image may stay what they are.
        pools: The poolings known to be such statistics.

    Returns:
        The new graph, and what was learned on the way.

    Raises:
        ValueError: If an operator cannot slide.
    """
    state = Rewriting(trace, whole_image, pools)
    for node in trace.nodes:
        if node not in trace.data or node in state.forms:
            continue
        leaf = trace.leaf_of(node)
        if leaf is not None and leaf.source is not None and leaf.result is not None:
            rules["leaf"](state, node)
            continue
        rule = rules.get(operator_name(node).removesuffix("_"))
        first = state.form(node) if operator_name(node) != "getitem" else None
        if first is not None and all(
            getattr(state.forms[given], "kind", "") == "image" for given in state.data(node)
        ):
            rule = rules["image"]
        if rule is None:
            state.refuse(node, REASONS.get(operator_name(node), _unknown(node)))
        state.forms[node] = rule(state, node)
    _finish(state)
    return state


def _has(model: nn.Module, path: str) -> bool:
    """Whether a model has something of this name already."""
    owner, _, last = path.rpartition(".")
    return hasattr(model.get_submodule(owner), last)


def _describe(module: nn.Module) -> str:
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        rows, columns = pair(module.kernel_size)
        return f"{type(module).__name__}({rows}x{columns}, stride 1)"
    return describe(module)


def _finish(state: Rewriting) -> None:
    result = state.trace.result
    form, shape = state.forms[result], shape_of(result)
    whole = isinstance(form, Form) and form.kind == "map" and shape[2:] == (1, 1)
    if isinstance(form, Form) and form.kind == "map" and not whole:
        raise ValueError(
            f"classifier must give one vector per image, got {shape}: it has no head to slide, "
            "and takes larger images as it is"
        )
    if not isinstance(form, Form) or form.kind == "image" or not (whole or form.is_unit):
        raise ValueError(
            f"classifier must end in a layer that reads its whole feature map, got {shape}"
        )
    if form.kind == "map" and form.axes != MAP:
        raise ValueError(f"classifier must give (N, classes), got {shape}")
    state.forms[result] = replace(form, axes=VECTOR)
    state.graph.output(state.value(result))


def _unknown(node: fx.Node) -> str:
    return f"runs {operator_name(node)}, which is not known to treat all positions alike"


REASONS = {
    "scaled_dot_product_attention": "is attention: every position looks at all others",
    "matmul": "multiplies two matrices that both depend on the image, as attention does",
    "bmm": "multiplies two matrices that both depend on the image, as attention does",
    "einsum": "runs einsum, which is not known to treat all positions alike",
    "conv_transpose2d": "is a transposed convolution: its positions lie between those of the map",
    "upsample_bilinear2d": "resizes its map to a size that the image decides",
    "upsample_nearest2d": "resizes its map to a size that the image decides",
    "conv1d": "is a convolution on one axis: the image has two",
    "conv3d": "is a convolution on three axes: the image has two",
    "roll": "shifts positions around the border",
    "lstm": "is a recurrent layer: every position looks at those before it",
}
