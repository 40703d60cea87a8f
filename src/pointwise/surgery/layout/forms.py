"""In which order a value's axes stand in the tensor that holds it."""

import math
from collections.abc import Iterable, Sequence

Form = tuple[int | None, ...]
"""For each axis of the tensor, which axis of the value it is; ``None`` for a unit axis beside them.

Values ``(B, S, C)`` in a tensor ``(B, C, 1, S)`` have the form ``(0, 2, None, 1)``.
"""

Groups = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""What a reshape does: which axes in a row become which axes in a row."""

RANKS = range(2, 6)
"""Numbers of axes that a value may have to be read by a convolution."""


def plain(rank: int) -> Form:
    """The form of a value that stands as the model writes it.

    Args:
        rank: Number of its axes.

    Returns:
        The form.
    """
    return tuple(range(rank))


def channels_second(rank: int) -> Form:
    """The form that a convolution reads, of a value with the channels on its last axis.

    Args:
        rank: Number of its axes, 2 to 5.

    Returns:
        The form: four axes, or five for a value of five.

    Example:
        >>> channels_second(3), channels_second(4)
        ((0, 2, None, 1), (0, 3, 1, 2))
    """
    units = (None,) * (4 - rank)
    return (0, rank - 1, *units, *range(1, rank - 1))


def core(form: Form) -> tuple[int, ...]:
    """A form without its unit axes.

    Args:
        form: The form.

    Returns:
        The value's axes in the tensor's order.
    """
    return tuple(axis for axis in form if axis is not None)


def for_convolution(form: Form) -> Form:
    """The nearest form that a convolution reads, of a value with the channels on its last axis.

    Args:
        form: The form that it has.

    Returns:
        A form of four axes or five with the channels second; no axis moves if they are already.

    Example:
        >>> for_convolution((0, 2, 1)), for_convolution((0, 1, 2)), for_convolution((1, 2, None, 0))
        ((0, 2, None, 1), (0, 2, None, 1), (1, 2, None, 0))
    """
    axes = core(form)
    if axes[1] != len(axes) - 1:
        return channels_second(len(axes))
    if len(form) == max(4, len(axes)) and form[1] == axes[1]:
        return form
    return (*axes[:2], *(None,) * (4 - len(axes)), *axes[2:])


def lowered(form: Form, shift: int) -> Form:
    """The form of an operand with fewer axes, so that it broadcasts along one with all of them.

    Args:
        form: The form of the operand with all axes.
        shift: How many axes the other lacks, on the left.

    Returns:
        Its form.

    Example:
        >>> lowered((0, 3, 1, 2), 3)  # (C,) beside (B, H, W, C)
        (None, 0, None, None)
    """
    return tuple(None if axis is None or axis < shift else axis - shift for axis in form)


def relabelled(form: Form, places: Sequence[int]) -> Form:
    """The form of a value whose axes are put in another order while its tensor stays.

    Args:
        form: The form that it had.
        places: For each new axis, which old one it is; old ones may be missing.

    Returns:
        Its form now.

    Example:
        >>> relabelled((0, 1, 2, 3), (0, 2, 3, 1))  # a map seen with the channels last
        (0, 3, 1, 2)
    """
    new = {old: now for now, old in enumerate(places)}
    return tuple(None if axis is None else new.get(axis) for axis in form)


def without(form: Form, removed: Iterable[int]) -> Form:
    """The form after axes are gone from the value and the tensor.

    Args:
        form: The form that it had.
        removed: The axes of the value.

    Returns:
        Its form now.
    """
    gone = set(removed)
    kept = [axis for axis in range(len(core(form))) if axis not in gone]
    return relabelled(tuple(axis for axis in form if axis not in gone or axis is None), kept)


def groups(before: Sequence[int], after: Sequence[int]) -> Groups | None:
    """Which axes a reshape merges and splits.

    Args:
        before: The sizes that the value had.
        after: The sizes that it gets.

    Returns:
        Axes in a row before, and what they become; ``None`` where sizes of 0 hide it.

    Example:
        >>> groups((2, 5, 12), (2, 5, 3, 4))
        (((0,), (0,)), ((1,), (1,)), ((2,), (2, 3)))
    """
    if 0 in (*before, *after) or math.prod(before) != math.prod(after):
        return None
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        left, right = [i], [j]
        have, want = before[i], after[j]
        while have != want:
            if have < want:
                i += 1
                left.append(i)
                have *= before[i]
            else:
                j += 1
                right.append(j)
                want *= after[j]
        found.append((left, right))
        i, j = i + 1, j + 1
    if not found:
        return None
    found[-1][0].extend(range(i, len(before)))
    found[-1][1].extend(range(j, len(after)))
    return tuple((tuple(left), tuple(right)) for left, right in found)


def regrouped(form: Form, made: Groups) -> Form | None:
    """The form after a reshape that leaves the tensor's order as it is.

    Args:
        form: The form before.
        made: The reshape.

    Returns:
        The form after it, without unit axes; ``None`` where axes to merge do not stand in a row.

    Example:
        >>> regrouped((0, 2, None, 1), (((0,), (0,)), ((1,), (1,)), ((2,), (2, 3))))
        (0, 2, 3, 1)
    """
    axes, at = core(form), 0
    result: list[int] = []
    by_first = {left[0]: (left, right) for left, right in made}
    while at < len(axes):
        left, right = by_first.get(axes[at], ((), ()))
        if not left or axes[at : at + len(left)] != left:
            return None
        result.extend(right)
        at += len(left)
    return tuple(result)


def ready_to_regroup(form: Form, made: Groups) -> Form:
    """The form to bring a value to before a reshape.

    Args:
        form: The form that it has.
        made: The reshape.

    Returns:
        A form whose axes to merge stand in a row: the channels second if they stand before others.
    """
    axes = core(form)
    order = [left for left, _ in made]
    if len(order) > 2 and axes[-1] != len(axes) - 1:
        order = [order[0], order[-1], *order[1:-1]]
    return tuple(axis for left in order for axis in left)
