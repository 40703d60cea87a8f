"""``nn.MultiheadAttention`` with its linear maps as layers of their own, which can be converted."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from pointwise.surgery.refusals import subclass_refusal

PARTS = ("q_proj", "k_proj", "v_proj")
"""The linear maps of queries, keys and values, in the order in which torch stacks them."""

OWN = {"in_proj_weight", "in_proj_bias", "bias_k", "bias_v"} | {f"{part}_weight" for part in PARTS}
"""The parameters that ``nn.MultiheadAttention`` itself may have."""


class SplitAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes, with four linear layers in place of raw matrices.

    It takes and gives the same, and state dicts of the old module load. Torch's fused operators,
    which read all matrices at once, pass it by: the layers are called.

    Args:
        attention: The module whose values it takes over; queries, keys and values that were one
            matrix become views of its memory.

    Shape:
        As ``nn.MultiheadAttention``, but for nested tensors.

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, section 3.2.

    Example:
        >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> split, x = SplitAttention(attention), torch.ones(1, 5, 8)
        >>> torch.allclose(split(x, x, x)[0], attention(x, x, x)[0], atol=1e-6)
        True
        >>> split.k_proj
        Linear(in_features=8, out_features=8, bias=True)
    """

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    out_proj: nn.Module

    _qkv_same_embed_dim = False  # keeps torch's fused encoder layer from reading the matrices

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.kdim, self.vdim = attention.kdim, attention.vdim
        self.head_dim, self.dropout = attention.head_dim, attention.dropout
        self.batch_first, self.add_zero_attn = attention.batch_first, attention.add_zero_attn
        for part, weight, bias in _matrices(attention):
            self.add_module(part, _linear(weight, bias))
        out: Any = attention.out_proj
        self.out_proj = _linear(out.weight, out.bias)
        self.bias_k, self.bias_v = attention.bias_k, attention.bias_v
        self.train(attention.training)

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The matrices of queries, keys and values, stacked; ``None`` where they differ in size."""
        if not self.kdim == self.vdim == self.embed_dim:
            return None
        return torch.cat([self.get_submodule(part).weight for part in PARTS])  # type: ignore[misc]

    @property
    def in_proj_bias(self) -> Tensor | None:
        """The offsets of queries, keys and values, one after another."""
        biases: list[Any] = [self.get_submodule(part).bias for part in PARTS]
        return None if biases[0] is None else torch.cat(biases)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; the arguments are those of ``nn.MultiheadAttention``.

        Args:
            query: ``(L, N, E)``, ``(N, L, E)`` if ``batch_first``, or ``(L, E)``.
            key: ``(S, N, kdim)`` and so on.
            value: ``(S, N, vdim)`` and so on.
            key_padding_mask: ``(N, S)``; true, or minus infinity, for keys to leave out.
            need_weights: Whether to return the attention weights too.
            attn_mask: ``(L, S)`` or ``(N * heads, L, S)``; true for pairs to leave out, or numbers
                to add.
            average_attn_weights: Whether to return the mean over heads.
            is_causal: Tells that ``attn_mask`` is the causal one.

        Returns:
            The output, and the weights or ``None``.

        Raises:
            ValueError: If an input or a mask does not fit.
        """
        single = query.ndim == 2
        axis = 0 if self.batch_first else 1
        given = [x.unsqueeze(axis) if single else x for x in (query, key, value)]
        _check_axes(given)
        if single and key_padding_mask is not None:
            key_padding_mask = key_padding_mask[None]
        q, k, v = (x if self.batch_first else x.transpose(0, 1) for x in given)
        padding, mask = self._masks(q, k, key_padding_mask, attn_mask)
        if is_causal and mask is None:
            raise ValueError("is_causal tells what attn_mask is, and needs it: got None")
        heads = self._heads(q, k, v)
        more = heads[1].shape[2] - k.shape[1]  # keys that are appended may always be looked at
        merged = _merged(F.pad(mask, (0, more)) if mask is not None else None, padding, more)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            out, weights = _weighed(heads, merged, dropout)
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            causal = is_causal and padding is None
            out = F.scaled_dot_product_attention(
                *heads, None if causal else merged, dropout, is_causal=causal
            )
            weights = None
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if single:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    def extra_repr(self) -> str:
        """The heads, as ``print`` shows them."""
        return f"heads={self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"

    def _masks(
        self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Both masks as numbers to add that broadcast to ``(N, heads, L, S)``."""
        n, length, sources = q.shape[0], q.shape[1], k.shape[1]
        if padding is not None:
            _check_shape("key_padding_mask", padding, (n, sources))
            padding = _added(padding, q)[:, None, None]
        if mask is not None:
            if mask.ndim == 2:
                _check_shape("attn_mask", mask, (length, sources))
                return padding, _added(mask, q)[None, None]
            _check_shape("attn_mask", mask, (n * self.num_heads, length, sources))
            mask = _added(mask, q).unflatten(0, (n, self.num_heads))
        return padding, mask

    def _heads(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of shape ``(N, heads, positions, E / heads)``."""
        q, k, v = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), 1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), 1, -1)], 1)
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        sizes = (self.num_heads, self.head_dim)
        q, k, v = (x.unflatten(2, sizes).transpose(1, 2) for x in (q, k, v))
        return q, k, v

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the values of ``nn.MultiheadAttention`` too."""
        for kind in ("weight", "bias"):
            whole = state_dict.pop(f"{prefix}in_proj_{kind}", None)
            values = dict(zip(PARTS, whole.chunk(3), strict=False)) if whole is not None else {}
            for part in PARTS:
                one = state_dict.pop(f"{prefix}{part}_{kind}", values.get(part))
                if one is not None:
                    state_dict[f"{prefix}{part}.{kind}"] = one
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def split(attention: nn.MultiheadAttention) -> SplitAttention | str:
    """Make the linear maps of an ``nn.MultiheadAttention`` layers.

    Args:
        attention: The module, or one of a subclass, which is refused.

    Returns:
        The new module, or the reason why there is none.

    Example:
        >>> attention = nn.MultiheadAttention(4, 2)
        >>> hook = attention.register_forward_hook(print)
        >>> split(attention)
        'has forward hooks: remove them first'
    """
    reason = subclass_refusal(attention, [nn.MultiheadAttention])
    if reason is not None:
        return reason
    own = {name for name, _ in attention.named_parameters(recurse=False)}
    own |= {name for name, _ in attention.named_buffers(recurse=False)}
    own |= {name for name, _ in attention.named_children()}
    if own - OWN != {"out_proj"}:
        more = ", ".join(sorted(own - OWN - {"out_proj"}))
        return f"it holds more than the weights of attention: {more}"
    out: nn.Module = attention.out_proj
    if not isinstance(out, nn.Linear):
        return f"its part 'out_proj' is {type(out).__name__}, not a linear layer"
    reason = subclass_refusal(out, [NonDynamicallyQuantizableLinear, nn.Linear])
    return SplitAttention(attention) if reason is None else f"its part 'out_proj': {reason}"


def merge(attention: SplitAttention) -> nn.MultiheadAttention | str:
    """Put the four layers of a split attention into an ``nn.MultiheadAttention``.

    Args:
        attention: The split one; its layers may have been converted.

    Returns:
        Torch's module with the same values bit for bit, or the reason why there is none.

    Example:
        >>> attention = nn.MultiheadAttention(4, 2)
        >>> back = merge(SplitAttention(attention))
        >>> torch.equal(back.in_proj_weight, attention.in_proj_weight)
        True
    """
    layers: list[Any] = [attention.get_submodule(part) for part in PARTS]
    out: Any = attention.out_proj
    if not all(hasattr(layer, "weight") and hasattr(layer, "bias") for layer in (*layers, out)):
        return "its layers are of a kind that is not known"
    grads = {layer.weight.requires_grad for layer in layers}
    grads_of_biases = {layer.bias.requires_grad for layer in layers if layer.bias is not None}
    whole = attention.kdim == attention.vdim == attention.embed_dim
    if (whole and len(grads) > 1) or len(grads_of_biases) > 1:
        return "of queries, keys and values some are frozen, and they become one parameter"
    made = nn.MultiheadAttention(
        attention.embed_dim,
        attention.num_heads,
        attention.dropout,
        bias=bool(grads_of_biases),
        add_zero_attn=attention.add_zero_attn,
        kdim=attention.kdim,
        vdim=attention.vdim,
        batch_first=attention.batch_first,
        device="meta",
    )
    if whole:
        made.in_proj_weight = _parameter(torch.cat([layer.weight for layer in layers]), layers[0])
    else:
        for part, layer in zip(PARTS, layers, strict=True):
            setattr(made, f"{part}_weight", _parameter(layer.weight, layer))
    if grads_of_biases:
        biases = torch.cat([layer.bias for layer in layers])
        made.in_proj_bias = nn.Parameter(biases.detach(), grads_of_biases.pop())
    made.out_proj.register_parameter("weight", _parameter(out.weight, out))
    made.out_proj.register_parameter("bias", out.bias)
    made.bias_k, made.bias_v = attention.bias_k, attention.bias_v
    return made.train(attention.training)


def _matrices(attention: nn.MultiheadAttention) -> list[tuple[str, nn.Parameter, Any]]:
    """Matrix and offset of queries, keys and values: torch's own parameters, or views of them."""
    bias: Any = attention.in_proj_bias
    biases = [None] * 3 if bias is None else _views(bias)
    weights: Any = [getattr(attention, f"{part}_weight") for part in PARTS]
    if attention.in_proj_weight is not None:
        weights = _views(attention.in_proj_weight)
    return list(zip(PARTS, weights, biases, strict=True))


def _views(stacked: nn.Parameter) -> list[nn.Parameter]:
    return [nn.Parameter(one, stacked.requires_grad) for one in stacked.detach().chunk(3)]


def _linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta")
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer


def _parameter(values: Tensor, like: Any) -> nn.Parameter:
    if isinstance(values, nn.Parameter):
        return values
    return nn.Parameter(values.detach(), like.weight.requires_grad)


def _check_axes(given: list[Tensor]) -> None:
    shapes = [tuple(x.shape) for x in given]
    same = shapes[1][:2] == shapes[2][:2]
    if any(len(shape) != 3 for shape in shapes) or not same:
        raise ValueError(
            "query, key and value must have two axes or three, and key and value as many "
            f"positions: got {', '.join(map(str, shapes))}"
        )


def _check_shape(name: str, mask: Tensor, shape: tuple[int, ...]) -> None:
    if mask.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(mask.shape)}")


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to add before the softmax."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -math.inf)
    if not mask.is_floating_point():
        raise ValueError(f"a mask must be of booleans or real numbers, got {mask.dtype}")
    return mask


def _merged(mask: Tensor | None, padding: Tensor | None, more: int) -> Tensor | None:
    if padding is None:
        return mask
    padding = F.pad(padding, (0, more))
    return padding if mask is None else mask + padding


def _weighed(
    heads: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """What the heads see, and the weights of it."""
    q, k, v = heads
    logits = (q * q.shape[3] ** -0.5) @ k.mT
    weights = F.dropout((logits if mask is None else logits + mask).softmax(-1), dropout)
    return weights @ v, weights
