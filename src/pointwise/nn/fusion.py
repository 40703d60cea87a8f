"""Fusion: several maps of equal size become one, at any rank."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_groups
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import MakeActivation, MakeNorm, Projection
from pointwise.nn.pointwise import PointwiseConv


class SumFusion(nn.Module):
    """A 1x1 for each map, then their sum.

    Args:
        c_ins: Number of channels of each map.
        c_out: Number of channels of the sum.
        project: Whether the maps go through 1x1s; if not, all must have ``c_out`` channels, and
            the sum is a plain one.
        norm: Makes the norm after each 1x1; ``None`` for none.
        activation: Makes the activation of the sum.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there is no map, a size is not positive, or without 1x1s the channels
            differ or a norm is given.

    Shape:
        ``(N, C_i, *S)`` each, to ``(N, C_out, *S)``; channels-last if the first is.

    Reference:
        He, Zhang, Ren and Sun, Deep Residual Learning, 2016, equation 2, for two maps; Wang et al.,
        Deep High-Resolution Representation Learning, 2020, section 3, for several.

    Example:
        >>> SumFusion([8, 16], 4)(torch.ones(2, 8, 5, 5), torch.ones(2, 16, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self,
        c_ins: Sequence[int],
        c_out: int,
        *,
        project: bool = True,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.Identity,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_ins = _checked(c_ins, c_out)
        self.projections = _projections(self.c_ins, c_out, project, norm, device, dtype)
        self.activation = activation().to(device=device, dtype=dtype)

    def forward(self, *maps: Tensor) -> Tensor:
        """Fuse the maps, given one by one."""
        check_maps(maps, self.c_ins)
        first, *others = (project(x) for project, x in zip(self.projections, maps, strict=True))
        for other in others:
            first = first + other
        out: Tensor = self.activation(like_memory(first, maps[0]))
        return out


class ConcatFusion(nn.Module):
    """The channels of all maps side by side, then a 1x1.

    Args:
        c_ins: Number of channels of each map.
        c_out: Number of output channels.
        norm: Makes the norm after the 1x1; ``None`` for none.
        activation: Makes the activation after it.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there is no map or a size is not positive.

    Shape:
        ``(N, C_i, *S)`` each, to ``(N, C_out, *S)``; channels-last if the first is.

    Reference:
        Huang et al., Densely Connected Convolutional Networks, 2017, section 3, equation 2 and
        the bottleneck layers.

    Example:
        >>> ConcatFusion([8, 16], 4)(torch.ones(2, 8, 50), torch.ones(2, 16, 50)).shape
        torch.Size([2, 4, 50])
    """

    def __init__(
        self,
        c_ins: Sequence[int],
        c_out: int,
        *,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.Identity,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_ins = _checked(c_ins, c_out)
        self.projection = Projection(
            sum(self.c_ins), c_out, norm=norm, activation=activation, device=device, dtype=dtype
        )

    def forward(self, *maps: Tensor) -> Tensor:
        """Fuse the maps, given one by one."""
        check_maps(maps, self.c_ins)
        out: Tensor = self.projection(_side_by_side(maps))
        return out


class GatedFusion(nn.Module):
    """A 1x1 for each map, then their mean with weights that are learned, position by position.

    The weights are a softmax over the maps. Its inputs, one number for each map, are a 1x1 of all
    maps' channels.

    Args:
        c_ins: Number of channels of each map.
        c_out: Number of output channels.
        project: Whether the maps go through 1x1s before they are weighed; if not, all must have
            ``c_out`` channels.
        norm: Makes the norm after each of those 1x1s; ``None`` for none.
        activation: Makes the activation of the mean.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If there is no map, a size is not positive, or without 1x1s the channels
            differ or a norm is given.

    Shape:
        ``(N, C_i, *S)`` each, to ``(N, C_out, *S)``; channels-last if the first is.

    Reference:
        Liu, Huang and Wang, Learning Spatial Fusion for Single-Shot Object Detection, 2019,
        equations 1 and 2, for the softmax at each position; Arevalo et al., Gated Multimodal Units
        for Information Fusion, 2017, for gates that see all inputs.

    Example:
        >>> GatedFusion([8, 16], 4)(torch.ones(2, 8), torch.ones(2, 16)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        c_ins: Sequence[int],
        c_out: int,
        *,
        project: bool = True,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.Identity,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_ins = _checked(c_ins, c_out)
        self.projections = _projections(self.c_ins, c_out, project, norm, device, dtype)
        self.gate = PointwiseConv(sum(self.c_ins), len(self.c_ins), device=device, dtype=dtype)
        self.activation = activation().to(device=device, dtype=dtype)

    def forward(self, *maps: Tensor) -> Tensor:
        """Fuse the maps, given one by one."""
        check_maps(maps, self.c_ins)
        weights = self.gate(_side_by_side(maps)).softmax(1).split(1, 1)
        first, *others = (
            weight * project(x)
            for weight, project, x in zip(weights, self.projections, maps, strict=True)
        )
        for other in others:
            first = first + other
        out: Tensor = self.activation(like_memory(first, maps[0]))
        return out


def check_maps(maps: Sequence[Tensor], c_ins: Sequence[int]) -> None:
    """Refuse maps that cannot be fused.

    Args:
        maps: The maps.
        c_ins: Number of channels that each must have.

    Raises:
        ValueError: If their number, their channels, batches or sizes do not fit.
    """
    if len(maps) != len(c_ins):
        raise ValueError(f"the number of maps must be {len(c_ins)}, got {len(maps)}")
    for number, (x, channels) in enumerate(zip(maps, c_ins, strict=True)):
        if x.ndim < 2 or x.shape[1] != channels:
            raise ValueError(
                f"maps[{number}] must have shape (N, {channels}, *S), got {tuple(x.shape)}"
            )
    first, *others = ((x.shape[0], *x.shape[2:]) for x in maps)
    if any(other != first for other in others):
        shapes = ", ".join(str(tuple(x.shape)) for x in maps)
        raise ValueError(f"maps must have equal batches and positions, got shapes {shapes}")


def _checked(c_ins: Sequence[int], c_out: int) -> tuple[int, ...]:
    if not c_ins:
        raise ValueError("c_ins must name at least one map, got none")
    for c_in in c_ins:
        check_groups(1, c_in, c_out)
    return tuple(c_ins)


def _projections(
    c_ins: tuple[int, ...],
    c_out: int,
    project: bool,
    norm: MakeNorm | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.ModuleList:
    """A 1x1 for each map, or nothing for each."""
    if project:
        return nn.ModuleList(
            Projection(c, c_out, norm=norm, activation=nn.Identity, device=device, dtype=dtype)
            for c in c_ins
        )
    if set(c_ins) != {c_out}:
        raise ValueError(
            f"c_ins must all be c_out where nothing is projected: got {c_ins} and {c_out}"
        )
    if norm is not None:
        raise ValueError("norm must be None where nothing is projected")
    return nn.ModuleList(nn.Identity() for _ in c_ins)


def _side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """All maps' channels in one map, in the memory order of the first."""
    return like_memory(torch.cat(list(maps), 1), maps[0])
