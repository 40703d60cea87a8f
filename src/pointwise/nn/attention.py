"""Attention between positions: queries, keys, values and output are 1x1s, at any rank from one up.

All positions of a map, in reading order, are the tokens. Every position is compared with every
other: work grows with the square of their number.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional.layout import from_rows
from pointwise.nn.conv import MakeNorm, Projection
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import PointwiseConv

_NAMES = {"query": "q_proj_", "key": "k_proj_", "value": "v_proj_", "out": "out_proj."}
"""What ``nn.MultiheadAttention`` calls the weights of each 1x1."""


class NonLocalBlock(nn.Module):
    """Add to each position what all positions hold, weighed by how alike they are.

    The embedded Gaussian: the softmax, over all positions, of the inner products of queries and
    keys, without a scale.

    Args:
        channels: Number of channels of the map.
        c_mid: Number of channels of queries, keys and values; the paper's is ``channels // 2``.
        norm: Makes the norm after the last 1x1; ``None`` for none.
        zero_init: Whether the block starts as the identity, as the paper's does: the last norm's
            weight is zero (without a norm, the last 1x1).
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive, or a norm without a weight is to start at zero.

    Shape:
        ``(N, C, *S)`` to the same, with one position axis or more; channels-last if the input is.

    Reference:
        Wang, Girshick, Gupta and He, Non-local Neural Networks, 2018, equations 1, 4 and 6;
        section 4.1 for the norm and how it starts.

    Example:
        >>> block = NonLocalBlock(16, 8)
        >>> block(torch.ones(2, 16, 5, 5)).shape, block(torch.ones(2, 16, 50)).shape
        (torch.Size([2, 16, 5, 5]), torch.Size([2, 16, 50]))
    """

    def __init__(
        self,
        channels: int,
        c_mid: int,
        *,
        norm: MakeNorm | None = BatchNorm,
        zero_init: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.query = PointwiseConv(channels, c_mid, device=device, dtype=dtype)
        self.key = PointwiseConv(channels, c_mid, device=device, dtype=dtype)
        self.value = PointwiseConv(channels, c_mid, device=device, dtype=dtype)
        self.out = Projection(
            c_mid, channels, norm=norm, activation=nn.Identity, device=device, dtype=dtype
        )
        if zero_init:
            _start_at_zero(self.out.conv if norm is None else self.out.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``(N, C, *S)`` what its other positions hold."""
        _check_map("x", x, self.channels)
        query, key, value = (_tokens(layer(x), 1) for layer in (self.query, self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        out: Tensor = x + self.out(_map(seen, x))
        return out


class MultiHeadAttention(nn.Module):
    """Multi-head attention between all positions of a map, or from a map to another.

    Args:
        channels: Number of channels of the map, and of queries, keys and values.
        heads: Number of heads; divides ``channels``.
        c_context: Number of channels of the other map. Default: those of the map itself, which
            then attends to itself where no other is given.
        bias: Whether the 1x1s have offsets.
        dropout: Share of the attention weights dropped in training.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If ``heads`` does not divide ``channels``, or ``dropout`` is not a share.

    Shape:
        x ``(N, C, *S)`` and context ``(N, C_context, *T)`` to ``(N, C, *S)``, with one position
        axis or more in each; channels-last if ``x`` is.

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, section 3.2, equation 1.

    Example:
        >>> attention = MultiHeadAttention(16, 4)
        >>> attention(torch.ones(2, 16, 5, 5)).shape
        torch.Size([2, 16, 5, 5])
        >>> image, words = torch.ones(2, 16, 5, 5), torch.ones(2, 12, 7)
        >>> MultiHeadAttention(16, 4, c_context=12)(image, words).shape
        torch.Size([2, 16, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        c_context: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if channels < 1 or heads < 1 or channels % heads:
            raise ValueError(f"heads must divide channels: got {heads} and {channels}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        c_context = channels if c_context is None else c_context
        self.channels, self.heads, self.c_context = channels, heads, c_context
        self.dropout = dropout
        self.query = PointwiseConv(channels, channels, bias=bias, device=device, dtype=dtype)
        self.key = PointwiseConv(c_context, channels, bias=bias, device=device, dtype=dtype)
        self.value = PointwiseConv(c_context, channels, bias=bias, device=device, dtype=dtype)
        self.out = PointwiseConv(channels, channels, bias=bias, device=device, dtype=dtype)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, mask: Tensor | None = None
    ) -> Tensor:
        """Attend from every position of ``x`` to every position of ``context``, or of ``x``.

        Args:
            x: The map, of shape ``(N, C, *S)``.
            context: What it attends to, of shape ``(N, C_context, *T)``. Default: ``x``.
            mask: True where attention is allowed (``nn.MultiheadAttention`` means the opposite),
                or numbers added before the softmax; its shape broadcasts to
                ``(N, heads, S positions, T positions)``.

        Returns:
            A map of the shape of ``x``.

        Raises:
            ValueError: If a map does not fit.
        """
        _check_map("x", x, self.channels)
        if context is None and self.c_context != self.channels:
            raise ValueError(
                f"context must be given: it has {self.c_context} channels, x has {self.channels}"
            )
        other = x if context is None else context
        _check_map("context", other, self.c_context)
        if other.shape[0] != x.shape[0]:
            raise ValueError(
                f"context must have as many samples as x, got {other.shape[0]} and {x.shape[0]}"
            )
        seen = F.scaled_dot_product_attention(
            _tokens(self.query(x), self.heads),
            _tokens(self.key(other), self.heads),
            _tokens(self.value(other), self.heads),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.out(_map(seen, x))
        return out

    def extra_repr(self) -> str:
        """The heads, as ``print`` shows them."""
        return f"heads={self.heads}, dropout={self.dropout}"

    @classmethod
    def from_torch(cls, attention: nn.MultiheadAttention) -> "MultiHeadAttention":
        """Copy an ``nn.MultiheadAttention``, bit for bit.

        Where that one takes ``(N, L, C)`` (or ``(L, N, C)``), this one takes ``(N, C, L)``.

        Args:
            attention: An ``nn.MultiheadAttention`` itself; keys and values have equally many
                channels, and no extra key or value is appended.

        Returns:
            A layer with the same values, device and dtype, frozen where that one is.

        Raises:
            TypeError: If the layer is not a plain ``nn.MultiheadAttention``.
            ValueError: If the layer has parts that this one has not.

        Example:
            >>> attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=5)
            >>> MultiHeadAttention.from_torch(attention).c_context
            5
        """
        _check_plain(attention)
        made = cls(
            attention.embed_dim,
            attention.num_heads,
            c_context=attention.kdim,
            bias=attention.in_proj_bias is not None,
            dropout=attention.dropout,
            device=attention.out_proj.weight.device,
            dtype=attention.out_proj.weight.dtype,
        )
        given = dict(attention.named_parameters())
        for name in ("weight", "bias"):
            stacked = given.get(f"in_proj_{name}")
            if stacked is not None:  # no weight if keys have other channels than queries
                for part, values in zip("qkv", stacked.detach().chunk(3), strict=True):
                    own = nn.Parameter(values, requires_grad=stacked.requires_grad)
                    given[f"{part}_proj_{name}"] = own
        for ours, theirs in _NAMES.items():
            for name, parameter in made.get_submodule(ours).named_parameters():
                source = given[theirs + name]
                parameter.data.copy_(source)
                parameter.requires_grad_(source.requires_grad)
        return made.train(attention.training)


def _check_plain(attention: nn.MultiheadAttention) -> None:
    """Refuse what computes something else than four 1x1s and a softmax."""
    if type(attention) is not nn.MultiheadAttention:
        kind = type(attention).__name__
        raise TypeError(f"attention must be nn.MultiheadAttention itself, got {kind}")
    if attention._forward_hooks or attention._forward_pre_hooks:
        raise TypeError("attention must have no forward hooks: remove them first")
    if "weight" not in attention.out_proj._parameters:
        raise TypeError(
            "attention must keep the weight of out_proj itself: remove its weight norm, spectral "
            "norm or other parametrization first"
        )
    if attention.kdim != attention.vdim:
        raise ValueError(
            "keys and values must have equally many channels: "
            f"got kdim {attention.kdim} and vdim {attention.vdim}"
        )
    if attention.bias_k is not None or attention.add_zero_attn:
        raise ValueError(
            "attention must append no key or value: it has add_bias_kv or add_zero_attn"
        )


def _check_map(name: str, x: Tensor, channels: int) -> None:
    if x.ndim < 3 or x.shape[1] != channels:
        raise ValueError(
            f"{name} must have shape (N, {channels}, *S) with one position axis or more, "
            f"got {tuple(x.shape)}"
        )


def _tokens(x: Tensor, heads: int) -> Tensor:
    """``(N, C, *S)`` as ``(N, heads, L, C / heads)``; a view of channels-last memory."""
    n, channels, *_ = x.shape
    return x.reshape(n, heads, channels // heads, math.prod(x.shape[2:])).transpose(2, 3)


def _map(tokens: Tensor, like: Tensor) -> Tensor:
    """``(N, heads, L, C / heads)`` as ``(N, C, *S)``, in the memory order of ``like``."""
    return from_rows(tokens.transpose(1, 2).flatten(2).flatten(0, 1), like)


def _start_at_zero(layer: nn.Module) -> None:
    """Make a norm, or a 1x1, give zero."""
    if not isinstance(getattr(layer, "weight", None), Tensor):
        raise ValueError(
            f"norm must have a weight to start at zero, got {type(layer).__name__}: "
            "pass zero_init=False"
        )
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
