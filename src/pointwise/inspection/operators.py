"""Multiply-adds of the operators that multiply: a plain table from operator to formula.

A formula is written as its shapes, ``[n, m] = mm([n, k], [k, m])``, then unpacked with the same
letters; ``*`` is what it does not look at. Biases are not counted.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

Formula = Callable[[Sequence[Any], Any], int]
"""From an operator's arguments and its output to its multiply-adds."""


def _mm(args: Sequence[Any], _: Any) -> int:
    # [n, m] = mm([n, k], [k, m])
    (n, k), (_, m) = args[0].shape, args[1].shape
    return int(n * k * m)


def _bmm(args: Sequence[Any], _: Any) -> int:
    # [b, n, m] = bmm([b, n, k], [b, k, m])
    (b, n, k), (_, _, m) = args[0].shape, args[1].shape
    return int(b * n * k * m)


def _mv(args: Sequence[Any], _: Any) -> int:
    # [n] = mv([n, k], [k])
    n, k = args[0].shape
    return int(n * k)


def _dot(args: Sequence[Any], _: Any) -> int:
    # [] = dot([k], [k])
    (k,) = args[0].shape
    return int(k)


def _packed(args: Sequence[Any], out: Any) -> int:
    # [n, m] = _weight_int8pack_mm([n, k], *): the weight's own shape is that of its packing
    (_, k), (n, m) = args[0].shape, out.shape
    return int(n * k * m)


def _convolution(args: Sequence[Any], out: Any) -> int:
    # [n, c_out, *s_out] = convolution([n, c_in, *s_in], [c_out, c_in / groups, *kernel], ...)
    # [n, c_out, *s_out] = transposed: ([n, c_in, *s_in], [c_in, c_out / groups, *kernel], ...)
    x, weight, transposed = args[0], args[1], args[6]
    n, _, *space = x.shape if transposed else out.shape
    return int(n * math.prod(space) * math.prod(weight.shape))


def _deform_conv(args: Sequence[Any], out: Any) -> int:
    # [n, c_out, *s_out] = deform_conv2d(*, [c_out, c_in / groups, *kernel], ...)
    n, _, *space = out.shape
    return int(n * math.prod(space) * math.prod(args[1].shape))


def _attention(args: Sequence[Any], _: Any) -> int:
    # [n, h, s, e] = attention([n, h, s, d], [n, *, t, d], [n, *, t, e]): a score, then a mean
    (n, h, s, d), (_, _, t, e) = args[0].shape, args[2].shape
    return int(n * h * s * t * (d + e))


def _trilinear(args: Sequence[Any], _: Any) -> int:
    # sums i1 * i2 * i3, each with the unit axes in its list, over some axes
    shapes = []
    for tensor, axes in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        shapes.append(shape)
    return math.prod(max(sizes) for sizes in zip(*shapes, strict=True))


def _mkldnn_rnn(args: Sequence[Any], _: Any) -> int:
    # [t, n, h] = mkldnn_rnn_layer([t, n, i], [g, i], [g, h], ...): g = gates * h
    (t, n, i), (g, h) = args[0].shape, args[2].shape
    return int(t * n * g * (i + h))


def _cudnn_rnn(args: Sequence[Any], _: Any) -> int:
    # [t, n, h] = _cudnn_rnn([t, n, i], weights, ...): every matrix once a step
    t, n, _ = args[0].shape
    return int(t * n * sum(math.prod(w.shape) for w in args[1] if w.ndim == 2))


def _after_first(formula: Formula) -> Formula:
    """The formula of the operator that adds its product to its first argument."""
    return lambda args, out: formula(args[1:], out)


ATTENTION = "aten::_scaled_dot_product_"
"""What the names of fused attention begin with."""

MACS: dict[str, Formula | None] = {
    "aten::mm": _mm,
    "aten::addmm": _after_first(_mm),
    "aten::_addmm_activation": _after_first(_mm),
    "aten::bmm": _bmm,
    "aten::baddbmm": _after_first(_bmm),
    "aten::addbmm": _after_first(_bmm),
    "aten::mv": _mv,
    "aten::addmv": _after_first(_mv),
    "aten::dot": _dot,
    "aten::vdot": _dot,
    "aten::_int_mm": _mm,
    "aten::_scaled_mm": _mm,
    "aten::_weight_int8pack_mm": _packed,
    "aten::_weight_int4pack_mm": _packed,
    "aten::_weight_int4pack_mm_for_cpu": _packed,
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "torchvision::deform_conv2d": _deform_conv,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_scaled_dot_product_attention_math_for_mps": _attention,
    "aten::_trilinear": _trilinear,
    "aten::mkldnn_rnn_layer": _mkldnn_rnn,
    "aten::_cudnn_rnn": _cudnn_rnn,
    # Named like products, but without multiply-adds of a map; or from elsewhere, and without any.
    "aten::linalg_vector_norm": None,
    "aten::_linalg_check_errors": None,
    "aten::_thnn_fused_lstm_cell": None,
    "aten::_thnn_fused_gru_cell": None,
    "aten::_fused_sdp_choice": None,
    "torchvision::nms": None,
    "torchvision::roi_align": None,
    "torchvision::roi_pool": None,
    "torchvision::ps_roi_align": None,
    "torchvision::ps_roi_pool": None,
}
"""Multiply-adds of each operator that has some; ``None`` where it is known to have none."""

OPERANDS: dict[str, slice] = {
    "aten::addmm": slice(1, 3),
    "aten::_addmm_activation": slice(1, 3),
    "aten::baddbmm": slice(1, 3),
    "aten::addbmm": slice(1, 3),
    "aten::addmv": slice(1, 3),
    "aten::_trilinear": slice(0, 3),
    "aten::mkldnn_rnn_layer": slice(0, 3),
    "aten::_scaled_dot_product_attention_math_for_mps": slice(0, 3),
}
"""Which arguments are multiplied, where they are not the first two."""

CONVOLUTIONS = ("aten::convolution", "aten::_convolution", "aten::convolution_overrideable")

LOOKUPS = ("aten::embedding", "aten::index", "aten::index_select", "aten::gather")
"""They read as much of their first argument as they write."""

FREE = (
    "aten::_unsafe_view",
    "aten::lift_fresh",
    "aten::detach",
    "aten::alias",
    "aten::empty",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::new_empty",
    "prim::device",
)
"""They move no data, though their schemas do not all say so."""

_PRODUCT = re.compile(
    r"(?:^|_)(?:[a-z]*mm|mv|dot|[a-z]*matmul|conv(?:olution|\dd)?|linear|[a-z]*rnn|lstm|gru|fft"
    r"|cdist|attention|linalg|solve|transformer)(?:_|$)"
)


def is_unknown_product(name: str) -> bool:
    """Whether an operator may multiply, and has no formula.

    Args:
        name: Its name, such as ``aten::mm``.

    Returns:
        True for operators of other libraries, and for torch's own that are named like a product;
        marks of its profiler compute nothing.

    Example:
        >>> [is_unknown_product(n) for n in ("aten::mm", "aten::relu", "quantized::linear")]
        [False, False, True]
    """
    if name in MACS:
        return False
    library, _, own = name.partition("::")
    return library not in ("aten", "prim", "prims", "profiler") or _PRODUCT.search(own) is not None
