"""What a map holds: its bands, its type, the number of every class, and its nodata value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, Literal, TypeAlias

import numpy as np

from pointwise.errors import DataError
from pointwise.maps.colours import Colour, map_colour
from pointwise.maps.pixel_model import PixelModel

OutputKind: TypeAlias = Literal["class", "proba", "value"]
Asked: TypeAlias = Literal["auto", "class", "proba", "value"]

_KINDS = ("auto", "class", "proba", "value")
_SMALL, _LARGE = 255, 65535


@dataclass(frozen=True)
class Output:
    """What a map of a model holds.

    Attributes:
        kind: Class numbers, probabilities of the classes, or values of the targets.
        bands: Names of its bands.
        dtype: uint8 or uint16 for class numbers, else float32.
        nodata: What stands where there is no prediction: an integer that is no class, else NaN
            unless another number was asked for.
        codes: Label of each number in a class map; empty for others.
        colours: Colour of each number in a class map; empty for others.
        spread: Whether bands of the spread over the members follow those of the targets.
        coverage: Share of the pixels that are to lie in their interval; ``None`` without one.
        half_widths: How far intervals reach to both sides of each target; the lower ends and then
            the upper ends are the last bands.
        target: Name of what the classes are, where it is known.
    """

    kind: OutputKind
    bands: tuple[str, ...]
    dtype: np.dtype[Any]
    nodata: float
    codes: dict[int, Any] = field(default_factory=dict)
    colours: dict[int, Colour] = field(default_factory=dict)
    spread: bool = False
    coverage: float | None = None
    half_widths: tuple[float, ...] = ()
    target: str = ""


def plan_output(
    model: PixelModel,
    output: Asked = "auto",
    *,
    spread: bool = False,
    interval: float | None = None,
    nodata: float | None = None,
) -> Output:
    """Decide what a map of a model holds.

    Integer classes that fit a uint16 keep their own number, with the least free one of 0 and 255
    (or 65535) for nodata; other classes take the numbers from 1 on, with 0 for nodata.

    Args:
        model: The model.
        output: Class numbers, probabilities, or values; ``"auto"`` is class numbers of a
            classifier and values of a regressor.
        spread: Whether bands follow that hold the standard deviation over the members.
        interval: Share of the pixels that are to lie in their interval, whose lower and upper ends
            follow as bands. Default: no interval.
        nodata: What stands where there is no prediction. Default: as above; NaN for float32.

    Returns:
        The plan.

    Raises:
        DataError: If the model cannot give this, or nodata is a value that the map may hold.

    Example:
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([2, 4, 3]), classes=["oak", "fir", "pine"])
        >>> plan_output(model).codes, plan_output(model, "proba").bands
        ({1: 'oak', 2: 'fir', 3: 'pine'}, ('proba_oak', 'proba_fir', 'proba_pine'))
    """
    kind = _kind(model, output)
    half_widths = () if interval is None else _half_widths(model, interval)
    if spread and kind == "class":
        raise DataError(
            "a class map has no band for the spread over members: ask for output='proba'"
        )
    if spread and model.members == 1:
        raise DataError("a spread needs a model of several members: this one has 1")
    if kind == "class":
        assert model.classes is not None  # _kind saw to it
        return replace(_class_map(model.classes, nodata), target=model.target)
    empty = math.nan if nodata is None else float(nodata)
    if kind == "proba" and 0 <= empty <= 1:
        raise DataError(
            f"nodata of a map of probabilities must lie outside of 0 to 1, or be NaN: got {nodata}"
        )
    if abs(empty) > float(np.finfo(np.float32).max):
        raise DataError(f"nodata of this map must be a number that float32 holds, got {nodata}")
    names = model.targets
    if kind == "proba":
        names = tuple(f"proba_{label}" for label in model.classes or ())
    deviations: tuple[str, ...] = ()
    if spread:
        deviations = tuple(f"{name}_spread" for name in names)
    ends = [f"{name}_{end}" for end in ("low", "high") for name in names] if half_widths else []
    return Output(
        kind,
        (*names, *deviations, *ends),
        np.dtype(np.float32),
        float(np.float32(empty)),
        spread=spread,
        coverage=interval,
        half_widths=half_widths,
        target=model.target,
    )


def _half_widths(model: PixelModel, interval: float) -> tuple[float, ...]:
    if model.classes is not None:
        raise DataError("a classifier has no interval: ask for output='proba'")
    if model.half_widths is None:
        raise DataError(
            "an interval needs the errors on rows that the model has not seen: calibrate the "
            "regressor with such rows (model.calibrate(X, y))"
        )
    return tuple(float(half) for half in model.half_widths(interval))


def _kind(model: PixelModel, output: str) -> OutputKind:
    if output not in _KINDS:
        raise DataError(f"output must be one of {', '.join(_KINDS)}, got {output!r}")
    classifier = model.classes is not None
    if output == "auto":
        return "class" if classifier else "value"
    if classifier and output == "value":
        raise DataError("a classifier has no values to map: ask for output='class' or 'proba'")
    if not classifier and output in ("class", "proba"):
        raise DataError(
            f"a regressor has no classes to map: ask for output='value', not {output!r}"
        )
    return "class" if output == "class" else "proba" if output == "proba" else "value"


def _class_map(classes: Sequence[Any], nodata: float | None) -> Output:
    empty = None if nodata is None else _class_nodata(nodata)
    own = [_own_number(label) for label in classes]
    numbers = [number for number in own if number is not None]
    if len(numbers) == len(classes) == len(set(numbers)):
        empty = _free_number(numbers) if empty is None else empty
        if empty is None:
            raise DataError("the classes take all 65,536 numbers of a class map: none is left")
        if empty in numbers:
            free = _free_number(numbers)
            raise DataError(
                f"nodata {empty} is the number of a class: choose another, such as {free}"
            )
    else:
        empty = 0 if empty is None else empty
        numbers = list(islice((n for n in count(1) if n != empty), len(classes)))
    most = max(*numbers, empty)
    if most > _LARGE:
        raise DataError(f"a class map can hold at most {_LARGE:,} classes, got {len(classes):,}")
    return Output(
        "class",
        ("class",),
        np.dtype(np.uint8 if most <= _SMALL else np.uint16),
        empty,
        dict(zip(numbers, classes, strict=True)),
        {number: map_colour(i) for i, number in enumerate(numbers)},
    )


def _own_number(label: Any) -> int | None:
    """The number of a class that is one, if a class map can hold it."""
    if isinstance(label, str | bytes) or label is None:
        return None
    try:
        number = int(label)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == label and 0 <= number <= _LARGE else None


def _free_number(numbers: Sequence[int]) -> int | None:
    """What none of the classes is called: 0, else the last of the smallest type that fits."""
    taken = set(numbers)
    if 0 not in taken:
        return 0
    most = _SMALL if max(taken) <= _SMALL and len(taken) <= _SMALL else _LARGE
    return next((n for n in range(most, 0, -1) if n not in taken), None)


def _class_nodata(nodata: float) -> int:
    if not 0 <= nodata <= _LARGE or nodata != int(nodata):
        raise DataError(
            f"nodata of a class map must be a whole number from 0 to {_LARGE}, got {nodata}"
        )
    return int(nodata)
