"""Modules that a model also holds outside its tree, where no replacement can reach them."""

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

TREE = ("_modules", "_parameters", "_buffers")
"""Attributes of a module that its tree consists of."""

DEEPEST = 6
"""So many containers within one another are looked into."""


def held_outside(model: nn.Module, *, copied: bool) -> dict[str, str]:
    """Find the modules that plain attributes hold, also through functions.

    A deep copy copies lists and objects with what they hold, but not functions: what a function
    closes over stays the original's, with all that is in it.

    Args:
        model: The model.
        copied: Whether the surgery works on a deep copy.

    Returns:
        For each such module its (first) path, and the reason why it must be left alone.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> model.twice = lambda x, layer=model[0]: layer(layer(x))
        >>> held_outside(model, copied=True)["0"]
        "a function in the attribute 'twice' of the model holds it: a copy would run the old one"
    """
    paths = {id(module): path for path, module in reversed(list(model.named_modules()))}
    owners = {id(t): m for m in model.modules() for t in _own_tensors(m)}
    reasons: dict[str, str] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name in TREE or (isinstance(module, fx.GraphModule) and name == "_graph"):
                continue  # a graph calls modules by their paths
            where = f"the attribute {name!r} of {repr(path) if path else 'the model'}"
            for found, by_function in _references(value, False, 0, set()):
                target = owners.get(id(found)) if isinstance(found, Tensor) else found
                if target is None or id(target) not in paths:
                    continue
                if by_function:
                    reason = f"a function in {where} holds it: a copy would run the old one"
                    affected = list(target.modules()) if copied else [target]
                else:
                    reason = f"{where} holds it too, and would keep the old one"
                    affected = [target]
                for one in affected:
                    reasons.setdefault(paths[id(one)], reason)
    return reasons


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _references(
    value: Any, by_function: bool, depth: int, seen: set[int]
) -> Iterator[tuple[nn.Module | Tensor, bool]]:
    """Modules and tensors that a value holds, and whether through a function."""
    if isinstance(value, nn.Module) or (isinstance(value, Tensor) and by_function):
        yield value, by_function
        return
    if id(value) in seen or depth > DEEPEST or isinstance(value, (Tensor, type, str, bytes)):
        return
    seen.add(id(value))
    for inner, through in _inside(value):
        yield from _references(inner, by_function or through, depth + 1, seen)


def _inside(value: Any) -> Iterator[tuple[Any, bool]]:
    """What a container, a callable or a plain object holds; true for what a copy leaves alone."""
    if isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents, True
            except ValueError:  # not filled yet
                continue
        for default in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            yield default, True
    elif isinstance(value, types.MethodType):
        yield value.__self__, False
        yield value.__func__, False
    elif isinstance(value, functools.partial):
        yield from ((part, False) for part in (value.func, *value.args, *value.keywords.values()))
    elif isinstance(value, Mapping):
        yield from ((part, False) for part in value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((part, False) for part in value)
    elif hasattr(value, "__dict__") and not isinstance(value, (types.ModuleType, torch.dtype)):
        yield from ((part, False) for part in vars(value).values())
