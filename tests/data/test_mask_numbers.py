"""What the pixels of masks may be, and which classes their numbers mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_cases import ADVICE, COLOUR, MASK, NAMES, numbers, pairs, refusal, save
from numpy.typing import NDArray
from PIL import Image

from pointwise.data.mask_files import read_mask
from pointwise.data.masks import read_masked_images

# --- Kinds of masks ---


def palette() -> Image.Image:
    image = Image.fromarray(MASK).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


KINDS: dict[str, tuple[Image.Image, str]] = {
    "grey": (Image.fromarray(MASK), "png"),
    "palette": (palette(), "png"),
    "palette in a GIF": (palette(), "gif"),
    "16 bits": (Image.fromarray(MASK.astype(np.uint16)), "png"),
    "32 bits": (Image.fromarray(MASK.astype(np.int32)), "tif"),
    "grey and opacity": (Image.fromarray(MASK).convert("LA"), "png"),
    "grey saved as colour": (Image.fromarray(np.dstack([MASK] * 3)), "png"),
    "grey saved as colour with opacity": (
        Image.fromarray(np.dstack([MASK, MASK, MASK, MASK * 0 + 255])),
        "png",
    ),
}


@pytest.mark.parametrize(("image", "ending"), KINDS.values(), ids=KINDS.keys())
def test_kinds_of_masks(image: Image.Image, ending: str, tmp_path: Path) -> None:
    save(tmp_path / "images" / "0.png", COLOUR)
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks" / f"0.{ending}")
    found = read_masked_images(tmp_path)
    np.testing.assert_array_equal(found.masks[0], MASK, strict=True)


def test_black_and_white_masks(tmp_path: Path) -> None:
    save(pairs(tmp_path, MASK) / "masks" / "0.png", MASK > 1)
    found = read_masked_images(tmp_path)
    np.testing.assert_array_equal(found.masks[0], (MASK > 1).astype(np.uint8), strict=True)
    assert (found.classes, found.notes) == (("0", "1"), ())


WHOLE = "masks/0.png: a mask holds whole numbers from 0 to 255, got"
KINDS_REFUSED: dict[str, tuple[NDArray[Any], str, str]] = {
    "colours": (
        np.array([[(128, 64, 0), (0, 0, 0)] * 3] * 4, np.uint8),
        "png",
        "masks/0.png: the mask is in colour ((0, 0, 0), (128, 64, 0)), it must hold the number of "
        "a class at each pixel: replace each colour by a number and save as grey or palette PNG",
    ),
    "JPEG": (
        MASK,
        "jpg",
        "masks/0.jpg: a JPEG file does not keep the numbers of classes exactly: save masks as PNG",
    ),
    "large numbers": (MASK.astype(np.uint16) + 254, "png", f"{WHOLE} uint16 from 254 to 256"),
    "negative numbers": (
        MASK.astype(np.int32) - 1,
        "tif",
        f"{WHOLE.replace('png', 'tif')} int32 from -1 to 1",
    ),
    "fractions": (
        MASK / np.float32(2),
        "tif",
        f"{WHOLE.replace('png', 'tif')} float32 from 0.0 to 1.0",
    ),
}


@pytest.mark.parametrize("unreadable", ["refuse", "skip"])
@pytest.mark.parametrize(
    ("mask", "ending", "words"), KINDS_REFUSED.values(), ids=KINDS_REFUSED.keys()
)
def test_kinds_that_are_refused(
    mask: NDArray[Any], ending: str, words: str, unreadable: Any, tmp_path: Path
) -> None:
    save(tmp_path / "images" / "0.png", COLOUR)
    save(tmp_path / "masks" / f"0.{ending}", mask)
    assert refusal(lambda: read_masked_images(tmp_path, unreadable=unreadable), tmp_path) == words


LOSES = "keep the numbers of classes exactly: save masks as PNG"


@pytest.mark.parametrize(
    ("name", "options", "loses"),
    [
        ("0.webp", {}, "a lossy WebP file does not"),
        ("0.avif", {}, "an AVIF file may not"),
        ("0.jp2", {"quality_mode": "rates", "quality_layers": [20]}, "a JPEG 2000 file may not"),
        ("0.tif", {"compression": "jpeg"}, "a JPEG-compressed TIFF file does not"),
    ],
)
def test_numbers_that_a_compression_may_have_changed_are_refused(
    name: str, options: dict[str, Any], loses: str, tmp_path: Path
) -> None:
    try:
        Image.fromarray(MASK).save(tmp_path / name, **options)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {name[2:]}")
    assert refusal(lambda: read_mask(tmp_path / name), tmp_path) == f"{name}: {loses} {LOSES}"


@pytest.mark.parametrize("options", [{}, {"xmp": b"<x/>"}], ids=["plain", "extended"])
def test_lossless_webp_keeps_its_numbers(options: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "0.webp", lossless=True, **options)
    np.testing.assert_array_equal(read_mask(tmp_path / "0.webp"), MASK, strict=True)


# --- Numbers of classes ---


UNKNOWN_255 = "255 taken for unknown (ignore=255)"
FOREGROUND = "masks of 0 and 255: 255 taken for class 1"
Meaning = tuple[dict[str, Any], list[tuple[int, ...]], tuple[str, ...], int | None, tuple[str, ...]]
MEANINGS: dict[str, Meaning] = {
    "numbers": ({}, [(0, 1), (2,)], ("0", "1", "2"), None, ()),
    "names": ({"classes": NAMES}, [(0, 1)], NAMES, None, ()),
    "names of another kind": ({"classes": range(2)}, [(0, 1)], ("0", "1"), None, ()),
    "one class of those named": ({"classes": NAMES}, [(2,)], NAMES, None, ()),
    "unknown": ({"ignore": 9}, [(0, 1, 9)], ("0", "1"), 9, ()),
    "unknown with names": ({"classes": NAMES, "ignore": 3}, [(0, 3)], NAMES, 3, ()),
    "unknown among the classes": ({"ignore": 0}, [(0, 1, 2)], ("0", "1", "2"), 0, ()),
    "255 by custom": ({}, [(0, 1, 255)], ("0", "1"), 255, (UNKNOWN_255,)),
    "255 given": ({"ignore": 255}, [(0, 1, 255)], ("0", "1"), 255, ()),
    "255 is the last": (
        {},
        [
            tuple(range(232, 256)),
            (*range(24),),
            *[tuple(range(n, n + 24)) for n in range(24, 232, 24)],
        ],
        tuple(map(str, range(256))),
        None,
        (),
    ),
    "a missing one": (
        {},
        [(0, 1), (3,)],
        ("0", "1", "2", "3"),
        None,
        ("no pixel has the class 2",),
    ),
    "from one on": ({}, [(1, 2)], ("0", "1", "2"), None, ("no pixel has the class 0",)),
}


@pytest.mark.parametrize(
    ("options", "masks", "classes", "ignore", "notes"), MEANINGS.values(), ids=MEANINGS.keys()
)
def test_what_numbers_mean(
    options: dict[str, Any],
    masks: list[tuple[int, ...]],
    classes: tuple[str, ...],
    ignore: int | None,
    notes: tuple[str, ...],
    tmp_path: Path,
) -> None:
    written = [numbers(*values) for values in masks]
    found = read_masked_images(pairs(tmp_path, *written), **options)
    assert (found.classes, found.ignore, found.notes) == (classes, ignore, notes)
    order = sorted(range(len(written)), key=str)
    np.testing.assert_array_equal(found.masks, np.stack([written[n] for n in order]))


@pytest.mark.parametrize("classes", [None, ("background", "cell")])
def test_masks_of_0_and_255(classes: tuple[str, ...] | None, tmp_path: Path) -> None:
    pairs(tmp_path, numbers(0, 255), numbers(0), numbers(255))
    found = read_masked_images(tmp_path, classes=classes)
    assert (found.classes, found.ignore) == (classes or ("0", "255"), None)
    assert found.notes == (FOREGROUND,)
    np.testing.assert_array_equal(found.masks, np.stack([numbers(0, 1), numbers(0), numbers(1)]))


def test_masks_of_255_alone_are_all_of_the_second_of_two_classes(tmp_path: Path) -> None:
    pairs(tmp_path, numbers(255))
    found = read_masked_images(tmp_path, classes=("background", "cell"))
    assert (found.ignore, found.notes) == (None, (FOREGROUND,))
    np.testing.assert_array_equal(found.masks[0], numbers(1))


NUMBERED = "classes are numbered 0, 1, 2 and so on, the masks hold"
RENUMBER = "renumber them, or name a class for every number (classes=)"
STRANGE: dict[str, tuple[dict[str, Any], list[tuple[int, ...]], str]] = {
    "beyond the names": (
        {"classes": NAMES},
        [(0, 1), (1, 3, 40), (3,)],
        f"masks/1.png: masks hold 0 to 2 for 3 classes, got 3, 40 (as in 2 masks): {ADVICE}",
    ),
    "beside the unknown": (
        {"classes": NAMES, "ignore": 9},
        [(0, 9, 3)],
        f"masks/0.png: masks hold 0 to 2 for 3 classes, 9 for unknown, got 3: {ADVICE}",
    ),
    "255 with names": (
        {"classes": NAMES},
        [(0, 1, 255)],
        f"masks/0.png: masks hold 0 to 2 for 3 classes, got 255: {ADVICE}",
    ),
    "greys for numbers": ({}, [(0, 85, 170)], f"masks: {NUMBERED} 0, 85, 170: {RENUMBER}"),
    "one class": (
        {},
        [(1,), (1,)],
        "masks: two classes or more are needed, the masks hold only the number 1",
    ),
    "unknown alone": (
        {"ignore": 1},
        [(1,)],
        "masks: two classes or more are needed, the masks hold only unknown pixels",
    ),
}


@pytest.mark.parametrize(("options", "masks", "words"), STRANGE.values(), ids=STRANGE.keys())
def test_strange_numbers_are_refused(
    options: dict[str, Any], masks: list[tuple[int, ...]], words: str, tmp_path: Path
) -> None:
    pairs(tmp_path, *[numbers(*values) for values in masks])
    assert refusal(lambda: read_masked_images(tmp_path, **options), tmp_path) == words


WRONG_OPTIONS = {
    "ignore beyond a byte": (
        {"ignore": 256},
        "ignore must be a number from 0 to 255, got 256",
    ),
    "ignore below": ({"ignore": -1}, "ignore must be a number from 0 to 255, got -1"),
    "ignore a word": ({"ignore": "no"}, "ignore must be a number from 0 to 255, got 'no'"),
    "one name": ({"classes": ["a"]}, "classes must be 2 to 256 different names, got ['a']"),
    "the same name": (
        {"classes": ["a", "a"]},
        "classes must be 2 to 256 different names, got ['a', 'a']",
    ),
    "a text": ({"classes": "ab"}, "classes must be 2 to 256 different names, got 'ab'"),
    "unreadable": (
        {"unreadable": "drop"},
        "unreadable must be one of refuse, skip, got 'drop'",
    ),
    "size": ({"size": 0}, "size must be a number of pixels or (height, width), got 0"),
}


@pytest.mark.parametrize(("options", "words"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_wrong_options(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text follows)
        read_masked_images(pairs(tmp_path, MASK), **options)
    assert str(caught.value) == words
