"""What a network costs: parameters, multiply-adds, activations and bytes, layer by layer.

Operators are counted, not class names: one map costs the same however it is spelt, and a 1x1
convolution is counted like the ``nn.Linear`` that it is at every position.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pointwise.inspection.cost_page import render_html
from pointwise.inspection.cost_table import render_text
from pointwise.inspection.grouping import Entry, group
from pointwise.inspection.machine import Machine
from pointwise.inspection.tracing import trace

if TYPE_CHECKING:
    import pandas as pd

Shape = tuple[int, ...]

CHANNEL_KINDS = ("pointwise", "linear")
"""Layers that are one matrix on the channel axis."""


@dataclass(frozen=True)
class LayerCost:
    """What one call of a layer costs.

    Attributes:
        name: Path of the module at this call; empty for the model's own operators.
        kind: ``pointwise`` (a 1x1 convolution), ``linear`` (another product with a weight),
            ``depthwise`` or ``conv`` (other convolutions), ``attention`` or ``matmul`` (products
            of two activations), ``other`` (no multiply-adds).
        operators: Its operators, each once; none for parameters that the forward does not reach.
        input_shape: Shape of the first tensor that it is given.
        output_shape: Shape of the first tensor that it gives.
        params: Trained numbers that no layer above it has used.
        macs: Multiply-adds, biases not counted.
        activations: Numbers that it leaves for others.
        bytes: Parameters and inputs read, and outputs written, in their own types.
    """

    name: str
    kind: str
    operators: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    params: int
    macs: int
    activations: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Multiply-adds per byte."""
        return self.macs / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class Total:
    """What a whole network costs.

    Attributes:
        params: Trained numbers, shared ones once.
        macs: Multiply-adds.
        activations: Numbers that the layers leave for others.
        bytes: Bytes that the layers read and write.
        pointwise_params_share: Share of the parameters in 1x1 convolutions.
        pointwise_macs_share: Share of the multiply-adds in 1x1 convolutions.
        channel_params_share: The same in 1x1 convolutions and linear layers together.
        channel_macs_share: The same in 1x1 convolutions and linear layers together.
    """

    params: int
    macs: int
    activations: int
    bytes: int
    pointwise_params_share: float
    pointwise_macs_share: float
    channel_params_share: float
    channel_macs_share: float


@dataclass(frozen=True)
class Cost:
    """What a network costs, by layer and in total; prints itself as a table.

    Attributes:
        layers: One entry per call of a layer, in the order of their first operators; a call with
            products of several kinds has one of each.
        uncounted: Operators that may multiply and that nothing here knows how to count.
    """

    layers: tuple[LayerCost, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> Total:
        """The sums over the layers, and the shares of those that mix channels alone."""

        def share(of: Callable[[LayerCost], int], kinds: Sequence[str]) -> float:
            whole = sum(map(of, self.layers))
            return (
                sum(of(one) for one in self.layers if one.kind in kinds) / whole if whole else 0.0
            )

        def params(one: LayerCost) -> int:
            return one.params

        def macs(one: LayerCost) -> int:
            return one.macs

        return Total(
            params=sum(map(params, self.layers)),
            macs=sum(map(macs, self.layers)),
            activations=sum(one.activations for one in self.layers),
            bytes=sum(one.bytes for one in self.layers),
            pointwise_params_share=share(params, ["pointwise"]),
            pointwise_macs_share=share(macs, ["pointwise"]),
            channel_params_share=share(params, CHANNEL_KINDS),
            channel_macs_share=share(macs, CHANNEL_KINDS),
        )

    def memory_bound(self, machine: Machine) -> list[LayerCost]:
        """The layers that wait for memory, not for arithmetic.

        Args:
            machine: What a machine does in a second; ``measure_machine()`` finds out.

        Returns:
            Layers with fewer multiply-adds per byte than the machine does while it moves one.
        """
        return [one for one in self.layers if one.bytes and one.intensity < machine.ridge]

    def to_dict(self) -> dict[str, Any]:
        """``total`` and ``layers`` as JSON takes them, and ``uncounted`` where there are any."""
        layers = [{**asdict(one), "intensity": one.intensity} for one in self.layers]
        for layer in layers:
            for key in ("operators", "input_shape", "output_shape"):
                layer[key] = list(layer[key])
        result: dict[str, Any] = {"total": asdict(self.total), "layers": layers}
        return {**result, "uncounted": list(self.uncounted)} if self.uncounted else result

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per layer, in the order of the layers."""
        import pandas as pd

        columns = [*(field.name for field in fields(LayerCost)), "intensity"]
        rows = [[getattr(one, column) for column in columns] for one in self.layers]
        return pd.DataFrame(rows, columns=columns)

    def to_text(self, machine: Machine | None = None) -> str:
        """A table of at most 100 columns.

        Args:
            machine: Marks the layers that are memory bound on it. Default: none is marked.

        Returns:
            The table, the totals, and what the 1x1 convolutions hold of them.
        """
        return render_text(self, machine)

    def to_html(self, machine: Machine | None = None) -> str:
        """A table as a part of an HTML page, with its own style and nothing to fetch.

        Args:
            machine: Marks the layers that are memory bound on it. Default: none is marked.

        Returns:
            The table, the totals, and what the 1x1 convolutions hold of them.
        """
        return render_html(self, machine)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()


def cost(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> Cost:
    """Count what a network costs on an input, by layer and in total.

    The forward runs in evaluation mode without gradients, on copies without values where it does
    not look at values, so that a network on the ``meta`` device costs nothing to count. Parameters,
    buffers, modes and random generators are left as they were.

    Args:
        model: Any module, on any device.
        x: Its input, or its inputs in a tuple; their values do not matter.

    Returns:
        The counts; ``print`` shows a table.

    Raises:
        ValueError: If the model cannot take ``x`` (which layer failed, on what shapes), or has
            parameters without a size yet.
        TypeError: If the model is no module, such as a network's name.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
        >>> counted = cost(model.to("meta"), torch.ones(1, 3, 10, 10, device="meta"))
        >>> [(one.name, one.kind, one.macs) for one in counted.layers]
        [('0', 'conv', 13824), ('1', 'other', 0), ('2', 'pointwise', 2048)]
        >>> counted.total.pointwise_macs_share
        0.12903225806451613
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a network, got {model!r:.60}: build it first, such as "
            "networks.build('resnet50')"
        )
    inputs = x if isinstance(x, tuple) else (x,)
    for name, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ValueError(f"parameter {name!r} has no size yet: run the model once first")
    traced = trace(model, inputs)
    entries, used = group(traced)
    layers = [*map(_layer, entries), *_unused(traced.model, used)]
    return Cost(tuple(layers), tuple(traced.uncounted))


def _layer(entry: Entry) -> LayerCost:
    return LayerCost(
        name=entry.call.name,
        kind=entry.kind,
        operators=tuple(dict.fromkeys(o.name.removeprefix("aten::") for o in entry.operations)),
        input_shape=entry.input_shape,
        output_shape=entry.output_shape,
        params=entry.params,
        macs=sum(operation.macs for operation in entry.operations),
        activations=entry.activations,
        bytes=entry.bytes,
    )


def _unused(model: nn.Module, used: set[int]) -> list[LayerCost]:
    """Parameters that the forward does not reach, by module: parts that only train, say."""
    sizes: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        if id(parameter) not in used:
            sizes[name.rpartition(".")[0]] += parameter.numel()
    return [LayerCost(name, "other", (), (), (), size, 0, 0, 0) for name, size in sizes.items()]
