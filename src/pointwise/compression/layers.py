"""Which layers of a model can be compressed, and why the others cannot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.compression.forms.stages import KINDS, Axes, Stage, kind_of
from pointwise.errors import first_line
from pointwise.inspection.copying import copy_model
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import Example, call, evaluating
from pointwise.surgery.excluding import excluded_modules
from pointwise.surgery.refusals import subclass_refusal
from pointwise.surgery.replace import replace_named
from pointwise.surgery.swap import Swap, describe

MOST_OUTPUTS = 8192
"""The moments of more outputs than these would take more than half a gigabyte."""

READABLE = {
    *("weight", "bias", "in_features", "out_features", "in_channels", "out_channels", "c_in"),
    *("c_out", "groups", "kernel_size", "stride", "padding", "dilation", "padding_mode"),
    *("nx", "nf", "output_padding", "transposed", "parameters", "named_parameters", "state_dict"),
}
"""What a parent may read of a layer, and does not find in layers one after another."""

OTHERWISE = "the model does something else with layers in its place"

STEADY = 1e-5
"""What outputs may differ by, as a share of the largest, and be the same."""


@dataclass(frozen=True)
class FoundLayer:
    """A layer that can be compressed.

    Attributes:
        path: Dotted name; the first of them where it has several.
        stage: Its sizes and options.
        bias: Whether it has an offset.
        calls: Shapes of its inputs on the example, one for each place where it is called.
        itemsize: Bytes of a parameter.
    """

    path: str
    stage: Stage
    bias: bool
    calls: tuple[Axes, ...]
    itemsize: int


@dataclass(frozen=True)
class FoundLayers:
    """The linear layers of a model.

    Attributes:
        layers: Those that can be compressed, in the order of the model.
        left: Those that cannot, each with the reason.
    """

    layers: tuple[FoundLayer, ...]
    left: tuple[Swap, ...]


def find_layers(model: nn.Module, example: Example, *, exclude: Sequence[str] = ()) -> FoundLayers:
    """Find the layers that can be replaced by several plain ones without harm.

    Left alone is what any surgery leaves alone (hooks, parametrizations, tied parameters,
    subclasses, what something outside the tree holds), what is not called with the example, and
    what a parent reads the weight or the sizes of, as ``nn.TransformerEncoderLayer`` does. A model
    may also look at what a layer is, or call it by another way; so it is run once with every layer
    in a sequence of one, which must change nothing.

    Args:
        model: The model; it is left as it is.
        example: An input: a tensor, a sequence of arguments, or a mapping of arguments by name.
        exclude: Paths of modules that are to stay, with all that is in them.

    Returns:
        The layers, and why the others are left alone.

    Raises:
        ValueError: If the model does not take the example, or has no module of an excluded path.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> found = find_layers(model, torch.ones(2, 8), exclude=["2"])
        >>> [layer.path for layer in found.layers], str(found.left[0])
        (['0'], '2: Linear(8, 3) left alone: it is excluded')
    """
    modules = dict(model.named_modules())
    kept = excluded_modules(model, exclude)

    def rule(path: str, _: nn.Module) -> nn.Module | str | None:
        return _verdict(modules[path], modules[path] in kept)

    _, swaps = replace_named(model, rule)
    reasons = {swap.path: swap.reason for swap in swaps if swap.after is None}
    open_paths = [swap.path for swap in swaps if swap.after is not None]
    watches = _watch(model, example, open_paths)
    reasons |= {path: watch.reason for path, watch in watches.items() if watch.reason}
    sound = [path for path in open_paths if path not in reasons]
    reasons |= dict.fromkeys(_taken_otherwise(model, example, sound), OTHERWISE)
    layers = tuple(
        _found(path, modules[path], watches[path].calls)
        for path in modules
        if path in watches and path not in reasons
    )
    left = tuple(
        Swap(path, describe(module), None, reasons[path])
        for path, module in modules.items()
        if path in reasons
    )
    return FoundLayers(layers, left)


def _verdict(module: nn.Module, excluded: bool) -> nn.Module | str | None:
    """Something in a layer's place, to hear what speaks against that; or a reason; or nothing."""
    if isinstance(module, nn.MultiheadAttention):
        return "it holds its matrices itself: to_pointwise makes layers of them"
    if not isinstance(module, tuple(KINDS)) and kind_of(module) is None:
        return None
    if excluded:
        return "it is excluded"
    known = (*KINDS, type(module)) if kind_of(module) else tuple(KINDS)
    reason = subclass_refusal(module, known)
    if reason is not None:
        return reason
    weight: Any = module.weight
    if weight.is_meta:
        return "its weights are on the meta device, without values"
    if not weight.is_floating_point() or not weight.detach().isfinite().all():
        return "its weights must be finite real numbers"
    stage = Stage.of(module)
    if stage.outputs > MOST_OUTPUTS:
        return f"its {stage.outputs} outputs are too many for their moments"
    return nn.Sequential()


def _found(path: str, layer: nn.Module, calls: list[Axes]) -> FoundLayer:
    known: Any = layer
    size = known.weight.element_size()
    return FoundLayer(path, Stage.of(layer), known.bias is not None, tuple(calls), size)


@dataclass
class _Watch:
    """What happens to a layer while the model runs."""

    calls: list[Axes] = field(default_factory=list)
    inside: int = 0
    outside: int = 0
    read: str = ""
    odd: bool = False
    past: bool = False

    @property
    def reason(self) -> str:
        """Why the layer must be left alone; empty if nothing was seen."""
        if self.read:
            return f"something else reads its {self.read}, which layers in its place have not"
        if not self.calls:
            return "it is not called with the example"
        if self.past:
            return "its forward is called past its hooks, so that no data are seen there"
        return "it is called with more than one tensor" if self.odd else ""


def _watch(model: nn.Module, example: Example, paths: list[str]) -> dict[str, _Watch]:
    """Run a copy of the model whose layers notice calls and readings.

    Hooks would not do: torch takes another way through its transformers where there are any.

    Args:
        model: The model.
        example: Its input.
        paths: The layers.

    Returns:
        What was noticed of each.

    Raises:
        ValueError: If the model does not take the example.
    """
    copy = copy_model(model)
    watches = {path: _Watch() for path in paths}
    for path, watch in watches.items():
        layer = copy.get_submodule(path)
        layer.__dict__["_watch"] = watch
        layer.__class__ = _watched(type(layer))
    try:
        with evaluating(copy), torch.no_grad():
            call(copy, example)
    except Exception as error:  # whatever the model raises
        raise ValueError(
            f"example must be an input of the model, which fails on it: {first_line(error)}"
        ) from error
    return watches


def _watched(kind: type[nn.Module]) -> type[nn.Module]:
    """A class of layers that note who calls and who reads them."""

    def getattribute(self: Any, name: str) -> Any:
        if name in READABLE:
            watch = object.__getattribute__(self, "__dict__").get("_watch")
            if watch is not None and not watch.inside:
                watch.read = watch.read or name
        return kind.__getattribute__(self, name)

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._watch.outside += 1
        try:
            return kind.__call__(self, *args, **kwargs)
        finally:
            self._watch.outside -= 1

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = self._watch
        watch.past |= not watch.outside
        given = [*args, *kwargs.values()]
        watch.odd |= len(given) != 1 or not isinstance(given[0], Tensor)
        if given and isinstance(given[0], Tensor):
            watch.calls.append(tuple(given[0].shape))
        watch.inside += 1
        try:
            return kind.forward(self, *args, **kwargs)
        finally:
            watch.inside -= 1

    methods = {"__getattribute__": getattribute, "__call__": called, "forward": forward}
    return type(kind.__name__, (kind,), methods)


def _taken_otherwise(model: nn.Module, example: Example, paths: list[str]) -> list[str]:
    """The layers that something changes with when they stand in a sequence of one."""
    with torch.random.fork_rng():
        wanted = _run(model, example)

        def fits(chosen: list[str]) -> bool:
            wrapped, _ = replace_named(
                model, lambda path, module: nn.Sequential(module) if path in chosen else None
            )
            try:
                return _same(wanted, _run(wrapped, example))
            except Exception:  # whatever the model raises
                return False

        def found(some: list[str]) -> list[str]:
            if not some or fits(some):
                return []
            middle = len(some) // 2
            return (found(some[:middle]) + found(some[middle:]) if middle else []) or some

        if not paths or fits(paths) or not _same(wanted, _run(model, example)):
            return []  # a model that draws random numbers says nothing here
        return found(paths)


def _run(model: nn.Module, example: Example) -> dict[str, Tensor]:
    torch.manual_seed(0)
    with evaluating(model), torch.no_grad():
        return {name: t.clone() for name, t in outputs_of(call(model, example)).items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether outputs are the same but for the order of sums."""
    if one.keys() != other.keys():
        return False
    for name, x in one.items():
        y = other[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            return False
        if torch.equal(x, y) or not x.numel():
            continue
        if not x.is_floating_point():
            return False
        apart = (x.double().nan_to_num() - y.double().nan_to_num()).abs().max()
        if apart > STEADY * x.double().nan_to_num().abs().max():
            return False
    return True
