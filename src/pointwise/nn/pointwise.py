"""The 1x1 convolution of any rank."""

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pointwise.functional import Affine, pointwise
from pointwise.functional.checks import check_groups, check_rank

CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


LayerT = TypeVar("LayerT", bound=nn.Module)


class PointwiseConv(nn.Module):
    """A 1x1 convolution: one matrix on the channel axis, at any number of position axes.

    On rows ``(N, C)`` it is ``nn.Linear``, on ``(N, C, H, W)`` it is ``nn.Conv2d(..., 1)``, with
    one and the same weight of shape ``(C_out, C_in / groups)``. State dicts of 1x1 convolutions,
    whose weights carry trailing unit axes, load as they are.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        groups: Number of independent channel groups.
        bias: Whether to add a learned offset.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``groups`` does not divide both.

    Shape:
        ``(N, C_in, *S)`` to ``(N, C_out, *S)``.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, section 3.1.

    Example:
        >>> layer = PointwiseConv(3, 8)
        >>> layer(torch.ones(2, 3)).shape, layer(torch.ones(2, 3, 5, 7)).shape
        (torch.Size([2, 8]), torch.Size([2, 8, 5, 7]))
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_groups(groups, c_in, c_out)
        self.c_in, self.c_out, self.groups = c_in, c_out, groups
        self.weight = nn.Parameter(torch.empty(c_out, c_in // groups, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(c_out, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias as ``nn.Linear`` does: uniform within 1 / sqrt(fan in)."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, C_out, *S)``."""
        return pointwise(x, self.weight, self.bias, self.groups)

    def affine(self) -> Affine:
        """The layer as a map of ``functional``'s algebra; shares its tensors."""
        return Affine(self.weight, self.bias, self.groups)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> "PointwiseConv":
        """Copy an ``nn.Linear``, bit for bit.

        Args:
            linear: An ``nn.Linear`` itself: a subclass or a hook may compute something else.

        Returns:
            A layer with the same values, device and dtype.

        Raises:
            TypeError: If the layer is not a plain ``nn.Linear``.

        Example:
            >>> linear = nn.Linear(3, 2)
            >>> torch.equal(PointwiseConv.from_linear(linear).weight, linear.weight)
            True
        """
        _check_plain("linear", linear, (nn.Linear,))
        return cls._like(linear, linear.in_features, linear.out_features, 1)

    @classmethod
    def from_conv(cls, conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> "PointwiseConv":
        """Copy a 1x1 convolution, bit for bit.

        Args:
            conv: An ``nn.Conv1d``, ``2d`` or ``3d`` itself, with kernel 1, stride 1 and no padding.

        Returns:
            A layer with the same values, groups, device and dtype.

        Raises:
            TypeError: If the layer is not a plain convolution.
            ValueError: If the convolution is not a pointwise map.

        Example:
            >>> PointwiseConv.from_conv(nn.Conv2d(4, 6, 1, groups=2)).groups
            2
        """
        _check_plain("conv", conv, tuple(CONVOLUTIONS.values()))
        if set(conv.kernel_size) != {1}:
            raise ValueError(f"conv must have kernel size 1, got {conv.kernel_size}")
        if set(conv.stride) != {1}:
            raise ValueError(f"conv must have stride 1, got {conv.stride}: it drops positions")
        if conv.padding not in ("same", "valid") and set(conv.padding) != {0}:
            raise ValueError(f"conv must have no padding, got {conv.padding}: it adds positions")
        return cls._like(conv, conv.in_channels, conv.out_channels, conv.groups)

    def to_linear(self) -> nn.Linear:
        """Copy into an ``nn.Linear``, bit for bit.

        Returns:
            A layer with the same values, device and dtype.

        Raises:
            ValueError: If the layer has groups, which ``nn.Linear`` cannot hold.
        """
        if self.groups != 1:
            raise ValueError(f"groups must be 1 for nn.Linear, got {self.groups}")
        linear = nn.Linear(self.c_in, self.c_out, self.bias is not None, "meta")
        return _with_values_of(self, linear)

    def to_conv(self, rank: int = 2) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """Copy into an ``nn.Conv1d``, ``2d`` or ``3d`` of kernel 1, bit for bit.

        Args:
            rank: Number of position axes: 1, 2 or 3.

        Returns:
            A convolution with the same values, groups, device and dtype.

        Raises:
            ValueError: If ``rank`` is not 1, 2 or 3.

        Example:
            >>> PointwiseConv(4, 6).to_conv(3).weight.shape
            torch.Size([6, 4, 1, 1, 1])
        """
        check_rank(rank)
        bias, groups = self.bias is not None, self.groups
        conv = CONVOLUTIONS[rank](self.c_in, self.c_out, 1, groups=groups, bias=bias, device="meta")
        return _with_values_of(self, conv)

    def extra_repr(self) -> str:
        """Sizes, as ``print`` shows them."""
        return f"{self.c_in}, {self.c_out}, groups={self.groups}, bias={self.bias is not None}"

    @classmethod
    def _like(cls, layer: Any, c_in: int, c_out: int, groups: int) -> "PointwiseConv":
        bias = layer.bias is not None
        made = cls(c_in, c_out, groups=groups, bias=bias, device="meta")
        return _with_values_of(layer, made)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Drop trailing unit axes, so that a 1x1 convolution's weights load."""
        key = prefix + "weight"
        weight = state_dict.get(key)
        if isinstance(weight, Tensor) and weight.ndim > 2 and set(weight.shape[2:]) == {1}:
            state_dict[key] = weight.flatten(1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _check_plain(name: str, layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Refuse what may compute something else than its stored values say."""
    if type(layer) not in kinds:
        wanted = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
        raise TypeError(f"{name} must be {wanted} itself, got {type(layer).__name__}")
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise TypeError(
            f"{name} must have no forward hooks (old weight norm is one): remove them first"
        )


def _with_values_of(source: nn.Module, target: LayerT) -> LayerT:
    """Give ``target`` copies of the parameters of ``source``, reshaped by unit axes only."""
    for name, old in target.named_parameters():
        given = source.get_parameter(name)
        values = given.detach().clone().reshape(old.shape)
        setattr(target, name, nn.Parameter(values, requires_grad=given.requires_grad))
    return target.train(source.training)
