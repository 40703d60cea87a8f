"""The fastest spelling of a network on this machine: measured, not guessed.

A layer timed alone says little: what it gives to the next one lies in memory in one order or the
other, and a conversion at its border costs what it gained. So layers are timed on what they are
really given only to find candidates, and whole networks that take turns decide.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from pointwise.errors import PointwiseError, first_line
from pointwise.inspection.timing import Call, Speedup, Timer, speedup, take_turns
from pointwise.surgery.equivalence import TOLERANCES, Equivalence, check_equivalent
from pointwise.surgery.fold import fold
from pointwise.surgery.replace import copy_model, replace_named
from pointwise.surgery.spelling_times import (
    Choice,
    Clock,
    Given,
    choose,
    layer_inputs,
    synchronized,
)
from pointwise.surgery.spellings import WORDS, Spelled, pointwise_layers
from pointwise.surgery.swap import Swap, describe

MARGIN = 0.02
"""Share of the time that a change must save to be worth one."""

ROOM = 10
"""Times the tolerance of ``check_equivalent``: every sum of every layer may be in another order. A
ResNet-50's own rounding is 1.6e-5 of its largest output, and its spellings differ by 1.3e-5."""

AS_GIVEN = "as given"
CHANNELS_LAST = "channels-last weights"
FOLDED = "folded"

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The channels-last memory formats that torch has, by the number of axes of the weight."""

Inputs = dict[str, set[Given]]


@dataclass(frozen=True)
class Variant:
    """One way to spell a whole network.

    Attributes:
        folded: Whether norms are folded into their neighbours.
        channels_last: Whether the weights of convolutions lie channels-last, which makes the maps
            between them lie so, whatever the input.
        choices: The layers that are respelled.
    """

    folded: bool = False
    channels_last: bool = False
    choices: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        """What is done, in words."""
        parts = [FOLDED] * self.folded + [CHANNELS_LAST] * self.channels_last
        counts = Counter(choice.spelling for choice in self.choices)
        parts += [f"{WORDS[name]} in {count}" for name, count in sorted(counts.items())]
        return ", ".join(parts) or AS_GIVEN


@dataclass
class Search:
    """The variants of a network that run and compute the same, by simplicity.

    Attributes:
        model: The network as the user gave it; it is only copied.
        args: Its arguments.
        rtol: What outputs may differ by, as a share of the largest.
        timer: Times calls against one another.
        networks: Every variant as a copy in evaluation mode, the plain one first.
        alone: For every variant without choices, what its layers would gain alone.
        called: For every variant without choices, what its layers are given.
        equal: How nearly every variant computes what the plain one does.
        dropped: Why other variants were not considered.
    """

    model: nn.Module
    args: tuple[Any, ...]
    rtol: float
    timer: Timer
    networks: dict[Variant, nn.Module] = field(default_factory=dict)
    alone: dict[Variant, dict[str, Choice]] = field(default_factory=dict)
    called: dict[Variant, Inputs] = field(default_factory=dict)
    equal: dict[Variant, Equivalence] = field(default_factory=dict)
    dropped: dict[Variant, str] = field(default_factory=dict)

    def add_base(self, variant: Variant) -> None:
        """Copy the network and change it as a whole, where that leaves what it computes."""
        try:
            network, _ = _rewrite(copy_model(self.model), variant, self.args, self.rtol)
        except PointwiseError as error:  # its flow cannot be followed, say
            self.dropped[variant] = str(error)
            return
        network.eval()
        if self._is_equal(network, variant):
            self.networks[variant] = network
            self.called[variant] = layer_inputs(network, self.args)

    def add_choices(self, base: Variant, choices: Sequence[Choice]) -> None:
        """Respell layers of a base, on the same tensors; layers may refuse another's memory."""
        variant = replace(base, choices=tuple(choices))
        tensors = chain(self.networks[base].parameters(), self.networks[base].buffers())
        shell = copy.deepcopy(self.networks[base], {id(tensor): tensor for tensor in tensors})
        network, _ = _respell_layers(shell, variant)
        if choices and variant not in self.networks and self._is_equal(network, variant):
            self.networks[variant] = network

    def times(self, variants: Sequence[Variant], seconds: float) -> dict[Variant, list[float]]:
        """Seconds of whole networks, round by round, all in turns."""
        names: dict[str, Variant] = {}
        for one in variants:
            again = sum(str(other) == str(one) for other in names.values())
            names[f"{one} ({again + 1})" if again else str(one)] = one
        calls = {name: self._call(self.networks[one]) for name, one in names.items()}
        taken = self.timer(calls, seconds=seconds)
        return {one: taken[name] for name, one in names.items()}

    def _call(self, network: nn.Module) -> Call:
        first = next(chain(network.parameters(), network.buffers()), torch.empty(0))
        return synchronized(lambda: network(*self.args), first.device)

    def _is_equal(self, network: nn.Module, variant: Variant) -> bool:
        if not self.networks:
            return True
        try:
            given = self.networks[Variant()]
            self.equal[variant] = check_equivalent(given, network, self.args, rtol=self.rtol)
        except (RuntimeError, TypeError, ValueError) as error:  # some refuse another memory order
            self.dropped[variant] = first_line(error)
            return False
        return True


def respell(
    model: nn.Module,
    example: Tensor | tuple[Any, ...],
    *,
    in_place: bool = False,
    folding: bool = False,
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
        rtol: What outputs on the example may differ by, as a share of the largest; what differs by
            more is not considered. Default: 1e-4 for float32, 1e-11 for float64.
        seconds: For how long to measure, about; slow networks take longer.
        timer: Times calls against one another.

    Returns:
        The new model, and what became of the model as a whole (its path is empty) and of every
        layer: the spelling and what it won, or why it was left alone.

    Raises:
        ValueError: If the network or its input holds no values, which cannot be timed, or the
            network is in training mode and ``folding`` is asked for.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1))
        >>> respelled, swaps = respell(network, torch.ones(1, 8, 9, 9), seconds=0.1)
        >>> [swap.path for swap in swaps]
        ['', '0', '2']
    """
    args = example if isinstance(example, tuple) else (example,)
    _check_values(model, args)
    search = Search(model, args, _rtol(model) if rtol is None else rtol, timer)
    with torch.no_grad():
        _propose(search, folding=folding, seconds=seconds / 2)
        best, reason = _decide(search, seconds / 2)
    new = model if in_place else copy_model(model)
    new, swaps = _rewrite(new, best, args, search.rtol)
    new, refused = _respell_layers(new, best)
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


def _propose(search: Search, *, folding: bool, seconds: float) -> None:
    """Build the networks to compare; time the layers of each on what they are given in it."""
    lasts = (False, True)[: 1 + any(True for _ in _planar_weights(search.model))]
    for folded, last in product((False, True)[: 1 + folding], lasts):
        search.add_base(Variant(folded=folded, channels_last=last))
    # A chain that the fused runtime takes in one pass is one more base, to be added here.
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
    order = sorted(search.networks, key=lambda one: (len(one.choices) > 0, one.folded))
    first = search.times(order, seconds / 2)
    champions = _climb(first, order)
    rest = [one for one in order if one not in champions]
    if len(champions) > 1:
        times = search.times(champions, seconds / 2)
        best = _climb(times, champions)[-1]
        if best != Variant():
            won = speedup(times[Variant()], times[best])
            return best, f"{_in_words(won)}; {search.equal[best]}"
        first, rest = times, champions[1:]
    if not rest:
        why = "; ".join(f"{one}: {reason}" for one, reason in search.dropped.items())
        return Variant(), f"no other spelling gives the same result ({why})"
    near = max(rest, key=lambda one: speedup(first[Variant()], first[one]).ratio)
    won = speedup(first[Variant()], first[near])
    return Variant(), f"nothing is faster beyond doubt; the next, {near}: {_in_words(won)}"


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


def _rewrite(
    model: nn.Module, variant: Variant, args: tuple[Any, ...], rtol: float
) -> tuple[nn.Module, list[Swap]]:
    """Change a network as a whole, itself."""
    swaps: list[Swap] = []
    if variant.folded:
        model, swaps = fold(model, args, in_place=True, rtol=rtol)
    if variant.channels_last:
        for weight in _planar_weights(model):
            weight.data = weight.data.contiguous(memory_format=FORMATS[weight.ndim])
    return model, swaps


def _planar_weights(model: nn.Module) -> Iterator[nn.Parameter]:
    """The weights of convolutions that do not lie channels-last yet, and can."""
    for module in model.modules():
        weight = module.weight if isinstance(module, _ConvNd) else None
        if not isinstance(weight, nn.Parameter) or is_lazy(weight) or weight.ndim not in FORMATS:
            continue
        if not _suggests_last(weight):
            yield weight


def _suggests_last(weight: Tensor) -> bool:
    """Whether torch takes the memory for channels-last; that of 1x1 kernels looks like both."""
    return weight.stride(1) == 1 and weight.stride(-1) == weight.shape[1]


def _respell_layers(model: nn.Module, variant: Variant) -> tuple[nn.Module, dict[str, str]]:
    """Respell the layers of a network, itself; also the reasons of those that the walker left."""
    chosen = {choice.path: choice.spelling for choice in variant.choices}

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        return Spelled(module, chosen[path]) if path in chosen else None

    model, swaps = replace_named(model, rule, in_place=True)
    return model, {swap.path: swap.reason for swap in swaps if swap.after is None}


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
