"""Images with masks: pairs, numbers of classes, sizes, and every refusal."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pointwise.data.masks import read_masked_images
from pointwise.errors import DataError

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid-180x240"
SKIP = "; unreadable='skip' leaves such files out"
COLOUR = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
NAMES = ("sky", "road", "car")


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pairs(folder: Path, *masks: NDArray[Any]) -> Path:
    """An image and a mask for each mask."""
    for number, mask in enumerate(masks):
        save(folder / "images" / f"{number}.png", COLOUR + number)
        save(folder / "masks" / f"{number}.png", mask)
    return folder


def refusal(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}{os.sep}", "").replace(str(folder), "DATA")


# --- Pairs ---


def test_pairs_have_the_same_name_up_to_the_suffix(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "sub/c")):
        save(tmp_path / "x" / f"{name}.bmp", COLOUR + number)
        save(tmp_path / "y" / f"{name}.png", (MASK + number) % 3)
    save(tmp_path / "x" / ".thumbnails" / "b.png", COLOUR)
    (tmp_path / "y" / ".DS_Store").write_bytes(b"\0")
    found = read_masked_images(tmp_path / "x", str(tmp_path / "y"), classes=NAMES)
    assert found.names == ("a.bmp", "b.bmp", "sub/c.bmp")
    images = np.stack([COLOUR + n for n in (1, 0, 2)]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.images, images, strict=True)
    masks = np.stack([(MASK + n) % 3 for n in (1, 0, 2)])
    np.testing.assert_array_equal(found.masks, masks, strict=True)
    assert (found.classes, found.ignore, found.notes) == (NAMES, None, ())


def test_one_folder_holds_both(tmp_path: Path) -> None:
    pairs(tmp_path, MASK, MASK)
    (tmp_path / "masks" / "colours.txt").write_text("0 sky")
    (tmp_path / "images" / "about").write_text("")
    found = read_masked_images(tmp_path)
    assert (len(found.images), found.classes) == (2, ("0", "1", "2"))
    assert found.notes == ("no images, left out: images/about, masks/colours.txt",)


def without_mask(folder: Path) -> None:
    for number in range(2, 6):
        save(folder / "images" / f"{number}.png", COLOUR)


def without_image(folder: Path) -> None:
    save(folder / "masks" / "7.png", MASK)


def without_both(folder: Path) -> None:
    without_mask(folder)
    without_image(folder)


def same_name(folder: Path) -> None:
    save(folder / "images" / "1.bmp", COLOUR)


NEED = "images: an image and its mask have the same name up to the suffix, found"
WITHOUT_MASK = "4 images without a mask (2.png, 3.png, 4.png, ...)"
WITHOUT_IMAGE = "1 mask without an image (7.png)"
WRONG_PAIRS = {
    "images without masks": (without_mask, f"{NEED} {WITHOUT_MASK}"),
    "masks without images": (without_image, f"{NEED} {WITHOUT_IMAGE}"),
    "both": (without_both, f"{NEED} {WITHOUT_MASK} and {WITHOUT_IMAGE}"),
    "the same name": (
        same_name,
        "images: 1.bmp and 1.png have the same name up to the suffix: which of them belongs to "
        "the file in the other folder?",
    ),
}


@pytest.mark.parametrize(("make", "words"), WRONG_PAIRS.values(), ids=WRONG_PAIRS.keys())
def test_wrong_pairs(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(pairs(tmp_path, MASK, MASK))
    assert refusal(lambda: read_masked_images(tmp_path), tmp_path) == words


def test_wrong_folders(tmp_path: Path) -> None:
    pairs(tmp_path / "a", MASK)
    (tmp_path / "b" / "images").mkdir(parents=True)
    give = "give the folders of images and of masks"
    images = tmp_path / "a" / "images"
    cases: list[tuple[Sequence[Path], str]] = [
        ([tmp_path], f"DATA: no folder images and no folder masks is here: {give}"),
        ([tmp_path / "b"], f"b: no folder masks is here: {give}"),
        ([images, tmp_path / "c"], "c: there is no such folder"),
        ([tmp_path / "c", images], "c: there is no such folder"),
        ([images, images], "a/images: images and masks need a folder each, this was given twice"),
        ([tmp_path / "b" / "images", tmp_path / "b" / "masks"], "b/images: no image is here"),
    ]
    for folders, words in cases:
        if folders[-1].name == "masks":
            folders[-1].mkdir()
        assert refusal(lambda folders=folders: read_masked_images(*folders), tmp_path) == words


# --- Sizes ---


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    pairs(tmp_path, MASK, MASK[:3])
    words = "masks/1.png: a mask has the size of its image, got 3 x 6 and 4 x 6 (height x width) "
    for size in (None, 2):
        assert refusal(lambda size=size: read_masked_images(tmp_path, size=size), tmp_path) == (
            f"{words}for images/1.png"
        )


def test_mixed_sizes(tmp_path: Path) -> None:
    save(pairs(tmp_path, MASK) / "images" / "1.png", COLOUR[:2])
    save(tmp_path / "masks" / "1.png", MASK[:2])
    assert refusal(lambda: read_masked_images(tmp_path), tmp_path) == (
        "images of one size are needed, 0.png is 4 x 6 and 1.png 2 x 6 (height x width): give "
        "size=, such as size=(4, 6), to resize all of them"
    )
    found = read_masked_images(tmp_path, size=(4, 6))
    assert found.images.shape == (2, 3, 4, 6)
    np.testing.assert_array_equal(found.masks, np.stack([MASK, np.repeat(MASK[:2], 2, axis=0)]))
    assert found.notes == ("resized to 4 x 6: 1 of 2 files (1.png)",)


def test_resizing_mixes_no_classes(tmp_path: Path) -> None:
    mask = np.kron(np.array([[0, 9]], np.uint8), np.ones((8, 7), np.uint8))
    save(tmp_path / "images" / "0.jpg", np.zeros((8, 14, 3), np.uint8))
    save(tmp_path / "masks" / "0.png", mask)
    found = read_masked_images(tmp_path, classes=[str(n) for n in range(10)], size=(3, 5))
    assert found.masks.shape == (1, 3, 5)
    assert set(found.masks.ravel()) == {0, 9}


def test_both_are_turned_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    save(tmp_path / "images" / "0.png", COLOUR, exif=tags)
    save(tmp_path / "masks" / "0.png", MASK, exif=tags)
    found = read_masked_images(tmp_path)
    np.testing.assert_array_equal(found.masks[0], np.rot90(MASK, -1))
    np.testing.assert_array_equal(found.images[0, 0], np.rot90(COLOUR[..., 0], -1))


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


# --- Numbers of classes ---


def numbers(*values: int) -> NDArray[np.uint8]:
    return np.resize(np.array(values, np.uint8), (4, 6))


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


ADVICE = "name all classes, or give ignore= for unknown pixels"
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


# --- Unreadable files ---


@pytest.mark.parametrize("which", ["images", "masks"])
def test_unreadable_files(which: str, tmp_path: Path) -> None:
    pairs(tmp_path, numbers(0), numbers(1), numbers(2))
    (tmp_path / which / "1.png").write_bytes(b"")
    assert refusal(lambda: read_masked_images(tmp_path), tmp_path) == (
        f"{which}/1.png: the file is empty{SKIP}"
    )
    found = read_masked_images(tmp_path, unreadable="skip")
    assert found.names == ("0.png", "2.png")
    np.testing.assert_array_equal(found.masks, np.stack([numbers(0), numbers(2)]))
    np.testing.assert_array_equal(found.images[1], (COLOUR + 2).transpose(2, 0, 1))
    assert found.notes == (
        "unreadable image or mask, both left out: 1 of 3 files (1.png)",
        "no pixel has the class 1",
    )
    for number in (0, 2):
        (tmp_path / which / f"{number}.png").write_bytes(b"")
    assert refusal(lambda: read_masked_images(tmp_path, unreadable="skip"), tmp_path) == (
        "images: none of 3 images can be read with their masks: 0.png, 1.png, 2.png"
    )


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    pairs(tmp_path, MASK, MASK)
    read_masked_images(tmp_path, progress=lambda done, of: told.append((done, of)))
    assert told == [(2, 2)]


@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"no real data in {CAMVID}")
def test_camvid() -> None:
    names = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
    found = read_masked_images(CAMVID / "val", classes=names.split(), ignore=11)
    assert found.images.shape == (101, 3, 180, 240)
    assert found.masks.shape == (101, 180, 240)
    assert (found.notes, found.masks.max()) == ((), 11)
    stem = found.names[50].removesuffix(".jpg")
    oracle = np.asarray(Image.open(CAMVID / "val" / "masks" / f"{stem}.png"))
    np.testing.assert_array_equal(found.masks[50], oracle)
    assert refusal(
        lambda: read_masked_images(CAMVID / "val", classes=names.split()), CAMVID / "val"
    ) == (
        "masks/0016E5_07959.png: masks hold 0 to 10 for 11 classes, got 11 (as in 101 "
        f"masks): {ADVICE}"
    )
