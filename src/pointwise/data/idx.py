"""Arrays in idx files, the format of the MNIST digits, packed or not.

Two zero bytes, a code for the type, the number of axes, then the length of each axis as four bytes
and the values, all with the highest byte first (Yann LeCun, "The MNIST database of handwritten
digits").
"""

from __future__ import annotations

import gzip
import math
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise._atomic import write_bytes
from pointwise.data.image_stack import memory_bytes
from pointwise.data.streams import existing_file, open_bytes
from pointwise.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
_PIECE = 1 << 20


def is_idx(path: Path) -> bool:
    """Tell whether a file is in the idx format, by its first bytes (unpacked).

    Args:
        path: An existing file.

    Returns:
        Whether it is.

    Example:
        >>> is_idx(Path(__file__))
        False
    """
    with open_bytes(path) as stream:
        return _type_and_axes(stream.read(4)) is not None


def read_idx(path: str | Path) -> NDArray[Any]:
    """Read an array from an idx file; gzip, bzip2, xz and zip are unpacked.

    Args:
        path: The file.

    Returns:
        The array, in the type of the file and this machine's order of bytes.

    Raises:
        DataError: If the file is missing, damaged or longer than its header says, is no idx file,
            or would not fit into memory.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_idx(np.arange(6, dtype=np.uint8).reshape(2, 3), Path(folder) / "a.gz")
        ...     read_idx(Path(folder) / "a.gz").tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    path = existing_file(path)
    with open_bytes(path) as stream:
        kind, shape = _header(path, stream)
        wanted = math.prod(shape) * kind.itemsize
        spelt = f"{' x '.join(map(str, shape))} values, {wanted:,} bytes"
        values = _room(math.prod(shape), kind)
        if values is None:
            raise DataError(f"{path}: the header says {spelt}, more than this machine's memory")
        found = _fill(values.data.cast("B") if wanted else memoryview(b""), stream)
        if found < wanted:
            raise DataError(f"{path}: truncated: the header says {spelt}, {found:,} are here")
        if stream.read(1):
            raise DataError(f"{path}: the header says {spelt}, the file goes on after these")
    return values.reshape(shape).astype(kind.newbyteorder("="), copy=False)


def write_idx(array: NDArray[Any], path: str | Path) -> None:
    """Write an array as an idx file, as one step: a kill leaves the old file or the new one.

    Args:
        array: Bytes, 16- or 32-bit integers, or floating-point numbers.
        path: The file; packed with gzip where its name ends in .gz.

    Raises:
        DataError: If the format has no such type, or the file cannot be written.

    Example:
        >>> write_idx(np.zeros(3, np.int64), "a.idx")
        Traceback (most recent call last):
        pointwise.errors.DataError: idx files hold uint8, int8, int16, int32, ..., got int64
    """
    codes = {np.dtype(kind).newbyteorder("="): code for code, kind in _TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        raise DataError(f"idx files hold {', '.join(map(str, codes))}, got {array.dtype}")
    head = bytes((0, 0, code, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    data = head + array.astype(_TYPES[code]).tobytes()
    path = Path(path)
    try:
        write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def _type_and_axes(magic: bytes) -> tuple[np.dtype[Any], int] | None:
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        return None
    if not 1 <= magic[3] <= _MOST_AXES:
        return None
    return np.dtype(_TYPES[magic[2]]), magic[3]


def _header(path: Path, stream: BufferedIOBase) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path}: the file is empty")
    known = _type_and_axes(magic)
    if known is None:
        raise DataError(
            f"{path}: this is no idx file: it begins with {magic.hex(' ')}, not with 00 00, "
            "a type (08 to 0e) and the number of axes"
        )
    kind, axes = known
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise DataError(f"{path}: truncated in its header")
    return kind, tuple(np.frombuffer(lengths, ">u4").tolist())


def _room(count: int, kind: np.dtype[Any]) -> NDArray[Any] | None:
    if count * kind.itemsize > memory_bytes():
        return None
    try:
        return np.empty(count, kind)  # takes memory only as it is filled
    except MemoryError:
        return None


def _fill(room: memoryview, stream: BufferedIOBase) -> int:
    """Read into memory, piece by piece, as unpacking makes a copy of what one call reads."""
    filled = 0
    while filled < len(room):
        count = stream.readinto(room[filled : filled + _PIECE])
        if not count:
            break
        filled += count
    return filled
