"""Images and their labels from a pair of idx files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pointwise.data.idx import read_idx
from pointwise.data.image_pixels import Colour, Size, convert
from pointwise.data.image_stack import new_images
from pointwise.errors import DataError


def read_idx_images(
    path: Path,
    labels: str | Path | Literal[False] | None = None,
    size: Size | None = None,
    colour: Colour = "auto",
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, tuple[str, ...]]:
    """Read the images of one idx file and the labels of another.

    Args:
        path: The file of images: bytes with axes N, H, W, or one more of 1 or 3 channels, which
            comes second or last.
        labels: The file of labels; ``None`` finds it by the name, ``False`` does without.
        size: Height and width to resize to.
        colour: One channel, three, or as the file has it.

    Returns:
        Images of shape ``(N, C, H, W)``, the class of each as an index, and the names of the
        classes: the numbers in the file of labels.

    Raises:
        DataError: If a file is missing or damaged, or holds other than images or labels; if there
            are none, or not as many labels as images.

    Example:
        >>> import tempfile
        >>> from pointwise.data.idx import write_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_idx(np.zeros((2, 4, 6), np.uint8), Path(folder) / "a-images-idx3-ubyte")
        ...     write_idx(np.array([7, 3], np.uint8), Path(folder) / "a-labels-idx1-ubyte")
        ...     read_idx_images(Path(folder) / "a-images-idx3-ubyte")[1:]
        (array([1, 0]), ('3', '7'))
    """
    images = _channels_second(path, read_idx(path))
    labels_file = _labels_file(path) if labels is None else labels
    if labels_file is False:
        return _converted(images, size, colour), None, ()
    numbers = _read_labels(Path(labels_file))
    if len(numbers) != len(images):
        raise DataError(
            f"{labels_file}: {len(numbers)} labels are here, {path} holds {len(images)} images"
        )
    values, indices = np.unique(numbers, return_inverse=True)
    classes = tuple(str(value) for value in values)
    return _converted(images, size, colour), indices.astype(np.int64), classes


def _channels_second(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    shape = " x ".join(map(str, values.shape))
    if values.dtype != np.uint8 or values.ndim not in (3, 4):
        hint = ": these may be labels" if values.ndim == 1 else ""
        raise DataError(
            f"{path}: images are uint8 with 3 or 4 axes, got {values.dtype}, {shape}{hint}"
        )
    if not values.size:
        raise DataError(f"{path}: no images are in this file ({shape})")
    if values.ndim == 3:
        return values[:, np.newaxis]
    if values.shape[3] in (1, 3):
        return np.moveaxis(values, 3, 1)
    if values.shape[1] in (1, 3):
        return values
    raise DataError(f"{path}: the second or the last of 4 axes is 1 or 3 channels, got {shape}")


def _labels_file(path: Path) -> Path:
    """Find the file of labels next to that of images, packed or not."""
    name = path.name.removesuffix(".gz")
    wanted = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    names = [wanted + end for end in (("", ".gz") if name == path.name else (".gz", ""))]
    found = [
        path.with_name(one) for one in names if wanted != name and path.with_name(one).exists()
    ]
    if found:
        return found[0]
    looked = (
        f"neither {' nor '.join(names)} is beside it"
        if wanted != name
        else "its name has no 'images'"
    )
    raise DataError(
        f"{path}: no file of labels was found, {looked}: give labels=, or labels=False to read "
        "the images without"
    )


def _read_labels(path: Path) -> NDArray[Any]:
    numbers = read_idx(path)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        shape = " x ".join(map(str, numbers.shape))
        raise DataError(
            f"{path}: labels are whole numbers on one axis, got {numbers.dtype}, {shape}"
        )
    return numbers


def _converted(images: NDArray[np.uint8], size: Size | None, colour: Colour) -> NDArray[np.uint8]:
    count, given, height, width = images.shape
    shape = ({"auto": given, "grey": 1, "rgb": 3}[colour], *(size or (height, width)))
    if images.shape[1:] == shape:
        return np.ascontiguousarray(images)
    room = new_images((count, *shape))
    for number, image in enumerate(images):
        room[number] = convert(image, size, colour)
    return room
