"""Groups of images by the names of their files, and the parts of a data set."""

import re
from pathlib import Path

import pytest

from pointwise.data.image_groups import group_images
from pointwise.data.image_parts import ImageParts, find_parts, has_masks
from pointwise.errors import DataError

FRAMES = ("0001TP_006690.png", "cats/Seq05VD_f00000.png", "dogs/Seq05VD_f00030.png")

GROUPS = {
    "before the underscore": ("[^_]+", ["0001TP", "Seq05VD", "Seq05VD"]),
    "a bracket": (r"_f?(\d)", ["0", "0", "0"]),
    "the folder": ("folder", [".", "cats", "dogs"]),
}


@pytest.mark.parametrize(("by", "groups"), GROUPS.values(), ids=GROUPS)
def test_a_pattern_or_the_folder_tells_the_group(by, groups):
    assert group_images(FRAMES, by).tolist() == groups


WRONG = {
    "no pattern": (
        "[_",
        "groups are 'folder' or a regular expression, such as [^_]+ for what comes before the "
        "first underscore: '[_' is none (unterminated character set at position 0)",
    ),
    "a name without it": (
        "Seq[0-9]+",
        "groups: 'Seq[0-9]+' finds nothing in the name '0001TP_006690.png': a file without a group "
        "cannot be split off with its like",
    ),
    "an empty group": (
        "x*",
        "groups: 'x*' finds nothing in the name '0001TP_006690.png': a file without a group cannot "
        "be split off with its like",
    ),
}


@pytest.mark.parametrize(("by", "message"), WRONG.values(), ids=WRONG)
def test_patterns_that_tell_nothing_are_refused(by, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        group_images(FRAMES, by)


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_parts_are_known_by_their_names(tmp_path):
    make(tmp_path, "Train/a", "validation/a", "testing/a", ".cache")
    found = ImageParts(tmp_path / "Train", tmp_path / "validation", tmp_path / "testing")
    assert find_parts(tmp_path) == found


WHOLE = {
    "classes": ("cat/a", "dog/a"),
    "a part and a class": ("train/a", "cat/a"),
    "none to train": ("test/a", "val/a"),
    "classes called so": ("train", "test"),
}


@pytest.mark.parametrize("names", WHOLE.values(), ids=WHOLE)
def test_other_folders_are_whole(names, tmp_path):
    assert find_parts(make(tmp_path, *names)) == ImageParts(tmp_path)


def test_a_part_that_is_there_twice_is_refused(tmp_path):
    make(tmp_path, "train/a", "val/a", "valid/a")
    message = f"{tmp_path}: val and valid are both here: which of them is to valid?"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        find_parts(tmp_path)


def test_images_and_masks_are_two_folders(tmp_path):
    assert not has_masks(make(tmp_path, "images"))
    assert has_masks(make(tmp_path, "masks"))
