"""What a forward runs: every operator with the module call it belongs to.

The forward runs on the meta device, on a copy of the model without values, so that no arithmetic
is done and nothing of the model changes. A forward that looks at values runs on the model itself,
whose buffers are then put back, and the random numbers that it drew.
"""

import copy
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pointwise.errors import first_line
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.memory import Area, Memory
from pointwise.inspection.operators import (
    ATTENTION,
    CONVOLUTIONS,
    FREE,
    LOOKUPS,
    MACS,
    OPERANDS,
    is_unknown_product,
)
from pointwise.nn.pointwise import PointwiseConv

Shape = tuple[int, ...]


@dataclass
class Call:
    """One call of a module.

    Attributes:
        name: Path of the module, at this call site where it has several.
        module: The module.
        inputs: Shapes of the tensors it is given.
        outputs: Shapes of the tensors it gives.
        leaf: Whether it calls no other module.
        called: How often it calls each module, by the module's ``id``.
    """

    name: str
    module: nn.Module
    inputs: list[Shape]
    outputs: list[Shape] = field(default_factory=list)
    leaf: bool = True
    called: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Operation:
    """One operator that moves data.

    Attributes:
        name: The operator, such as ``aten::mm``.
        call: Number of the call that it belongs to.
        kind: What kind of product it is, ``made`` where its weight comes out of a product; ``None``
            without multiply-adds.
        macs: Its multiply-adds.
        reads: What it reads.
        writes: What it writes.
        prepares: Whether it prepares a weight for an operator to come.
        input_shape: Shape of the first tensor that it reads, weights aside where it reads others.
        output_shape: Shape of the first tensor that it writes.
    """

    name: str
    call: int
    kind: str | None
    macs: int
    reads: list[Area]
    writes: list[Area]
    prepares: bool
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class Returned:
    """The end of a call: what it gave back."""

    storages: frozenset[int]


@dataclass
class Trace:
    """A forward: its calls, and in their order the operators and the ends of the calls.

    Attributes:
        model: The module that ran: a copy without values where that was enough.
        memory: What the storages held.
        calls: The calls, in the order in which they began.
        events: Operators and ends of calls, in their order.
        uncounted: Operators that may multiply and have no formula, and how often each ran.
    """

    model: nn.Module
    memory: Memory
    calls: list[Call] = field(default_factory=list)
    events: list[Operation | Returned] = field(default_factory=list)
    uncounted: Counter[str] = field(default_factory=Counter)


def trace(model: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    """Run a forward and note every operator.

    Args:
        model: Any module; it is run in evaluation mode, and left as it is.
        inputs: Its arguments.

    Returns:
        The operators by module call.

    Raises:
        ValueError: If the forward fails: which layer, on what shapes, and why.

    Example:
        >>> traced = trace(nn.Linear(3, 2), (torch.ones(5, 3),))
        >>> [(event.name, event.macs) for event in traced.events if isinstance(event, Operation)]
        [('aten::addmm', 30)]
    """
    try:
        bare, given = _without_values(model, inputs)
    except Exception:  # what cannot be copied runs itself
        return _run_itself(model, inputs)
    try:
        with torch.device("meta"):
            return _run(bare, given)
    except ValueError:
        if any(t.is_meta for t in (*model.parameters(), *_tensors(inputs))):
            raise
    # It looks at values; or it fails, and tells why in the true words.
    return _run_itself(model, inputs)


def _without_values(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[nn.Module, tuple[Any, ...]]:
    """Copies of the model and its inputs on the meta device; tensors shared before are shared."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in _tensors(dict(vars(module))):
            if id(value) not in memo:
                memo[id(value)] = _on_meta(value)
    return copy.deepcopy(model, memo), tree_map_only(Tensor, _on_meta, inputs)


def _on_meta(value: Tensor) -> Tensor:
    bare = torch.empty_like(value.detach(), device="meta")
    if isinstance(value, nn.Parameter):
        return nn.Parameter(bare, requires_grad=value.requires_grad)
    return bare


def _run_itself(model: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    """Run the model that is given, which may draw random numbers and count what it sees."""
    given = _tensors((list(model.parameters()), list(model.buffers()), inputs))
    devices = sorted({tensor.get_device() for tensor in given if tensor.is_cuda})
    with kept_buffers(model), torch.random.fork_rng(devices=devices):
        return _run(model, inputs)


def _run(model: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    recorder = _Recorder(model, inputs)
    try:
        with _evaluating(model), _hooked(model, recorder), _plain_operators(), recorder:
            recorder.enter(model, inputs, {})
            recorder.leave(model, inputs, model(*inputs))
    except Exception as error:
        raise ValueError(recorder.failure(inputs, error)) from error
    return recorder.trace


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, set as a flag: ``train()`` may be overridden and do more."""
    before = [(module, module.training) for module in model.modules()]
    for module, _ in before:
        module.training = False
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _hooked(model: nn.Module, recorder: "_Recorder") -> Iterator[None]:
    """Tell the recorder of every call but the model's own; TorchScript takes no such hooks."""
    handles = []
    try:
        for module in model.modules():
            if module is model or isinstance(module, torch.jit.ScriptModule):
                continue
            handles += [
                module.register_forward_pre_hook(recorder.enter, prepend=True, with_kwargs=True),
                module.register_forward_hook(recorder.leave),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _plain_operators() -> Iterator[None]:
    """No fused fast path of whole transformer layers, nor compiled code: they hide products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Where torch's compiler was never loaded, nothing is compiled; loading it takes a second.
    loaded = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if loaded else nullcontext()
    try:
        with torch.no_grad(), eager:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Recorder(TorchDispatchMode):
    """Sees every operator, and through the hooks every call."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace(model, Memory(model, inputs))
        self.stack: list[int] = []
        self.paths: dict[int, dict[int, list[str]]] = {}

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        call = Call(self._name(module), module, _shapes((args, kwargs)))
        if self.stack:
            self.trace.calls[self.stack[-1]].leaf = False
        self.stack.append(len(self.trace.calls))
        self.trace.calls.append(call)

    def leave(self, module: nn.Module, _: Any, output: Any) -> None:
        """A module returns."""
        while self.trace.calls[self.stack[-1]].module is not module:
            self.stack.pop()  # it raised, and its caller went on
        self.trace.calls[self.stack.pop()].outputs = _shapes(output)
        storages = frozenset(area.storage for area in self.trace.memory.areas(output))
        self.trace.events.append(Returned(storages))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name not in MACS:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:  # composite: its parts were noted
                return result
        out = func(*args, **kwargs)
        self._note(name, func, args, kwargs, out)
        return out

    def _note(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> None:
        memory = self.trace.memory
        reads, writes = memory.areas((args, kwargs)), memory.areas(out)
        formula = MACS.get(name)
        macs = formula(args, out) if formula else 0
        kind = self._kind(name, args) if formula else None
        prepares = memory.pass_on(reads, writes, product=formula is not None)
        if is_unknown_product(name):
            self.trace.uncounted[name] += 1
        if name in FREE or _is_view(func) or not writes:
            return
        if name in LOOKUPS and reads:
            reads[0] = _at_most(reads[0], sum(area.numel for area in writes))
        given = _tensors((args, kwargs))
        data = [t for t in given if memory.holds(t, memory.activations)] or given
        first = next(iter(_shapes(data)), ())
        last = next(iter(_shapes(out)), ())
        self.trace.events.append(
            Operation(name, self.stack[-1], kind, macs, reads, writes, prepares, first, last)
        )

    def _kind(self, name: str, args: tuple[Any, ...]) -> str:
        """What kind of product an operator is, by its operands."""
        call = self.trace.calls[self.stack[-1]]
        if isinstance(call.module, PointwiseConv):
            return "pointwise" if len(call.inputs[0]) > 2 else "linear"
        if name in CONVOLUTIONS:
            weight, transposed, groups = args[1], args[6], args[8]
            if set(weight.shape[2:]) == {1} and not transposed:
                return "pointwise"
            return "depthwise" if groups > 1 and groups == args[0].shape[1] else "conv"
        if name == "torchvision::deform_conv2d":
            return "conv"
        if name.startswith(ATTENTION):
            return "attention"
        memory, operands = self.trace.memory, args[OPERANDS.get(name, slice(0, 2))]
        if memory.holds(operands, memory.weights):
            return "linear"
        return "made" if memory.holds(operands, memory.made) else "matmul"

    def _name(self, module: nn.Module) -> str:
        """The path of a module at this call: from its caller, else from the model."""
        if not self.stack:
            return ""
        caller = self.trace.calls[self.stack[-1]]
        turn = caller.called[id(module)]
        caller.called[id(module)] += 1
        if found := self._under(caller.module).get(id(module)):
            near = min(path.count(".") for path in found)
            found = [path for path in found if path.count(".") == near]
            own = found[turn % len(found)]
            return f"{caller.name}.{own}" if caller.name and own else caller.name or own
        return self._under(self.trace.model)[id(module)][0]

    def _under(self, module: nn.Module) -> dict[int, list[str]]:
        """The paths from a module to itself and to those in it, in the order of definition."""
        if id(module) not in self.paths:
            paths: dict[int, list[str]] = {}
            waiting = [("", module)]
            while waiting:
                path, one = waiting.pop()
                new = id(one) not in paths
                paths.setdefault(id(one), []).append(path)
                children = [(k, c) for k, c in one._modules.items() if new and c is not None]
                waiting += [(f"{path}.{k}" if path else k, c) for k, c in reversed(children)]
            self.paths[id(module)] = paths
        return self.paths[id(module)]

    def failure(self, inputs: tuple[Any, ...], error: Exception) -> str:
        """Which layer failed, on what, and why."""
        given = _listed(_shapes(inputs))
        why = first_line(error)
        call = self.trace.calls[self.stack[-1]]
        refused = f"{type(self.trace.model).__name__} cannot take x of shape {given}"
        if not call.name:
            return f"{refused}: {why}"
        layer = f"layer {call.name!r} ({type(call.module).__name__})"
        return f"{refused}: {layer} failed on {_listed(call.inputs)}: {why}"


def _is_view(func: Any) -> bool:
    """Whether an operator's outputs are all views of its inputs, which writes nothing."""
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info and not r.alias_info.is_write for r in returns)


def _at_most(area: Area, numel: int) -> Area:
    numel, size = min(area.numel, numel), area.nbytes // max(area.numel, 1)
    return Area(area.storage, area.place, numel, numel * size)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _shapes(values: Any) -> list[Shape]:
    return [tuple(tensor.shape) for tensor in _tensors(values)]


def _listed(shapes: list[Shape]) -> str:
    return " and ".join(map(str, shapes)) or "no tensor"
