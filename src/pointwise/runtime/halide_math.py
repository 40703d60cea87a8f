"""Activations as Halide expressions, as accurate in float32 as PyTorch's own.

Halide compiles with fast arithmetic, which may assume that no value is missing. Here NaN must come
through, as in PyTorch: comparisons that decide about it are strict, and ``is_missing`` looks at
bits. Everything is vectorised: no call leaves the loop.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pointwise.runtime.chain import Activation

if TYPE_CHECKING:
    import halide as hl

    Expr: TypeAlias = hl.Expr
else:
    Expr: TypeAlias = Any

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

EXP_LIMIT = 80.0
"""Beyond it exponentials stay as they are: what they are multiplied with must not make them so
small that the processor computes them a hundred times slower (below 1e-38)."""

SQUARED_LIMIT = 40.0
"""The same for those that are squared."""

LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690583e-4
"""log 2 in two parts; the first has few bits, so that its multiples are exact."""

TAIL_RATE = 0.4
TAIL = (
    0.15666823755759163,
    0.18899808491129122,
    0.012303151785037342,
    0.34101132511526755,
    -0.25563112243098896,
    0.05665032306180129,
)
"""``exp(x^2 / 2)`` times the normal distribution's tail beyond ``x`` is the polynomial with these
coefficients, from the first power on, in ``t = 1 / (1 + 0.4 x)``: a least-squares fit that is
exact at 0, reweighted until the largest error of ``x`` times the tail was smallest (1e-08)."""


def activate(step: Activation, x: Expr) -> Expr:
    """Apply an activation to an expression.

    Args:
        step: The activation.
        x: A float32 expression.

    Returns:
        Its value.
    """
    import halide as hl

    match step.kind:
        case "relu":
            return hl.select(_below(x, 0.0), 0.0, x)
        case "leaky_relu":
            return hl.select(_below(x, 0.0), x * number(step.parameter), x)
        case "relu6":
            return clip(x, 0.0, 6.0)
        case "hardswish":
            return x * clip(x + 3.0, 0.0, 6.0) * number(1 / 6)
        case "elu":
            return hl.select(_below(x, 0.0), expm1(x) * number(step.parameter), x)
        case "selu":
            return hl.select(_below(x, 0.0), expm1(x) * number(SELU_ALPHA), x) * number(SELU_SCALE)
        case "softplus":
            return _softplus(x, step.parameter, step.threshold)
    plain: dict[str, Callable[[Expr], Expr]] = {
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
        "mish": _mish,
        "sigmoid": lambda value: keep_missing(value, 1.0 / (1.0 + exp(-value))),
        "silu": lambda value: _bounded(value) / (1.0 + exp(-value)),
        "tanh": _tanh,
    }
    return plain[step.kind](x)


def number(value: float) -> Expr:
    """A constant of float32; Halide would warn of every plain number that it has to round."""
    import halide as hl

    return hl.f32(value)


def is_missing(x: Expr) -> Expr:
    """Whether a float32 expression is NaN, by its bits."""
    import halide as hl

    return (hl.reinterpret(hl.UInt(32), x) & hl.u32(0x7FFFFFFF)) > hl.u32(0x7F800000)


def keep_missing(x: Expr, y: Expr) -> Expr:
    """``y``, but ``x`` where that is NaN."""
    import halide as hl

    return hl.select(is_missing(x), x, y)


def clip(x: Expr, low: Expr | float, high: Expr | float) -> Expr:
    """Within limits; NaN stays."""
    import halide as hl

    return hl.select(_below(x, low), low, hl.select(_below(high, x), high, x))


def exp(x: Expr) -> Expr:
    """The exponential; beyond 80 to either side it stays as it is there."""
    grown, scale = _grown(x)
    return grown * scale + scale


def expm1(x: Expr) -> Expr:
    """The exponential less one, accurate around zero too."""
    import halide as hl

    grown, scale = _grown(x)
    # around zero, where the scale is 1, fast arithmetic must not add and take away 1
    return grown * scale + hl.select(scale == 1.0, 0.0, scale - 1.0)


def _grown(x: Expr) -> tuple[Expr, Expr]:
    """``exp(r) - 1`` and ``2^n`` where ``x = n log 2 + r`` and ``r`` is small."""
    import halide as hl

    x = hl.clamp(x, -EXP_LIMIT, EXP_LIMIT)
    n = hl.round(x * number(math.log2(math.e)))
    r = x - n * number(LN2_HIGH) - n * number(LN2_LOW)
    tail = polynomial(r, [1 / math.factorial(k) for k in range(2, 8)])
    bits = (hl.cast(hl.Int(32), n) + 127) << 23
    return r * r * tail + r, hl.reinterpret(hl.Float(32), bits)


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """``coefficients[0] + coefficients[1] x + ...``, by Horner's rule.

    Args:
        x: The expression.
        coefficients: From the lowest power on.

    Returns:
        The sum.
    """
    total = number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + number(coefficient)
    return total


def _below(x: Expr | float, limit: Expr | float) -> Expr:
    """``x < limit``, false for NaN even where arithmetic is fast."""
    import halide as hl

    return hl.strict_float(x < limit)


def _bounded(x: Expr) -> Expr:
    """``x``, but 0 so far below zero that its product with a vanishing exponential vanishes."""
    import halide as hl

    return hl.select(_below(x, -EXP_LIMIT), 0.0, x)


def _gelu(x: Expr) -> Expr:
    import halide as hl

    a = hl.abs(x)
    t = 1.0 / (1.0 + a * number(TAIL_RATE))
    beyond = exp(x * x * -0.5) * (polynomial(t, TAIL) * t)
    return hl.select(_below(x, 0.0), 0.0, x) - a * beyond


def _gelu_tanh(x: Expr) -> Expr:
    import halide as hl

    # x / 2 (1 + tanh(u)) is x sigmoid(2 u), which does not cancel
    near = hl.clamp(x, -20.0, 20.0)  # its cube must be finite
    twice = (near + near * near * near * number(0.044715)) * number(2 * math.sqrt(2 / math.pi))
    return _bounded(x) / (1.0 + exp(-twice))


def _tanh(x: Expr) -> Expr:
    import halide as hl

    w = expm1(hl.abs(x) * 2.0)  # of the positive exponent, whose error the quotient damps
    y = w / (w + 2.0)
    return keep_missing(x, hl.select(x < 0.0, -y, y))


def _mish(x: Expr) -> Expr:
    # tanh(log(1 + w)) is w (w + 2) / (w (w + 2) + 2), with w = exp(x); beyond 20 it is 1
    import halide as hl

    w = exp(hl.min(x, 20.0))
    n = w * (w + 2.0)
    return hl.select(_below(x, 20.0), _bounded(x) * n / (n + 2.0), x)


def _softplus(x: Expr, beta: float, threshold: float) -> Expr:
    import halide as hl

    z = x * number(beta)
    u = exp(hl.max(-hl.abs(z), -SQUARED_LIMIT))
    # log(1 + u) by its series in s = u / (2 + u), which is at most 1 / 3
    s = u / (u + 2.0)
    series = polynomial(s * s, [1 / (2 * k + 1) for k in range(8)])
    y = (hl.max(z, 0.0) + s * series * 2.0) * number(1 / beta)
    return hl.select(_below(z, number(threshold)), y, x)
