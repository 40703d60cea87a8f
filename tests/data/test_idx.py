"""Idx files: every type there and back, packed or not; damaged, dishonest and foreign ones."""

import gzip
import lzma
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pointwise.data import idx
from pointwise.data.idx import is_idx, read_idx, write_idx
from pointwise.data.images import ImageSet, read_images
from pointwise.errors import DataError

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason=f"no real data in {MNIST}")
IMAGES = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)
LABELS = np.array([7, 3, 3, 10, 7], np.uint8)


def refusal(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def header(code: int, *lengths: int) -> bytes:
    return bytes((0, 0, code, len(lengths))) + struct.pack(f">{len(lengths)}I", *lengths)


def pair(folder: Path, images: NDArray[Any] = IMAGES, labels: NDArray[Any] = LABELS) -> Path:
    """Write images and labels, and give the file of images."""
    write_idx(labels, folder / "a-labels-idx1-ubyte")
    write_idx(images, folder / "a-images-idx3-ubyte")
    return folder / "a-images-idx3-ubyte"


# --- Arrays ---

TYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5), (0, 28, 28)], ids=str)
@pytest.mark.parametrize("kind", TYPES)
def test_there_and_back(kind: str, shape: tuple[int, ...], name: str, tmp_path: Path) -> None:
    array = (np.arange(np.prod(shape)) % 100 - 3).reshape(shape).astype(kind)
    write_idx(array, tmp_path / name)
    read = read_idx(tmp_path / name)
    np.testing.assert_array_equal(read, array, strict=True)
    assert read.dtype.isnative
    assert is_idx(tmp_path / name)


def test_the_format_is_the_published_one(tmp_path: Path) -> None:
    write_idx(np.array([[1, -2]], np.int16), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"\0\0\x0b\x02" + b"\0\0\0\x01\0\0\0\x02\0\x01\xff\xfe"


def test_views_and_other_orders_of_bytes_are_written(tmp_path: Path) -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4).T[::2]
    write_idx(array, tmp_path / "a")
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array.astype(np.int32), strict=True)


def test_other_packings_are_known_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(lzma.compress(header(8, 3) + b"\1\2\3"))
    assert read_idx(tmp_path / "a").tolist() == [1, 2, 3]


NO_IDX = "not with 00 00, a type (08 to 0e) and the number of axes"
BIG = header(8, 2**32 - 1, 2**32 - 1, 2**32 - 1)
BIG_WORDS = (
    "4294967295 x 4294967295 x 4294967295 values, 79,228,162,458,924,105,385,300,197,375 bytes"
)
DAMAGED = {
    "empty": (b"", "a: the file is empty"),
    "text": (b"P5 28 28", f"a: this is no idx file: it begins with 50 35 20 32, {NO_IDX}"),
    "unknown type": (header(7, 1), f"a: this is no idx file: it begins with 00 00 07 01, {NO_IDX}"),
    "no axes": (header(8), f"a: this is no idx file: it begins with 00 00 08 00, {NO_IDX}"),
    "many axes": (
        header(8, *[1] * 9),
        f"a: this is no idx file: it begins with 00 00 08 09, {NO_IDX}",
    ),
    "short magic": (b"\0\0", f"a: this is no idx file: it begins with 00 00, {NO_IDX}"),
    "cut in the header": (header(8, 2, 3)[:9], "a: truncated in its header"),
    "cut": (
        header(0x0C, 2, 300) + bytes(2399),
        "a: truncated: the header says 2 x 300 values, 2,400 bytes, 2,399 are here",
    ),
    "cut at once": (header(8, 3), "a: truncated: the header says 3 values, 3 bytes, 0 are here"),
    "longer": (
        header(8, 3) + b"1234",
        "a: the header says 3 values, 3 bytes, the file goes on after these",
    ),
    "longer than nothing": (
        header(8, 0, 5) + b"1",
        "a: the header says 0 x 5 values, 0 bytes, the file goes on after these",
    ),
    "a huge claim": (BIG, f"a: the header says {BIG_WORDS}, more than this machine's memory"),
    "a huge claim, packed": (
        gzip.compress(BIG),
        f"a: the header says {BIG_WORDS}, more than this machine's memory",
    ),
    "packed and cut": (
        gzip.compress(header(8, 3000) + bytes(range(250)) * 12)[:-9],
        "a: the gzip file is truncated or damaged (Compressed file ended before the end-of-stream "
        "marker was reached)",
    ),
}


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert refusal(lambda: read_idx(tmp_path / "a"), tmp_path) == words


def test_a_claim_takes_no_memory(tmp_path: Path) -> None:
    claimed = 1 << 30
    (tmp_path / "a").write_bytes(gzip.compress(header(8, claimed) + b"1"))
    before = time.thread_time()  # other programs may run too: their share does not count
    assert refusal(lambda: read_idx(tmp_path / "a"), tmp_path) == (
        f"a: truncated: the header says {claimed} values, {claimed:,} bytes, 1 are here"
    )
    assert time.thread_time() - before < 2  # filling gigabytes takes longer


def test_a_changed_byte_in_a_packed_file_is_found(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(header(8, 3) + b"123"))
    packed[-8] ^= 1  # of the check sum
    (tmp_path / "a").write_bytes(packed)
    assert refusal(lambda: read_idx(tmp_path / "a"), tmp_path).startswith(
        "a: cannot be read (the gzip file is damaged: CRC check failed"
    )


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_idx(LABELS, tmp_path / "train-labels")
    assert refusal(lambda: read_idx(tmp_path / "train-label"), tmp_path) == (
        "no file 'train-label': did you mean 'train-labels'?"
    )


def test_types_that_the_format_lacks_are_refused(tmp_path: Path) -> None:
    assert refusal(lambda: write_idx(np.zeros(3), tmp_path / "no" / "a"), tmp_path) == (
        "no/a: cannot be written (No such file or directory)"
    )
    assert refusal(lambda: write_idx(np.zeros(3, bool), tmp_path / "a"), tmp_path) == (
        "idx files hold uint8, int8, int16, int32, float32, float64, got bool"
    )


# --- Images and labels ---


def check_five(found: ImageSet) -> None:
    np.testing.assert_array_equal(found.images, IMAGES[:, np.newaxis], strict=True)
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels, np.array([1, 0, 0, 2, 1]), strict=True)
    assert found.classes == ("3", "7", "10")
    assert found.names == ("0", "1", "2", "3", "4")
    assert found.notes == ()


NAMES = {
    "as published": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "packed": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "one packed": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"),
    "the other packed": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
    "with a dot": ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    "own": ("images.bin", "labels.bin"),
}


@pytest.mark.parametrize(("images", "labels"), NAMES.values(), ids=NAMES.keys())
def test_labels_are_found_by_the_name(images: str, labels: str, tmp_path: Path) -> None:
    write_idx(IMAGES, tmp_path / images)
    write_idx(LABELS, tmp_path / labels)
    check_five(read_images(tmp_path / images))


def test_labels_can_be_given(tmp_path: Path) -> None:
    write_idx(IMAGES, tmp_path / "x")
    write_idx(LABELS.astype(np.int32), tmp_path / "y")
    check_five(read_images(tmp_path / "x", labels=tmp_path / "y"))


def test_images_without_labels(tmp_path: Path) -> None:
    write_idx(IMAGES, tmp_path / "x")
    found = read_images(tmp_path / "x", labels=False)
    assert (found.labels, found.classes, len(found.images)) == (None, (), 5)


def test_one_class_can_be_read(tmp_path: Path) -> None:
    write_idx(IMAGES, tmp_path / "a-images-idx3-ubyte")
    write_idx(LABELS * 0 + 3, tmp_path / "a-labels-idx1-ubyte")
    found = read_images(tmp_path / "a-images-idx3-ubyte")
    assert found.classes == ("3",)
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 5


@pytest.mark.parametrize("axis", [1, 3])
def test_channels_come_second_or_last(axis: int, tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4 * 6, dtype=np.uint8).reshape(2, 3, 4, 6)
    write_idx(np.moveaxis(images, 1, axis), tmp_path / "x")
    found = read_images(tmp_path / "x", labels=False)
    np.testing.assert_array_equal(found.images, images, strict=True)
    assert found.images.flags.c_contiguous


def test_size_and_colour(tmp_path: Path) -> None:
    images = np.full((2, 4, 6, 3), (255, 0, 0), np.uint8)
    write_idx(images, tmp_path / "colour")
    write_idx(IMAGES, tmp_path / "grey")
    grey = read_images(tmp_path / "colour", labels=False, colour="grey", size=3)
    assert grey.images.shape == (2, 1, 3, 3)
    assert set(grey.images.ravel()) == {76}  # 0.299 * 255
    rgb = read_images(tmp_path / "grey", labels=False, colour="rgb")
    np.testing.assert_array_equal(rgb.images, np.repeat(IMAGES[:, np.newaxis], 3, 1), strict=True)
    halved = read_images(tmp_path / "grey", labels=False, size=(2, 3)).images
    assert halved.shape == (5, 1, 2, 3)
    assert abs(halved.mean() - IMAGES.mean()) < 1


WRONG_PAIRS = {
    "a label too few": (
        IMAGES,
        LABELS[:4],
        "a-labels-idx1-ubyte: 4 labels are here, a-images-idx3-ubyte holds 5 images",
    ),
    "labels that are not whole": (
        IMAGES,
        LABELS.astype(np.float32),
        "a-labels-idx1-ubyte: labels are whole numbers on one axis, got float32, 5",
    ),
    "images for labels": (
        IMAGES,
        IMAGES,
        "a-labels-idx1-ubyte: labels are whole numbers on one axis, got uint8, 5 x 4 x 6",
    ),
    "labels for images": (
        LABELS,
        LABELS,
        "a-images-idx3-ubyte: images are uint8 with 3 or 4 axes, got uint8, 5: these may be labels",
    ),
    "images that are no bytes": (
        IMAGES.astype(np.float32),
        LABELS,
        "a-images-idx3-ubyte: images are uint8 with 3 or 4 axes, got float32, 5 x 4 x 6",
    ),
    "no images": (
        IMAGES[:0],
        LABELS,
        "a-images-idx3-ubyte: no images are in this file (0 x 4 x 6)",
    ),
    "five channels": (
        np.zeros((5, 5, 4, 6), np.uint8),
        LABELS,
        "a-images-idx3-ubyte: the second or the last of 4 axes is 1 or 3 channels, "
        "got 5 x 5 x 4 x 6",
    ),
}


@pytest.mark.parametrize(("images", "labels", "words"), WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_wrong_pairs_are_refused(
    images: NDArray[Any], labels: NDArray[Any], words: str, tmp_path: Path
) -> None:
    path = pair(tmp_path, images, labels)
    assert refusal(lambda: read_images(path), tmp_path) == words


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    path = pair(tmp_path)
    (tmp_path / "a-labels-idx1-ubyte").unlink()
    advice = "give labels=, or labels=False to read the images without"
    assert refusal(lambda: read_images(path), tmp_path) == (
        "a-images-idx3-ubyte: no file of labels was found, neither a-labels-idx1-ubyte nor "
        f"a-labels-idx1-ubyte.gz is beside it: {advice}"
    )
    write_idx(IMAGES, tmp_path / "digits.idx")
    assert refusal(lambda: read_images(tmp_path / "digits.idx"), tmp_path) == (
        f"digits.idx: no file of labels was found, its name has no 'images': {advice}"
    )
    assert refusal(lambda: read_images(path, labels=tmp_path / "nope"), tmp_path) == (
        "no file 'nope': check its name and folder."
    )


def test_a_damaged_file_with_the_name_of_an_idx_file(tmp_path: Path) -> None:
    path = pair(tmp_path)
    path.write_bytes(b"<html>")
    assert refusal(lambda: read_images(path), tmp_path) == (
        f"a-images-idx3-ubyte: this is no idx file: it begins with 3c 68 74 6d, {NO_IDX}"
    )


def test_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pair(tmp_path)
    monkeypatch.setattr(idx, "memory_bytes", lambda: 100)
    words = "a-images-idx3-ubyte: the header says 5 x 4 x 6 values, 120 bytes, more than this "
    assert refusal(lambda: read_images(path), tmp_path) == f"{words}machine's memory"
    monkeypatch.undo()

    def none_left(*shape: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", none_left)
    assert refusal(lambda: read_images(path), tmp_path) == f"{words}machine's memory"


@needs_mnist
def test_mnist() -> None:
    found = read_images(MNIST / "t10k-images-idx3-ubyte.gz")
    assert found.images.shape == (10_000, 1, 28, 28)
    assert found.images.dtype == np.uint8
    assert found.classes == tuple("0123456789")
    assert found.labels is not None
    assert found.labels[:5].tolist() == [7, 2, 1, 0, 4]
    wrong = MNIST / "train-labels-idx1-ubyte.gz"
    assert refusal(
        lambda: read_images(MNIST / "t10k-images-idx3-ubyte.gz", labels=wrong), MNIST
    ) == (
        "train-labels-idx1-ubyte.gz: 60000 labels are here, t10k-images-idx3-ubyte.gz holds 10000 "
        "images"
    )
