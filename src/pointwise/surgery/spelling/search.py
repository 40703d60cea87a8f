"""The variants of a network among which ``respell`` chooses: built, compared and timed."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import nn

from pointwise.errors import PointwiseError, first_line
from pointwise.inspection.copying import copy_model
from pointwise.inspection.timing import Call, Timer
from pointwise.surgery.equivalence import Equivalence, check_equivalent
from pointwise.surgery.fold import fold
from pointwise.surgery.replace import replace_named
from pointwise.surgery.spelling.fused_chains import compiled_parts, fuse_chains
from pointwise.surgery.spelling.orders import lay_channels_last
from pointwise.surgery.spelling.spellings import WORDS, Spelled
from pointwise.surgery.spelling.times import Choice, Given, layer_inputs, synchronized
from pointwise.surgery.swap import Swap

AS_GIVEN = "as given"
CHANNELS_LAST = "channels-last weights"
FOLDED = "folded"
FUSED = "fused chains"

Inputs = dict[str, set[Given]]


@dataclass(frozen=True)
class Variant:
    """One way to spell a whole network.

    Attributes:
        folded: Whether norms are folded into their neighbours.
        channels_last: Whether the weights of convolutions lie channels-last, which makes the maps
            between them lie so, whatever the input.
        fused: Whether chains of pointwise layers run through the fused runtime.
        choices: The layers that are respelled.
    """

    folded: bool = False
    channels_last: bool = False
    fused: bool = False
    choices: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        """What is done, in words."""
        parts = [FOLDED] * self.folded + [CHANNELS_LAST] * self.channels_last
        parts += [FUSED] * self.fused
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
        """Copy the network and change it as a whole, where that leaves what it computes.

        Args:
            variant: What to do to it.
        """
        try:
            network, _ = rewrite(copy_model(self.model), variant, self.args, self.rtol)
        except PointwiseError as error:  # its flow cannot be followed, say
            self.dropped[variant] = str(error)
            return
        network.eval()
        self._keep(network, variant)

    def add_fused(self, base: Variant) -> None:
        """Copy a base with its chains compiled, where some gain by it.

        Args:
            base: A variant that is there.
        """
        network = fuse_chains(self.networks[base], self.args, self.timer)
        variant = replace(base, fused=True)
        if isinstance(network, str):
            self.dropped[variant] = network
        else:
            self._keep(network.eval(), variant)

    def _keep(self, network: nn.Module, variant: Variant) -> None:
        if self._is_equal(network, variant):
            self.networks[variant] = network
            self.called[variant] = layer_inputs(network, self.args)

    def add_choices(self, base: Variant, choices: Sequence[Choice]) -> None:
        """Respell layers of a base, on the same tensors; layers may refuse another's memory.

        Args:
            base: A variant that is there.
            choices: The layers, and how; nothing is added for none.
        """
        variant, given = replace(base, choices=tuple(choices)), self.networks[base]
        if not choices or variant in self.networks:
            return
        kept = chain(given.parameters(), given.buffers(), compiled_parts(given))
        network, _ = respell_layers(copy.deepcopy(given, {id(one): one for one in kept}), variant)
        if self._is_equal(network, variant):
            self.networks[variant] = network

    def times(self, variants: Sequence[Variant], seconds: float) -> dict[Variant, list[float]]:
        """Time whole networks, all in turns.

        Args:
            variants: The networks.
            seconds: For how long, about.

        Returns:
            The seconds of each, round by round.
        """
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
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            # some refuse another memory order, or read a layer that is in a chain now
            self.dropped[variant] = first_line(error)
            return False
        return True


def rewrite(
    model: nn.Module, variant: Variant, args: tuple[Any, ...], rtol: float
) -> tuple[nn.Module, list[Swap]]:
    """Change a network as a whole, itself, but for its chains.

    Args:
        model: The network.
        variant: What to do to it.
        args: Its arguments.
        rtol: What its outputs may differ by after folding, as a share of the largest.

    Returns:
        The network, and what was folded.
    """
    swaps: list[Swap] = []
    if variant.folded:
        model, swaps = fold(model, args, in_place=True, rtol=rtol)
    if variant.channels_last:
        lay_channels_last(model)
    return model, swaps


def respell_layers(model: nn.Module, variant: Variant) -> tuple[nn.Module, dict[str, str]]:
    """Respell the layers of a network, itself.

    Args:
        model: The network.
        variant: Which layers, and how.

    Returns:
        The network, and the reasons of those that the walker left, by path.
    """
    chosen = {choice.path: choice.spelling for choice in variant.choices}

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        return Spelled(module, chosen[path]) if path in chosen else None

    model, swaps = replace_named(model, rule, in_place=True)
    return model, {swap.path: swap.reason for swap in swaps if swap.after is None}
