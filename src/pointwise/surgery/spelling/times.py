"""Which spelling of each layer is the fastest on what the layer is really given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.inspection.timing import Call, Speedup, Timer, speedup
from pointwise.surgery.equivalence import evaluating
from pointwise.surgery.spelling.spellings import Spelled, pointwise_layers, spellings_for
from pointwise.surgery.swap import describe

OWN = "own"
"""Name of a layer as it is, among its spellings."""


@dataclass(frozen=True)
class Given:
    """What a layer is given, but for the values: they do not change how long it takes."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def tensor(self) -> Tensor:
        """One such tensor, of random values."""
        x = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
        if any(step == 0 and size > 1 for size, step in zip(x.shape, x.stride(), strict=True)):
            return torch.zeros_like(x).expand_as(x)  # values that lie over one another
        return x.normal_()


@dataclass(frozen=True)
class Choice:
    """The spelling that a layer gains from.

    Attributes:
        path: Name of the layer, the first where it has several.
        spelling: Key of ``SPELLINGS``.
        won: How many times faster it is than the layer's own, alone.
        keeps_memory: Whether its results lie in memory as the layer's own results do; if not,
            what comes after it may become slower, or refuse them.
    """

    path: str
    spelling: str
    won: Speedup
    keeps_memory: bool


def synchronized(call: Call, device: torch.device) -> Call:
    """A call that ends when its device has done it."""
    if device.type == "cpu":
        return call

    def run() -> None:
        call()
        torch.accelerator.synchronize(device)

    return run


def layer_inputs(model: nn.Module, args: tuple[Any, ...]) -> dict[str, set[Given]]:
    """What every layer that can be respelled is given in one run.

    Args:
        model: The network; the hooks that listen are gone in the end.
        args: Its arguments.

    Returns:
        By path what the layer was given, in all its calls; none for one that was not called.
    """
    found = pointwise_layers(model)
    layers = {path: one for path, one in found.items() if isinstance(one, nn.Module)}
    seen: dict[str, set[Given]] = {path: set() for path in layers}

    def listen(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            x = next(iter((*given, *named.values())), None)
            if isinstance(x, Tensor):
                seen[path].add(Given(tuple(x.shape), x.stride(), x.dtype, x.device))

        return hook

    handles = [
        layer.register_forward_pre_hook(listen(path), with_kwargs=True)
        for path, layer in layers.items()
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(*args)
    finally:
        for handle in handles:
            handle.remove()
    return seen


class Clock:
    """Times the spellings of layers, those that are alike once.

    Args:
        timer: Times calls against one another.
        seconds: For how long, for each layer and input.
    """

    def __init__(self, timer: Timer, seconds: float = 0.1) -> None:
        self.timer, self.seconds = timer, seconds
        self._known: dict[tuple[object, ...], Mapping[str, tuple[Speedup, bool]]] = {}

    def share_out(self, seconds: float, layers: Sequence[tuple[nn.Module, Given]]) -> None:
        """Share a time out to layers and their inputs, those that are alike counted once.

        Args:
            seconds: The time for all.
            layers: What will be timed.
        """
        self.seconds = seconds / max(1, len({_alike(*one) for one in layers}))

    def spellings(self, layer: nn.Module, given: Given) -> Mapping[str, tuple[Speedup, bool]]:
        """How many times faster each spelling is, and whether it keeps the memory order.

        Args:
            layer: A layer that can be respelled.
            given: What it is given.

        Returns:
            By spelling.
        """
        key = _alike(layer, given)
        if key not in self._known:
            self._known[key] = self._measure(layer, given)
        return self._known[key]

    def _measure(self, layer: nn.Module, given: Given) -> Mapping[str, tuple[Speedup, bool]]:
        x = given.tensor()
        names = spellings_for(layer, x)
        if not names:
            return {}
        modules = {OWN: layer, **{name: Spelled(layer, name) for name in names}}
        with evaluating(layer), torch.no_grad():
            orders = {name: _order(module(x)) for name, module in modules.items()}
            calls = {name: _call(module, x) for name, module in modules.items()}
            taken = self.timer(calls, seconds=self.seconds)
        return {
            name: (speedup(taken[OWN], taken[name]), orders[name] == orders[OWN]) for name in names
        }


def choose(
    model: nn.Module,
    inputs: Mapping[str, set[Given]],
    clock: Clock,
    *,
    margin: float,
    keeps_memory: bool,
) -> list[Choice]:
    """Choose for each layer the spelling that is faster beyond doubt on all that it is given.

    Args:
        model: The network.
        inputs: What its layers are given, see ``layer_inputs``.
        clock: Times them.
        margin: Share of the layer's time that a spelling must save.
        keeps_memory: Whether to take only spellings whose results lie in memory as the layer's do.

    Returns:
        One for each layer that has such a spelling, of several the one that gains most.
    """
    choices = []
    for path, seen in inputs.items():
        times = [clock.spellings(model.get_submodule(path), given) for given in seen]
        found = [
            Choice(path, name, min(all_won, key=lambda won: won.ratio), all(kept))
            for name in (times[0] if times else ())
            if all(name in one for one in times)
            for all_won, kept in [zip(*(one[name] for one in times), strict=True)]
            if all(won.wins(margin) for won in all_won) and (all(kept) or not keeps_memory)
        ]
        if found:
            choices.append(max(found, key=lambda choice: choice.won.ratio))
    return choices


def _alike(layer: Any, given: Given) -> tuple[object, ...]:
    """What is the same for layers that take the same time."""
    weight = layer.weight
    return describe(layer), layer.bias is None, weight.stride(), weight.dtype, given


def _call(module: nn.Module, x: Tensor) -> Call:
    return synchronized(lambda: module(x), x.device)


def _order(y: Tensor) -> list[int]:
    """The axes from the outermost in memory to the innermost, those of one entry left out."""
    axes = [axis for axis in range(y.ndim) if y.shape[axis] > 1]
    steps: list[int] = [y.stride()[axis] for axis in range(y.ndim)]
    return sorted(axes, key=lambda axis: -steps[axis])
