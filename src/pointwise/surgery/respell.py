"""The fastest spelling of a network on this machine: measured, not guessed.

A layer timed alone says little: what it gives to the next one lies in memory in one order or the
other, and a conversion at its border costs what it gained. So layers are timed on what they are
really given only to find candidates, and whole networks that take turns decide.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.inspection.copying import copy_model
from pointwise.inspection.timing import Speedup, Timer, speedup, take_turns
from pointwise.surgery.equivalence import TOLERANCES
from pointwise.surgery.refusals import SCRIPTED, check_has_sizes
from pointwise.surgery.spelling.fused_chains import chain_swaps, take_over
from pointwise.surgery.spelling.orders import planar_weights
from pointwise.surgery.spelling.search import (
    FUSED,
    Search,
    Variant,
    respell_layers,
    rewrite,
)
from pointwise.surgery.spelling.spellings import WORDS, pointwise_layers
from pointwise.surgery.spelling.times import Clock, choose
from pointwise.surgery.swap import Swap, describe

MARGIN = 0.01
"""Share of the time that a change must save to be worth one."""

ROOM = 10
"""Times the tolerance of ``check_equivalent``: every sum of every layer may be in another order. A
ResNet-50's own rounding is 1.6e-5 of its largest output, and its spellings differ by 1.3e-5."""


def respell(
    model: nn.Module,
    example: Tensor | tuple[Any, ...],
    *,
    in_place: bool = False,
    folding: bool = False,
    fused: bool = False,
    rtol: float | None = None,
    seconds: float = 30.0,
    timer: Timer = take_turns,
) -> tuple[nn.Module, list[Swap]]:
    """Spell a network in the way that is fastest for predictions, on this machine and this input.

    Whole networks are timed in turns: as given, with channels-last weights, and each of these with
    the layers respelled that gain from it alone. The network stays as it is unless another is
    faster beyond doubt (the median of many rounds, with its bounds at 99 percent), and a simpler
    one stays unless a further change gains again. The winner is timed against the network as given
    once more, in fresh rounds, and goes if it does not win again: the best of several noisy figures
    flatters.

    Names, shapes and values of parameters stay, also as state dicts, unless ``folding``. The
    threads are those that torch uses. Respell last: of the other surgeries only ``restore`` knows
    respelled layers, and brings the old ones back.

    Args:
        model: The network; it is measured in evaluation mode, and its training flags stay.
        example: The input of a prediction, or a tuple of arguments: what is fastest depends on its
            shape, the batch included.
        in_place: Whether to change the given model in place of a copy.
        folding: Whether to fold norms into their neighbours as well (``surgery.fold``). It often
            gains more than all else, and the network can then no longer be trained as it was;
            hence not by default.
        fused: Whether to run chains of pointwise layers through the fused runtime as well, those
            that gain by it (``runtime.compile``). Their layers' parameters are gone from the
            network, which gives no gradients through them; hence not by default.
        rtol: What outputs on the example may differ by, as a share of the largest; what differs by
            more is not considered. Default: 1e-4 for float32, 1e-11 for float64.
        seconds: For how long to measure, about; slow networks take longer.
        timer: Times calls against one another.

    Returns:
        The new model, and what became of the model as a whole (its path is empty) and of every
        layer: the spelling and what it won, or why it was left alone.

    Raises:
        ValueError: If the network or its input holds no values, which cannot be timed, the network
            is compiled by TorchScript or has lazy parts, or is in training mode and ``folding`` or
            ``fused`` is asked for.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1))
        >>> respelled, swaps = respell(network, torch.ones(1, 8, 9, 9), seconds=0.1)
        >>> [swap.path for swap in swaps]
        ['', '0', '2']
    """
    args = example if isinstance(example, tuple) else (example,)
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(f"model must be made of layers, got {type(model).__name__}: it {SCRIPTED}")
    check_has_sizes(model)
    _check_values(model, args)
    if fused and any(module.training for module in model.modules()):
        raise ValueError(
            "model must be in evaluation mode, which is what fused chains compute, got training "
            "mode: call model.eval()"
        )
    search = Search(model, args, _rtol(model) if rtol is None else rtol, timer)
    with torch.no_grad():
        _propose(search, folding=folding, fused=fused, seconds=seconds / 2)
        best, reason = _decide(search, seconds / 2)
    new = model if in_place else copy_model(model)
    new, swaps = rewrite(new, best, args, search.rtol)
    if best.fused:
        new, more = _fuse(new, search.networks[replace(best, choices=())])
        swaps += more
    new, refused = respell_layers(new, best)
    whole = Swap("", describe(model), None if best == Variant() else str(best), reason)
    return new, [whole, *swaps, *_layer_swaps(search, best, refused)]


def _check_values(model: nn.Module, args: tuple[Any, ...]) -> None:
    tensors = chain(model.parameters(), model.buffers(), args)
    if any(isinstance(one, Tensor) and one.is_meta for one in tensors):
        raise ValueError(
            "model and example must hold values, to be timed: some tensors are on the meta device"
        )


def _rtol(model: nn.Module) -> float:
    """By the least precise type of its parameters."""
    types = {parameter.dtype for parameter in model.parameters()}
    return ROOM * max((TOLERANCES[one] for one in types if one in TOLERANCES), default=1e-5)


def _fuse(model: nn.Module, measured: nn.Module) -> tuple[nn.Module, list[Swap]]:
    """Put the chains that were measured into the model itself."""
    swaps = chain_swaps(model, measured)
    return take_over(model, measured), swaps


def _propose(search: Search, *, folding: bool, fused: bool, seconds: float) -> None:
    """Build the networks to compare; time the layers of each on what they are given in it."""
    lasts = (False, True)[: 1 + any(True for _ in planar_weights(search.model))]
    for folded, last in product((False, True)[: 1 + folding], lasts):
        search.add_base(Variant(folded=folded, channels_last=last))
    for base in list(search.networks) if fused else ():
        search.add_fused(base)
    clock = Clock(search.timer)
    layers = [
        (search.networks[base].get_submodule(path), given)
        for base, inputs in search.called.items()
        for path, seen in inputs.items()
        for given in seen
    ]
    clock.share_out(seconds, layers)
    for base in list(search.networks):
        network, inputs = search.networks[base], search.called[base]
        for keeps in (True, False):
            found = choose(network, inputs, clock, margin=MARGIN, keeps_memory=keeps)
            search.add_choices(base, found)
        search.alone[base] = {choice.path: choice for choice in found}


def _decide(search: Search, seconds: float) -> tuple[Variant, str]:
    """The simplest network that no other beats, and what it won; in two heats."""
    order = sorted(search.networks, key=_complexity)
    first = search.times(order, seconds / 2)
    champions = _climb(first, order)
    # the fastest goes on without proof, too: of many networks there may be too few rounds for one
    ratios = {one: speedup(first[champions[-1]], first[one]).ratio for one in order}
    fastest = max(order, key=ratios.__getitem__)
    if fastest not in champions and ratios[fastest] > 1 + MARGIN:
        champions.append(fastest)
    rest = [one for one in order if one not in champions]
    if len(champions) > 1:
        times = search.times(champions, seconds / 2)
        best = _climb(times, champions)[-1]
        if best != Variant():
            won = speedup(times[Variant()], times[best])
            return best, f"{_in_words(won)}; {search.equal[best]}{_unfused(search)}"
        first, rest = times, champions[1:]
    if not rest:
        why = "; ".join(f"{one}: {reason}" for one, reason in search.dropped.items())
        return Variant(), f"no other spelling gives the same result ({why})"
    near = max(rest, key=lambda one: speedup(first[Variant()], first[one]).ratio)
    won = speedup(first[Variant()], first[near])
    reason = f"nothing is faster beyond doubt; the next, {near}: {_in_words(won)}"
    return Variant(), reason + _unfused(search)


def _unfused(search: Search) -> str:
    """Why the network as given has no fused chains, if they were asked for."""
    reason = search.dropped.get(Variant(fused=True))
    return "" if reason is None else f"; no {FUSED}: {reason}"


def _complexity(one: Variant) -> tuple[bool, bool, bool]:
    """What a variant changes, the most that it costs its user first."""
    return one.fused, len(one.choices) > 0, one.folded


def _climb(times: dict[Variant, list[float]], order: Sequence[Variant]) -> list[Variant]:
    """From the simplest on, each network that beats the one before it."""
    climbed = [order[0]]
    for one in order[1:]:
        if speedup(times[climbed[-1]], times[one]).wins(MARGIN):
            climbed.append(one)
    return climbed


def _in_words(won: Speedup) -> str:
    threads = torch.get_num_threads()
    return f"{won} on {threads} thread{'s' if threads > 1 else ''}"


def _layer_swaps(search: Search, best: Variant, refused: dict[str, str]) -> list[Swap]:
    """What became of every pointwise layer, and why."""
    base = replace(best, choices=())
    chosen = {choice.path: choice for choice in best.choices}
    swaps = []
    network = search.networks[base]
    for path, found in pointwise_layers(network).items():
        layer = describe(network.get_submodule(path))
        if path in chosen and path not in refused:
            choice = chosen[path]
            after = f"{layer} as {WORDS[choice.spelling]}"
            swaps.append(Swap(path, layer, after, f"{choice.won} alone"))
        else:
            reason = found if isinstance(found, str) else refused.get(path)
            swaps.append(Swap(path, layer, None, reason or _why(search, base, path)))
    return swaps


def _why(search: Search, base: Variant, path: str) -> str:
    """Why a layer keeps its spelling."""
    if not search.called[base].get(path):
        return "is not called in this run"
    alone = search.alone[base].get(path)
    if alone is None:
        return "no other spelling is faster beyond doubt"
    return f"{WORDS[alone.spelling]} is {alone.won} alone, and gains nothing in the whole network"
