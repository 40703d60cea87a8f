"""Why a module must be left alone, whatever a surgery would make of it."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

QUANTIZED = ("torch.ao.nn.", "torch.nn.quantized", "torch.nn.qat", "torch.nn.intrinsic")
"""Where torch keeps its quantized layers."""

HOOKS = {
    "_forward_hooks": "forward hooks",
    "_forward_pre_hooks": "forward pre-hooks",
    "_backward_hooks": "backward hooks",
    "_backward_pre_hooks": "backward pre-hooks",
    "_state_dict_hooks": "state dict hooks",
    "_state_dict_pre_hooks": "state dict pre-hooks",
    "_load_state_dict_pre_hooks": "load state dict pre-hooks",
    "_load_state_dict_post_hooks": "load state dict post-hooks",
}

OLD_HOOKS = {
    WeightNorm: "has weight norm: call torch.nn.utils.remove_weight_norm first",
    SpectralNorm: "has spectral norm: call torch.nn.utils.remove_spectral_norm first",
    BasePruningMethod: "is pruned: call torch.nn.utils.prune.remove first",
}
"""Hooks of torch that compute the weight before every call."""

LAZY = "is lazy: run it once first, so that its sizes are known"

SCRIPTED = "is compiled by TorchScript: convert the network before"

OF_ITS_OWN = {
    *("__module__", "__qualname__", "__doc__", "__annotations__", "__firstlineno__"),
    *("__static_attributes__", "__orig_bases__", "__parameters__", "__constants__"),
    *("__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__init__", "__repr__", "extra_repr", "reset_parameters"),
}
"""What a subclass may have instead of its base, and compute the same once it is made."""


def refusal(module: nn.Module) -> str | None:
    """Say why a module must be left alone: something besides its stored values runs in it.

    Args:
        module: Any module.

    Returns:
        The reason, or ``None`` if there is none.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> refusal(layer) is None
        True
        >>> hook = layer.register_forward_hook(print)
        >>> refusal(layer)
        'has forward hooks: remove them first'
    """
    if isinstance(module, torch.jit.ScriptModule):
        return SCRIPTED
    if has_no_sizes(module):
        return LAZY
    if parametrize.is_parametrized(module):
        return "has parametrizations: call torch.nn.utils.parametrize.remove_parametrizations first"
    hook = _hooks(module)
    if hook is not None:
        return hook
    if "forward" in vars(module):
        return "has a forward of its own on the instance, which would be lost"
    if is_quantized(module):
        return "is quantized, or prepared for it: convert the network before"
    for name, parameter in module.named_parameters(recurse=False):
        if type(parameter) is not nn.Parameter:
            return f"its {name} is a {type(parameter).__name__}, not a plain parameter"
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return f"its {name} has gradient hooks: remove them first"
    return None


def has_no_sizes(module: nn.Module) -> bool:
    """Whether a module is lazy: it gets its sizes in its first run.

    Args:
        module: Any module.

    Returns:
        Whether one of its own parameters or buffers has no size yet.

    Example:
        >>> has_no_sizes(nn.BatchNorm1d(4))
        False
    """
    own = (*module._parameters.values(), *module._buffers.values())
    return any(one is not None and is_lazy(one) for one in own)


def check_has_sizes(model: nn.Module) -> None:
    """Refuse a model with a lazy part: each copy of it would draw weights of its own.

    Args:
        model: The model.

    Raises:
        ValueError: If a part of it has no sizes yet.

    Example:
        >>> check_has_sizes(nn.Sequential(nn.BatchNorm1d(4)))
    """
    for path, part in model.named_modules():
        if not isinstance(part, torch.jit.ScriptModule) and has_no_sizes(part):
            where = f"its part {path!r} ({type(part).__name__})" if path else type(part).__name__
            raise ValueError(f"model must know its sizes: {where} {LAZY}")


def encoder_parts(model: nn.Module) -> set[str]:
    """Paths of what torch's encoder layers hand to one fused operator, where nothing watches it.

    Args:
        model: Any model.

    Returns:
        The linear layers and norms in them whose weights it reads.

    Example:
        >>> sorted(encoder_parts(nn.TransformerEncoderLayer(4, 2)))
        ['linear1', 'linear2', 'norm1', 'norm2', 'self_attn.out_proj']
    """
    return {
        f"{path}.{name}".strip(".")
        for path, layer in model.named_modules()
        if isinstance(layer, nn.TransformerEncoderLayer)
        for name in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
    }


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is one of torch's quantized layers, or of those prepared for it.

    Args:
        module: Any module.

    Returns:
        Whether it is.
    """
    return type(module).__module__.startswith(QUANTIZED)


def only_adds(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether a module's class changes nothing of a base: it computes what the base does.

    Args:
        module: The module.
        base: A class.

    Returns:
        Whether it is of the base, or of a subclass with another constructor or further names only,
        such as torchvision's ``Conv3DSimple``.

    Example:
        >>> class Named(nn.Linear):
        ...     def name(self) -> str:
        ...         return "head"
        >>> class Scaled(nn.Linear):
        ...     def forward(self, x):
        ...         return 2 * super().forward(x)
        >>> only_adds(Named(3, 2), nn.Linear), only_adds(Scaled(3, 2), nn.Linear)
        (True, False)
    """
    line = type(module).__mro__
    if base not in line:
        return False
    known = {*vars(module), *module._parameters, *module._buffers, *module._modules}
    for kind in base.__mro__:
        known |= {*vars(kind), *vars(kind).get("__annotations__", ())}
    before = line[: line.index(base)]
    return not any((vars(kind).keys() - OF_ITS_OWN) & known for kind in before)


def subclass_refusal(module: nn.Module, kinds: Sequence[type[nn.Module]]) -> str | None:
    """Say why a module of a known kind must be left alone, where it is not plainly of that kind.

    Args:
        module: An instance of one of ``kinds`` or of a subclass.
        kinds: The classes whose ``forward`` is known.

    Returns:
        The reason, or ``None`` if the module's class is one of ``kinds`` itself and nothing else
        speaks against it.

    Example:
        >>> subclass_refusal(nn.Linear(3, 2), [nn.Linear]) is None
        True
        >>> subclass_refusal(nn.MultiheadAttention(4, 1).out_proj, [nn.Linear])
        'NonDynamicallyQuantizableLinear is a subclass of Linear: its forward may differ'
    """
    reason = refusal(module)
    if reason is not None or type(module) in kinds:
        return reason
    base = next(kind for kind in kinds if isinstance(module, kind))
    own = type(module)
    name = f"{own.__module__}.{own.__name__}" if own.__name__ == base.__name__ else own.__name__
    return f"{name} is a subclass of {base.__name__}: its forward may differ"


def _hooks(module: nn.Module) -> str | None:
    for hook in module._forward_pre_hooks.values():
        for kind, reason in OLD_HOOKS.items():
            if isinstance(hook, kind):
                return reason
    for attribute, words in HOOKS.items():
        if getattr(module, attribute):
            return f"has {words}: remove them first"
    return None
