"""Whole groups are held out: the split by itself, and in the fits of both image estimators."""

import re

import numpy as np
import pytest
from tiny_images import classifier, segmenter, squares, stripes

from pointwise.errors import DataError
from pointwise.estimators.grouping import split_groups

VIDEOS = np.repeat(["a", "b", "c"], [62, 101, 204])
"""Three videos, as many frames of each as in CamVid's training part."""


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_torn_and_the_share_is_near(seed):
    learn, held = split_groups(VIDEOS, 367, 0.15, np.random.RandomState(seed))
    assert set(VIDEOS[learn]).isdisjoint(VIDEOS[held])
    assert sorted([*learn, *held]) == list(range(367))
    assert len(held) in (62, 101)  # 55 are asked for


def test_many_groups_come_near_to_the_share():
    groups = np.random.default_rng(0).integers(0, 200, 5000)
    learn, held = split_groups(groups, 5000, 0.2, np.random.RandomState(0))
    assert abs(len(held) - 1000) < 15
    assert set(groups[learn]).isdisjoint(groups[held])


def test_the_smallest_is_held_out_where_all_are_large():
    held = split_groups(["x"] * 60 + ["y"] * 40, 100, 0.1, np.random.RandomState(0))[1]
    assert held.tolist() == list(range(60, 100))


@pytest.mark.parametrize("seed", range(5))
def test_no_class_is_held_out_as_a_whole(seed):
    groups = np.arange(40) // 4
    classes = np.where(groups == 3, 1, 0)  # one video has all of class 1
    _, held = split_groups(groups, 40, 0.5, np.random.RandomState(seed), classes=classes)
    assert 3 not in groups[held]
    assert len(held) == 20


REFUSED = {
    "too few": (["a"] * 3, "groups must have one entry per image: got 3 for 4"),
    "two axes": ([["a"]] * 4, "groups must have one entry per image: got shape (4, 1) for 4"),
    "gaps": (
        np.array(["a", None, "b", None], dtype=object),
        "groups must be known for every image: 2 images have none, the first is image 1",
    ),
    "one": (["v"] * 4, "groups must name at least 2 groups, got 1: v"),
    "a class each": (
        ["a", "a", "b", "b"],
        "groups cannot be held out: each of the 2 holds all that there is of some class",
    ),
}


@pytest.mark.parametrize(("groups", "message"), REFUSED.values(), ids=REFUSED)
def test_groups_that_do_not_fit_are_refused(groups, message):
    classes = np.array([0, 0, 1, 1])
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        split_groups(groups, 4, 0.5, np.random.RandomState(0), classes=classes)


def test_a_classifier_holds_groups_out():
    x, y = stripes(60)
    groups = np.repeat(np.arange(6), [4, 4, 4, 4, 4, 40])
    model = classifier(max_epochs=1, validation_fraction=0.2).fit(x, y, groups=groups)
    assert model.rows_ == {"train": 48, "valid": 12}


def test_a_segmenter_holds_groups_out():
    x, masks = squares(24)
    groups = ["a"] * 18 + ["b"] * 6
    model = segmenter(max_epochs=1).fit(x, masks, groups=groups)
    assert model.rows_ == {"train": 18, "valid": 6}


def test_groups_and_validation_images_exclude_one_another():
    x, masks = squares(8)
    message = (
        "give groups or validation_data, not both: groups say which images are held out together, "
        "and validation_data that none are"
    )
    with pytest.raises(DataError, match=f"^{message}$"):
        segmenter().fit(x, masks, groups=list("aabbccdd"), validation_data=(x, masks))
