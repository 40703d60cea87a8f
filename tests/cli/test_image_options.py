"""Labels, groups and parts of image classifiers on the command line, and what does not match."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import stripes, write_images
from PIL import Image

from pointwise.data import write_idx
from pointwise.estimators import load


@pytest.fixture
def photos(home):
    """A flat folder of images, and ``labels.csv`` beside it."""
    pixels, labels = stripes(30)
    Path("flat").mkdir()
    lines = ["file,class"]
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        Image.fromarray(image[0]).save(f"flat/v{number // 6}_{number:02}.png")
        lines.append(f"v{number // 6}_{number:02}.png,{('lying', 'standing')[label]}")
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    return home


def test_a_table_of_labels_and_groups(pointwise, photos):
    ran = pointwise("fit flat --labels labels.csv --groups [^_]+ --epochs 1 --valid 0.25 --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["rows"] == {"train": 18, "valid": 6, "test": 6}  # whole videos of six
    assert load("flat-model").classes_.tolist() == ["lying", "standing"]
    ran = pointwise("evaluate flat-model flat --labels labels.csv --json")
    assert json.loads(ran.out)["rows"] == 30


def test_labels_of_an_idx_file_and_another_to_score_on(pointwise, home):
    for name, count in (("a", 30), ("b", 8)):
        pixels, labels = stripes(count)
        write_idx(pixels[:, 0], f"{name}-images-idx3-ubyte")
        write_idx(labels.astype(np.uint8), f"{name}-labels-idx1-ubyte")
    shutil.move("a-labels-idx1-ubyte", "truth")
    given = "--labels truth --test b-images-idx3-ubyte"
    ran = pointwise(f"fit a-images-idx3-ubyte {given} --epochs 1 --out m --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["rows"] == {"train": 28, "valid": 2, "test": 8}
    ran = pointwise("evaluate m b-images-idx3-ubyte --json")
    assert json.loads(ran.out)["metrics"] == found["metrics"]


def test_a_folder_of_parts(pointwise, home):
    for part, count in (("train", 24), ("val", 6), ("test", 8)):
        write_images(Path("photos", part), count, 3 if part == "train" else 1)
    ran = pointwise("fit photos --epochs 1 --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["rows"] == {"train": 24, "valid": 6, "test": 8}
    assert found["metrics_rows"] == "8 test images"
    ran = pointwise("fit photos/train --valid photos/val --epochs 1 --out m --json")
    assert json.loads(ran.out)["metrics_rows"] == "6 validation images, which chose the epoch"


def test_grey_among_colour_is_told(pointwise, home):
    write_images(Path("photos"), 20, 3)
    with Image.open("photos/lying/000.png") as picture:
        picture.convert("L").save("photos/lying/000.png")
    ran = pointwise("fit photos --epochs 1 --json")
    note = "grey among colour, repeated in all channels: 1 of 20 files (lying/000.png)"
    assert json.loads(ran.out)["warnings"][0] == note
    assert note in ran.err


def fewer_labels():
    lines = Path("labels.csv").read_text().splitlines()
    Path("labels.csv").write_text("\n".join(lines[:-2]))


def more_labels():
    with Path("labels.csv").open("a") as file:
        file.write("gone.png,lying\n")


def short_idx():
    pixels, labels = stripes(30)
    write_idx(pixels[:, 0], "a-images-idx3-ubyte")
    write_idx(labels[:20].astype(np.uint8), "short")


def empty_class():
    write_images(Path("photos"), 10)
    Path("photos/leaning").mkdir()


def other_class():
    write_images(Path("photos/train"), 20)
    write_images(Path("photos/test"), 4, names=("lying", "leaning"))


def no_image():
    write_images(Path("photos"), 10)
    Path("photos/lying/000.png").write_text("<!DOCTYPE html>")


def one_video_per_class():
    write_images(Path("photos"), 20)
    for path in Path("photos").rglob("*.png"):
        path.rename(path.with_name(f"{path.parent.name}_{path.name}"))


REFUSED = {
    "images without a label": (
        fewer_labels,
        "fit flat --labels labels.csv",
        "labels.csv: labels and images do not match: 2 of 30 images in flat have no label "
        "(v4_28.png, v4_29.png)",
    ),
    "labels without an image": (
        more_labels,
        "fit flat --labels labels.csv",
        "labels.csv: labels and images do not match: 1 of 31 labels have no image (gone.png)",
    ),
    "labels that are nowhere": (
        lambda: None,
        "fit flat --labels gone.csv",
        "no file 'gone.csv': did you mean 'houses.csv'?",
    ),
    "too few labels of an idx file": (
        short_idx,
        "fit a-images-idx3-ubyte --labels short",
        "short: 20 labels are here, a-images-idx3-ubyte holds 30 images",
    ),
    "no labels of an idx file": (
        short_idx,
        "fit a-images-idx3-ubyte",
        "a-images-idx3-ubyte: no file of labels was found, neither a-labels-idx1-ubyte nor "
        "a-labels-idx1-ubyte.gz is beside it: give --labels",
    ),
    "a table for an idx file": (
        short_idx,
        "fit a-images-idx3-ubyte --labels labels.csv",
        "labels.csv: this is no idx file: it begins with 66 69 6c 65, not with 00 00, a type (08 "
        "to 0e) and the number of axes",
    ),
    "an empty class": (
        empty_class,
        "fit photos",
        "photos/leaning: no image of this class is here: add some, or remove the folder",
    ),
    "a test class that nothing trains": (
        other_class,
        "fit photos --epochs 1",
        "1 class of the images held out cannot be learnt, since no training image has it: "
        "'leaning'",
    ),
    "a file that is no image": (
        no_image,
        "fit photos",
        None,
    ),
    "a video that is all of a class": (
        one_video_per_class,
        "fit photos --groups [^_]+",
        "groups cannot be held out: each of the 2 holds all that there is of some class",
    ),
    "names of mask classes": (
        lambda: None,
        "fit flat --labels labels.csv --classes a,b --widths 4",
        "--classes, --widths: for images with masks only, no folder of masks is in flat",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_match_is_one_clear_line(case, pointwise, photos):
    make, line, message = REFUSED[case]
    make()
    ran = pointwise(line)
    assert (ran.code, ran.out) == (1, "")
    last = ran.err.splitlines()[-1]
    if message is None:
        assert last.startswith("error: photos/lying/000.png: this is no JPEG, PNG, GIF, BMP,")
        assert last.endswith("--skip-unreadable leaves such files out")
    else:
        assert last == f"error: {message}"


@pytest.mark.parametrize("option", ["--labels a.csv", "--masks a"])
def test_evaluate_refuses_options_for_images(option, pointwise):
    ran = pointwise(f"evaluate price-model houses.csv {option}")
    name = option.split()[0]
    assert ran.err == f"error: {name}: for images only, houses.csv is none\n"
