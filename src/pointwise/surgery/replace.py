"""The only walker: finds the modules of a model, swaps them, and keeps what hangs on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pointwise.inspection.copying import copy_model
from pointwise.surgery.holders import held_outside
from pointwise.surgery.refusals import SCRIPTED, refusal
from pointwise.surgery.swap import Swap, describe

Outcome = nn.Module | str | None
"""The new module; the reason why there is none; ``None`` for a module that is no business of it."""

Rule = Callable[[nn.Module], Outcome]
NamedRule = Callable[[str, nn.Module], Outcome]


def replace(
    model: nn.Module, rule: Rule, *, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    """Replace the modules of a model by a rule.

    A module that several parents share stays shared. A replaced module's training flag goes over
    to the new one, all other modules stay what they were, hooks included. Modules that run more
    than their stored values, that hang on others by shared parameters, or that something outside
    the tree of modules holds, are left alone with the reason.

    Args:
        model: The model; the rule may replace the model itself.
        rule: Called once with every module of the model, from the outside in and not within a
            replaced one; returns the new module, a reason why there is none, or ``None``. It sees
            the copy's modules unless ``in_place``, before any of them is replaced.
        in_place: Whether to change the given model in place of a deep copy.

    Returns:
        The new model, and what became of every module that the rule did not pass over.

    Raises:
        TypeError: If the model is none or cannot be copied, or the rule returns something else.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        >>> rule = lambda module: nn.GELU() if isinstance(module, nn.ReLU) else None
        >>> new, swaps = replace(model, rule)
        >>> print(swaps[0])
        1: ReLU -> GELU
    """
    return replace_named(model, lambda _, module: rule(module), in_place=in_place)


def replace_named(
    model: nn.Module, rule: NamedRule, *, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    """Replace the modules of a model by a rule that is told their paths.

    Args:
        model: The model.
        rule: As for ``replace``, called with the (first) path and the module.
        in_place: Whether to change the given model in place of a deep copy.

    Returns:
        The new model, and what became of every module that the rule did not pass over.

    Raises:
        TypeError: If the model is none or cannot be copied, or the rule returns something else.

    Example:
        >>> model = nn.Sequential(nn.ReLU(), nn.ReLU())
        >>> replace_named(model, lambda path, _: nn.SiLU() if path == "1" else None)[0]
        Sequential(
          (0): ReLU()
          (1): SiLU()
        )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}: of a fitted estimator "
            "give network_"
        )
    held = held_outside(model, copied=not in_place)
    changed = model if in_place else copy_model(model)
    owners = _owners(changed)
    swaps: list[Swap] = []
    made: dict[nn.Module, nn.Module] = {}
    pending = [("", changed)]
    seen: set[nn.Module] = set()
    while pending:
        path, module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        outcome = _decide(changed, path, module, rule, held, owners)
        if isinstance(outcome, nn.Module):
            made[module] = outcome
            swaps.append(Swap(path, describe(module), describe(outcome)))
            continue
        if outcome is not None:
            swaps.append(Swap(path, describe(module), None, outcome))
        if not isinstance(module, torch.jit.ScriptModule):
            pending += reversed(list(_children(path, module)))
    return _put(changed, made), swaps


@contextmanager
def unchanged_on_error(model: nn.Module) -> Iterator[None]:
    """Hang every module of a model where it hung before, if an error comes up.

    Args:
        model: The model, whose modules may be replaced within, but not changed themselves.

    Yields:
        Nothing.

    Example:
        >>> model = nn.Sequential(nn.ReLU())
        >>> try:
        ...     with unchanged_on_error(model):
        ...         model[0] = nn.GELU()
        ...         raise ValueError
        ... except ValueError:
        ...     print(model[0])
        ReLU()
    """
    before = [(module, dict(module._modules)) for module in model.modules()]
    try:
        yield
    except BaseException:
        for module, children in before:
            module._modules.clear()
            module._modules.update(children)
        raise


def _children(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module._modules.items():
        if child is not None:
            yield f"{path}.{name}" if path else name, child


def _decide(
    model: nn.Module,
    path: str,
    module: nn.Module,
    rule: NamedRule,
    held: dict[str, str],
    owners: dict[Tensor, list[tuple[nn.Module, str]]],
) -> Outcome:
    """What the rule says, unless something speaks against a swap."""
    if isinstance(module, torch.jit.ScriptModule):
        return SCRIPTED
    outcome = rule(path, module)
    if not isinstance(outcome, nn.Module | str | None):
        raise TypeError(
            "rule must return a module, a reason or None, "
            f"got {outcome!r} for {path or 'the model'!r}"
        )
    if not isinstance(outcome, nn.Module) or outcome is module:
        return None if outcome is module else outcome
    kept = set(outcome.modules())
    for name, part in module.named_modules():
        if part in kept:
            continue
        reason = refusal(part) or held.get(f"{path}.{name}".strip("."))
        if reason is not None:
            return f"its part {name!r}: {reason}" if name else reason
    return _tie(model, module, outcome, owners) or outcome


def _owners(model: nn.Module) -> dict[Tensor, list[tuple[nn.Module, str]]]:
    """Who holds each parameter, and under which name."""
    owners: dict[Tensor, list[tuple[nn.Module, str]]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            owners.setdefault(parameter, []).append((module, f"{path}.{name}".strip(".")))
    return owners


def _tie(
    model: nn.Module,
    old: nn.Module,
    new: nn.Module,
    owners: dict[Tensor, list[tuple[nn.Module, str]]],
) -> str | None:
    """The reason to leave a module alone that shares a parameter which the new one has not."""
    kept = set(new.parameters())
    own = set(old.modules())
    if len(own) > 1:
        own -= _reached_without(model, old)
    for parameter in old.parameters():
        for module, name in owners.get(parameter, ()) if parameter not in kept else ():
            if module not in own:
                return f"it shares the parameter {name!r}: the two would no longer be tied"
    return None


def _reached_without(model: nn.Module, left_out: nn.Module) -> set[nn.Module]:
    """Every module that the model reaches by a way that does not lead through one of them."""
    pending, reached = [model], {left_out}
    while pending:
        module = pending.pop()
        if module not in reached:
            reached.add(module)
            pending += module.children()
    return reached - {left_out}


def _put(model: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """Hang the new modules on all parents of the old ones."""
    for old, new in made.items():
        before = set(old.modules())
        for part in new.modules():
            if part not in before:
                part.training = old.training
    parents = [*model.modules(), *(part for new in made.values() for part in new.modules())]
    wraps = {part: old for old, new in made.items() for part in new.modules()}
    for parent in parents:
        for name, child in parent._modules.items():
            if child in made and wraps.get(parent) is not child:  # a new one may hold its old one
                parent._modules[name] = made[child]
    return made.get(model, model)
