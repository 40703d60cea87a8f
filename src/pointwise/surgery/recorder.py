"""A run of a model written down by a dispatch mode, on tensors without values."""

import copy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pointwise.errors import FlowError, first_line
from pointwise.surgery.recording import Call, Operator, Recording, Value
from pointwise.surgery.refusals import has_no_sizes


def record(model: nn.Module, example: Any) -> Recording:
    """Run a copy of a model, in evaluation mode and without values, and write down what runs.

    Args:
        model: Any module; it is left as it is.
        example: One input tensor, a sequence of arguments, or a mapping of arguments by name.

    Returns:
        Its calls and operators.

    Raises:
        FlowError: If it cannot be copied or run so.
    """
    for path, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule) and has_no_sizes(module):
            raise FlowError(f"{_layer(path, module)} has no weights yet: run the model once first")
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        bare, given = _without_values(model, example, mode)
    except Exception as error:  # whatever the classes of the model raise
        raise FlowError(f"the model cannot be copied: {first_line(error)}") from error
    recorder = _Recorder(model, bare, given)
    try:
        with torch.no_grad(), _eager(), mode, recorder:
            args, kwargs = _arguments(given)
            recorder.enter(bare, args, kwargs)
            output = bare(*args, **kwargs)
            recorder.leave(bare, args, kwargs, output)
    except FlowError:
        raise
    except Exception as error:
        raise FlowError(recorder.failure(error)) from error
    return recorder.recording()


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by place and by name."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example) if isinstance(example, list | tuple) else (example,)), {}


def _without_values(model: nn.Module, example: Any, mode: FakeTensorMode) -> tuple[nn.Module, Any]:
    """Copy a model and its arguments without values; what was shared is shared.

    Foreign hooks do not come along: they could let tensors without values out. In their place
    stand marks, see ``_Recorder``.

    Args:
        model: The model.
        example: Its arguments.
        mode: What makes tensors without values.

    Returns:
        The copies.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in _tensors(dict(vars(module))):
            if id(value) not in memo:
                memo[id(value)] = mode.from_tensor(value.detach(), static_shapes=True)
                if isinstance(value, nn.Parameter):
                    memo[id(value)] = nn.Parameter(memo[id(value)], requires_grad=False)
    bare = copy.deepcopy(model, memo)
    for module in bare.modules():
        module.training = False
        if not isinstance(module, torch.jit.ScriptModule):
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
            module._forward_hooks_with_kwargs.clear()
            module._forward_pre_hooks_with_kwargs.clear()

    def bared(value: Tensor) -> Tensor:
        return mode.from_tensor(value.detach(), static_shapes=True)

    given = dict(example) if isinstance(example, Mapping) else example
    return bare, tree_map_only(Tensor, bared, given)


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled code runs as it was written; torch's compiler is not loaded for that."""
    loaded = "torch._dynamo" in sys.modules
    with torch.compiler.set_stance("force_eager") if loaded else nullcontext():
        yield


@dataclass
class _Open:
    """A call that is being recorded."""

    module: nn.Module
    parent: int | None
    inputs: tuple[Value, ...]
    plain: bool
    outputs: tuple[Value, ...] = ()


class _Recorder(TorchDispatchMode):
    """Sees every operator, and through hooks of its own every call."""

    def __init__(self, model: nn.Module, bare: nn.Module, given: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.paths: dict[nn.Module, str] = {}
        self.names: dict[str, str] = {}
        self.calls: list[_Open] = []
        self.operators: list[Operator] = []
        self.stack: list[int] = []
        self.values: dict[int, Value] = {}
        self.by_storage: dict[int, list[Tensor]] = {}
        self.own = {id(t): name for name, t in model.named_parameters()}
        self.bare = bare
        for path, module in bare.named_modules(remove_duplicate=False):
            self.names[path] = self.paths.setdefault(module, path)
        self._know_weights()
        args, kwargs = _arguments(given)
        for name, argument in (*enumerate(args), *kwargs.items()):
            for tensor in _tensors(argument):
                self._know(tensor, "input", (str(name),))
        self._watch(model)

    def _know_weights(self) -> None:
        names: dict[int, list[str]] = {}
        tensors: dict[int, Tensor] = {}
        for path, module in self.bare.named_modules(remove_duplicate=False):
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    tensors[id(tensor)] = tensor
                    names.setdefault(id(tensor), []).append(f"{path}.{name}" if path else name)
        for key, tensor in tensors.items():
            self._know(tensor, "weight", tuple(names[key]))

    def _watch(self, model: nn.Module) -> None:
        """Set hooks; where the model's own module has foreign ones, their place is marked."""
        for original, module in zip(model.modules(), self.bare.modules(), strict=True):
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if original._forward_pre_hooks:
                module.register_forward_pre_hook(self._before_hooked, with_kwargs=True)
            if module is not self.bare:
                module.register_forward_pre_hook(self.enter, with_kwargs=True)
                module.register_forward_hook(self.leave, with_kwargs=True)
            if original._forward_hooks:
                module.register_forward_hook(self._after_hooked)

    def _before_hooked(self, _: nn.Module, args: Any, kwargs: Any) -> Any:
        changed: tuple[Any, dict[str, Any]] = self._marked((args, kwargs))
        return changed

    def _after_hooked(self, _: nn.Module, args: Any, output: Any) -> Any:
        return self._marked(output)

    def _marked(self, tree: Any) -> Any:
        """Copies of tensors, made by an operator called ``hook``."""

        def mark(tensor: Tensor) -> Tensor:
            known = len(self.operators)
            new = torch.empty_like(tensor)
            del self.operators[known:]  # the making of it
            self._note("hook", {"input": tensor}, [tensor], [new])
            return new

        return tree_map_only(Tensor, mark, tree)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        inputs = tuple(self._value(tensor) for tensor in _tensors((args, kwargs)))
        parent = self.stack[-1] if self.stack else None
        self.stack.append(len(self.calls))
        plain = len(args) == 1 and isinstance(args[0], Tensor) and not kwargs
        self.calls.append(_Open(module, parent, inputs, plain))

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """A module returns."""
        while self.calls[self.stack[-1]].module is not module:
            self.stack.pop()  # it raised, and its caller went on
        call = self.calls[self.stack.pop()]
        call.outputs = tuple(self._value(tensor) for tensor in _tensors(output))
        call.plain = call.plain and isinstance(output, Tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        given = {a.name: value for a, value in zip(schema.arguments, args, strict=False)} | kwargs
        read = _tensors((args, kwargs))
        for tensor in read:
            if id(tensor) in self.own:
                raise FlowError(
                    f"a plain callable in {self._where()} reads the model's "
                    f"{self.own[id(tensor)]!r}, which copies of the model do not have"
                )
        out = func(*args, **kwargs)
        changed = [
            tensor
            for argument in schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
            for tensor in _tensors(given.get(argument.name))
        ]
        made = [tensor for tensor in _tensors(out) if all(tensor is not old for old in changed)]
        if made or changed:
            self._note(schema.name, given, read, made, changed)
        return out

    def _note(
        self,
        name: str,
        given: dict[str, Any],
        read: list[Tensor],
        made: list[Tensor],
        changed: list[Tensor] | None = None,
    ) -> None:
        """Write an operator down; who shares memory with what it changed is changed, too."""
        also = [
            tensor
            for key in {_storage(tensor) for tensor in changed or ()}
            for tensor in self.by_storage.get(key, ())
        ]
        args = tree_map_only(Tensor, self._value, given)
        reads = tuple(dict.fromkeys(self._value(tensor) for tensor in (*read, *also)))
        # What it changed comes first: its result.
        for tensor in (*(changed or ()), *also):
            self._value(tensor)
        written = {id(t): t for t in (*(changed or ()), *made, *also)}
        for key in written:
            self.values.pop(key, None)
        writes = tuple(self._know(tensor, "made") for tensor in written.values())
        call = self.stack[-1] if self.stack else 0
        self.operators.append(Operator(len(self.operators), name, call, args, reads, writes))

    def _value(self, tensor: Tensor) -> Value:
        """The value that a tensor holds now."""
        return self.values.get(id(tensor)) or self._know(tensor, "constant")

    def _know(
        self,
        tensor: Tensor,
        kind: Literal["input", "weight", "constant", "made"],
        names: tuple[str, ...] = (),
    ) -> Value:
        value = Value(kind, tuple(tensor.shape), tensor.dtype, names)
        self.values[id(tensor)] = value
        alike = self.by_storage.setdefault(_storage(tensor), [])  # also keeps it alive, so the id
        if all(tensor is not other for other in alike):
            alike.append(tensor)
        return value

    def recording(self) -> Recording:
        """What was written down, after the run."""
        calls = tuple(
            Call(
                number, self.paths[call.module], call.parent, call.inputs, call.outputs, call.plain
            )
            for number, call in enumerate(self.calls)
        )
        stored = (self.values.get(id(t)) for m in self.bare.modules() for t in _tensors(vars(m)))
        made = {value for value in stored if value is not None and value.kind == "made"}
        kept = frozenset(made.union(calls[0].outputs))
        return Recording(calls, tuple(self.operators), kept, self.names)

    def failure(self, error: Exception) -> str:
        """Why the run could not be followed, in words."""
        where = self._where()
        if isinstance(error, DataDependentOutputException):
            return f"the forward looks at values in {where} ({error.func}): its way depends on them"
        if isinstance(error, DynamicOutputShapeException):
            return f"what {error.func} gives in {where} has a size that depends on values"
        return f"the run without values failed in {where}: {first_line(error)}"

    def _where(self) -> str:
        module = self.calls[self.stack[-1]].module if self.stack else self.bare
        return _layer(self.paths[module], module)


def _layer(path: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"layer {path!r} ({kind})" if path else f"the model ({kind})"


def _storage(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:  # sparse and other kinds that have none
        return id(tensor)


def _tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree of containers, also of those in objects that torch does not know."""
    found: list[Tensor] = []
    seen: set[int] = set()
    pending = tree_leaves(tree)[::-1]
    while pending:
        leaf = pending.pop()
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif hasattr(leaf, "__dict__") and not callable(leaf) and id(leaf) not in seen:
            seen.add(id(leaf))
            pending += tree_leaves(dict(vars(leaf)))[::-1]
    return found
