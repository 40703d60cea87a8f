"""The ways from some channels to others, each built and counted: plain, reduced, separable.

The modules are made on the ``meta`` device, which holds shapes and no numbers, without norms and
activations; their convolutions have biases, which count as parameters and not as MACs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import nn

from pointwise.inspection.cost import cost
from pointwise.inspection.spec import Spec
from pointwise.nn.conv import ConvNormActivation, Projection

Idea = Literal["plain", "reduce", "bottleneck", "separable"]


@dataclass(frozen=True)
class Alternative:
    """One way to get from the input's channels to the output's.

    Attributes:
        idea: What it is: ``"plain"``, ``"reduce"``, ``"bottleneck"`` or ``"separable"``.
        name: Its convolutions in order; the width is that after the first 1x1.
        width: Channels of the narrow part, ``None`` where there is none.
        params: Number of parameters, biases included.
        macs: Number of multiply-adds for one input.
        pointwise_macs: How many of them are in 1x1 convolutions.
        activations: Number of values that its convolutions put out.
        bytes: Bytes of inputs, parameters and outputs in float32.
        share: MACs over those of the one plain convolution.
        intensity: MACs per byte: the lower, the more likely that memory sets the pace.
    """

    idea: Idea
    name: str
    width: int | None
    params: int
    macs: int
    pointwise_macs: int
    activations: int
    bytes: int
    share: float
    intensity: float


def break_even(spec: Spec) -> Fraction:
    """Width at which a 1x1 reduce takes as many MACs as the convolution alone.

    At stride 1 it is ``k c_in c_out / (c_in + k c_out)`` for ``k`` taps of the kernel; a stride
    leaves the 1x1 more positions than the KxK, which makes it narrower.

    Args:
        spec: The convolution.

    Returns:
        The width, exactly; narrower ones save.

    Example:
        >>> from pointwise.inspection.spec import parse_spec
        >>> break_even(parse_spec("7x7:512->64@28x28"))
        Fraction(25088, 57)
    """
    kernel = math.prod(spec.kernel) * math.prod(spec.out_size)
    return Fraction(
        kernel * spec.c_in * spec.c_out,
        math.prod(spec.size) * spec.c_in + kernel * spec.c_out,
    )


def plain(spec: Spec, *, times: int = 1) -> Alternative:
    """The KxK convolution itself, or several after one another as in ResNet's basic block.

    Args:
        spec: The convolution.
        times: How many there are; the first takes the stride, the others keep the channels.

    Returns:
        What it costs.
    """
    first = _kxk(spec, spec.c_in, spec.c_out, spec.stride)
    others = [_kxk(spec, spec.c_out, spec.c_out) for _ in range(times - 1)]
    name = ", ".join([spec.label] * times)
    return _counted(spec, "plain", name, None, [first, *others])


def reduced(spec: Spec, width: int) -> Alternative:
    """A 1x1 to ``width`` channels, then the KxK.

    Args:
        spec: The convolution.
        width: Channels in between.

    Returns:
        What it costs.
    """
    parts = [_one(spec.c_in, width), _kxk(spec, width, spec.c_out, spec.stride)]
    return _counted(spec, "reduce", f"1x1 to {width:,}, {spec.label}", width, parts)


def bottleneck(spec: Spec, width: int) -> Alternative:
    """A 1x1 to ``width`` channels, a KxK among them, a 1x1 to the output's channels.

    Args:
        spec: The convolution.
        width: Channels in between.

    Returns:
        What it costs, without a shortcut.
    """
    middle = _kxk(spec, width, width, spec.stride)
    parts = [_one(spec.c_in, width), middle, _one(width, spec.c_out)]
    name = f"1x1 to {width:,}, {spec.label}, 1x1"
    return _counted(spec, "bottleneck", name, width, parts)


def separable(spec: Spec) -> Alternative:
    """A KxK per channel, then a 1x1: ``1 / c_out + 1 / k`` of the MACs for ``k`` taps.

    Args:
        spec: The convolution.

    Returns:
        What it costs.
    """
    depthwise = _kxk(spec, spec.c_in, spec.c_in, spec.stride, groups=spec.c_in)
    name = f"depthwise {spec.label}, 1x1"
    return _counted(spec, "separable", name, None, [depthwise, _one(spec.c_in, spec.c_out)])


def _one(c_in: int, c_out: int) -> nn.Module:
    return Projection(c_in, c_out, norm=None, activation=nn.Identity, device="meta")


def _kxk(spec: Spec, c_in: int, c_out: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return ConvNormActivation(
        c_in,
        c_out,
        spec.kernel,
        rank=len(spec.size),
        stride=stride,
        groups=groups,
        norm=None,
        activation=nn.Identity,
        device="meta",
    )


def _counted(
    spec: Spec, idea: Idea, name: str, width: int | None, parts: Sequence[nn.Module]
) -> Alternative:
    """Count a chain of modules on one input."""
    x = torch.empty(1, spec.c_in, *spec.size, device="meta")
    total = cost(nn.Sequential(*parts), x).total
    return Alternative(
        idea=idea,
        name=name,
        width=width,
        params=total.params,
        macs=total.macs,
        pointwise_macs=round(total.macs * total.pointwise_macs_share),
        activations=total.activations,
        bytes=total.bytes,
        share=total.macs / spec.macs,
        intensity=total.macs / total.bytes,
    )
