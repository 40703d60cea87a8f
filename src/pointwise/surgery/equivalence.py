"""Do two models compute the same? The largest differences, by output and by layer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pointwise.errors import DifferenceError
from pointwise.inspection.buffers import kept_buffers
from pointwise.inspection.outputs import outputs_of

TOLERANCES = {
    torch.float64: 1e-12,
    torch.complex128: 1e-12,
    torch.float32: 1e-5,
    torch.complex64: 1e-5,
    torch.float16: 5e-3,
    torch.bfloat16: 4e-2,
}
"""Of the largest output: what another order of the same sums may leave, with room to spare."""

TINY = 1e-10
"""Outputs below this may be rounding alone."""

FLAT = 1e-6
"""Outputs that vary by less than this share of the largest are taken for constant."""


Example = Tensor | Sequence[Any] | Mapping[str, Any]
"""An input: a tensor, a sequence of arguments, or a mapping of arguments by name."""


@dataclass(frozen=True)
class Difference:
    """How far two results of one name lie apart.

    Attributes:
        name: Which output, or the path of the layer.
        max_abs: The largest absolute difference; infinite where only one is not a number.
        scale: The largest absolute value of the first result.
        spread: The largest value less the smallest.
        values: How many values there are.
    """

    name: str
    max_abs: float
    scale: float
    spread: float
    values: int

    @property
    def relative(self) -> float:
        """The largest absolute difference over the largest absolute value."""
        if self.max_abs == 0:
            return 0.0
        return self.max_abs / self.scale if self.scale else float("inf")

    @property
    def has_signal(self) -> bool:
        """Whether the values are neither tiny nor all alike, so that an error would show."""
        return self.scale > TINY and (self.values == 1 or self.spread > FLAT * self.scale)


@dataclass(frozen=True)
class Equivalence:
    """That two models compute the same on an input, and how nearly.

    Attributes:
        outputs: The difference of each output.
        layers: The difference of each layer that both models have, in the order in which the first
            ran them; empty unless asked for.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> print(check_equivalent(model, model, torch.ones(1, 3)))
        equal to 0 (0 of the largest output)
    """

    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...] = ()

    @property
    def worst(self) -> Difference:
        """The output with the largest relative difference."""
        return max(self.outputs, key=lambda one: one.relative)

    @property
    def max_abs(self) -> float:
        """The largest absolute difference of all outputs."""
        return max(one.max_abs for one in self.outputs)

    @property
    def max_relative(self) -> float:
        """The largest difference of an output, over the largest value of that output."""
        return self.worst.relative

    @property
    def has_signal(self) -> bool:
        """Whether an error would show: some output is neither tiny nor constant."""
        return any(one.has_signal for one in self.outputs)

    def __str__(self) -> str:
        """One line to read."""
        text = f"equal to {self.max_abs:.2g} ({self.max_relative:.2g} of the largest output)"
        if self.has_signal:
            return text
        return f"{text}; but the outputs are tiny or constant, so that no error could show"


def check_equivalent(
    a: nn.Module,
    b: nn.Module,
    x: Example,
    *,
    atol: float = 0.0,
    rtol: float | None = None,
    layers: bool = False,
) -> Equivalence:
    """Run two models on one input and compare all that they put out.

    Both run in evaluation mode without gradients, from the same random state; every flag and
    buffer is as before afterwards.

    Args:
        a: The model to compare with.
        b: The model that is to compute the same.
        x: The input; a sequence for several arguments, a mapping for arguments by name.
        atol: What outputs may differ by.
        rtol: What they may differ by in addition, as a share of the output's largest absolute
            value. Default: by the type of the output: 1e-12 for float64, 1e-5 for float32.
        layers: Whether to compare the modules of equal paths too. They may well differ where the
            outputs agree: a folded norm moves into the layer before it.

    Returns:
        The differences.

    Raises:
        DifferenceError: If the outputs differ by more, in structure, shape or type, or if there is
            no tensor among them.

    Example:
        >>> linear = nn.Linear(3, 2)
        >>> conv = nn.Conv1d(3, 2, 1)
        >>> _ = conv.load_state_dict({"weight": linear.weight[..., None], "bias": linear.bias})
        >>> flat = nn.Sequential(nn.Unflatten(1, (3, 1)), conv, nn.Flatten())
        >>> check_equivalent(linear, flat, torch.ones(5, 3)).max_relative < 1e-5
        True
    """
    first, first_layers = _run(a, x, layers)
    second, second_layers = _run(b, x, layers)
    if not first:
        raise DifferenceError("the outputs must hold a tensor, those of the first model hold none")
    _check_structure(first, second)
    found = Equivalence(
        tuple(_difference(name, first[name], second[name]) for name in first),
        tuple(_layer_differences(first_layers, second_layers)),
    )
    for one in sorted(found.outputs, key=lambda one: -one.relative):
        share = TOLERANCES.get(first[one.name].dtype, 0.0) if rtol is None else rtol
        allowed = atol + share * one.scale
        if not one.max_abs <= allowed:
            raise DifferenceError(_message(one, allowed, found.layers, share))
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own afterwards.

    Args:
        model: The model.

    Yields:
        Nothing.

    Example:
        >>> model = nn.Sequential(nn.Dropout())
        >>> with evaluating(model):
        ...     print(model[0].training)
        False
        >>> model[0].training
        True
    """
    flags = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def call(model: nn.Module, x: Example) -> Any:
    """Call a model with one input, several, or inputs by name; they stay as they are.

    Args:
        model: The model.
        x: A tensor, a sequence of arguments, or a mapping of arguments by name.

    Returns:
        What the model puts out.
    """
    given = tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), x)
    if isinstance(given, Mapping):
        return model(**given)
    return model(*given) if isinstance(given, Sequence) else model(given)


def called_modules(model: nn.Module, x: Example) -> set[str]:
    """Find the modules that are called with an input.

    Args:
        model: The model; it runs in evaluation mode, and is left as it was.
        x: The input.

    Returns:
        The (first) path of each; what TorchScript compiled, which takes no hooks, is not told.

    Example:
        >>> sorted(called_modules(nn.Sequential(nn.ReLU()), torch.ones(1)))
        ['', '0']
    """
    called: set[str] = set()

    def note(path: str) -> Any:
        return lambda *_: called.add(path)

    handles = [
        module.register_forward_pre_hook(note(path))
        for path, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with evaluating(model), kept_buffers(model), torch.no_grad():
            call(model, x)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _run(
    model: nn.Module, x: Example, layers: bool
) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """The outputs, and those of each layer, call by call."""
    seen: dict[str, list[Tensor]] = {}

    def note(path: str) -> Any:
        def hook(_module: nn.Module, _args: Any, result: Any) -> None:
            tensors = outputs_of(result).values()
            seen.setdefault(path, []).extend(tensor.detach().clone() for tensor in tensors)

        return hook

    named = list(model.named_modules())[1:] if layers else []
    handles = [
        module.register_forward_hook(note(path))
        for path, module in named
        if not isinstance(module, torch.jit.ScriptModule)  # which takes no hooks
    ]
    try:
        with (
            evaluating(model),
            kept_buffers(model),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            torch.manual_seed(0)
            return outputs_of(call(model, x)), seen
    finally:
        for handle in handles:
            handle.remove()


def _check_structure(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    if first.keys() != second.keys():
        raise DifferenceError(
            "both models must put out the same tensors: "
            f"got {', '.join(first)} and {', '.join(second) or 'none'}"
        )
    for name, one in first.items():
        other = second[name]
        for what, mine, theirs in (
            ("shape", tuple(one.shape), tuple(other.shape)),
            ("type", one.dtype, other.dtype),
            ("device", one.device, other.device),
        ):
            if mine != theirs:
                raise DifferenceError(f"{name} must have the same {what}: got {mine} and {theirs}")


def _difference(name: str, one: Tensor, other: Tensor) -> Difference:
    """In float64; equal values are set aside, as infinity less itself is no number."""
    exact = torch.complex128 if one.is_complex() else torch.float64
    x, y = one.detach().to(exact), other.detach().to(exact)
    if x.numel() == 0:
        return Difference(name, 0.0, 0.0, 0.0, 0)
    same = (x == y) | (x.isnan() & y.isnan())
    apart = torch.where(same, 0, (x - y).abs())
    apart = torch.where(apart.isnan(), float("inf"), apart)
    size = x.abs()[x.isfinite()]
    values = (x.real if x.is_complex() else x)[x.isfinite()]
    if not len(size):
        return Difference(name, apart.max().item(), 0.0, 0.0, x.numel())
    spread = (values.max() - values.min()).item()
    return Difference(name, apart.max().item(), size.max().item(), spread, x.numel())


def _layer_differences(
    first: dict[str, list[Tensor]], second: dict[str, list[Tensor]]
) -> Iterator[Difference]:
    """Of layers that both models have and call equally often, the worst call each."""
    for path, mine in first.items():
        theirs = second.get(path, [])
        shapes = [x.shape for x in mine]
        if mine and shapes == [y.shape for y in theirs]:
            found = [_difference(path, x, y) for x, y in zip(mine, theirs, strict=True)]
            yield max(found, key=lambda one: one.relative)


def _message(
    worst: Difference, allowed: float, layers: tuple[Difference, ...], share: float
) -> str:
    text = (
        f"{worst.name} must agree to {allowed:.2g}, "
        f"differs by {worst.max_abs:.2g} ({worst.relative:.2g} of its largest value)"
    )
    first = next((one for one in layers if one.relative > share), None)
    if first is None:
        return text
    return f"{text}; the first layer to differ is {first.name!r}, by {first.max_abs:.2g}"
