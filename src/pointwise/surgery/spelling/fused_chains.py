"""Chains of pointwise layers through the fused runtime: one more way to spell a whole network."""

from itertools import chain
from typing import Any

from torch import Tensor, nn

from pointwise.errors import first_line
from pointwise.inspection.timing import Timer
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime.parts import PYTORCH, CompiledPart, compile_parts, precision
from pointwise.surgery.spelling.spellings import pointwise_layers
from pointwise.surgery.swap import Swap, describe


def fuse_chains(model: nn.Module, args: tuple[Any, ...], timer: Timer) -> nn.Module | str:
    """Copy a network with its chains of pointwise layers compiled, those that gain by it.

    Args:
        model: The network, in evaluation mode; one that is a chain as a whole becomes one.
        args: Its arguments.
        timer: Times each chain where it stands, against the layers that it was read from.

    Returns:
        The copy, which gives no gradients; or why it would be none.

    Example:
        >>> from pointwise.inspection.timing import take_turns
        >>> network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
        >>> fuse_chains(network, (), take_turns)
        'chains run fused only in networks that take one tensor on the CPU'
    """
    tensors = chain(model.parameters(), model.buffers(), args)
    if len(args) != 1 or any(not isinstance(one, Tensor) or not one.is_cpu for one in tensors):
        return "chains run fused only in networks that take one tensor on the CPU"
    whole = read_chain(model)
    if isinstance(whole, Chain):
        return CompiledPart(CompiledChain(whole, dtype=precision([model])))
    try:
        made, parts = compile_parts(
            model,
            lambda one, dtype: CompiledChain(one, dtype=dtype),
            example=args[0],
            timer=timer,
        )
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        return first_line(error)
    if all(part.engine == PYTORCH for part in parts):
        return "it has no chain of pointwise layers that gains from it"
    return made


def take_over(model: nn.Module, measured: nn.Module) -> nn.Module:
    """Put the compiled chains of a network into another like it, which is changed.

    Args:
        model: The network as it was before its chains were compiled.
        measured: What ``fuse_chains`` made of one like it.

    Returns:
        The model; the chain where the whole is one.
    """
    if isinstance(measured, CompiledPart):
        return measured
    for path, part in list(measured.named_modules(remove_duplicate=False)):
        is_new = not isinstance(model.get_submodule(path), nn.Identity)
        if isinstance(part, CompiledPart) or (isinstance(part, nn.Identity) and is_new):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, part)
    return model


def compiled_parts(model: nn.Module) -> list[CompiledPart]:
    """The chains of a network, which copies of it may share: they hold no state.

    Args:
        model: The network.

    Returns:
        Its chains.
    """
    return [part for part in model.modules() if isinstance(part, CompiledPart)]


def chain_swaps(before: nn.Module, after: nn.Module) -> list[Swap]:
    """Where chains stand now, and the pointwise layers that are in them.

    Args:
        before: The network before its chains were compiled.
        after: The network after it.

    Returns:
        One for each.
    """
    now = dict(after.named_modules(remove_duplicate=False))
    layers = pointwise_layers(before)
    swaps = []
    for path, module in before.named_modules():
        part = _outermost(now, path)
        if path in now and isinstance(part, CompiledPart):
            text = f"chain {part.compiled.chain.describe()} ({part.compiled.engine})"
            swaps.append(Swap(path, describe(module), text))
        elif path in layers and isinstance(part, CompiledPart | nn.Identity):
            swaps.append(Swap(path, describe(module), "Identity", "it is in a chain"))
    return swaps


def _outermost(modules: dict[str, nn.Module], path: str) -> nn.Module:
    """What stands at a path now: the part itself, or the chain that took the module around it."""
    while path not in modules:
        path = path.rpartition(".")[0]
    return modules[path]
