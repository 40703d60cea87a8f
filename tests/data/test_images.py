"""Images from folders: which files, in which order, with which options, and every refusal."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_cases import CIFAR, COLOUR, SKIP, refusal, save, two_classes
from PIL import Image

from pointwise.data import image_stack
from pointwise.data.image_files import is_picture
from pointwise.data.images import ImageSet, read_images

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


def test_one_class_can_be_read(tmp_path: Path) -> None:
    """There is nothing to learn from it, but to score."""
    save(tmp_path / "cat" / "1.png")
    found = read_images(tmp_path)
    assert found.classes == ("cat",)
    assert found.labels is not None
    assert found.labels.tolist() == [0]


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
    assert refusal(lambda: read_images(tmp_path, labels=tmp_path / "y.csv"), tmp_path) == (
        "no file 'y.csv': check its name and folder."
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
