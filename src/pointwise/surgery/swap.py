"""What a surgery did, module by module."""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from pointwise.nn.norm import LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.attention import SplitAttention
from pointwise.surgery.axes import InPlaceOf, is_transposed, sizes


@dataclass(frozen=True)
class Swap:
    """One module that a surgery looked at: what it was, and what it became or why it was left.

    Attributes:
        path: Dotted name of the module in its model, empty for the model itself; the first of
            them where it has several.
        before: What it was, in short.
        after: What it became, in short; ``None`` if it was left alone.
        reason: Why it was left alone, or a remark on what was done.

    Example:
        >>> print(Swap("head", "Linear(10, 20)", None, "has forward hooks"))
        head: Linear(10, 20) left alone: has forward hooks
    """

    path: str
    before: str
    after: str | None
    reason: str = ""

    def __str__(self) -> str:
        """One line to read."""
        path = self.path or "(the model)"
        if self.after is None:
            return f"{path}: {self.before} left alone: {self.reason}"
        remark = f" ({self.reason})" if self.reason else ""
        return f"{path}: {self.before} -> {self.after}{remark}"


def describe(module: nn.Module) -> str:
    """Say in short what a module is: its class and the sizes that matter.

    Args:
        module: Any module.

    Returns:
        A short text, such as ``Conv2d(64, 256, 1x1)``.

    Example:
        >>> describe(nn.Conv2d(64, 64, 3, stride=2, padding=1)), describe(nn.BatchNorm2d(64))
        ('Conv2d(64, 64, 3x3, stride 2, padding 1)', 'BatchNorm2d(64)')
    """
    if isinstance(module, InPlaceOf):
        return f"{describe(module.layer)} in place of {module.kind}"
    if isinstance(module, SplitAttention):
        return f"SplitAttention{_sizes(module)} of {type(_inner(module.q_proj)).__name__}"
    return f"{type(module).__name__}{_sizes(module)}"


def _sizes(module: nn.Module) -> str:
    if isinstance(module, nn.Linear):
        return f"({module.in_features}, {module.out_features})"
    if isinstance(module, PointwiseConv):
        groups = f", groups {module.groups}" if module.groups > 1 else ""
        return f"({module.c_in}, {module.c_out}{groups})"
    if isinstance(module, (nn.MultiheadAttention, SplitAttention)):
        return f"({module.embed_dim}, heads {module.num_heads})"
    if is_transposed(module):
        c_in, c_out, _ = sizes(module)
        return f"({c_in}, {c_out})"
    if isinstance(module, _ConvNd):
        return f"({_conv(module)})"
    if isinstance(module, _NormBase):
        return f"({module.num_features})"
    if isinstance(module, nn.LayerNorm):
        return f"({', '.join(map(str, module.normalized_shape))})"
    if isinstance(module, LayerNorm):
        return f"({module.channels})"
    if isinstance(module, nn.GroupNorm):
        return f"({module.num_groups}, {module.num_channels})"
    return ""


def _inner(module: nn.Module) -> nn.Module:
    return module.layer if isinstance(module, InPlaceOf) else module


def _conv(conv: _ConvNd) -> str:
    """Sizes of a convolution, and the options that differ from their defaults."""
    parts = [str(conv.in_channels), str(conv.out_channels), _axes(conv.kernel_size)]
    usual: list[tuple[str, tuple[int, ...] | str, int]] = [
        ("stride", conv.stride, 1),
        ("padding", conv.padding, 0),
        ("dilation", conv.dilation, 1),
    ]
    for name, value, default in usual:
        if isinstance(value, str):
            parts.append(f"{name} {value!r}")
        elif set(value) != {default}:
            parts.append(f"{name} {value[0] if len(set(value)) == 1 else _axes(value)}")
    if conv.groups > 1:
        parts.append(f"groups {conv.groups}")
    return ", ".join(parts)


def _axes(values: tuple[int, ...]) -> str:
    return "x".join(map(str, values))
