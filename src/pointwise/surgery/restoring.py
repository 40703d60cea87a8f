"""Layers that stand for others, back into those."""

from torch import nn

from pointwise.surgery.attention import SplitAttention, merge
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.conversion import eligibility
from pointwise.surgery.over_values import carry, over
from pointwise.surgery.refusals import refusal
from pointwise.surgery.replace import replace
from pointwise.surgery.spelling.spellings import Spelled
from pointwise.surgery.swap import Swap


def restore(model: nn.Module, *, in_place: bool = False) -> tuple[nn.Module, list[Swap]]:
    """Turn every ``InPlaceOf``, ``SplitAttention`` and ``Spelled`` back into what it was made of.

    Args:
        model: A model out of ``to_pointwise``, ``to_conv``, ``to_linear`` or ``respell``. Norms
            that ``respell`` folded, and weights that it laid channels-last, stay as they are.
        in_place: Whether to change the model itself in place of a copy.

    Returns:
        The model with the names, shapes and values that it had, and what became of each layer.

    Example:
        >>> from pointwise.surgery.conversion import to_linear
        >>> restore(to_linear(nn.Conv1d(3, 2, 1))[0])[0]
        Conv1d(3, 2, kernel_size=(1,), stride=(1,))
    """
    return replace(model, _restored, in_place=in_place)


def _restored(module: nn.Module) -> nn.Module | str | None:
    if isinstance(module, SplitAttention):
        return merge(module)
    if isinstance(module, Spelled):
        return refusal(module) or _as_it_was(module)
    if not isinstance(module, InPlaceOf):
        return None
    found = eligibility(module)
    return found if isinstance(found, str) else carry(module, over(module.layer, module.kind))


def _as_it_was(spelled: Spelled) -> nn.Module:
    """The layer, with the parameters themselves: they kept the shapes that it has."""
    layer = nn.Linear(spelled.c_in, spelled.c_out, spelled.bias is not None, "meta")
    for name, parameter in spelled.named_parameters():
        setattr(layer, name, parameter)
    return over(layer.train(spelled.training), spelled.kind)
