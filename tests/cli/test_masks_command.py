"""Images and masks on the command line: fit, evaluate, predict, report, and what they refuse."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mask_folders import SIDE, write_masks
from PIL import Image

from pointwise.data.masks import read_masked_images
from pointwise.estimators import load

FIT = "--epochs 2 --widths 4,8 --classes ground,square --ignore 9"


@pytest.fixture(scope="session")
def fitted_masks(tmp_path_factory):
    """Images and masks in parts, to be copied."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed, (part, images) in enumerate((("train", 20), ("val", 6), ("test", 8))):
        write_masks(folder / part, images, seed=seed)
    return folder


@pytest.fixture
def scenes(home, fitted_masks):
    """``scenes`` with train, val and test in the working folder."""
    shutil.copytree(fitted_masks, "scenes")
    return Path("scenes")


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_parts_train_choose_the_epoch_and_are_scored_on(pointwise, scenes):
    ran = pointwise(f"fit scenes {FIT} --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["task"] == "segmentation"
    assert found["rows"] == {"train": 20, "valid": 6, "test": 8}
    assert found["metrics_rows"] == "8 test images"
    assert list(found["metrics"]) == ["mean_iou", "pixel_accuracy", "class_accuracy"]
    assert list(found["baselines"]) == ["majority", "place", "linear"]
    assert found["epochs"] == 2
    assert "20 images, in colour, 16 x 16; one of 2 classes for every pixel" in ran.err
    model = load("scenes-model")
    assert (model.class_names_, model.ignore) == (("ground", "square"), 9)
    assert not Path("scenes-model.checkpoint").exists()
    test = read_masked_images("scenes/test", classes=("ground", "square"), ignore=9)
    assert found["metrics"]["mean_iou"] == model.score(test.images, test.masks)
    shown = json.loads(pointwise("evaluate scenes-model scenes/test --json").out)
    assert (shown["metrics"], shown["rows"]) == (found["metrics"], 8)
    assert list(shown["iou"]) == ["ground", "square"]
    assert np.mean(list(shown["iou"].values())) == pytest.approx(found["metrics"]["mean_iou"])
    ran = pointwise("evaluate scenes-model scenes/test/images --masks scenes/test/masks")
    assert ran.out.splitlines()[-1].startswith("IoU: ground 0.")


def test_the_report_shows_images_under_their_masks(pointwise, scenes):
    assert pointwise(f"fit scenes {FIT}").code == 0
    assert pointwise("report scenes-model").code == 0
    page = Path("scenes-model/report.html").read_text(encoding="utf-8")
    for heading in ("Where it is worst", "Share of pixels", "Confusion matrix", "square"):
        assert heading.lower() in page.lower()
    assert page.count("data:image/png;base64,") == 2 * 8
    assert "segmentation of images" in page


def test_a_folder_without_parts_is_split_and_videos_stay_whole(pointwise, scenes):
    ran = pointwise(f"fit scenes/train {FIT} --groups [^_]+ --test 0.2 --valid 0.25 --out m --json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["rows"] == {"train": 12, "valid": 4, "test": 4}


def test_validation_images_apart_are_scored_on_where_no_others_are(pointwise, scenes):
    ran = pointwise(f"fit scenes/train {FIT} --valid scenes/val --out m --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["metrics_rows"] == "6 validation images, which chose the epoch"
    assert found["rows"] == {"train": 20, "valid": 6, "test": 0}
    ran = pointwise(f"fit scenes/train {FIT} --valid scenes/val --test scenes/test --out m --json")
    assert json.loads(ran.out)["rows"] == {"train": 20, "valid": 6, "test": 8}


def test_masks_may_lie_elsewhere_and_be_resized(pointwise, scenes):
    shutil.move("scenes/train/masks", "truth")
    ran = pointwise(f"fit scenes/train/images --masks truth {FIT} --size 8 --out m")
    assert ran.code == 0, ran.err
    assert "classes" not in ran.err.splitlines()[-1]
    assert load("m").pixels_.height == 8


def test_predicted_masks_can_be_looked_at_and_have_their_images_size(pointwise, scenes):
    assert pointwise(f"fit scenes {FIT}").code == 0
    Image.fromarray(opened("scenes/test/images/v0_000.png")).resize((40, 24)).save("large.png")
    ran = pointwise("predict scenes-model large.png --out found --proba")
    assert ran.out == "1 mask: found\n", ran.err
    mask, shares = opened("found/large.png"), np.load("found/large.npy")
    assert (mask.shape, shares.shape, shares.dtype) == ((24, 40), (2, 24, 40), np.float16)
    np.testing.assert_allclose(shares.astype(float).sum(0), 1, atol=2e-3)
    assert set(np.unique(mask)) <= {0, 1}
    with Image.open("found/large.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:6] == [0, 114, 178, 230, 159, 0]
    small = Image.fromarray(opened("large.png")).resize((SIDE, SIDE))
    small.save("small.png")
    pointwise("predict scenes-model small.png --out found")
    image = np.moveaxis(np.asarray(small), -1, 0)[None]
    assert np.array_equal(opened("found/small.png"), load("scenes-model").predict(image)[0])


def test_true_masks_are_neither_replaced_nor_segmented(pointwise, scenes):
    assert pointwise(f"fit scenes {FIT}").code == 0
    truth = {path: path.read_bytes() for path in Path("scenes/test/masks").iterdir()}
    ran = pointwise("predict scenes-model scenes/test/images --out scenes/test/masks")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        "error: scenes/test/masks/v0_000.png is there, and no mask that pointwise wrote: give "
        "another folder with --out, or remove it"
    )
    assert {path: path.read_bytes() for path in truth} == truth
    for _ in range(2):  # masks that it wrote are replaced
        ran = pointwise("predict scenes-model scenes/test --out found")
        assert ran.out == "8 masks: found\n", ran.err
    assert {path.name for path in Path("found").iterdir()} == {path.name for path in truth}


def test_classes_without_pixels_are_told_of(pointwise, scenes):
    ran = pointwise(f"fit scenes {FIT.replace('ground,square', 'ground,square,boat')} --json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["warnings"] == [
        "no pixel to learn from is of 1 class: boat",
        "no pixel to score on is of 1 class: boat",
    ]


def other_size():
    Image.new("L", (9, 9)).save("scenes/train/masks/v0_000.png")


def without_mask():
    Path("scenes/train/masks/v0_000.png").unlink()


def cut(part):
    path = Path("scenes/train", part, "v0_000.png")
    path.write_bytes(path.read_bytes()[:60])


def mixed():
    for part in ("images", "masks"):
        with Image.open(f"scenes/train/{part}/v0_000.png") as picture:
            picture.resize((20, 9), Image.Resampling.NEAREST).save(
                f"scenes/train/{part}/v0_000.png"
            )


def coloured():
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (SIDE, SIDE, 3), np.uint8)).save(
        "scenes/train/masks/v0_000.png"
    )


FIRST = "scenes/train/masks/v0_000.png"
REFUSED = {
    "a class that has no name": (
        lambda: None,
        "fit scenes --classes ground,square",
        f"{FIRST}: masks hold 0 to 1 for 2 classes, got 9 (as in 20 masks): name all classes, or "
        "give --ignore for unknown pixels",
    ),
    "numbers that are no classes": (
        lambda: None,
        "fit scenes",
        "scenes/train/masks: classes are numbered 0, 1, 2 and so on, the masks hold 0, 1, 9: "
        "renumber them, or name a class for every number (--classes)",
    ),
    "a mask of another size": (
        other_size,
        f"fit scenes {FIT}",
        f"{FIRST}: a mask has the size of its image, got 9 x 9 and 16 x 16 (height x width) for "
        "scenes/train/images/v0_000.png",
    ),
    "an image without a mask": (
        without_mask,
        f"fit scenes {FIT}",
        "scenes/train/images: an image and its mask have the same name up to the suffix, found 1 "
        "image without a mask (v0_000.png)",
    ),
    "a truncated image": (
        lambda: cut("images"),
        f"fit scenes {FIT}",
        "scenes/train/images/v0_000.png: the image is truncated or damaged (image file is "
        "truncated); --skip-unreadable leaves such files out",
    ),
    "a truncated mask": (
        lambda: cut("masks"),
        f"fit scenes {FIT}",
        f"{FIRST}: the image is truncated or damaged (image file is truncated); "
        "--skip-unreadable leaves such files out",
    ),
    "several sizes": (
        mixed,
        f"fit scenes {FIT}",
        "images of one size are needed, v0_000.png is 9 x 20 and v0_005.png 16 x 16 (height x "
        "width): give --size to resize all of them",
    ),
    "a mask in colour": (coloured, f"fit scenes {FIT}", None),
    "the same name twice": (
        lambda: None,
        "fit scenes --classes a,a",
        "--classes must be 2 to 256 different names, got ['a', 'a']",
    ),
    "labels": (
        lambda: None,
        f"fit scenes {FIT} --labels a.csv",
        "--labels: for images of one class each, scenes has masks",
    ),
    "widths that are none": (
        lambda: None,
        "fit scenes --widths 4,x",
        "--widths must be whole numbers from 1 on with commas between them, such as 16,32,64: got "
        "'4,x'",
    ),
    "groups where nothing is split": (
        lambda: None,
        f"fit scenes {FIT} --groups [^_]+",
        "--groups: nothing is split here, validation and test images are apart",
    ),
    "one group": (
        lambda: None,
        f"fit scenes/train {FIT} --groups v",
        "groups must name at least 2 groups, got 1: v",
    ),
    "groups without a name": (
        lambda: None,
        f"fit scenes/train {FIT} --groups x+",
        "groups: 'x+' finds nothing in the name 'v0_000.png': a file without a group cannot be "
        "split off with its like",
    ),
    "no folder to validate": (
        lambda: None,
        f"fit scenes {FIT} --valid nowhere",
        "--valid must be a share between 0 and 1, or a folder or an idx file of images: there is "
        "no nowhere",
    ),
    "masks that are nowhere": (
        lambda: None,
        f"fit scenes/train/images --masks nowhere {FIT}",
        "nowhere: there is no such folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_masks_are_one_clear_line(case, pointwise, scenes):
    make, line, message = REFUSED[case]
    make()
    ran = pointwise(line)
    assert (ran.code, ran.out) == (1, "")
    last = ran.err.splitlines()[-1]
    if message is None:
        assert last.startswith(f"error: {FIRST}: the mask is in colour (")
        assert last.endswith("replace each colour by a number and save as grey or palette PNG")
    else:
        assert last == f"error: {message}"
    assert not Path("scenes-model").exists()


def test_damaged_pairs_are_left_out_if_asked(pointwise, scenes):
    cut("masks")
    ran = pointwise(f"fit scenes {FIT} --skip-unreadable --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["rows"]["train"] == 19
    assert found["warnings"] == [
        "unreadable image or mask, both left out: 1 of 20 files (v0_000.png)"
    ]


def test_grey_among_colour_is_told(pointwise, scenes):
    with Image.open("scenes/train/images/v0_000.png") as picture:
        picture.convert("L").save("scenes/train/images/v0_000.png")
    for path in Path("scenes/test/images").iterdir():
        with Image.open(path) as picture:
            picture.convert("L").save(path)
    ran = pointwise(f"fit scenes {FIT}")
    assert ran.code == 0, ran.err
    assert "grey among colour, repeated in all channels: 1 of 20 files (v0_000.png)" in ran.err


def test_scores_of_what_the_model_does_not_know_are_refused(pointwise, scenes):
    assert pointwise(f"fit scenes {FIT}").code == 0
    other = opened("scenes/test/masks/v0_000.png").copy()
    other[3, 3] = 5
    Image.fromarray(other).save("scenes/test/masks/v0_000.png")
    refused = {
        "scenes/test": "scenes/test/masks/v0_000.png: masks hold 0 to 1 for 2 classes, 9 for "
        "unknown, got 5: the model knows no others",
        "scenes/test/images/v0_000.png": "scenes-model segments: it is scored on a folder of "
        "images and masks, got scenes/test/images/v0_000.png",
        "scenes/test --labels a.csv": "--labels: for models that classify, scenes-model segments",
        "scenes": "scenes: no folder images and no folder masks is here: give the folder of masks "
        "with --masks",
    }
    for data, message in refused.items():
        assert pointwise(f"evaluate scenes-model {data}").err == f"error: {message}\n"
    path = Path("scenes/test/images/v0_000.png")
    path.write_bytes(path.read_bytes()[:60])
    for line in ("evaluate scenes-model scenes/test", f"predict scenes-model {path} --out found"):
        assert pointwise(line).err == (
            "error: scenes/test/images/v0_000.png: the image is truncated or damaged (image file "
            "is truncated); repair the file, or remove it\n"
        )
