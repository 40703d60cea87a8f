"""Files that are damaged or no images: each named, left out or refused as chosen."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_cases import COLOUR, FORMATS, SKIP, refusal, save, two_classes
from PIL import Image

from pointwise.data import image_stack
from pointwise.data.image_files import read_picture
from pointwise.data.image_pixels import UnreadableImageError
from pointwise.data.images import read_images

# --- Unreadable files ---

TEXT = f"this is no {FORMATS} image: it begins with b'<!DOCTYPE html>'"
PNG = b"\x89PNG\r\n\x1a\n"
UNREADABLE = {
    "empty": (b"", "the file is empty"),
    "a web page": (b"<!DOCTYPE html>", TEXT),
    "a header alone": (PNG, f"this is no {FORMATS} image: it begins with {PNG!r}"),
}


@pytest.mark.parametrize(("content", "words"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_files_that_are_no_images(content: bytes, words: str, tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "dog" / "2.jpg").write_bytes(content)
    assert refusal(lambda: read_images(tmp_path), tmp_path) == f"dog/2.jpg: {words}{SKIP}"
    found = read_images(tmp_path, unreadable="skip")
    assert found.names == ("cat/1.png", "dog/1.png", "dog/2.png")
    assert found.notes == ("unreadable, left out: 1 of 4 files (dog/2.jpg)",)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".jp2"])
def test_truncated_files(ending: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = save(two_classes(tmp_path, noise) / "dog" / f"3{ending}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = refusal(lambda: read_images(tmp_path), tmp_path)
    assert words.startswith(f"dog/3{ending}: the image is truncated or damaged (")
    assert words.endswith(f"){SKIP}")
    found = read_images(tmp_path, unreadable="skip")
    assert len(found.images) == 3
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1]
    assert found.notes == (f"unreadable, left out: 1 of 4 files (dog/3{ending})",)


def test_many_unreadable_files_are_counted(tmp_path: Path) -> None:
    two_classes(tmp_path)
    for number in range(12):
        (tmp_path / "cat" / f"x{number:02}.jpg").write_bytes(b"")
    names = ", ".join(f"cat/x{number:02}.jpg" for number in range(10))
    assert read_images(tmp_path, unreadable="skip").notes == (
        f"unreadable, left out: 12 of 15 files ({names}, ...)",
    )


def test_a_class_of_unreadable_files_is_refused(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    assert refusal(lambda: read_images(tmp_path, unreadable="skip"), tmp_path) == (
        "cat: no image of this class can be read: cat/1.png"
    )
    for name in ("1", "2"):
        (tmp_path / "dog" / f"{name}.png").write_bytes(b"")
    for labels in (None, False):
        assert refusal(
            lambda labels=labels: read_images(tmp_path, unreadable="skip", labels=labels), tmp_path
        ) == ("DATA: none of 3 images can be read: cat/1.png, dog/1.png, dog/2.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
def test_random_damage_gives_an_image_or_one_error(ending: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = save(tmp_path / f"a.{ending}", np.repeat(np.repeat(COLOUR, 5, 0), 5, 1))
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    refused: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            damaged = sound.copy()
            reach = random.choice([40, len(sound)])
            damaged[random.integers(0, reach, 4)] = random.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                read_picture(path)
            except UnreadableImageError as error:
                refused.append(str(error))
    assert len(refused) > 5
    assert all(words.startswith(f"{path}: ") for words in refused)


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(tmp_path)
    save(tmp_path / "dog" / "3.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert refusal(lambda: read_images(tmp_path), tmp_path) == (
        "dog/3.png: too large for an image (Image size (10000 pixels) exceeds limit of 8000 "
        f"pixels, could be decompression bomb DOS attack.){SKIP}"
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8000)  # Pillow warns: an error in these tests
    assert len(read_images(tmp_path, size=4).images) == 4


def test_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(tmp_path)
    monkeypatch.setattr(image_stack, "memory_bytes", lambda: 200)
    assert refusal(lambda: read_images(tmp_path), tmp_path) == (
        "3 x 3 x 4 x 6 bytes of images are 0 GB, more than this machine's memory: make them "
        "smaller with size=, or read fewer"
    )
    assert read_images(tmp_path, size=4).images.shape == (3, 3, 4, 4)


def test_memory_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*shape: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", none_left)
    words = "2 x 1 x 4 x 6 bytes of images are 0 GB, more than this machine's memory"
    assert refusal(lambda: image_stack.new_images((2, 1, 4, 6)), Path()) == words


def test_memory_of_which_the_system_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert image_stack.memory_bytes() == 1 << 40
