"""A module's forward as a graph of torch's operators, its foreign parts left whole.

The forward runs once on the values of an example beside the symbols, so that checks of shapes and
branches on them are decided as the example decides them, and drop out of the graph.
"""

import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pointwise.errors import FlowError, first_line
from pointwise.functional.checks import check_input

CONSTANT = ("ndim", "dtype", "device", "layout", "is_cpu", "is_cuda", "is_meta", "requires_grad")
"""Attributes of a tensor that a graph is made for."""

PARTS = ("unbind", "split", "chunk")
"""What cuts a tensor into a number of parts that its size may decide."""


def inline(
    module: nn.Module,
    inputs: dict[str, Any],
    is_inlined: Callable[[nn.Module], bool],
    *,
    called: tuple[Callable[..., Any], ...] = (),
) -> fx.GraphModule:
    """Write a module's forward out.

    Args:
        module: The module, in evaluation mode; parameters and parts keep their names.
        inputs: Arguments of its forward by name, ``*name`` for a variable number of them; the
            graph holds for as many axes, and for arguments that hold no tensor as they are.
        is_inlined: Whether a part is written out in turn; others are called as they are.
        called: Functions of ``torch`` that refuse symbols of sizes, to be steps of the graph; it
            can then not be unpickled, unless they are replaced by wrapped ones.

    Returns:
        A module of torch's own class with the same parts.

    Raises:
        FlowError: If the forward cannot be followed: it names the part that stops it.

    Example:
        >>> graph = inline(nn.Flatten(), {"input": torch.ones(2, 3, 4)}, lambda _: True)
        >>> isinstance(graph, fx.GraphModule), graph(torch.ones(5, 3, 4)).shape
        (True, torch.Size([5, 12]))
    """
    tracer = _Tracer(inputs, is_inlined, called)
    try:
        with torch.no_grad():
            graph = tracer.trace(module)
    except Exception as error:  # whatever a forward may raise on symbols
        raise FlowError(f"{tracer.where(error)}: {_reason(error)}") from error
    graph._tracer_cls = None  # a pickle would name it
    for node in graph.nodes:
        if node.target in called:  # else all graphs traced from now on would look for it
            node.meta.pop("is_wrapped", None)
    made = fx.GraphModule(module, graph, type(module).__name__)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


class _UnfollowedError(Exception):
    """What a forward does that a graph cannot hold, and what to do instead."""


class _Hinted(fx.Proxy):
    """A symbol that knows the example's value, and what it was made of."""

    hint: Any = None
    given: tuple[Any, Any] = ((), {})
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
        if isinstance(self.hint, Tensor):
            self.tracer.hold(self.size(0), count)
        elif self.node.op == "placeholder":
            self.tracer.hold(self.tracer.create_proxy("call_function", len, (self,), {}), count)
        elif self.node.op != "call_module" and _word(self.node) in PARTS:
            self._hold_parts(count)
        elif self.node.target is operator.getitem and isinstance(self.given[0][1], slice):
            len(self.given[0][0])
        return count

    def _hold_parts(self, count: int) -> None:
        """Let the graph refuse what falls into another number of parts than the example."""
        args, named = self.given
        tensor, *more = list(args) + [named[name] for name in named if name != "dim"]
        size = None if _word(self.node) == "unbind" else more.pop(0)
        length = tensor.size(named.get("dim", more[0] if more else 0))
        if size is None:
            self.tracer.hold(length, count)
        elif isinstance(_hints(size), int) and _word(self.node) == "split":
            self.tracer.hold((length + size - 1) // size, count)
        elif isinstance(_hints(size), int) and _hints(size) > count:  # chunks: a longer has more
            self.tracer.hold(length, length.hint)
        elif isinstance(_hints(size), int) and count > 1:  # a shorter one may have fewer
            of_a_part = (length + size - 1) // size
            self.tracer.hold((length + of_a_part - 1) // of_a_part, count)

    def __bool__(self) -> bool:
        return bool(self.tracer.hold(self, bool(self.hint)))

    def __index__(self) -> int:
        return int(self.tracer.hold(self, operator.index(self.hint)))

    def __int__(self) -> int:
        return int(self.tracer.hold(self, int(self.hint)))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise _UnfollowedError(
            "it assigns into a tensor: make a new one, by torch.where, torch.cat or masked_fill"
        )


class _Tracer(fx.Tracer):
    """Traces with the example's values beside the symbols."""

    proxy_buffer_attributes = True

    def __init__(
        self,
        inputs: dict[str, Any],
        is_inlined: Callable[[nn.Module], bool],
        called: tuple[Callable[..., Any], ...],
    ) -> None:
        # of the first nothing reads the result: it is dropped
        super().__init__(autowrap_functions=(check_input, *called))
        self._autowrap_search.append(torch)
        self.inputs, self.is_inlined = inputs, is_inlined
        self.running, self.autocast = False, _autocast()
        self._failed: tuple[BaseException | None, nn.Module | None] = (None, None)

    def where(self, error: BaseException) -> str:
        """In whose forward an error came up."""
        raised, part = self._failed
        if part is None or raised is not error:
            return "in its own forward"
        path = next((name for name, one in self.root.named_modules() if one is part), "")
        return f"in the forward of {path!r} ({type(part).__name__})"

    def hold(self, proxy: Any, value: Any) -> Any:
        """Let the graph refuse inputs that are not what it was made for."""
        if isinstance(proxy.hint, Tensor):
            raise _UnfollowedError(
                f"it decides by the values of a tensor, those of {_word(proxy.node)}: "
                "compute both ways and choose by torch.where, or convert its parts apart"
            )
        # by comparing, not by ``not`` and ``is``: unpickling traces the graph anew, past symbols
        if value is True:
            held = proxy
        elif value is False and not isinstance(proxy.hint, int | float):
            held = self.create_proxy("call_function", operator.not_, (proxy,), {})
        else:
            held = self.create_proxy("call_function", operator.eq, (proxy, value), {})
        message = f"the input differs in form from the example: {proxy.node} must be {value!r}"
        self.create_proxy("call_function", torch._assert, (held, message), {})
        return value

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.is_inlined(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Hinted(node, self)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, dict) and _is_record(a):  # what networks of transformers give back
            node = self.create_node("call_function", type(a), (), self._named(a))
            node.meta["is_wrapped"] = True  # unpickling traces the graph anew, and not into it
            return node
        try:
            return super().create_arg(a)
        except NotImplementedError as error:
            raise _UnfollowedError(_foreign(a)) from error

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: self.create_arg(value) for name, value in values.items()}

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **options: Any
    ) -> Any:
        if _autocast() != self.autocast:
            raise _UnfollowedError(
                "it runs under torch.autocast, which a graph does not hold: call the whole network "
                "under it instead"
            )
        proxy: Any = super().create_proxy(kind, target, args, kwargs, *more, **options)
        proxy.hint, proxy.given = self._value(kind, target, args, kwargs), (args, kwargs)
        return proxy

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Placeholders by name; the forward is called as a caller would, decorated or not."""
        parameters = inspect.signature(root_fn).parameters
        given: list[Any] = []
        named: dict[str, Any] = {}
        by_name = False
        for name, value in self.inputs.items():
            parameter = parameters.get(name.lstrip("*"))
            proxy = self._placeholder(name, parameter)
            if parameter is not None and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                given.extend(proxy)
            elif _is_default(value, parameter) and not any(one[:1] == "*" for one in self.inputs):
                by_name = True  # left out: a decorator may fill in what is not given
            elif by_name or parameter is None or parameter.kind is parameter.KEYWORD_ONLY:
                named[name] = proxy
            else:
                given.append(proxy)

        def forward(*args: Any) -> Any:
            return root_fn(self.root, *args, **named)

        return forward, given

    def _placeholder(self, name: str, parameter: inspect.Parameter | None) -> Any:
        """An input; what is no tensor is held to the example's."""
        value = self.inputs[name]
        if parameter is None:  # one more by name
            default: tuple[Any, ...] = (None if isinstance(value, Tensor) else value,)
        else:
            default = () if parameter.default is parameter.empty else (parameter.default,)
        made = self.create_proxy("placeholder", name, default, {})
        if isinstance(value, Tensor):
            axes = self.create_proxy("call_method", "dim", (made,), {})
            self.hold(axes, value.ndim)
        elif not isinstance(value, (tuple, list, dict)):
            return self.hold(made, value)
        return made

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self.running:
            return forward(*args, **kwargs)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            if error is not self._failed[0]:
                self._failed = error, m
            raise

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


def _reason(error: BaseException) -> str:
    if isinstance(error, _UnfollowedError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def _autocast() -> list[bool]:
    return [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")]


def _word(node: fx.Node) -> str:
    """The name of the function or method that a step calls."""
    return str(getattr(node.target, "__name__", node.target))


def _is_record(value: object) -> bool:
    return is_dataclass(value)


def _foreign(value: Any) -> str:
    """Why a step cannot be given, or give back, something else than numbers and tensors."""
    kind = type(value).__name__
    if "Cache" in kind:
        return f"it gives back or takes a {kind}, which is no tensor: give use_cache=False"
    return f"it gives back or takes a {kind}: it must be tensors and numbers, or groups of them"


def _is_default(value: Any, parameter: inspect.Parameter | None) -> bool:
    """Whether to leave an argument out."""
    if parameter is None or parameter.kind is parameter.POSITIONAL_ONLY:
        return False
    return value is parameter.default


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
