"""The study of images: what it holds out, scores, compares with and reports."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pointwise.data.images import ImageSet
from pointwise.errors import DataError, ModelFileError
from pointwise.reports import Report, render_html, worst_mistakes
from pointwise.studies import images as study_module
from pointwise.studies.images import ImageOptions, study_images


def stripes(count=60, channels=1, size=12, classes=("lying", "standing")):
    """Stripes that lie or stand, with noise, as a folder's images."""
    rng = np.random.default_rng(0)
    stands = np.arange(count) % 2
    wave = np.where(np.arange(size) % 4 < 2, 60, 190)
    lying = np.broadcast_to(wave[:, None], (size, size))
    pattern = np.where(stands[:, None, None], lying.T, lying)[:, None].repeat(channels, 1)
    pixels = (pattern + rng.integers(-50, 51, pattern.shape)).astype(np.uint8)
    names = tuple(f"{classes[label]}/{i}.png" for i, label in enumerate(stands))
    return ImageSet(pixels, stands.astype(np.int64), classes, names, ("a note of the reader",))


@pytest.fixture(scope="module")
def study():
    said = []
    found = study_images(stripes(), ImageOptions(epochs=1), title="stripes", say=said.append)
    return found, said


def test_a_fifth_of_each_class_is_scored_on_and_the_rest_learned_from(study):
    found, said = study
    assert found.where == "12 test images"
    assert found.report.rows == {"train": 44, "valid": 4, "test": 12}
    matrix = found.report.figures["class"]["confusion"]["counts"]
    assert [sum(row) for row in matrix] == [6, 6]
    assert said == ["fitting plain models to the same images, to compare"]
    assert found.report.warnings == ["a note of the reader"]


def test_plain_models_are_scored_on_the_same_images(study):
    found, _ = study
    assert [one["name"] for one in found.baselines] == [
        "most frequent class",
        "logistic regression on pixels",
    ]
    majority, linear = (one["metrics"] for one in found.baselines)
    assert majority["accuracy"] == 0.5
    assert linear["accuracy"] > 0.8
    assert set(found.metrics) == set(majority) == {"accuracy", "log_loss", "roc_auc"}


def test_the_same_seed_gives_the_same_figures(study):
    again = study_images(stripes(), ImageOptions(epochs=1))
    assert again.metrics == study[0].metrics
    other = study_images(stripes(), ImageOptions(epochs=1, seed=1))
    assert other.metrics != study[0].metrics


def test_the_report_tells_of_the_images_and_comes_back_from_its_json(study):
    report = study[0].report
    counts = [{"name": "lying", "images": 30}, {"name": "standing", "images": 30}]
    assert report.images["classes"] == counts
    assert [report.images[k] for k in ("channels", "height", "width")] == [1, 12, 12]
    wrong = 12 - round(12 * study[0].metrics["accuracy"])
    assert (report.images["wrong"], len(report.images["mistakes"])) == (wrong, wrong)
    assert Report.from_json(report.to_json()) == report
    page = render_html(report)
    assert "classification of images" in page
    assert "Wrongly classified images" in page
    assert "Which columns matter" not in page
    assert "this file holds no image but those shown" in page


def test_logistic_regression_is_given_few_and_small_images(monkeypatch):
    monkeypatch.setattr(study_module, "PLAIN_IMAGES", 20)
    monkeypatch.setattr(study_module, "PLAIN_PIXELS", 8)
    said = []
    found = study_images(stripes(), ImageOptions(epochs=1), say=said.append)
    assert said[-1] == (
        "logistic regression is given 20 images of 8 x 8 pixels, so that it stays quick"
    )
    assert found.baselines[1]["name"] == "logistic regression on pixels (20 images, 8 x 8 pixels)"


def test_classes_too_small_are_told_of():
    found = stripes(24)
    labels = found.labels.copy()
    labels[0] = 2
    rare = ImageSet(found.images, labels, (*found.classes, "rare"), found.names)
    said = []
    study = study_images(rare, ImageOptions(epochs=1), say=said.append)
    assert said[0] == "1 of 3 classes have too few images to be scored on"
    alone = "no class has enough images to hold any out for choosing the epoch"
    study = study_images(stripes(20), ImageOptions(epochs=1), say=said.append)
    assert study.report.warnings[-1] == f"{alone}: the training images chose it"
    assert said[-2] == study.report.warnings[-1]


def test_too_few_images_are_refused():
    message = (
        "too few images to score on: a share of 0.2 of every class is held out, and the largest "
        "class has 4 images"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        study_images(stripes(8), ImageOptions())
    found = stripes(8)
    unknown = ImageSet(found.images, None, (), found.names)
    message = "a classifier learns from images whose classes are known, got none"
    with pytest.raises(DataError, match=f"^{message}$"):
        study_images(unknown, ImageOptions())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_worst_mistakes_are_small_images_and_fit_into_a_report(channels, study):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, channels, 64, 96), np.uint8)
    proba = np.column_stack([chance := rng.uniform(0.5, 1, 40), 1 - chance])
    names = [f"a/{i}.png" for i in range(40)]
    found = worst_mistakes(images, names, np.ones(40, int), proba, ["no", "yes"])
    assert len(found) == 24
    order = np.argsort(-chance)[:24]
    assert [one["name"] for one in found] == [names[i] for i in order]
    assert found[0]["probability"] == chance.max()
    assert (found[0]["actual"], found[0]["predicted"]) == ("yes", "no")
    sizes = {Image.open(io.BytesIO(base64.b64decode(one["png"]))).size for one in found}
    assert sizes == {(48, 32)}
    fields = json.loads(study[0].report.to_json())
    fields["images"] |= {"mistakes": found, "wrong": 40}
    again = Report.from_json(json.dumps(fields))
    assert len(again.images["mistakes"]) == 24
    assert len(again.to_json().encode()) < 120_000  # incompressible images
    assert render_html(again).count("data:image/png;base64,") == 24


def test_an_image_that_is_already_small_keeps_its_pixels():
    image = np.arange(30, dtype=np.uint8).reshape(1, 1, 5, 6)
    (one,) = worst_mistakes(image, ["a"], np.array([1]), np.array([[0.9, 0.1]]), ["no", "yes"])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["png"]))))
    assert np.array_equal(pixels, image[0, 0])


@pytest.mark.parametrize("png", ['"><script>', "iVBORw0KGgo", "iVBORw0KGgo" + "A" * 6001, 3])
def test_what_is_no_png_does_not_come_into_a_page(png, study):
    fields = json.loads(study[0].report.to_json())
    mistake = {"name": "a", "actual": "a", "predicted": "b", "probability": 0.5, "png": png}
    fields["images"]["mistakes"] = [mistake]
    with pytest.raises(ModelFileError, match=r"images\.mistakes\[0\]\.png must be a PNG of at"):
        Report.from_json(json.dumps(fields))


def test_names_of_files_and_classes_are_escaped(study):
    fields = json.loads(study[0].report.to_json())
    png = worst_mistakes(
        np.zeros((1, 1, 2, 2), np.uint8), ["a"], np.array([1]), np.array([[0.9, 0.1]]), ["a", "b"]
    )[0]["png"]
    bad = "<script>alert(1)</script>"
    mistake = {"name": bad, "actual": bad, "predicted": bad, "probability": 0.5, "png": png}
    fields["images"]["mistakes"] = [mistake]
    assert "<script" not in render_html(Report.from_json(json.dumps(fields)))
