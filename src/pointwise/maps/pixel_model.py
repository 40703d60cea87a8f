"""What a map needs to know of a model: its network, and what each column was in training."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from pointwise.errors import DataError
from pointwise.inspection.copying import copy_model


@dataclass(frozen=True)
class InputBand:
    """What a model knows of one of its columns, which is now a band.

    Attributes:
        name: Its name.
        gaps: Whether values were missing in training: then a missing value is an input like any
            other, else it makes the pixel nodata.
        offset: Subtracted in float64 before the network.
        levels: Of a category the text of each level; the network takes their numbers.
        ignored: Whether the model leaves it out: such a band need not be there.
        low: Least value in training.
        high: Greatest value in training.
    """

    name: str
    gaps: bool = False
    offset: float = 0.0
    levels: tuple[str, ...] = ()
    ignored: bool = False
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, eq=False)
class PixelModel:
    """A model as a map takes it.

    Attributes:
        network: Maps coded channels ``(N, C, *S)`` to ``(N, M * K, *S)``: logits of ``K`` classes,
            or ``K`` targets in their units, of ``M`` members side by side. Its channels are those
            of ``used``.
        bands: The columns of the training table, in their order.
        members: Number of members ``M``.
        classes: Class labels in the order of the logits; ``None`` for a regression.
        targets: Names of a regression's targets.
        target: Name of what the classes are, where it is known: ``land cover`` for instance.
        name: What the map says it was made with.
        named: Whether the bands' names are the user's; if not, they say nothing of a raster.
        half_widths: Of a regression that was calibrated: from a coverage to how far its intervals
            reach to both sides of each target.
    """

    network: nn.Module
    bands: tuple[InputBand, ...]
    members: int = 1
    classes: tuple[Any, ...] | None = None
    targets: tuple[str, ...] = ("value",)
    target: str = ""
    name: str = ""
    named: bool = True
    half_widths: Callable[[float], Sequence[float]] | None = None
    used: tuple[InputBand, ...] = field(init=False, repr=False)
    """The bands that the network takes, in its order: numbers first, then categories."""

    def __post_init__(self) -> None:
        kept = [band for band in self.bands if not band.ignored]
        if not kept:
            raise DataError("a pixel model must take at least one band, got none")
        order = (*(b for b in kept if not b.levels), *(b for b in kept if b.levels))
        object.__setattr__(self, "used", order)

    @property
    def outputs(self) -> int:
        """Output channels of one member: classes or targets."""
        return len(self.targets if self.classes is None else self.classes)


def as_pixel_model(
    model: Any,
    *,
    bands: Sequence[str | InputBand] | None = None,
    classes: Sequence[Any] | None = None,
    targets: Sequence[str] | None = None,
    members: int = 1,
    name: str = "",
) -> PixelModel:
    """Take a model for maps.

    Args:
        model: A ``PixelModel``, a fitted estimator for tables, or a network of 1x1s.
        bands: Of a network: names of its input channels, in order. Default: unnamed ones.
        classes: Of a network: labels of its output channels. Default: it is a regression.
        targets: Of a network: names of its output channels; with classes one name, of what they
            are. Default: ``value``, or ``value1``, ``value2``, ...
        members: Of a network: how many members' outputs lie side by side in its output.
        name: Of a network: what maps say they were made with. Default: its class.

    Returns:
        The model as a map takes it; a network is copied, and the copy is in evaluation mode.

    Raises:
        DataError: If a network's channels cannot be told, or do not fit the names.
        TypeError: If the model is none of these.

    Example:
        >>> from pointwise.nn import MLP
        >>> as_pixel_model(MLP([4, 8, 1]), bands=["blue", "green", "red", "nir"]).used[3].name
        'nir'
    """
    if isinstance(model, PixelModel):
        return model
    if callable(getattr(model, "pixel_model", None)):
        made: PixelModel = model.pixel_model()
        return made
    if not isinstance(model, nn.Module):
        raise TypeError(
            "a map needs a fitted estimator for tables, a PixelModel or a network of 1x1s, "
            f"got {type(model).__name__}"
        )
    c_in, c_out = _channels(model)
    taken = tuple(
        band if isinstance(band, InputBand) else InputBand(band)
        for band in (bands if bands is not None else [f"x{i}" for i in range(c_in or 0)])
    )
    if not taken:
        raise DataError(
            f"the input channels of {type(model).__name__} cannot be read from it: name its bands"
        )
    if classes is not None and targets is not None and len(targets) != 1:
        raise DataError(f"classes are of one target, got {len(targets)}: {', '.join(targets)}")
    known = None if classes is not None else targets
    count = 1 if c_out is None or classes is not None else max(c_out // members, 1)
    pixel_model = PixelModel(
        network=copy_model(model).eval(),
        bands=taken,
        members=members,
        classes=None if classes is None else tuple(np.asarray(classes).tolist()),
        targets=tuple(known or value_names(count)),
        target=targets[0] if classes is not None and targets else "",
        name=name or type(model).__name__,
        named=bands is not None,
    )
    _check_channels(pixel_model, c_in, c_out)
    return pixel_model


def value_names(count: int) -> tuple[str, ...]:
    """Name values that nobody has named.

    Args:
        count: How many there are.

    Returns:
        Their names.

    Example:
        >>> value_names(1), value_names(2)
        (('value',), ('value1', 'value2'))
    """
    return ("value",) if count == 1 else tuple(f"value{i + 1}" for i in range(count))


def _channels(network: nn.Module) -> tuple[int | None, int | None]:
    """Input and output channels of a chain of 1x1s; ``None`` where they cannot be read."""
    from pointwise.runtime import read_chain

    chain = read_chain(copy_model(network).eval() if network.training else network)
    return (None, None) if isinstance(chain, str) else (chain.c_in, chain.c_out)


def _check_channels(model: PixelModel, c_in: int | None, c_out: int | None) -> None:
    if c_in is not None and len(model.used) != c_in:
        raise DataError(
            f"the network takes {c_in} channels, got {len(model.used)} bands: "
            f"{', '.join(band.name for band in model.used)}"
        )
    if c_out is not None and c_out != model.members * model.outputs:
        what = "targets" if model.classes is None else "classes"
        raise DataError(
            f"the network puts out {c_out} channels, not {model.members} x {model.outputs} "
            f"(members x {what}): give as many {what} as a member has outputs"
        )
