"""What each kind of image becomes, and images of mixed sizes and colours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_cases import COLOUR, GREY, SKIP, refusal, save, two_classes
from numpy.typing import NDArray
from PIL import Image

from pointwise.data.image_files import read_picture
from pointwise.data.images import read_images

# --- Kinds of images ---


def with_alpha(alpha: int) -> NDArray[np.uint8]:
    return np.concatenate([COLOUR, np.full_like(COLOUR[..., :1], alpha)], axis=-1)


CMYK = Image.fromarray(COLOUR).convert("CMYK")
WHITE = "transparent parts, laid on white"
SCALED = "16 bits per value, scaled to 8"
DEEP = GREY.astype(np.uint16) * 257
PALETTE = Image.fromarray(COLOUR).quantize(24)
GREY_PALETTE = Image.fromarray(GREY).convert("P")
INKS = "CMYK, turned to RGB without a colour profile"
KINDS: dict[str, tuple[Image.Image, str, NDArray[Any], tuple[str, ...]]] = {
    "grey": (Image.fromarray(GREY), "png", GREY, ()),
    "colour": (Image.fromarray(COLOUR), "png", COLOUR, ()),
    "colour without colours": (
        Image.fromarray(np.dstack([GREY] * 3)),
        "png",
        np.dstack([GREY] * 3),
        (),
    ),
    "black and white": (Image.fromarray(GREY > 99), "png", (GREY > 99) * np.uint8(255), ()),
    "opaque": (Image.fromarray(with_alpha(255)), "png", COLOUR, ()),
    "transparent": (Image.fromarray(with_alpha(0)), "png", COLOUR * 0 + 255, (WHITE,)),
    "transparent grey": (
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY * 0)]),
        "png",
        GREY * 0 + 255,
        (WHITE,),
    ),
    "opaque grey": (Image.fromarray(GREY).convert("LA"), "png", GREY, ()),
    "16 bits": (Image.fromarray(DEEP), "png", GREY, (SCALED,)),
    "16 bits TIFF": (Image.fromarray(DEEP), "tif", GREY, (SCALED,)),
    "16 bits PGM": (Image.fromarray(DEEP), "pgm", GREY, (SCALED,)),
    "palette": (PALETTE, "png", np.asarray(PALETTE.convert("RGB")), ()),
    "palette of greys": (GREY_PALETTE, "png", GREY, ()),
    "GIF of greys": (Image.fromarray(GREY), "gif", GREY, ()),
    "CMYK": (CMYK, "tif", np.asarray(CMYK.convert("RGB")), (INKS,)),
}


@pytest.mark.parametrize(("image", "ending", "pixels", "changes"), KINDS.values(), ids=KINDS.keys())
def test_kinds_of_images(
    image: Image.Image,
    ending: str,
    pixels: NDArray[Any],
    changes: tuple[str, ...],
    tmp_path: Path,
) -> None:
    image.save(tmp_path / f"a.{ending}")
    read = read_picture(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read.pixels, np.moveaxis(np.atleast_3d(pixels), 2, 0))
    assert read.pixels.dtype == np.uint8
    assert read.changes == changes
    grey = read_picture(tmp_path / f"a.{ending}", colour="grey").pixels
    np.testing.assert_array_equal(grey[0], np.asarray(Image.fromarray(pixels).convert("L")))
    rgb = read_picture(tmp_path / f"a.{ending}", colour="rgb").pixels
    assert rgb.shape == (3, 4, 6)


def test_a_colour_that_is_transparent(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", transparency=0)
    GREY_PALETTE.save(tmp_path / "b.png", transparency=0)
    for name in ("a.png", "b.png"):
        read = read_picture(tmp_path / name)
        np.testing.assert_array_equal(read.pixels[0], np.where(GREY == 0, 255, GREY))
        assert read.changes == (WHITE,)


@pytest.mark.parametrize("ending", ["gif", "png", "tif", "webp"])
def test_of_several_frames_the_first_is_taken(ending: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    read = read_picture(tmp_path / f"a.{ending}")
    assert read.changes == ("several frames, the first taken",)
    assert np.abs(read.pixels[:, 0, 0].astype(int) - (255, 0, 0)).max() < 3


KINDS_REFUSED = {
    "floating point": (GREY.astype(np.float32), "floating-point values"),
    "32 bits, small numbers": (GREY.astype(np.int32), "32 bits per value"),
    "32 bits": (GREY.astype(np.int32) + 70_000, "32 bits per value"),
    "negative": (GREY.astype(np.int32) - 1, "32 bits per value"),
}


@pytest.mark.parametrize(("pixels", "kind"), KINDS_REFUSED.values(), ids=KINDS_REFUSED.keys())
def test_kinds_that_are_refused(pixels: NDArray[Any], kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", pixels)
    assert refusal(lambda: read_images(path, labels=False), tmp_path) == (
        f"a.tif: the image has {kind}: save it with 8 or 16 bits{SKIP}"
    )


TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
    9: lambda x: x,  # no such orientation
}


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(orientation: int, ending: str, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    pixels = np.kron(COLOUR, np.ones((40, 40, 1), np.uint8))
    path = save(tmp_path / f"a.{ending}", pixels, exif=tags)
    expected = TURNS[orientation](pixels)
    read = read_picture(path)
    assert read.size == expected.shape[:2]
    difference = np.abs(read.pixels.transpose(1, 2, 0).astype(int) - expected)
    assert difference.mean() < 3  # a JPEG is not exact
    assert difference.max() < (1 if ending != "jpg" else 256)
    small = read_picture(path, size=(9, 11))
    assert (small.size, small.pixels.shape) == (expected.shape[:2], (3, 9, 11))
    oracle = Image.fromarray(np.ascontiguousarray(expected)).resize((11, 9), Image.BICUBIC)
    difference = np.abs(small.pixels.transpose(1, 2, 0).astype(int) - np.asarray(oracle))
    assert difference.mean() < 5


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_damaged_tags_do_no_harm(ending: str, tmp_path: Path) -> None:
    tags = b"Exif\0\0nonsense and more of it"
    save(two_classes(tmp_path) / "dog" / f"3.{ending}", exif=tags)
    assert len(read_images(tmp_path).images) == 4


# --- Sizes and colours that are mixed ---


def test_mixed_sizes_are_refused(tmp_path: Path) -> None:
    save(two_classes(tmp_path) / "dog" / "1.png", COLOUR[:3])
    save(tmp_path / "dog" / "2.png", COLOUR[:2])
    assert refusal(lambda: read_images(tmp_path), tmp_path) == (
        "images of one size are needed, cat/1.png is 4 x 6 and dog/1.png 3 x 6 (height x width): "
        "give size=, such as size=(4, 6), to resize all of them"
    )


def test_mixed_sizes_are_resized(tmp_path: Path) -> None:
    save(two_classes(tmp_path) / "dog" / "1.png", np.repeat(COLOUR, 2, axis=0))
    found = read_images(tmp_path, size=(4, 6))
    assert found.images.shape == (3, 3, 4, 6)
    assert found.notes == ("resized to 4 x 6: 1 of 3 files (dog/1.png)",)
    assert read_images(tmp_path, size=2).notes == ("resized to 2 x 2: all 3 files",)
    assert read_images(tmp_path, size=2).images.shape == (3, 3, 2, 2)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)  # alternating pixels
    for ending in ("png", "jpg"):
        path = save(tmp_path / f"a.{ending}", board)
        small = read_picture(path, size=(8, 8)).pixels
        assert np.abs(small.astype(int) - 127).max() < 12  # picking pixels would give 0 and 255


def test_grey_among_colour(tmp_path: Path) -> None:
    save(two_classes(tmp_path) / "dog" / "1.png", GREY)
    found = read_images(tmp_path)
    assert found.images.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(found.images[1], np.stack([GREY] * 3))
    note = "grey among colour, repeated in all channels: 1 of 3 files (dog/1.png)"
    assert found.notes == (note,)
    assert read_images(tmp_path, colour="rgb").notes == ()
    np.testing.assert_array_equal(read_images(tmp_path, colour="rgb").images, found.images)
    grey = read_images(tmp_path, colour="grey")
    assert (grey.images.shape, grey.notes) == ((3, 1, 4, 6), ())


def test_colour_among_grey(tmp_path: Path) -> None:
    save(two_classes(tmp_path, GREY) / "dog" / "1.png", COLOUR)
    found = read_images(tmp_path)
    np.testing.assert_array_equal(found.images[1], COLOUR.transpose(2, 0, 1))
    for number in (0, 2):
        np.testing.assert_array_equal(found.images[number], np.stack([GREY] * 3))
    note = "grey among colour, repeated in all channels: 2 of 3 files (cat/1.png, dog/2.png)"
    assert found.notes == (note,)


def test_all_grey_stays_grey(tmp_path: Path) -> None:
    found = read_images(two_classes(tmp_path, GREY))
    assert (found.images.shape, found.notes) == ((3, 1, 4, 6), ())
    assert read_images(tmp_path, colour="rgb").images.shape == (3, 3, 4, 6)
    assert read_images(tmp_path, colour="rgb").notes == ()


def test_changes_are_counted(tmp_path: Path) -> None:
    save(two_classes(tmp_path) / "dog" / "1.png", with_alpha(9))
    assert read_images(tmp_path, size=(2, 3)).notes == (
        "resized to 2 x 3: all 3 files",
        "transparent parts, laid on white: 1 of 3 files (dog/1.png)",
    )
