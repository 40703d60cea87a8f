"""The study of images and masks: what it holds out, scores, compares with and reports."""

import re

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score

from pointwise.data.masks import MaskedImages
from pointwise.errors import DataError
from pointwise.reports import Report
from pointwise.studies import masks as mask_study
from pointwise.studies.image_holdout import ImageOptions
from pointwise.studies.mask_scores import (
    Masks,
    count_confusions,
    image_overlaps,
    mask_metrics,
    plain_mask_models,
)
from pointwise.studies.masks import study_masks

QUICK = {"epochs": 1, "widths": (4, 8)}


def squares(count=30, seed=0, classes=("ground", "square"), ignore=None):
    """Bright squares on a dark ground; the ground is lower than them."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 16, 16), np.uint8)
    for mask in masks:
        row, column = rng.integers(0, 4, 2)
        mask[row : row + 8, column : column + 8] = 1
    images = (120 * masks[:, None] + rng.integers(0, 90, (count, 1, 16, 16))).astype(np.uint8)
    names = tuple(f"v{i % 5}_{i}.png" for i in range(count))
    return MaskedImages(images, masks, classes, ignore, names, ("a note of the reader",))


@pytest.fixture(scope="module")
def study():
    said = []
    found = study_masks(squares(), ImageOptions(**QUICK), title="squares", say=said.append)
    return found, said


def test_a_fifth_is_scored_on_and_the_rest_learned_from(study):
    found, said = study
    assert found.where == "6 test images"
    assert found.report.rows == {"train": 22, "valid": 2, "test": 6}
    assert said == ["fitting plain models to the same images, to compare"]
    assert found.report.warnings == ["a note of the reader"]
    assert sum(map(sum, found.report.figures["class"]["confusion"]["counts"])) == 6 * 256
    assert Report.from_json(found.report.to_json()) == found.report


def test_the_same_seed_gives_the_same_figures(study):
    torch.manual_seed(1)
    assert study_masks(squares(), ImageOptions(**QUICK)).metrics == study[0].metrics


def test_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 4, (2, 20, 9, 7)).astype(np.uint8)
    images = np.zeros((20, 1, 9, 7), np.uint8)
    parts = iter([found[:16], found[16:]])
    counts = count_confusions(lambda _: next(parts), Masks(images, true), 4)
    metrics = mask_metrics(counts.sum(0))
    flat = true.ravel(), found.ravel()
    assert metrics["mean_iou"] == pytest.approx(jaccard_score(*flat, average="macro"))
    assert metrics["pixel_accuracy"] == pytest.approx(accuracy_score(*flat))
    assert metrics["class_accuracy"] == pytest.approx(balanced_accuracy_score(*flat))
    each = [
        jaccard_score(t.ravel(), f.ravel(), average="macro")
        for t, f in zip(true, found, strict=True)
    ]
    np.testing.assert_allclose(image_overlaps(counts), each)


def test_plain_models_learn_what_colour_and_place_tell():
    found = squares(60)
    learn, test = Masks(found.images[:40], found.masks[:40]), squares(20, seed=1)
    plain = {
        one["key"]: one["metrics"]
        for one in plain_mask_models(learn, Masks(test.images, test.masks), 2, 0)
    }
    ground = float((test.masks == 0).mean())
    assert plain["majority"]["pixel_accuracy"] == pytest.approx(ground)
    assert plain["majority"]["mean_iou"] == pytest.approx(ground / 2)
    often = found.masks[:40].mean(0) > 0.5
    assert plain["place"]["pixel_accuracy"] == pytest.approx((test.masks == often).mean())
    assert plain["linear"]["pixel_accuracy"] > 0.99  # bright is a square


def test_a_plain_model_of_three_classes_and_unknown_pixels():
    found = squares(20)
    masks = np.where(found.masks == 1, 2, np.where(np.arange(16) < 8, 0, 1)).astype(np.uint8)
    masks[:, 0] = 255
    parts = Masks(found.images, masks)
    *_, linear = plain_mask_models(parts, parts, 3, 0)
    assert linear["metrics"]["pixel_accuracy"] > 0.95


def test_groups_stay_whole():
    found = squares()
    groups = np.array([name.split("_")[0] for name in found.names])
    study = study_masks(found, ImageOptions(**QUICK, valid=0.25, groups=groups))
    assert study.report.rows == {"train": 18, "valid": 6, "test": 6}
    tested = {one["name"].split("_")[0] for one in study.report.figures["class"]["examples"]}
    assert len(tested) == 1


def test_images_given_apart():
    options = ImageOptions(**QUICK, test=0)
    study = study_masks(squares(), options, valid=squares(4, 1))
    assert study.where == "4 validation images, which chose the epoch"
    study = study_masks(squares(), options, valid=squares(4, 1), test=squares(5, 2))
    assert (study.where, study.report.rows) == (
        "5 test images",
        {"train": 30, "valid": 4, "test": 5},
    )


REFUSED = {
    "too few": (
        squares(4),
        ImageOptions(),
        "too few images to score on: a share of 0.2 is held out, of 4 images",
    ),
    "nothing to score on": (
        squares(),
        ImageOptions(test=0),
        "no images would be left to score on: hold out a share of them, or give validation images "
        "apart",
    ),
}


@pytest.mark.parametrize(("found", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_too_few_are_refused(found, options, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        study_masks(found, options)


def test_only_unknown_pixels_to_score_on_are_refused_before_any_training(monkeypatch):
    monkeypatch.setattr(mask_study, "fit_images", lambda *_: pytest.fail("trained in vain"))
    unknown = squares(3, 1)
    unknown.masks[:] = 9
    message = "no pixel of the images to score on has a known class"
    with pytest.raises(DataError, match=f"^{message}$"):
        study_masks(squares(ignore=9), ImageOptions(**QUICK), test=unknown)
