"""A module's forward as a graph of torch's operators, its foreign parts left whole.

The forward runs once on the values of an example beside the symbols, so that checks of shapes and
branches on them are decided as the example decides them, and drop out of the graph.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from pointwise.functional.checks import check_input

CONSTANT = ("ndim", "dtype", "device", "layout", "is_cpu", "is_cuda", "is_meta", "requires_grad")
"""Attributes of a tensor that a graph is made for."""


def inline(
    module: nn.Module, inputs: dict[str, Any], is_inlined: Callable[[nn.Module], bool]
) -> fx.GraphModule:
    """Write a module's forward out.

    Args:
        module: The module, in evaluation mode; parameters and parts keep their names.
        inputs: Arguments of its forward by name, ``*name`` for a variable number of them; the
            graph holds for as many axes, and for arguments that hold no tensor as they are.
        is_inlined: Whether a part is written out in turn; others are called as they are.

    Returns:
        A module of torch's own class with the same parts.

    Example:
        >>> graph = inline(nn.Flatten(), {"input": torch.ones(2, 3, 4)}, lambda _: True)
        >>> isinstance(graph, fx.GraphModule), graph(torch.ones(5, 3, 4)).shape
        (True, torch.Size([5, 12]))
    """
    tracer = _Tracer(inputs, is_inlined)
    with torch.no_grad():
        graph = tracer.trace(module)
    graph._tracer_cls = None  # a pickle would name it
    made = fx.GraphModule(module, graph, type(module).__name__)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


class _Hinted(fx.Proxy):
    """A symbol that knows the example's value."""

    hint: Any = None
    tracer: "_Tracer"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.hint, name)
        if name in CONSTANT or name == "stride":  # the memory's order decides about speed alone
            return value
        if callable(value):
            return fx.proxy.Attribute(self, name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __iter__(self) -> Iterator[Any]:
        return iter([operator.getitem(self, i) for i in range(len(self))])

    def __len__(self) -> int:
        count = len(self.hint)
        if self.node.op == "placeholder":
            self.tracer.hold(self.tracer.create_proxy("call_function", len, (self,), {}), count)
        return count

    def __bool__(self) -> bool:
        return bool(self.tracer.hold(self, bool(self.hint)))

    def __index__(self) -> int:
        return int(self.tracer.hold(self, operator.index(self.hint)))

    def __int__(self) -> int:
        return int(self.tracer.hold(self, int(self.hint)))


class _Tracer(fx.Tracer):
    """Traces with the example's values beside the symbols."""

    proxy_buffer_attributes = True

    def __init__(self, inputs: dict[str, Any], is_inlined: Callable[[nn.Module], bool]) -> None:
        super().__init__(autowrap_functions=(check_input,))  # dropped: nothing reads its result
        self.inputs, self.is_inlined = inputs, is_inlined
        self.running = False

    def hold(self, proxy: Any, value: Any) -> Any:
        """Let the graph refuse inputs that are not what it was made for."""
        if isinstance(proxy.hint, Tensor):
            raise ValueError("its forward depends on the values of a tensor")
        if isinstance(value, bool):
            held = (
                proxy if value else self.create_proxy("call_function", operator.not_, (proxy,), {})
            )
        else:
            same = operator.is_ if value is None else operator.eq
            held = self.create_proxy("call_function", same, (proxy, value), {})
        message = f"the input differs in form from the example: {proxy.node} must be {value!r}"
        self.create_proxy("call_function", torch._assert, (held, message), {})
        return value

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.is_inlined(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Hinted(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **options: Any
    ) -> Any:
        proxy: Any = super().create_proxy(kind, target, args, kwargs, *more, **options)
        proxy.hint = self._value(kind, target, args, kwargs)
        return proxy

    def _proxy_placeholder(self, name: str, *rest: Any) -> Any:
        made = super()._proxy_placeholder(name, *rest)
        value = self.inputs[name]
        if isinstance(value, Tensor):
            axes = self.create_proxy("call_method", "dim", (made,), {})
            self.hold(axes, value.ndim)
        elif not isinstance(value, (tuple, list, dict)):
            return self.hold(made, value)
        return made

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self.running:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.running:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def _value(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        """What the example makes of one step."""
        if kind == "placeholder":
            return self.inputs[target]
        self.running = True
        try:
            if kind == "get_attr":
                return operator.attrgetter(target)(self.root)
            given, named = _hints(args), _hints(kwargs)
            if kind == "call_module":
                return self.root.get_submodule(target)(*given, **named)
            if kind == "call_method":
                return getattr(given[0], target)(*given[1:], **named)
            return target(*given, **named)
        finally:
            self.running = False


def _hints(value: Any) -> Any:
    """The example's values in place of symbols, in any nesting."""
    if isinstance(value, fx.Proxy):
        return value.hint
    if isinstance(value, (tuple, list)):
        return type(value)(_hints(part) for part in value)
    if isinstance(value, dict):
        return {key: _hints(part) for key, part in value.items()}
    if isinstance(value, slice):
        return slice(_hints(value.start), _hints(value.stop), _hints(value.step))
    return value
