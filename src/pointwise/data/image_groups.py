"""Which images belong together, told from the names of their files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

FOLDER = "folder"
"""The word for the folder that a file is in."""


def group_images(names: Sequence[str], by: str) -> NDArray[np.str_]:
    """Tell which images belong together, such as the frames of one video.

    Args:
        names: Their files.
        by: ``"folder"`` for the folder of each; else a regular expression that is looked for in the
            name of each file, without its folder. What it finds is the group, or what its first
            bracket finds.

    Returns:
        The name of each image's group.

    Raises:
        DataError: If it is no regular expression, or is not found in a name.

    Example:
        >>> group_images(["0001TP_006690.png", "0001TP_006720.png", "Seq05VD_f00000.png"], "[^_]+")
        array(['0001TP', '0001TP', 'Seq05VD'], dtype='<U7')
        >>> group_images(["a/1.png", "b/2.png"], "folder")
        array(['a', 'b'], dtype='<U1')
    """
    if by == FOLDER:
        return np.array([str(PurePosixPath(name).parent) for name in names])
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise DataError(
            f"groups are 'folder' or a regular expression, such as [^_]+ for what comes before "
            f"the first underscore: {by!r} is none ({error})"
        ) from error
    return np.array([_group(PurePosixPath(name).name, pattern) for name in names])


def _group(name: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(name)
    group = found and (found[1] if pattern.groups else found[0])
    if not group:
        raise DataError(
            f"groups: {pattern.pattern!r} finds nothing in the name {name!r}: a file without a "
            "group cannot be split off with its like"
        )
    return group
