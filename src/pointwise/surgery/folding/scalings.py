"""Modules that scale each channel by a number and add another: norms in evaluation, and more."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.nn.image import ImageScale
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNorm)

LIKE_BATCH_NORM = {
    ("torchvision.ops.misc", "FrozenBatchNorm2d"),
    ("timm.layers.norm_act", "FrozenBatchNorm2d"),
    ("timm.layers.norm_act", "FrozenBatchNormAct2d"),
    ("timm.layers.norm_act", "BatchNormAct2d"),
}
"""Classes of other libraries that hold what a batch norm holds, and are not imported for it; what
they do after it is in ``drop`` and ``act``."""

SCALES: dict[tuple[str, str], tuple[str, str | None, int]] = {
    ("timm.layers.layer_scale", "LayerScale"): ("gamma", None, -1),
    ("timm.layers.layer_scale", "LayerScale2d"): ("gamma", None, 1),
    ("timm.models.mlp_mixer", "Affine"): ("alpha", "beta", -1),
    ("transformers.models.dinov2.modeling_dinov2", "Dinov2LayerScale"): ("lambda1", None, -1),
}
"""Classes of other libraries that scale channels: names of scale and offset, and the axis."""


@dataclass(frozen=True)
class Scaling:
    """What a module does to each channel, before whatever else it does.

    Attributes:
        scale: Factor of each channel, in float64.
        shift: Offset of each channel, in float64; ``None`` for none.
        axis: The axis of the channels: 1, or -1 for the last.
        rest: What is left to do without the scaling; ``nn.Identity`` for nothing.
        follows: Whether the rest comes before the scaling, as in a layer norm; else after.
    """

    scale: Tensor
    shift: Tensor | None
    axis: int
    rest: nn.Module
    follows: bool = False

    def offset_is_zero(self) -> bool:
        """Whether it leaves zeros as they are."""
        return self.shift is None or not bool(self.shift.any())


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm, or holds one and plain parts that follow it.

    Args:
        module: Any module.

    Returns:
        Whether it is; subclasses, whose forward may differ, are none.
    """
    name = (type(module).__module__, type(module).__name__)
    return type(module) in (*BATCH_NORMS, FrozenBatchNorm) or name in LIKE_BATCH_NORM


def scaling(module: nn.Module) -> Scaling | str | None:
    """How a module scales channels in evaluation mode.

    Args:
        module: Any module.

    Returns:
        The scaling; the reason why there is none, of a module that looks as if there were; ``None``
        for every other module.
    """
    known: Any = module
    name = (type(module).__module__, type(module).__name__)
    if is_batch_norm(module):
        return _of_batch_norm(known)
    if isinstance(module, _BatchNorm):
        base = next(kind.__name__ for kind in type(module).__mro__[1:] if "Norm" in kind.__name__)
        return f"{name[1]} is a subclass of {base}: its forward may differ"
    if type(module) is ImageScale:
        std = known.std.double()
        return Scaling(1 / std, -known.mean.double() / std, 1, nn.Identity())
    if name in SCALES:
        scale, shift, axis = SCALES[name]
        offset = None if shift is None else _flat(getattr(module, shift))
        return Scaling(_flat(getattr(module, scale)), offset, axis, nn.Identity())
    return _of_other_norm(known)


def _of_batch_norm(norm: Any) -> Scaling | str:
    if norm.running_mean is None or norm.running_var is None:
        return "normalises by the statistics of its input, as it keeps none"
    mean, variance = _flat(norm.running_mean), _flat(norm.running_var)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * _flat(norm.weight)
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + _flat(norm.bias)
    parts = [getattr(norm, part, None) for part in ("drop", "act")]
    after = [part for part in parts if part is not None and type(part) is not nn.Identity]
    rest = after[0] if len(after) == 1 else nn.Sequential(*after) if after else nn.Identity()
    return Scaling(scale, shift, 1, rest)


def _of_other_norm(norm: Any) -> Scaling | str | None:
    """The scale and offset that follow a norm whose statistics are those of its input."""
    for base in (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm):
        if isinstance(norm, base) and type(norm) is not base:
            name = type(norm).__name__
            return f"{name} is a subclass of torch's {base.__name__}: its forward may differ"
    if type(norm) in (nn.LayerNorm, nn.RMSNorm):
        axis, affine = -1, "elementwise_affine"
        if len(norm.normalized_shape) != 1:
            return None
    elif type(norm) is nn.GroupNorm:
        axis, affine = 1, "affine"
    else:
        return None
    if norm.weight is None:
        return None
    bias = getattr(norm, "bias", None)
    rest = copy.copy(norm)
    rest._parameters = dict.fromkeys(norm._parameters)
    setattr(rest, affine, False)
    shift = None if bias is None else _flat(bias)
    return Scaling(_flat(norm.weight), shift, axis, rest, follows=True)


def _flat(values: Tensor) -> Tensor:
    return values.detach().double().flatten()
