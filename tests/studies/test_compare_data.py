"""The images of a comparison: their parts, their scale, and those that cannot be compared on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from comparing import bars

from pointwise.errors import DataError
from pointwise.studies.compare_data import split_images
from pointwise.training import Rows


def test_images_are_split_alike_for_every_class():
    images, labels = bars(100)
    data = split_images("bars", images, labels, ("upright", "level"))
    assert [len(rows) for rows in (data.learn, data.valid, data.test)] == [68, 12, 20]
    for rows in (data.learn, data.valid, data.test):
        assert int(rows.y.sum()) * 2 == len(rows)
        assert rows.x.dtype == torch.uint8
    seen = torch.cat([data.learn.x, data.valid.x, data.test.x]).flatten(1)
    assert len(torch.unique(seen, dim=0)) == 100
    again = split_images("bars", images, labels, ("upright", "level"))
    assert torch.equal(again.test.x, data.test.x)


def test_the_scale_is_that_of_the_learnt_images(data):
    job = data.job(3)
    x = data.learn.x.double()
    torch.testing.assert_close(job.mean, (float(x.mean()),))
    torch.testing.assert_close(job.std, (float(x.std(correction=0)),))
    floats = replace(data, learn=Rows(data.learn.x.float(), data.learn.y))
    torch.testing.assert_close(floats.job(3).std, job.std)


def test_images_of_one_grey_have_a_scale_too():
    images, labels = bars()
    flat = split_images("flat", np.full_like(images, 7), labels, ("a", "b"))
    assert flat.job(3).std == (1.0,)


BAD_IMAGES = {
    "no_labels": (
        (None, ("a", "b")),
        "x has no labels: a comparison needs the class of every image",
    ),
    "one_class": (
        (np.zeros(20, np.int64), ("a",)),
        "x has 1 class: a comparison needs two at least",
    ),
    "too_few_of_one": (
        (np.array([0] * 16 + [1] * 4), ("a", "b")),
        "class 'b' has 4 images: a comparison needs 5 of every class at least, so that some are in "
        "every part",
    ),
    "none_of_one": (
        (np.array([0] * 10 + [1] * 10), ("a", "b", "c")),
        "class 'c' has 0 images: a comparison needs 5 of every class at least, so that some are in "
        "every part",
    ),
}


@pytest.mark.parametrize(("case", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_images_that_cannot_be_compared_on_are_refused(case, message):
    labels, classes = case
    with pytest.raises(DataError) as error:
        split_images("x", np.zeros((20, 1, 4, 4), np.uint8), labels, classes)
    assert str(error.value) == message


def test_parts_of_different_shapes_are_refused(data):
    with pytest.raises(
        ValueError,
        match=r"^test must have images of one shape \(N, C, H, W\), got \(16, 1, 8, 7\) "
        r"where learn has \(54, 1, 8, 8\)$",
    ):
        replace(data, test=Rows(data.test.x[..., 1:], data.test.y))
