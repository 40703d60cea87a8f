"""A linear layer on paper: its sizes and options, what it costs, and how to build it.

Weights are ``(G, O, C, *K)`` here: groups, outputs and inputs of a group, and the taps of the
kernel, in float64 and the same for every kind of layer.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv
from pointwise.surgery.axes import is_transposed
from pointwise.surgery.refusals import only_adds
from pointwise.surgery.spelling.orders import FORMATS, lies_last

Axes = tuple[int, ...]

TRANSPOSED: dict[int, type[nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}

Kind = Literal["linear", "pointwise", "conv", "transposed"]

KINDS: dict[type[nn.Module], Kind] = {
    nn.Linear: "linear",
    PointwiseConv: "pointwise",
    **dict.fromkeys(CONVOLUTIONS.values(), "conv"),
    **dict.fromkeys(TRANSPOSED.values(), "transposed"),
}
"""The layers that can be compressed, by class."""


def kind_of(layer: nn.Module) -> Kind | None:
    """Of which kind a layer is.

    Args:
        layer: Any module.

    Returns:
        The kind; ``None`` if it cannot be compressed, as a subclass that may compute something
        else. The linear layer of GPT-2, which transformers calls ``Conv1D``, is ``linear``, though
        its weight has a row per input.

    Example:
        >>> kind_of(nn.Conv2d(3, 8, 3)), kind_of(nn.ReLU())
        ('conv', None)
    """
    if is_transposed(layer):
        return "linear"
    return next((kind for base, kind in KINDS.items() if only_adds(layer, base)), None)


@dataclass(frozen=True)
class Stage:
    """One plain linear layer: everything but its values.

    Attributes:
        kind: ``linear`` has the channels last, ``pointwise`` second, ``conv`` and ``transposed``
            before as many axes as the kernel has.
        c_in: Input channels of all groups.
        c_out: Output channels of all groups.
        groups: Groups.
        kernel: Taps along each axis; empty without axes.
        stride: As in torch.
        padding: As in torch.
        dilation: As in torch.
        output_padding: As in torch, of transposed convolutions.
        padding_mode: As in torch.

    Example:
        >>> stage = Stage.of(nn.Conv2d(16, 32, 3, stride=2, padding=1))
        >>> stage.weights, stage.output_shape((1, 16, 8, 8)), stage.macs((1, 16, 8, 8))
        (4608, (1, 32, 4, 4), 73728)
    """

    kind: Kind
    c_in: int
    c_out: int
    groups: int = 1
    kernel: Axes = ()
    stride: Axes = ()
    padding: Axes | str = ()
    dilation: Axes = ()
    output_padding: Axes = ()
    padding_mode: str = "zeros"

    @classmethod
    def of(cls, layer: nn.Module) -> "Stage":
        """Read a layer.

        Args:
            layer: One that ``kind_of`` knows.

        Returns:
            Its sizes and options.

        Raises:
            TypeError: If it is of another class.
        """
        kind = kind_of(layer)
        if kind is None:
            names = ", ".join(known.__name__ for known in KINDS)
            raise TypeError(f"layer must be one of {names}, got {type(layer).__name__}")
        known: Any = layer
        if is_transposed(layer):
            return cls(kind, *known.weight.shape)
        if kind == "linear":
            return cls(kind, known.in_features, known.out_features)
        if kind == "pointwise":
            return cls(kind, known.c_in, known.c_out, known.groups)
        return cls(
            kind,
            known.in_channels,
            known.out_channels,
            known.groups,
            known.kernel_size,
            known.stride,
            known.padding,
            known.dilation,
            known.output_padding,
            known.padding_mode,
        )

    @property
    def taps(self) -> int:
        """How many positions the kernel reads."""
        return math.prod(self.kernel)

    @property
    def inputs(self) -> int:
        """Input channels of a group."""
        return self.c_in // self.groups

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return self.c_out // self.groups

    @property
    def weights(self) -> int:
        """Number of weights, offsets not counted."""
        return self.c_out * self.inputs * self.taps

    def resized(self, inputs: int, outputs: int) -> "Stage":
        """The same layer with other channels.

        Args:
            inputs: Input channels of a group.
            outputs: Output channels of a group.

        Returns:
            The stage.
        """
        return replace(self, c_in=inputs * self.groups, c_out=outputs * self.groups)

    def mix(self, inputs: int, outputs: int) -> "Stage":
        """A 1x1 convolution before or behind this layer.

        Args:
            inputs: Input channels of a group.
            outputs: Output channels of a group.

        Returns:
            The stage, with the same groups.
        """
        kind: Literal["linear", "pointwise", "conv"]
        kind = "conv" if self.kind == "transposed" else self.kind
        rank = len(self.kernel)
        ones, zeros = (1,) * rank, (0,) * rank
        c_in, c_out = inputs * self.groups, outputs * self.groups
        return Stage(kind, c_in, c_out, self.groups, ones, ones, zeros, ones, zeros)

    def along(self, axes: tuple[int, ...]) -> "Stage":
        """The same layer with a kernel along some axes only; the others pass through it.

        Args:
            axes: Which axes it works on.

        Returns:
            The stage.
        """

        def kept(values: Axes, other: int) -> Axes:
            return tuple(v if axis in axes else other for axis, v in enumerate(values))

        padding = self.padding if isinstance(self.padding, str) else kept(self.padding, 0)
        return replace(
            self,
            kernel=kept(self.kernel, 1),
            stride=kept(self.stride, 1),
            padding=padding,
            dilation=kept(self.dilation, 1),
            output_padding=kept(self.output_padding, 0),
        )

    def pads(self) -> list[tuple[int, int]]:
        """Positions that are put before and after each axis; of transposed ones what it crops."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.kernel)
        if isinstance(self.padding, str):
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        return [(p, p) for p in self.padding]

    def output_shape(self, shape: Axes) -> Axes:
        """The shape of the output.

        Args:
            shape: Shape of the input, with or without a batch axis.

        Returns:
            The shape.
        """
        if self.kind == "linear":
            return (*shape[:-1], self.c_out)
        if self.kind == "pointwise":
            return (shape[0], self.c_out, *shape[2:])
        rank = len(self.kernel)
        space = tuple(self._length(axis, n) for axis, n in enumerate(shape[-rank:]))
        return (*shape[: -rank - 1], self.c_out, *space)

    def _length(self, axis: int, n: int) -> int:
        before, after = self.pads()[axis]
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        if self.kind == "transposed":
            stuffed = (n - 1) * self.stride[axis] + reach
            return stuffed - before - after + self.output_padding[axis]
        return (n + before + after - reach) // self.stride[axis] + 1

    def macs(self, shape: Axes) -> int:
        """Multiply-adds on an input, offsets not counted.

        Args:
            shape: Shape of the input.

        Returns:
            The number.
        """
        if self.kind == "transposed":
            return math.prod(shape) // self.c_in * self.weights
        return math.prod(self.output_shape(shape)) // self.c_out * self.weights

    def read(self, layer: nn.Module) -> tuple[Tensor, Tensor | None]:
        """The values of a layer.

        Args:
            layer: The layer that this is the stage of.

        Returns:
            Weight ``(G, O, C, *K)`` and bias ``(G, O)``, in float64.
        """
        known: Any = layer
        weight = known.weight.detach().double()
        if is_transposed(layer):
            weight = weight.mT
        if self.kind == "transposed":  # (C_in, C_out / G, *K)
            weight = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
        else:
            weight = weight.unflatten(0, (self.groups, -1))
        bias = known.bias
        return weight, None if bias is None else bias.detach().double().view(self.groups, -1)

    def build(self, weight: Tensor, bias: Tensor | None, like: nn.Module) -> nn.Module:
        """Make the layer.

        Args:
            weight: ``(G, O, C, *K)``.
            bias: ``(G, O)``, or ``None``.
            like: A layer whose type, device, memory order and gradient flag the new one has.

        Returns:
            The layer.
        """
        old: Any = like
        has_bias = bias is not None
        new: Any
        if self.kind == "linear":
            new = nn.Linear(self.c_in, self.c_out, has_bias, device="meta")
        elif self.kind == "pointwise":
            new = PointwiseConv(
                self.c_in, self.c_out, groups=self.groups, bias=has_bias, device="meta"
            )
        else:
            new = self._convolution(has_bias)
        if self.kind == "transposed":
            weight = weight.transpose(1, 2)
        weight = weight.flatten(0, 1).to(old.weight)
        form = FORMATS[weight.ndim] if lies_last(old.weight) else torch.contiguous_format
        weight = weight.contiguous(memory_format=form)
        learns = old.weight.requires_grad
        new.weight = nn.Parameter(weight, requires_grad=learns)
        if bias is not None:
            values = bias.flatten().to(old.weight).contiguous()
            new.bias = nn.Parameter(values, requires_grad=learns)
        new.train(like.training)
        return new  # type: ignore[no-any-return]

    def _convolution(self, has_bias: bool) -> nn.Module:
        rank = len(self.kernel)
        options: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "bias": has_bias,
            "padding_mode": self.padding_mode,
            "device": "meta",
        }
        if self.kind == "transposed":
            options["output_padding"] = self.output_padding
            return TRANSPOSED[rank](self.c_in, self.c_out, self.kernel, **options)  # type: ignore[arg-type]
        return CONVOLUTIONS[rank](self.c_in, self.c_out, self.kernel, **options)  # type: ignore[arg-type]
