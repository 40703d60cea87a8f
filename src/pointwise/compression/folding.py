"""Batch norms folded away at the end of a budget of time: they take some, and give nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from pointwise.surgery.closeness import closeness
from pointwise.surgery.equivalence import Example, evaluating
from pointwise.surgery.fold import fold_norms
from pointwise.surgery.folding.scalings import is_batch_norm


@dataclass(frozen=True)
class Folded:
    """A model without the batch norms that could be folded into their neighbours.

    Attributes:
        model: The model; that which was given, if no norm could.
        norms: Paths of the norms that are gone.
        offsets: Paths of the layers that had no offset and have one now.
    """

    model: nn.Module
    norms: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()


def fold_away(
    model: nn.Module,
    example: Example,
    *,
    batches: Sequence[Example] = (),
    exclude: Sequence[str] = (),
) -> Folded:
    """Fold batch norms into the layers beside them, where that gives the same.

    Args:
        model: The model; it is left as it is.
        example: An input, on which the flow of data is followed.
        batches: More inputs, on which the result is compared: data may flow in other ways there.
        exclude: Paths of modules that are to stay as they are.

    Returns:
        A copy with fewer norms; the model itself if none could be folded, or the result differed.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv1d(2, 3, 1, bias=False), nn.BatchNorm1d(3), nn.ReLU())
        >>> found = fold_away(model, torch.ones(1, 2, 4))
        >>> found.model[1], found.norms, found.offsets
        (Identity(), ('1',), ('0',))
    """
    flags = {path: module.training for path, module in model.named_modules()}
    try:
        with evaluating(model):
            folded, _ = fold_norms(model, example, exclude=exclude)
            for batch in batches:
                closeness(model, folded, batch)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # it stays as it is
        return Folded(model)
    new = dict(folded.named_modules())
    for path, module in new.items():
        module.training = flags.get(path, model.training)
    old = dict(model.named_modules())
    norms = tuple(p for p, one in old.items() if is_batch_norm(one) and not is_batch_norm(new[p]))
    offsets = tuple(p for p, one in old.items() if _has_none(one) and not _has_none(new[p]))
    return Folded(folded, norms, offsets) if norms else Folded(model)


def _has_none(module: nn.Module) -> bool:
    """Whether a module could have an offset and has none."""
    return module._parameters.get("bias", module) is None
