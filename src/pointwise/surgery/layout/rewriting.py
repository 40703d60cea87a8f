"""One graph written anew, every value in the form that suits what made it."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from torch import Tensor, fx, nn

from pointwise.surgery.layout.capture import Captured
from pointwise.surgery.layout.forms import Form, core, lowered, plain
from pointwise.surgery.layout.operators import logical_shape

MOVED = "axes_moved_for"
"""Where a node of the new graph says why it moves axes."""


@dataclass(frozen=True)
class Value:
    """A value of the old graph in the new one.

    Attributes:
        node: What holds it: a tensor, or several of one form.
        form: In which order its axes stand there.
        constant: Whether it does not depend on the input's values.
    """

    node: fx.Node
    form: Form
    constant: bool

    @property
    def rank(self) -> int:
        """Number of the value's axes."""
        return len(core(self.form))


@dataclass(frozen=True)
class Step:
    """One step of the old graph.

    Attributes:
        node: The step.
        name: What it does, in one word.
        args: Its arguments.
        kwargs: Its arguments by name.
        module: The module that it calls, if it calls one.
    """

    node: fx.Node
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: nn.Module | None = None

    @property
    def word(self) -> str:
        """The name of what it calls, as it is."""
        return word(self.node)

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or by name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)


class Rewriting:
    """The state of writing a graph anew."""

    def __init__(self, model: nn.Module, captured: Captured) -> None:
        self.model, self.captured = model, captured
        self.graph = fx.Graph()
        self.values: dict[fx.Node, Value] = {}
        self.others: dict[fx.Node, Any] = {}
        self.modules: dict[str, nn.Module] = {}
        self.changed: dict[str, tuple[str, str | None, str]] = {}
        self._placed: dict[tuple[fx.Node, Form, Form], fx.Node] = {}
        self.current: fx.Node

    def hint(self, node: Any) -> Any:
        """What the example makes of a step; anything else is what it is."""
        return self.captured.hints[node] if isinstance(node, fx.Node) else node

    def value(self, given: Any) -> Value | None:
        """The value of a step that gives a tensor, or several of one form."""
        return self.values.get(given) if isinstance(given, fx.Node) else None

    def argument(self, given: Any) -> Any:
        """An argument in the new graph; tensors in it as the old graph had them."""
        return fx.map_arg(given, self._as_before)

    def emit(self, op: str, target: Any, args: tuple[Any, ...], kwargs: Any = None) -> fx.Node:
        """A step of the new graph, in the module of the current one."""
        node = self.graph.create_node(op, target, args, kwargs or {})
        stack = self.current.meta.get("nn_module_stack")
        if stack is not None:
            node.meta["nn_module_stack"] = stack
        return node

    def method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a tensor's method."""
        return self.emit("call_method", name, args, kwargs)

    def function(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a function."""
        node = self.emit("call_function", target, args, kwargs)
        if target.__module__ == logical_shape.__module__:
            node.meta["is_wrapped"] = True  # unpickling traces the graph anew, and not into these
        return node

    def place(self, value: Value, form: Form, why: str) -> fx.Node:
        """The tensor that holds a value in a form; axes are moved where they must be."""
        if value.form == form:
            return value.node
        key = (value.node, value.form, form)  # a value and its transpose share the tensor
        if key not in self._placed:
            self._placed[key] = self._moved(value, form, why)
        return self._placed[key]

    def plain(self, value: Value, why: str) -> fx.Node:
        """The tensor that holds a value as the old graph had it."""
        return self.place(value, plain(value.rank), why)

    def has(self, value: Value, form: Form) -> bool:
        """Whether a value is there in a form already, up to unit axes."""
        own = (value.node, value.form)
        forms = [value.form, *(made for node, start, made in self._placed if (node, start) == own)]
        return any(core(form) == core(one) for one in forms)

    def common(self, values: Sequence[Value], rank: int) -> Form:
        """The form in which the operands of one operator meet with the fewest moves."""
        candidates: dict[Form, None] = {}
        for value in sorted(values, key=lambda one: (one.constant, -one.rank)):
            shift = rank - value.rank
            raised = tuple(None if axis is None else axis + shift for axis in value.form)
            candidates[(*range(shift), *raised)] = None
        channels_later = {form: core(form)[-1:] == (rank - 1,) for form in candidates}

        def cost(form: Form) -> tuple[int, int, bool]:
            missing = [
                value for value in values if not self.has(value, lowered(form, rank - value.rank))
            ]
            moved = [value for value in missing if value.rank > 1]
            return sum(not one.constant for one in moved), len(moved), channels_later[form]

        return min(candidates, key=cost)

    def result(self, node: fx.Node, form: Form, *given: Value | None) -> Value:
        """The value that a new step gives, out of others."""
        return Value(node, form, all(one is None or one.constant for one in given))

    def swap(self, path: str, before: str, after: str | None, reason: str = "") -> None:
        """Note what became of a module, once."""
        self.changed.setdefault(path, (before, after, reason))

    def copy(self, step: Step) -> Value | None:
        """The step as it was, on tensors as they were."""
        node = self.graph.node_copy(step.node, self._as_before)
        hint = self.hint(step.node)
        if isinstance(hint, Tensor):
            return Value(node, plain(hint.ndim), step.node not in self.captured.data)
        self.others[step.node] = node
        return None

    def _as_before(self, node: fx.Node) -> Any:
        if node in self.others:
            return self.others[node]
        if not isinstance(self.hint(node), Tensor):  # several, of any number: cut anew, in order
            self.others[node] = self.graph.node_copy(node, self._as_before)
            return self.others[node]
        return self.plain(self.values[node], self._why())

    def _why(self) -> str:
        gives = self.current.op == "output" or isinstance(self.current.target, type)
        return "the output" if gives else word(self.current)

    def _moved(self, value: Value, form: Form, why: str) -> fx.Node:
        """Squeeze, permute and unsqueeze, of which only what is needed."""
        node, start = value.node, value.form
        have, want = core(start), core(form)
        sizes = self._sizes_of_row(value)
        if have != want and sizes is not None:
            return self.method("reshape", node, *(-1 if sizes.get(a, 1) > 1 else 1 for a in form))
        if have != want:
            if len(start) != len(have):
                units = tuple(i for i, axis in enumerate(start) if axis is None)
                node = self.method("squeeze", node, units)
            node = self.method("permute", node, *(have.index(axis) for axis in want))
            if not value.constant:
                node.meta[MOVED] = why
        elif None in start:
            units = tuple(i for i, axis in enumerate(start) if axis is None)
            node = self.method("squeeze", node, units)
        for i, axis in enumerate(form):
            if axis is None:
                node = self.method("unsqueeze", node, i)
        return node

    def _sizes_of_row(self, value: Value) -> dict[int | None, int] | None:
        """The sizes of a parameter's axes, if no more than one of them is longer than 1."""
        if value.node.op != "get_attr":
            return None
        shape = attrgetter(str(value.node.target))(self.model).shape
        sizes: dict[int | None, int] = dict(enumerate(shape))
        return sizes if sum(size > 1 for size in sizes.values()) <= 1 else None


def word(node: fx.Node) -> str:
    """What a step does, in one word.

    Args:
        node: A step that calls something.

    Returns:
        The name of the method, function or class.
    """
    if node.op == "call_module":
        return str(node.target)
    return str(getattr(node.target, "__name__", node.target))
