"""Images on the command line: fit, predict, evaluate, report and cost, and what they refuse."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_folders import SIZE, stripes, write_images
from PIL import Image
from threadpoolctl import threadpool_limits

from pointwise.data import read_images, write_idx
from pointwise.estimators import ImageClassifier, Segmenter, load, save


@pytest.fixture(scope="session")
def image_models(tmp_path_factory):
    """Folders with models: ``stripes`` with a report, ``masks`` that segments."""
    folder = tmp_path_factory.mktemp("image-models")
    pixels, labels = stripes(40, 3)
    with threadpool_limits(1):
        tiny = {"max_epochs": 2, "batch_size": 16, "random_state": 0}
        model = ImageClassifier(**tiny).fit(pixels, np.array(["lying", "standing"])[labels])
        save(model, folder / "stripes")
        model = Segmenter(widths=(4, 8), max_epochs=2, batch_size=8, random_state=0)
        save(model.fit(pixels, pixels[:, 0] > 128), folder / "masks")
    return folder


@pytest.fixture
def models(home, image_models):
    """``stripes-model`` and ``masks-model`` in the working folder, and ``photos``."""
    for name in ("stripes", "masks"):
        shutil.copytree(image_models / name, f"{name}-model")
    write_images(Path("photos"), 12, 3)
    return home


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_folder_becomes_a_model_with_a_report(pointwise):
    write_images(Path("photos"), 30, 3)
    ran = pointwise("fit photos --epochs 1 --valid 0.2 --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["task"] == "classification"
    assert found["target"] == ["class"]
    assert (found["metrics_rows"], found["epochs"], found["best_epoch"]) == ("6 test images", 1, 1)
    assert found["rows"] == {"train": 20, "valid": 4, "test": 6}
    assert list(found["baselines"]) == ["majority", "linear"]
    assert found["seconds"] > 0
    assert found["model"] == "photos-model"
    assert load("photos-model").classes_.tolist() == ["lying", "standing"]
    assert "30 images, in colour, 12 x 12; classification of 2 classes" in ran.err
    assert not Path("photos-model.checkpoint").exists()
    ran = pointwise("report photos-model")
    assert ran.code == 0
    page = Path("photos-model/report.html").read_text(encoding="utf-8")
    assert "Wrongly classified images" in page
    assert "Calibration" in page
    assert "Learning curves" in page


def test_a_fit_and_a_comparison_need_two_classes(pointwise):
    write_images(Path("photos"), 12, 3)
    shutil.rmtree("photos/lying")
    for command in ("fit photos", "compare photos"):
        ran = pointwise(command)
        assert ran.code == 1
        assert ran.err.endswith(
            "error: photos: a classifier learns from two classes or more, all images here are of "
            "'standing'\n"
        )


def test_a_model_is_scored_on_images_of_one_class(models, pointwise):
    shutil.rmtree("photos/lying")
    ran = pointwise("evaluate stripes-model photos --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["rows"] == 6
    assert found["metrics"]["roc_auc"] is None
    predicted = load("stripes-model").predict(read_images("photos").images)
    assert found["metrics"]["accuracy"] == np.mean(predicted == "standing")


def test_idx_files_become_a_model_and_the_scores_a_table(pointwise):
    pixels, labels = stripes(30)
    write_idx(pixels[:, 0], "a-images-idx3-ubyte.gz")
    write_idx(labels.astype(np.uint8), "a-labels-idx1-ubyte.gz")
    ran = pointwise("fit a-images-idx3-ubyte.gz --epochs 1 --out m --seed 3 --test 0.4")
    assert ran.code == 0, ran.err
    assert "class: 12 test images" in ran.out
    assert "most frequent class" in ran.out
    assert "logistic regression on pixels" in ran.out
    assert ran.out.splitlines()[-1] == "model: m"
    ran = pointwise("predict m a-images-idx3-ubyte.gz --out c.csv")
    assert (ran.code, ran.out) == (0, "30 predictions: c.csv\n")
    assert pd.read_csv("c.csv")["file"].tolist() == list(range(30))
    assert pointwise("evaluate m a-images-idx3-ubyte.gz").code == 0


def test_images_of_several_sizes_are_brought_to_one(pointwise):
    write_images(Path("photos"), 10)
    Image.new("L", (20, 9)).save("photos/lying/large.png")
    ran = pointwise("fit photos --epochs 1 --size 8 --time-limit 60 --out m")
    assert ran.code == 0, ran.err
    pixels = load("m").pixels_
    assert (pixels.height, pixels.width) == (8, 8)
    assert pointwise("predict m photos --out c.csv").out == "11 predictions: c.csv\n"


def test_every_image_gets_a_class_beside_its_file(pointwise, models):
    ran = pointwise("predict stripes-model photos --out c.csv --proba --json")
    assert ran.code == 0, ran.err
    columns = ["file", "class", "probability_lying", "probability_standing"]
    assert json.loads(ran.out) == {"rows": 12, "columns": columns, "out": "c.csv"}
    table = pd.read_csv("c.csv")
    assert table["file"][0] == "lying/000.png"
    images = np.stack([np.moveaxis(opened(f"photos/{f}"), -1, 0) for f in table.file])
    proba = load("stripes-model").predict_proba(images)
    np.testing.assert_allclose(table[columns[2:]], proba, rtol=1e-5)
    assert table["class"].tolist() == [columns[2 + i][12:] for i in proba.argmax(1)]


def test_one_grey_image_of_another_size_will_do(pointwise, models):
    Image.new("L", (30, 17)).save("one.png")
    ran = pointwise("predict stripes-model one.png --out c.csv")
    assert ran.out == "1 predictions: c.csv\n", ran.err
    assert pd.read_csv("c.csv").columns.tolist() == ["file", "class"]


def test_a_folder_is_scored(pointwise, models):
    ran = pointwise("evaluate stripes-model photos --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["rows"], list(found["metrics"])) == (12, ["accuracy", "log_loss", "roc_auc"])
    accuracy = found["metrics"]["accuracy"]
    pointwise("predict stripes-model photos --out c.csv")
    table = pd.read_csv("c.csv")
    assert accuracy == (table["file"].str.split("/").str[0] == table["class"]).mean()
    assert "class: 12 images" in pointwise("evaluate stripes-model photos").out


def test_masks_have_the_size_and_the_name_of_their_images(pointwise, models):
    Image.new("RGB", (20, 9)).save("photos/large.jpg")
    ran = pointwise("predict masks-model photos --out found/masks")
    assert (ran.code, ran.out) == (0, "13 masks: found/masks\n"), ran.err
    assert opened("found/masks/large.png").shape == (9, 20)
    image = np.moveaxis(opened("photos/lying/000.png"), -1, 0)
    mask = opened("found/masks/lying/000.png")
    assert np.array_equal(mask, load("masks-model").predict(image[None])[0])
    ran = pointwise("predict masks-model photos/large.jpg --out one --json")
    assert json.loads(ran.out) == {"rows": 1, "classes": ["0", "1"], "out": "one"}
    assert Path("one/large.png").exists()
    write_idx(stripes(2, 3)[0], "two-images-idx4-ubyte")
    assert pointwise("predict masks-model two-images-idx4-ubyte --out two").code == 0
    assert sorted(path.name for path in Path("two").iterdir()) == ["0.png", "1.png"]


def test_cost_is_counted_for_an_image_of_the_training_size(pointwise, models):
    for name in ("stripes-model", "masks-model"):
        ran = pointwise(f"cost {name}")
        assert ran.code == 0, ran.err
        assert ran.out.startswith(f"{name} on 3x{SIZE}x{SIZE}\n")


TABLE_OPTIONS = {
    "--target": "class",
    "--members": "2",
    "--task": "classification",
    "--drop": "a",
    "--time": "a",
    "--columns": "a",
    "--separator": "tab",
    "--decimal": ".",
    "--encoding": "utf-8",
}


@pytest.mark.parametrize("option", TABLE_OPTIONS)
def test_fit_refuses_options_for_tables(option, pointwise):
    write_images(Path("photos"), 10)
    ran = pointwise(f"fit photos {option} {TABLE_OPTIONS[option]}")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: {option}: for tables only, photos is a folder of images\n"
    assert not Path("photos-model").exists()


def cut_file():
    write_images(Path("photos"), 20)
    path = Path("photos/lying/002.png")
    path.write_bytes(path.read_bytes()[:60])


def mixed_sizes():
    write_images(Path("photos"), 20)
    Image.new("L", (20, 9)).save("photos/lying/large.png")


def other_classes():
    shutil.move("photos/lying", "photos/leaning")


def same_names():
    shutil.copy("photos/lying/000.png", "photos/lying/000.bmp")


CUT = "photos/lying/002.png: the image is truncated or damaged (image file is truncated)"
REFUSED = {
    "a table to an image model": (
        lambda: None,
        "predict stripes-model houses.csv --out c.csv",
        "stripes-model is a model for images: it takes a folder of images, an image or an idx "
        "file, houses.csv is a table or another file",
    ),
    "nothing to an image model": (
        lambda: None,
        "evaluate stripes-model nowhere",
        "stripes-model is a model for images: it takes a folder of images, an image or an idx "
        "file, nowhere is not there",
    ),
    "a folder to a table model": (
        lambda: None,
        "predict price-model photos --out c.csv",
        "price-model is a model for tables: photos is a folder, not a table",
    ),
    "an image to a table model": (
        lambda: None,
        "evaluate price-model photos/lying/000.png",
        "price-model is a model for tables: photos/lying/000.png is an image or an idx file of "
        "images, not a table",
    ),
    "a folder that is not there": (
        lambda: None,
        "predict stripes-model photos --out no/c.csv",
        "no/c.csv: there is no folder no: make it first",
    ),
    "predictions in no table": (
        lambda: None,
        "predict stripes-model photos --out c.png",
        "a table is written as .csv, .csv.gz, .tsv, .tsv.gz, .parquet, got 'c.png'",
    ),
    "masks into a file": (
        lambda: None,
        "predict masks-model photos --out houses.csv",
        "--out is a folder for a model that segments, houses.csv is a file",
    ),
    "masks over images": (
        lambda: None,
        "predict masks-model photos --out photos",
        "the mask photos/lying/000.png would replace an image: give another folder with --out",
    ),
    "two masks of one name": (
        same_names,
        "predict masks-model photos --out found",
        "lying/000.bmp and lying/000.png would have the same mask found/lying/000.png: rename one",
    ),
    "masks of no image": (
        lambda: Path("bare").mkdir(),
        "predict masks-model bare --out found",
        "bare: no image is in this folder",
    ),
    "a column to keep beside classes": (
        lambda: None,
        "predict stripes-model photos --out c.csv --keep a",
        "--keep: for tables only, stripes-model is a model for images",
    ),
    "the separator of images": (
        lambda: None,
        "evaluate stripes-model photos --separator tab --encoding utf-8",
        "--separator, --encoding: for tables only, stripes-model is a model for images",
    ),
    "classes unknown to the model": (
        other_classes,
        "evaluate stripes-model photos",
        "photos has 1 class that the model does not know: 'leaning'; it knows 'lying', 'standing'",
    ),
    "a truncated file": (
        cut_file,
        "fit photos",
        f"{CUT}; --skip-unreadable leaves such files out",
    ),
    "a truncated file to predict": (
        cut_file,
        "predict stripes-model photos --out c.csv",
        f"{CUT}; repair the file, or remove it",
    ),
    "a truncated file to score": (
        cut_file,
        "evaluate stripes-model photos",
        f"{CUT}; repair the file, or remove it",
    ),
    "a truncated file to compare on": (
        cut_file,
        "compare photos",
        f"{CUT}; repair the file, or remove it",
    ),
    "several sizes to compare on": (
        mixed_sizes,
        "compare photos",
        "images of one size are needed, lying/000.png is 12 x 12 and lying/large.png 9 x 20 "
        "(height x width): give --size to resize all of them",
    ),
    "several sizes": (
        mixed_sizes,
        "fit photos",
        "images of one size are needed, lying/000.png is 12 x 12 and lying/large.png 9 x 20 "
        "(height x width): give --size to resize all of them",
    ),
    "a folder without classes": (
        lambda: Path("bare").mkdir(),
        "fit bare",
        "bare: no folder per class is here, no images either: put the images of each class into a "
        "folder of its own",
    ),
    "too few images": (
        lambda: write_images(Path("few"), 8),
        "fit few",
        "too few images to score on: a share of 0.2 of every class is held out, and the largest "
        "class has 4 images",
    ),
    "no test images": (
        lambda: None,
        "fit photos --test 0",
        "--test must be above 0 for images: none would be left to score on, unless --valid gives "
        "validation images apart",
    ),
    "validation images of a file": (
        lambda: None,
        "fit photos --valid houses.csv",
        "houses.csv: this is neither a folder, an idx file nor an image: give a folder with a "
        "folder of images per class, or an idx file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_clear_line(case, pointwise, models):
    make, line, message = REFUSED[case]
    make()
    ran = pointwise(line)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == f"error: {message}"


def test_fit_refuses_options_for_images(pointwise):
    ran = pointwise("fit houses.csv --target price --size 8 --skip-unreadable")
    said = "error: --size, --skip-unreadable: for images only, houses.csv is none\n"
    assert (ran.code, ran.out, ran.err) == (1, "", said)


def test_a_model_of_other_numbers_is_for_python(pointwise, models):
    pixels, labels = stripes(20)
    values = pixels.astype(np.float32) - 100
    save(ImageClassifier(max_epochs=1, random_state=0).fit(values, labels), "own")
    ran = pointwise("predict own photos --out c.csv")
    low, high = values.min(), values.max()
    assert ran.err == (
        "error: image files are grey or in colour, in bytes: this model was fitted in Python to "
        f"1 channel(s) of {low:g} to {high:g}; use it there\n"
    )


def test_damaged_files_are_left_out_if_asked(pointwise):
    cut_file()
    ran = pointwise("fit photos --epochs 1 --skip-unreadable --json")
    assert ran.code == 0
    assert "lying/002.png" in json.loads(ran.out)["warnings"][0]
    rows = json.loads(ran.out)["rows"]
    assert rows["train"] + rows["test"] == 19


def test_a_killed_fit_is_taken_up(pointwise):
    write_images(Path("photos"), 10)
    ran = pointwise("fit photos --epochs 1 --resume")
    assert ran.code == 0
    assert "nothing to resume: there is no photos-model.checkpoint" in ran.err
    Path("photos-model.checkpoint").write_bytes(b"left")
    ran = pointwise("fit photos --epochs 1")
    assert ran.code == 0
    assert (
        "starting afresh: what a killed fit left in photos-model.checkpoint is removed" in ran.err
    )
