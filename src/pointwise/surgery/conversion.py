"""Linear layers, 1x1 convolutions and ``PointwiseConv`` into each other, values kept bit for bit.

A new layer stands over the memory of the values that it takes over: of the copy, or with
``in_place`` of the given model, whose optimizers must be made anew where parameters change shape.
The exceptions are GPT-2's linear layers, whose weights are transposed.
"""

from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.overrides import TorchFunctionMode

from pointwise.errors import DifferenceError
from pointwise.functional.checks import check_rank
from pointwise.inspection.copying import copy_model
from pointwise.surgery.attention import SplitAttention, merge, split
from pointwise.surgery.axes import InPlaceOf, Kind, is_transposed, sizes
from pointwise.surgery.closeness import closeness
from pointwise.surgery.equivalence import Example, called_modules
from pointwise.surgery.over_values import CONV_KINDS, PLAIN, carry, over
from pointwise.surgery.refusals import is_quantized, refusal, subclass_refusal
from pointwise.surgery.replace import replace_named, unchanged_on_error
from pointwise.surgery.swap import Swap

NESTED = (
    "nn.TransformerEncoder may hand it nested tensors: set the encoder's use_nested_tensor to False"
)
UNCALLED = "it is not called with the example: what reads its weights would pass by another"


def to_pointwise(
    model: nn.Module, *, example: Example | None = None, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    r"""Turn linear layers and 1x1 convolutions of a model into ``PointwiseConv``.

    Each stands in an ``InPlaceOf``, which takes and gives exactly what the old layer did. Of
    ``nn.MultiheadAttention``, which has matrices and no layers, a ``SplitAttention`` is made.

    Args:
        model: Any model.
        example: An input; with it, layers that are not called with it are left alone: a module that
            reads their weights would pass the new layer by (and find the same values). One that
            hands a weight to ``F.linear`` does not: that runs the new layer. And the outputs of the
            old and the new model are compared.
        in_place: Whether to change the model itself in place of a copy.

    Returns:
        The new model, and what became of each layer.

    Raises:
        DifferenceError: If the model computes something else on the example.

    Example:
        >>> _, swaps = to_pointwise(nn.Sequential(nn.Linear(3, 2), nn.Conv2d(4, 4, 1, stride=2)))
        >>> print(*swaps, sep="\n")
        0: Linear(3, 2) -> PointwiseConv(3, 2) in place of linear
        1: Conv2d(4, 4, 1x1, stride 2) left alone: stride (2, 2) drops positions
    """
    return _convert(model, "pointwise", example, in_place)


def to_conv(
    model: nn.Module, *, rank: int = 2, example: Example | None = None, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    """Turn linear layers and ``PointwiseConv`` of a model into 1x1 convolutions.

    Each stands in an ``InPlaceOf``, which gives it ``(N, S, C)`` as ``(N, C, 1, S)`` and takes and
    gives exactly what the old layer did. Convolutions stay as they are, of whatever rank. Of
    ``nn.MultiheadAttention``, which has matrices and no layers, a ``SplitAttention`` is made.

    Args:
        model: Any model.
        rank: Number of position axes of the convolutions: 1, 2 or 3.
        example: An input; with it, layers that are not called with it are left alone: a module that
            reads their weights would pass the new layer by (and find the same values). One that
            hands a weight to ``F.linear`` does not: that runs the new layer. And the outputs of the
            old and the new model are compared.
        in_place: Whether to change the model itself in place of a copy.

    Returns:
        The new model, and what became of each layer.

    Raises:
        ValueError: If ``rank`` is not 1, 2 or 3.
        DifferenceError: If the model computes something else on the example.

    Example:
        >>> new, swaps = to_conv(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
        >>> print(swaps[0])
        0: Linear(3, 2) -> Conv2d(3, 2, 1x1) in place of linear
        >>> import torch
        >>> new(torch.ones(5, 7, 3)).shape
        torch.Size([5, 7, 2])
    """
    check_rank(rank)
    return _convert(model, CONV_KINDS[rank], example, in_place)


def to_linear(
    model: nn.Module, *, example: Example | None = None, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    """Turn 1x1 convolutions and ``PointwiseConv`` of a model into linear layers.

    Each stands in an ``InPlaceOf``, which takes and gives exactly what the old layer did; what was
    made of a linear layer or of ``nn.MultiheadAttention`` becomes that again.

    Args:
        model: Any model.
        example: An input; with it, layers that are not called with it are left alone: a module that
            reads their weights would pass the new layer by (and find the same values). One that
            hands a weight to ``F.linear`` does not: that runs the new layer. And the outputs of the
            old and the new model are compared.
        in_place: Whether to change the model itself in place of a copy.

    Returns:
        The new model, and what became of each layer.

    Raises:
        DifferenceError: If the model computes something else on the example.

    Example:
        >>> converted, _ = to_conv(nn.Linear(3, 2))
        >>> to_linear(converted)[0]
        Linear(in_features=3, out_features=2, bias=True)
    """
    return _convert(model, "linear", example, in_place)


def eligibility(module: nn.Module) -> tuple[nn.Module, Kind] | str | None:
    """Find the pointwise map in a module.

    Args:
        module: Any module.

    Returns:
        The layer and where it has the channels; a reason why it is no pointwise map or must be
        left alone; ``None`` for a module that is neither linear nor a convolution.

    Example:
        >>> eligibility(nn.Conv2d(3, 8, 3)), eligibility(nn.ReLU())
        ('kernel (3, 3) reads neighbours', None)
    """
    if isinstance(module, InPlaceOf):
        return _held(module.layer) or refusal(module) or (module.layer, module.kind)
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "it is never called: nn.MultiheadAttention reads its weights"
    if is_transposed(module):
        return _held(module) or (module, "transposed")
    if isinstance(module, _ConvTransposeNd):
        return "it is a transposed convolution"
    if is_quantized(module) and hasattr(module, "weight"):
        return refusal(module)
    kinds = [kind for kind in PLAIN if isinstance(module, kind)]
    if not kinds:
        return None
    reason = subclass_refusal(module, kinds) or _not_pointwise(module) or _held(module)
    if reason is None and 0 in sizes(module):
        reason = "it has no channels to read or to give"
    return reason or (module, PLAIN[type(module)])


def _convert(
    model: nn.Module, target: Kind, example: Example | None, in_place: bool
) -> tuple[nn.Module, list[Swap]]:
    called = None if example is None else _used(model, example)
    nested = _given_nested_tensors(model)
    within: set[nn.Module] = set()  # layers of an InPlaceOf, which are turned with it

    def rule(path: str, module: nn.Module) -> nn.Module | str | None:
        if isinstance(module, SplitAttention):
            return merge(module) if target == "linear" else None
        if isinstance(module, nn.MultiheadAttention):
            if target == "linear":
                return None  # it computes with linear maps already, though with no layers
            if called is not None and path not in called:
                return UNCALLED
            return NESTED if path in nested else _attention(module, target)
        if isinstance(module, InPlaceOf):
            within.add(module.layer)
        elif module in within:
            return None
        found = eligibility(module)
        if found is None:  # these compute with linear maps already, though with no layers
            return None if target == "linear" else _matrices_within(module)
        if isinstance(found, str):
            return found
        layer, kind = found
        if _is_already(layer, target):
            return None
        if called is not None and path not in called:
            return UNCALLED
        groups = sizes(layer)[2]
        if target == "linear" and groups > 1:
            return f"it has {groups} groups, nn.Linear has none"
        new = over(layer, target)
        return carry(module, new if kind == target else InPlaceOf(new, kind))

    reference = copy_model(model) if in_place and example is not None else model
    with unchanged_on_error(model):
        new, swaps = replace_named(model, rule, in_place=in_place)
        _compare(reference, new, swaps, example)
    return new, swaps


def _compare(model: nn.Module, new: nn.Module, swaps: list[Swap], example: Example | None) -> None:
    """Refuse a result that computes something else: a forward may look at a layer's class."""
    tensors = chain(model.parameters(), model.buffers())
    has_values = not any(one.is_meta for one in tensors)
    if example is None or not has_values or not any(swap.after is not None for swap in swaps):
        return
    try:
        closeness(model, new, example)
    except DifferenceError as error:
        raise DifferenceError(
            "model must compute the same with other layers in the places of its own, as one whose "
            f"forward looks at their class does not: {error}"
        ) from error


def _matrices_within(module: nn.Module) -> str | None:
    """Why the matrices of a layer of torch, which are no layers, stay as they are."""
    if isinstance(module, nn.Bilinear):
        return "it multiplies two inputs with one another: it is no matrix on one"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "it is recurrent: its matrices run within each step, where no layer can take over"
    return None


def _used(model: nn.Module, example: Example) -> set[str]:
    """Paths of what is called with the example, or whose weight is given to ``F.linear``."""
    with _Multiplied() as multiplied:
        called = called_modules(model, example)
    return called | {
        path
        for path, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
        and any(module._parameters.get("weight") is weight for weight in multiplied.weights)
    }


class _Multiplied(TorchFunctionMode):
    """Notes the weights that ``F.linear`` is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Any] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear:
            self.weights.append(args[1] if len(args) > 1 else (kwargs or {})["weight"])
        return func(*args, **(kwargs or {}))


def _attention(module: nn.MultiheadAttention, target: Kind) -> nn.Module | str:
    """Attention with its four linear maps as layers of the kind to make."""
    made = split(module)
    if isinstance(made, SplitAttention):
        for part, layer in list(made.named_children()):
            setattr(made, part, InPlaceOf(over(layer, target), "linear"))
    return made


def _given_nested_tensors(model: nn.Module) -> set[str]:
    """Paths of what an ``nn.TransformerEncoder`` may call with nested tensors."""
    return {
        f"{outer}.{path}".strip(".")
        for outer, encoder in model.named_modules()
        if isinstance(encoder, nn.TransformerEncoder) and encoder.use_nested_tensor
        for path, _ in encoder.named_modules()
    }


def _is_already(layer: nn.Module, target: Kind) -> bool:
    """Convolutions of another rank count too."""
    kind = PLAIN.get(type(layer))
    return kind == target or (kind in CONV_KINDS.values() and target in CONV_KINDS.values())


def _not_pointwise(module: nn.Module) -> str | None:
    """Why a convolution is no map of each position alone."""
    if not isinstance(module, _ConvNd):
        return None
    if set(module.kernel_size) != {1}:
        return f"kernel {module.kernel_size} reads neighbours"
    if set(module.stride) != {1}:
        return f"stride {module.stride} drops positions"
    if not isinstance(module.padding, str) and set(module.padding) != {0}:
        return f"padding {module.padding} adds positions"
    return None


def _held(layer: nn.Module) -> str | None:
    """Why the values of a layer cannot be taken over."""
    reason = refusal(layer)
    if reason is not None:
        return reason
    names = {name for name, _ in layer.named_parameters(recurse=False, remove_duplicate=False)}
    if "weight" not in names:
        return "its weight is not a parameter of its own"
    more = (names | {name for name, _ in layer.named_buffers()}) - {"weight", "bias"}
    more |= {name for name, _ in layer.named_children()}
    if more:
        return f"it holds more than weight and bias: {', '.join(sorted(more))}"
    return None
