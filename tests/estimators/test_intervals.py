"""Intervals from held-out errors: their coverage, their place in maps and folders, and refusals."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from pointwise.compression import Budget, compress
from pointwise.errors import DataError
from pointwise.estimators import (
    PointwiseClassifier,
    PointwiseRegressor,
    compressed_estimator,
    load,
    save,
)
from pointwise.estimators.intervals import STEPS, HeldOutErrors
from pointwise.maps import as_pixel_model, plan_output

BANDS = ["a", "b"]


def rows(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows whose targets have noise of standard deviation 1 and 5."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.uniform(-1, 1, (count, 2)), columns=BANDS)
    noise = rng.normal(0, 1, (count, 2)) * (1, 5)
    return x, np.stack([3 * x["a"] - x["b"], 10 * x["b"]], 1) + noise


@pytest.fixture(scope="module")
def two() -> PointwiseRegressor:
    """A model of two targets, calibrated with 400 rows."""
    model = PointwiseRegressor(members=2, max_epochs=15, random_state=0)
    return model.fit(*rows(400, 0)).calibrate(*rows(400, 1))


@pytest.fixture(scope="module")
def one() -> PointwiseRegressor:
    x, y = rows(300, 0)
    model = PointwiseRegressor(members=1, max_epochs=5, random_state=0).fit(x, y[:, 0])
    x, y = rows(99, 1)
    return model.calibrate(x, y[:, 0])


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_as_many_new_rows_lie_in_their_intervals_as_asked_for(two, coverage):
    x, y = rows(2000, 2)
    ends = two.predict_interval(x, coverage)
    assert ends.shape == (2000, 2, 2)
    inside = ((ends[..., 0] <= y) & (y <= ends[..., 1])).mean(0)
    np.testing.assert_allclose(inside, coverage, atol=0.05)
    np.testing.assert_allclose(ends.mean(-1), two.predict(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 7, 99, 199, 200, 1000])
def test_half_widths_are_the_errors_at_their_places(count):
    errors = np.random.default_rng(count).permutation(count).astype(float) + 1
    found = HeldOutErrors.of(errors[:, None], np.zeros((count, 1)))
    for step in (1, STEPS // 2, STEPS * 9 // 10, STEPS - 1):
        place = math.ceil(step * (count + 1) / STEPS)
        if place <= count:
            assert found.half_widths(step / STEPS) == place
        else:
            with pytest.raises(DataError):
                found.half_widths(step / STEPS)


def test_coverages_between_two_steps_are_rounded_up():
    errors = HeldOutErrors.of(np.arange(1.0, 400)[:, None], np.zeros((399, 1)))
    assert errors.half_widths(0.9001) == errors.half_widths(0.905) > errors.half_widths(0.9)


def test_a_target_alone_has_an_axis_less(one):
    x, _ = rows(5, 3)
    ends = one.predict_interval(x)
    assert ends.shape == (5, 2)
    assert (ends[:, 0] < ends[:, 1]).all()


def test_they_are_kept_with_the_model(two, tmp_path):
    save(two, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.held_out_errors_.rows == 400
    x, _ = rows(9, 3)
    np.testing.assert_array_equal(again.predict_interval(x, 0.9), two.predict_interval(x, 0.9))


def test_bands_of_a_map_are_the_ends(two):
    x, _ = rows(30, 3)
    pixels = x.to_numpy().T.reshape(2, 5, 6)
    made = two.predict_map(pixels, bands=BANDS, interval=0.8, spread=True)
    plan = plan_output(as_pixel_model(two), interval=0.8, spread=True)
    assert plan.bands == (
        *("value1", "value2", "value1_spread", "value2_spread"),
        *("value1_low", "value2_low", "value1_high", "value2_high"),
    )
    assert plan.coverage == 0.8
    ends = two.predict_interval(x, 0.8)
    found = made.reshape(8, -1)
    np.testing.assert_allclose(found[:2].T, two.predict(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[4:6].T, ends[..., 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[6:].T, ends[..., 1], rtol=1e-4, atol=1e-4)


def test_pixels_without_data_have_no_interval(one):
    pixels = np.zeros((2, 3, 4))
    pixels[:, 1, 1] = np.nan
    made = one.predict_map(pixels, bands=BANDS, interval=0.9)
    assert np.isnan(made[:, 1, 1]).all()
    assert np.isnan(made).sum() == 3


def test_other_weights_have_other_errors(one):
    x, y = rows(100, 4)
    done = compress(one.network_, Budget(macs=0.9), torch.zeros(1, 2))
    assert not hasattr(compressed_estimator(one, done), "held_out_errors_")
    again = PointwiseRegressor(members=1, max_epochs=1, random_state=0).fit(x, y)
    again.calibrate(x, y).fit(x, y)
    with pytest.raises(NotFittedError, match="call 'calibrate' with rows that it has not seen"):
        again.predict_interval(x)


REFUSED = {
    "too few rows": (0.995, DataError, "a coverage of 0.995 needs 199 rows that were held out"),
    "one": (1.0, ValueError, "coverage must be a number between 0 and 1, got 1.0"),
    "none": (0, ValueError, "coverage must be a number between 0 and 1, got 0"),
    "words": ("most", ValueError, "coverage must be a number between 0 and 1, got 'most'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_coverages_that_cannot_be_had_are_refused(case, one):
    coverage, kind, message = REFUSED[case]
    with pytest.raises(kind, match=re.escape(message)):
        one.predict_interval(rows(3, 3)[0], coverage)


def test_maps_without_intervals_are_refused(one):
    x, y = rows(60, 0)
    model = PointwiseRegressor(members=1, max_epochs=1, random_state=0).fit(x, y)
    with pytest.raises(DataError, match="an interval needs the errors on rows that the model has"):
        model.predict_map(np.zeros((2, 3, 4)), bands=BANDS, interval=0.9)
    classifier = PointwiseClassifier(members=1, max_epochs=1, random_state=0)
    classifier.fit(x, np.where(y[:, 0] > 0, "up", "down"))
    with pytest.raises(DataError, match="a classifier has no interval: ask for output='proba'"):
        classifier.predict_map(np.zeros((2, 3, 4)), bands=BANDS, interval=0.9)
    with pytest.raises(DataError, match="y must have one entry per row: got 59 for 60 rows"):
        one.calibrate(x, y[:59, 0])
