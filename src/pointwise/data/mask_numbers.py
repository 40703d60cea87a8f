"""Which numbers masks may hold: those of the classes, and one for unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointwise.data.names import shorten
from pointwise.errors import DataError

_MOST = 255
_UNKNOWN = 255
"""What unknown pixels hold by custom, where nobody says."""


@dataclass(frozen=True)
class Numbering:
    """What the numbers of masks mean.

    Args:
        classes: The name of each class, in the order of their numbers.
        ignore: The number of unknown pixels.
        foreground: 255 stands for class 1.
        notes: What was concluded, a sentence each.
    """

    classes: tuple[str, ...]
    ignore: int | None
    foreground: bool = False
    notes: tuple[str, ...] = ()


def check_numbering(
    classes: Sequence[str] | None, ignore: int | None
) -> tuple[tuple[str, ...] | None, int | None]:
    """Check what the caller says of the numbers.

    Args:
        classes: Names of the classes.
        ignore: The number of unknown pixels.

    Returns:
        Both.

    Raises:
        ValueError: If there are fewer than two names, too many or the same twice, or the number is
            none that a mask can hold.

    Example:
        >>> check_numbering(["sky", "road"], 255)
        (('sky', 'road'), 255)
    """
    if ignore is not None and (isinstance(ignore, bool) or ignore not in range(_MOST + 1)):
        raise ValueError(f"ignore must be a number from 0 to {_MOST}, got {ignore!r}")
    if classes is None:
        return None, ignore
    names = () if isinstance(classes, str) else tuple(map(str, classes))
    if not 2 <= len(names) <= _MOST + 1 or len(set(names)) < len(names):
        raise ValueError(f"classes must be 2 to {_MOST + 1} different names, got {classes!r}")
    return names, ignore


def number_classes(
    present: NDArray[np.bool_],
    files: Sequence[Path],
    classes: tuple[str, ...] | None,
    ignore: int | None,
) -> Numbering:
    """Tell what the numbers in masks mean.

    Args:
        present: Whether a mask holds a number, shape ``(N, 256)``.
        files: The file of each mask.
        classes: Names where they are known.
        ignore: The number of unknown pixels where it is known.

    Returns:
        The meaning.

    Raises:
        DataError: If there are numbers without a class, fewer than two classes without names, or
            more numbers are missing than there.

    Example:
        >>> present = np.isin(np.arange(256), [[0, 1, 255]])[np.newaxis]
        >>> number_classes(present, [Path("a.png")], None, None)
        Numbering(classes=('0', '1'), ignore=255, foreground=False, notes=('255 taken for ...',))
    """
    found = set(np.flatnonzero(present.any(axis=0)).tolist()) - {ignore}
    two = (classes is None and 0 in found) or (classes is not None and len(classes) == 2)
    if ignore is None and two and _MOST in found and found <= {0, _MOST}:
        note = "masks of 0 and 255: 255 taken for class 1"
        return Numbering(classes or ("0", "255"), None, True, (note,))
    if classes is not None:
        _refuse_unknown(present, files, len(classes), ignore)
        return Numbering(classes, ignore)
    notes = []
    if ignore is None and _UNKNOWN in found and _UNKNOWN - 1 not in found:
        ignore, found = _UNKNOWN, found - {_UNKNOWN}
        notes.append("255 taken for unknown (ignore=255)")
    missing = sorted(set(range(max(found, default=0))) - found - {ignore})
    _refuse_odd(found, missing, files[0].parent)
    if missing:
        notes.append(f"no pixel has the class {shorten([str(number) for number in missing], 10)}")
    return Numbering(tuple(map(str, range(max(found) + 1))), ignore, False, tuple(notes))


def _refuse_unknown(
    present: NDArray[np.bool_], files: Sequence[Path], count: int, ignore: int | None
) -> None:
    known = np.arange(_MOST + 1) < count
    if ignore is not None:
        known[ignore] = True
    strange = present & ~known
    wrong = np.flatnonzero(strange.any(axis=1))
    if not len(wrong):
        return
    numbers = shorten([str(number) for number in np.flatnonzero(strange[wrong[0]])], 10)
    others = f" (as in {len(wrong)} masks)" if len(wrong) > 1 else ""
    unknown = "" if ignore is None else f", {ignore} for unknown"
    raise DataError(
        f"{files[wrong[0]]}: masks hold 0 to {count - 1} for {count} classes{unknown}, got "
        f"{numbers}{others}: name all classes, or give ignore= for unknown pixels"
    )


def _refuse_odd(found: set[int], missing: Sequence[int], folder: Path) -> None:
    shown = shorten([str(number) for number in sorted(found)], 10)
    if len(found) < 2:
        what = f"only the number {shown}" if found else "only unknown pixels"
        raise DataError(f"{folder}: two classes or more are needed, the masks hold {what}")
    if len(missing) > len(found):
        raise DataError(
            f"{folder}: classes are numbered 0, 1, 2 and so on, the masks hold {shown}: renumber "
            "them, or name a class for every number (classes=)"
        )
