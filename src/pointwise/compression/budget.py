"""What a compressed model may cost, as a share of what the model costs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torch import Tensor, nn

from pointwise.compression.allocation.allocation import Limits
from pointwise.compression.allocation.candidates import Candidate, LayerCandidates
from pointwise.inspection.cost import cost
from pointwise.surgery.equivalence import Example
from pointwise.surgery.swap import Swap


@dataclass(frozen=True)
class Budget:
    """Shares of what the given model costs, layers included that cannot be compressed.

    Several may be set at once; all are kept to.

    Attributes:
        macs: Share of its multiply-adds on the example, above 0 and at most 1.
        params: Share of its parameters.
        bytes: Share of the bytes of its parameters.
        latency: Share of the time that it takes for the example, measured on this machine.

    Raises:
        ValueError: If none is set, or one is out of range.

    Example:
        >>> Budget(macs=0.5, params=0.6).given()
        {'macs': 0.5, 'params': 0.6}
    """

    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        given = self.given()
        if not given:
            names = ", ".join(f"{name}=" for name in vars(self))
            raise ValueError(f"budget must set at least one of {names}, it sets none")
        for name, share in given.items():
            one: Any = share
            if isinstance(one, bool) or not isinstance(one, Real) or not 0 < share <= 1:  # or nan
                raise ValueError(f"{name} must be a share above 0 and at most 1, got {share!r}")
            object.__setattr__(self, name, float(share))  # of NumPy's numbers JSON takes none

    def given(self) -> dict[str, float]:
        """The shares that are set, by name."""
        return {name: share for name, share in vars(self).items() if share is not None}


@dataclass(frozen=True)
class Costs:
    """What a whole model costs.

    Attributes:
        macs: Multiply-adds on the example.
        params: Parameters, shared ones once.
        bytes: Bytes of the parameters.
        layers: Multiply-adds by path of the module.
    """

    macs: int
    params: int
    bytes: int
    layers: Mapping[str, int]


def count_costs(model: nn.Module, example: Example) -> Costs:
    """Count what a model costs on an example.

    Args:
        model: The model.
        example: A tensor, a sequence of arguments, or a mapping of arguments by name.

    Returns:
        The counts: the multiply-adds of ``inspection.cost``.

    Raises:
        ValueError: If the model does not take the example.

    Example:
        >>> import torch
        >>> count_costs(nn.Sequential(nn.Linear(3, 2)), torch.ones(5, 3))
        Costs(macs=30, params=8, bytes=32, layers={'0': 30})
    """
    if isinstance(example, Mapping):
        counted = cost(_ByName(model, tuple(example)), tuple(example.values()))
        prefix = "model."
    else:
        counted = cost(model, example if isinstance(example, Tensor) else tuple(example))
        prefix = ""
    layers: Counter[str] = Counter()
    for one in counted.layers:
        layers[one.name.removeprefix(prefix)] += one.macs
    parameters = list(model.parameters())
    return Costs(
        counted.total.macs,
        sum(p.numel() for p in parameters),
        sum(p.numel() * p.element_size() for p in parameters),
        dict(layers),
    )


def limits_of(
    budget: Budget, whole: Costs, layers: Sequence[LayerCandidates], left: Sequence[Swap] = ()
) -> Limits:
    """What the layers that can be compressed may cost, so that the whole keeps to the budget.

    Time is not among them: see ``latency``.

    Args:
        budget: The budget.
        whole: What the model costs.
        layers: The layers that can be compressed; all others stay as they are.
        left: Layers that nothing may become of, for the message.

    Returns:
        The limits.

    Raises:
        ValueError: If the budget is out of reach: what can be reached is said.
    """
    limits: dict[str, float] = {}
    for name, share in budget.given().items():
        if name == "latency":
            continue
        total = getattr(whole, name)
        kept = [_cost(layer, layer.candidates[0], name) for layer in layers]
        least = [min(_cost(layer, one, name) for one in layer.candidates) for layer in layers]
        stays = total - sum(kept)
        limits[name] = share * total - stays
        smallest = (stays + sum(least)) / total if total else 1.0
        if limits[name] < sum(least) - 1e-9 * total:
            shown = math.ceil(smallest * 1000) / 1000
            raise ValueError(
                f"budget must be within reach: {name}={share:g} is not, the smallest share of the "
                f"{name} is {shown:.3f} ({len(layers)} layers can be compressed{_reasons(left)})"
            )
    return Limits(**limits)


def _reasons(left: Sequence[Swap]) -> str:
    """Why others cannot be, the commonest reason first."""
    if not left:
        return ""
    reason, count = Counter(swap.reason for swap in left).most_common(1)[0]
    most = f", {count} of them" if count < len(left) else ""
    return f"; {len(left)} cannot{most}: {reason}"


def check_met(budget: Budget, met: bool) -> None:
    """Refuse a budget of which each part is within reach, but not all at once.

    Args:
        budget: The budget.
        met: Whether it was met.

    Raises:
        ValueError: If it was not.
    """
    if not met:
        parts = ", ".join(f"{name}={share:g}" for name, share in budget.given().items())
        raise ValueError(
            f"budget must be within reach: {parts} are not all at once, though each is alone; "
            "raise one of them"
        )


def _cost(layer: LayerCandidates, candidate: Candidate, name: str) -> int:
    if name == "macs":
        return candidate.macs
    return candidate.params * (layer.layer.itemsize if name == "bytes" else 1)


class _ByName(nn.Module):
    """A model whose arguments by name come in a row."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values: object) -> object:
        return self.model(**dict(zip(self.names, values, strict=True)))
