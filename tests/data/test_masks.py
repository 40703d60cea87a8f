"""Images with masks: pairs, sizes, unreadable files, and every refusal."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from mask_cases import ADVICE, CAMVID, COLOUR, MASK, NAMES, SKIP, numbers, pairs, refusal, save
from PIL import Image

from pointwise.data.masks import read_masked_images

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
