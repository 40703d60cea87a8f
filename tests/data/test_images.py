"""Images from folders: what each kind of file becomes, what is left out, and every refusal."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pointwise.data import image_stack
from pointwise.data.image_files import is_picture, read_picture
from pointwise.data.image_pixels import UnreadableImageError
from pointwise.data.images import ImageSet, read_images
from pointwise.errors import DataError

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg" / "cifar10_jpeg.tar.xz"
HAS_AVIF = ".avif" in Image.registered_extensions()
FORMATS = f"JPEG, PNG, GIF, BMP, TIFF, WEBP, {'AVIF, ' if HAS_AVIF else ''}JPEG2000 or PPM"
SKIP = "; unreadable='skip' leaves such files out"
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def save(path: Path, pixels: NDArray[Any] = COLOUR, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def two_classes(folder: Path, pixels: NDArray[Any] = COLOUR) -> Path:
    """A cat, two dogs."""
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        save(folder / name, pixels)
    return folder


def refusal(call: Callable[[], object], folder: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value).replace(f"{folder}{os.sep}", "").replace(str(folder), "DATA")


# --- A folder with a folder per class ---


def test_classes_are_the_folders(tmp_path: Path) -> None:
    save(tmp_path / "dog" / "b.PNG", COLOUR)
    save(tmp_path / "dog" / "a" / "z.bmp", COLOUR + 1)
    save(tmp_path / "cat" / "10.png", COLOUR + 2)
    save(tmp_path / "cat" / "9.png", COLOUR + 3)
    found = read_images(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert found.names == ("cat/10.png", "cat/9.png", "dog/a/z.bmp", "dog/b.PNG")
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels, np.array([0, 0, 1, 1]), strict=True)
    expected = np.stack([COLOUR + n for n in (2, 3, 1, 0)]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.images, expected, strict=True)
    assert found.images.flags.c_contiguous
    assert found.notes == ()


def test_classes_that_are_numbers_are_sorted_so(tmp_path: Path) -> None:
    for name in ("10", "9", "0"):
        save(tmp_path / name / "1.png")
    assert read_images(tmp_path).classes == ("0", "9", "10")
    save(tmp_path / "x" / "1.png")
    assert read_images(tmp_path).classes == ("0", "10", "9", "x")


def test_litter_is_passed_over_and_other_files_are_named(tmp_path: Path) -> None:
    two_classes(tmp_path)
    for name in (".DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/._1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"\0\0\0\1Bud1")
    save(tmp_path / ".ipynb_checkpoints" / "1.png")
    save(tmp_path / "cat" / ".ipynb_checkpoints" / "1.png")
    assert read_images(tmp_path).notes == ()
    assert len(read_images(tmp_path).images) == 3
    (tmp_path / "labels.csv").write_text("a,b")
    (tmp_path / "dog" / "notes").write_text("")
    save(tmp_path / "0.png")
    assert read_images(tmp_path).notes == ("no images, left out: 0.png, labels.csv, dog/notes",)


def test_images_are_known_by_their_bytes_where_the_name_does_not_say(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "dog" / "2.png").rename(tmp_path / "dog" / "2")
    shutil.copy(tmp_path / "dog" / "2", tmp_path / "dog" / "3.jpg")  # a PNG for all that
    found = read_images(tmp_path)
    assert found.names == ("cat/1.png", "dog/1.png", "dog/2", "dog/3.jpg")
    assert found.notes == ()


def test_links_are_followed_once(tmp_path: Path) -> None:
    two_classes(tmp_path / "real")
    links = tmp_path / "links"
    links.mkdir()
    (links / "cat").symlink_to(tmp_path / "real" / "cat")
    (links / "dog").mkdir()
    (links / "dog" / "one.png").symlink_to(tmp_path / "real" / "dog" / "1.png")
    (links / "dog" / "round").symlink_to(links / "dog")
    assert read_images(links).names == ("cat/1.png", "dog/one.png")
    (links / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert refusal(lambda: read_images(links), links) == (
        f"dog/gone.png: cannot be read (No such file or directory){SKIP}"
    )


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(two_classes(tmp_path) / "cat" / "pipe")
    assert read_images(tmp_path).notes == ("no images, left out: cat/pipe",)


def no_folders(folder: Path) -> None:
    for number in range(5):
        save(folder / f"{number}.png")


def nothing(folder: Path) -> None:
    (folder / "notes.txt").write_text("to do")


def one_class(folder: Path) -> None:
    save(folder / "cat" / "1.png")


def empty_class(folder: Path) -> None:
    two_classes(folder)
    (folder / "emu").mkdir()


def class_of_text(folder: Path) -> None:
    empty_class(folder)
    for number in range(4):
        (folder / "emu" / f"{number}.txt").write_text("emu")


def parts(folder: Path) -> None:
    for part in ("test", "Train"):
        two_classes(folder / part)


def images_and_masks(folder: Path) -> None:
    for part in ("images", "masks"):
        save(folder / part / "1.png")


ADVICE = (
    "put the images of each class into a folder of its own, or read them without classes "
    "(labels=False)"
)
A_PART = "a folder per class is read, here are parts of a data set"
WRONG_FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "images without folders": (
        no_folders,
        f"DATA: no folder per class is here, 5 images (0.png, 1.png, 2.png, ...): {ADVICE}",
    ),
    "no images": (nothing, f"DATA: no folder per class is here, no images either: {ADVICE}"),
    "one class": (
        one_class,
        "DATA: a classifier learns from two classes or more, only the folder 'cat' is here",
    ),
    "an empty class": (
        empty_class,
        "emu: no image of this class is here: add some, or remove the folder",
    ),
    "a class of text": (
        class_of_text,
        "emu: no image of this class is here (no images are: 0.txt, 1.txt, 2.txt, ...): add some, "
        "or remove the folder",
    ),
    "train and test": (
        parts,
        f"DATA: {A_PART} (Train, test): read each of them, such as Train",
    ),
    "train alone": (
        lambda folder: two_classes(folder / "train") and None,
        f"DATA: {A_PART} (train): read each of them, such as train",
    ),
    "images and masks": (
        images_and_masks,
        "DATA: images and masks are here, not a folder per class: read_masked_images reads these",
    ),
}


@pytest.mark.parametrize(("make", "words"), WRONG_FOLDERS.values(), ids=WRONG_FOLDERS.keys())
def test_wrong_folders(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path)
    assert refusal(lambda: read_images(tmp_path), tmp_path) == words


def test_train_and_test_may_be_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        save(tmp_path / name / "1.png")
    assert read_images(tmp_path).classes == ("test", "train")


def test_wrong_paths(tmp_path: Path) -> None:
    two_classes(tmp_path)
    give = "give a folder with a folder of images per class, or an idx file"
    (tmp_path / "a.txt").write_text("a")
    wrong = {
        "cats": "no file 'cats': did you mean 'cat'?",
        "cat/1.png": f"cat/1.png: this is one image: {give}, or labels=False to read it without "
        "a class",
        "a.txt": f"a.txt: this is neither a folder, an idx file nor an image: {give}",
    }
    for name, words in wrong.items():
        assert refusal(lambda name=name: read_images(tmp_path / name), tmp_path) == words
    assert refusal(lambda: read_images(tmp_path, labels="y.idx"), tmp_path) == (
        "labels are a file for idx files only: in DATA the names of the folders are the classes"
    )


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(tmp_path)

    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    assert refusal(lambda: read_images(tmp_path, labels=False), tmp_path) == (
        "DATA: cannot be read (Permission denied)"
    )


def test_a_class_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(tmp_path)
    given = Path.iterdir

    def denied(path: Path) -> Iterator[Path]:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied", str(path))
        return given(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    assert refusal(lambda: read_images(tmp_path), tmp_path) == (
        "DATA: cannot be read (Permission denied)"
    )


def test_images_without_classes(tmp_path: Path) -> None:
    two_classes(tmp_path)
    found = read_images(tmp_path, labels=False)
    assert (found.labels, found.classes) == (None, ())
    assert found.names == ("cat/1.png", "dog/1.png", "dog/2.png")
    one = read_images(tmp_path / "cat" / "1.png", labels=False)
    assert (one.images.shape, one.names) == ((1, 3, 4, 6), ("1.png",))
    (tmp_path / "none").mkdir()
    assert refusal(lambda: read_images(tmp_path / "none", labels=False), tmp_path) == (
        "none: no image is in this folder"
    )


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


# --- Options, order, threads ---

WRONG_OPTIONS = {
    "unreadable": (
        {"unreadable": "ignore"},
        "unreadable must be one of refuse, skip, got 'ignore'",
    ),
    "colour": ({"colour": "gray"}, "colour must be one of auto, grey, rgb, got 'gray'"),
    **{
        f"size {size}": (
            {"size": size},
            f"size must be a number of pixels or (height, width), got {size!r}",
        )
        for size in (0, -1, 2.5, True, "32", (1, 2, 3), (4, 0), (4, None))
    },
}


@pytest.mark.parametrize(("options", "words"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_wrong_options(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text follows)
        read_images(two_classes(tmp_path), **options)
    assert str(caught.value) == words


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(300):
        save(tmp_path / f"{number % 3}" / f"{number:03}.png", np.full((2, 3), number % 256, "u1"))
    return tmp_path


def check_many(found: ImageSet) -> None:
    values = [int(Path(name).stem) for name in found.names]
    assert values == sorted(range(300), key=lambda number: (number % 3, number))
    np.testing.assert_array_equal(found.images[:, 0, 0, 0], np.array(values) % 256)


def test_order_does_not_depend_on_threads(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    check_many(read_images(many, progress=lambda done, of: told.append((done, of))))
    assert told == [(64, 300), (128, 300), (192, 300), (256, 300), (300, 300)]
    monkeypatch.setattr(image_stack, "_LARGE_BYTES", 1)
    monkeypatch.setattr(image_stack, "_BATCH_BYTES", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    check_many(read_images(many))


def test_what_ends_the_reading_ends_its_threads(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_stack, "_LARGE_BYTES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    read: list[int] = []

    def slowly(number: int) -> None:
        time.sleep(0.001)
        read.append(number)

    def interrupt(number: int, result: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_stack.read_many(sorted(many.rglob("*.png")), slowly, interrupt)
    done = len(read)
    assert 64 <= done < 300
    time.sleep(0.1)
    assert len(read) == done


def test_names_of_images(tmp_path: Path) -> None:
    for name in ("a.JPG", "a.heic", "a.svg"):
        assert is_picture(tmp_path / name)
    assert not is_picture(tmp_path / "missing")
    assert not is_picture(tmp_path)


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"no real data in {CIFAR.parent}")
@pytest.mark.slow
def test_cifar(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(CIFAR) as archive:
        members = [one for one in archive if one.name.removeprefix("./").startswith("test")]
        archive.extractall(tmp_path, members, filter="data")
    found = read_images(tmp_path / "test")
    assert found.images.shape == (10_000, 3, 32, 32)
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [1000] * 10
    assert found.classes[:2] == ("airplane", "automobile")
    assert found.notes == ()
    oracle = np.asarray(Image.open(tmp_path / "test" / found.names[1234]))
    np.testing.assert_array_equal(found.images[1234], oracle.transpose(2, 0, 1))
    assert refusal(lambda: read_images(tmp_path), tmp_path) == (
        f"DATA: {A_PART} (test): read each of them, such as test"
    )
