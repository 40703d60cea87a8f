"""Gates: a block that weighs a map by numbers that it computes from the map, or from another.

Woo 2018 is Woo, Park, Lee and Kweon, CBAM: Convolutional Block Attention Module, 2018.
"""

import torch
from torch import Tensor, nn

from pointwise.functional.checks import AXES, check_input
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm, Projection
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.nn.resample import resample


class SqueezeExcite(nn.Module):
    """Weigh each channel by a number made of all channels' means: pool, 1x1, 1x1, gate.

    Args:
        channels: Number of channels.
        c_mid: Number of channels between the two 1x1s; the paper's is ``channels // 16``.
        activation: Makes the activation between them.
        gate: Makes what turns the result into weights.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive.

    Shape:
        ``(N, C, *S)`` to the same; channels-last if the input is.

    Reference:
        Hu, Shen and Sun, Squeeze-and-Excitation Networks, 2018, section 3, equations 2 to 4.

    Example:
        >>> block = SqueezeExcite(32, 8)
        >>> block(torch.ones(2, 32, 5, 5)).shape, block(torch.ones(2, 32)).shape
        (torch.Size([2, 32, 5, 5]), torch.Size([2, 32]))
    """

    def __init__(
        self,
        channels: int,
        c_mid: int,
        *,
        activation: MakeActivation = nn.ReLU,
        gate: MakeActivation = nn.Sigmoid,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pool = GlobalAveragePool()
        self.reduce = Projection(
            channels, c_mid, norm=None, activation=activation, device=device, dtype=dtype
        )
        self.expand = Projection(
            c_mid, channels, norm=None, activation=gate, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``(N, C, *S)``."""
        check_input(x, self.channels)
        return _weigh_channels(x, self.expand(self.reduce(self.pool(x))))


class ChannelGate(nn.Module):
    """Weigh each channel by a number made of all channels' means and maxima, by one shared MLP.

    Args:
        channels: Number of channels.
        c_mid: Number of channels between the two 1x1s; the paper's is ``channels // 16``.
        activation: Makes the activation between them.
        gate: Makes what turns the sum of both results into weights.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive.

    Shape:
        ``(N, C, *S)`` to the same; channels-last if the input is.

    Reference:
        Woo 2018, section 3, equation 2.

    Example:
        >>> ChannelGate(32, 8)(torch.ones(2, 32, 5, 5)).shape
        torch.Size([2, 32, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        c_mid: int,
        *,
        activation: MakeActivation = nn.ReLU,
        gate: MakeActivation = nn.Sigmoid,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pool = GlobalAveragePool()
        self.reduce = Projection(
            channels, c_mid, norm=None, activation=activation, device=device, dtype=dtype
        )
        self.expand = Projection(
            c_mid, channels, norm=None, activation=nn.Identity, device=device, dtype=dtype
        )
        self.gate = gate().to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``(N, C, *S)``."""
        check_input(x, self.channels)
        largest = x.amax(tuple(range(2, x.ndim))) if x.ndim > 2 else x
        of_mean, of_largest = (self.expand(self.reduce(rows)) for rows in (self.pool(x), largest))
        return _weigh_channels(x, self.gate(of_mean + of_largest))


class SpatialGate(nn.Module):
    """Weigh each position by a number made of its channels' mean and maximum, and its neighbours'.

    Args:
        kernel: Size of the convolution from the two maps to one; odd.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm after the convolution; ``None``, as in the paper's equation, for none
            (the authors' code has a batch norm there).
        gate: Makes what turns the map into weights.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``rank`` is not 1 to 3 or ``kernel`` is even.

    Shape:
        ``(N, C, *S)`` to the same, for any ``C``; channels-last if the input is.

    Reference:
        Woo 2018, section 3, equation 3.

    Example:
        >>> SpatialGate(kernel=3, rank=1)(torch.ones(2, 32, 50)).shape
        torch.Size([2, 32, 50])
    """

    def __init__(
        self,
        *,
        kernel: int = 7,
        rank: int = 2,
        norm: MakeNorm | None = None,
        gate: MakeActivation = nn.Sigmoid,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.conv = ConvNormActivation(
            2, 1, kernel, rank=rank, norm=norm, activation=gate, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the positions of ``(N, C, *S)``."""
        rank = self.conv.rank
        if x.ndim != rank + 2:
            raise ValueError(f"x must have shape (N, C, {AXES[rank]}), got {tuple(x.shape)}")
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return like_memory(x * self.conv(pooled), x)


class CBAM(nn.Module):
    """A channel gate, then a spatial gate.

    Args:
        channels: Number of channels.
        c_mid: Number of channels inside the channel gate; the paper's is ``channels // 16``.
        kernel: Size of the spatial gate's convolution; odd.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm of the spatial gate; ``None`` for none.
        activation: Makes the activation inside the channel gate.
        gate: Makes what turns numbers into weights, in both.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive, ``rank`` is not 1 to 3 or ``kernel`` is even.

    Shape:
        ``(N, C, *S)`` to the same; channels-last if the input is.

    Reference:
        Woo 2018, section 3, equation 1.

    Example:
        >>> CBAM(32, 8)(torch.ones(2, 32, 9, 9)).shape
        torch.Size([2, 32, 9, 9])
    """

    def __init__(
        self,
        channels: int,
        c_mid: int,
        *,
        kernel: int = 7,
        rank: int = 2,
        norm: MakeNorm | None = None,
        activation: MakeActivation = nn.ReLU,
        gate: MakeActivation = nn.Sigmoid,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.rank = channels, rank
        self.channel = ChannelGate(
            channels, c_mid, activation=activation, gate=gate, device=device, dtype=dtype
        )
        self.spatial = SpatialGate(
            kernel=kernel, rank=rank, norm=norm, gate=gate, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels, then the positions of ``(N, C, *S)``."""
        check_input(x, self.channels, self.rank)
        out: Tensor = self.spatial(self.channel(x))
        return out


class AttentionGate(nn.Module):
    """Weigh each position of a skip connection by what a coarser map says of it.

    Both maps go through a 1x1 to ``c_mid`` channels. Their sum, an activation and a 1x1 to one
    channel give the weight. The gating map is enlarged after its 1x1 and norm: both commute with
    linear interpolation (in training, all but the batch's statistics), and there are fewer
    positions before.

    Args:
        c_skip: Number of channels of the skip connection.
        c_gate: Number of channels of the gating map.
        c_mid: Number of channels in which the two are added.
        norm: Makes the norms of the two first 1x1s; ``None`` for none.
        activation: Makes the activation of the sum.
        gate: Makes what turns the last map into weights.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive.

    Shape:
        skip ``(N, C_skip, *S)`` and gate ``(N, C_gate, *T)`` to ``(N, C_skip, *S)``; channels-last
        if the skip is. Sizes may differ at one to three axes.

    Reference:
        Oktay et al., Attention U-Net, 2018, section 2, equations 1 and 2, where the weights are
        computed at the size of the gating map and enlarged after; norms are not in the equations.

    Example:
        >>> gate = AttentionGate(16, 32, 8)
        >>> gate(torch.ones(2, 16, 12, 10), torch.ones(2, 32, 6, 5)).shape
        torch.Size([2, 16, 12, 10])
    """

    def __init__(
        self,
        c_skip: int,
        c_gate: int,
        c_mid: int,
        *,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        gate: MakeActivation = nn.Sigmoid,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.c_skip, self.c_gate = c_skip, c_gate
        self.skip = Projection(
            c_skip, c_mid, norm=norm, activation=nn.Identity, device=device, dtype=dtype
        )
        self.gate = Projection(
            c_gate, c_mid, norm=norm, activation=nn.Identity, device=device, dtype=dtype
        )
        self.activation = activation().to(device=device, dtype=dtype)
        self.weigh = Projection(c_mid, 1, norm=None, activation=gate, device=device, dtype=dtype)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Weigh the positions of ``skip``."""
        self._check(skip, gate)
        asked = self.gate(gate)
        if asked.shape[2:] != skip.shape[2:]:
            asked = resample(asked, skip.shape[2:])
        return like_memory(skip * self.weigh(self.activation(self.skip(skip) + asked)), skip)

    def _check(self, skip: Tensor, gate: Tensor) -> None:
        if skip.ndim < 2 or skip.shape[1] != self.c_skip:
            raise ValueError(
                f"skip must have shape (N, {self.c_skip}, *S), got {tuple(skip.shape)}"
            )
        if gate.ndim != skip.ndim or gate.shape[0] != skip.shape[0] or gate.shape[1] != self.c_gate:
            axes = AXES.get(skip.ndim - 2, "*S")
            shape = ", ".join(str(part) for part in (skip.shape[0], self.c_gate, axes) if part)
            raise ValueError(
                f"gate must have shape ({shape}) beside a skip of shape {tuple(skip.shape)}, "
                f"got {tuple(gate.shape)}"
            )


def _weigh_channels(x: Tensor, weights: Tensor) -> Tensor:
    """Multiply ``(N, C, *S)`` by rows ``(N, C)``."""
    return like_memory(x * weights.reshape(*weights.shape, *(1,) * (x.ndim - 2)), x)
