import itertools
import re

import numpy as np
import pytest

from pointwise.errors import DataError
from pointwise.reports import regression_figures


def test_density_by_hand():
    # range 0 to 8, eight bins of width one: the value is the bin, and 8 is in the last
    actual, predicted = np.array([0.0, 3.0, 3.5, 8.0]), np.array([0.0, 5.0, 5.9, 1.0])
    density = regression_figures(actual, predicted)["density"]
    assert (density["low"], density["high"], density["beyond"]) == (0.0, 8.0, 0)
    counts = np.array(density["counts"])
    assert {(p, a): counts[p, a] for p, a in np.argwhere(counts)} == {
        (0, 0): 1,
        (5, 3): 2,
        (1, 7): 1,
    }


def test_residuals_by_hand():
    residuals = regression_figures(np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 1.0, 1.0, 1.0]))[
        "residuals"
    ]  # 0, 1, 2, 8 in eight bins of width one
    assert residuals["counts"] == [1, 1, 1, 0, 0, 0, 0, 1]
    assert residuals["mean"] == (0 + 1 + 2 + 8) / 4
    assert residuals["sd"] == pytest.approx(np.std([0, 1, 2, 8]))
    assert residuals["quantiles"][2] == 1.5


@pytest.mark.parametrize("rows", [1, 2, 12, 39, 40, 100, 5000], ids=str)
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e-12, 1e12], ids=str)
def test_counts_add_up(rows, spread):
    rng = np.random.default_rng(rows)
    actual = 3 + spread * rng.standard_t(1.5, rows)  # heavy tails: some lie beyond the range
    figures = regression_figures(actual, actual + rng.normal(size=rows))
    assert np.sum(figures["density"]["counts"]) == rows
    assert np.sum(figures["residuals"]["counts"]) == rows
    assert sum(band["rows"] for band in figures["bands"]) == rows
    assert figures["rows"] == rows


def test_what_lies_beyond_is_counted_in_the_outermost_bins():
    actual = np.concatenate([np.linspace(0, 1, 999), [50.0]])
    figures = regression_figures(actual, np.linspace(0, 1, 1000))
    assert figures["density"]["beyond"] == 1
    assert np.sum(figures["density"]["counts"], axis=0)[-1] == 1
    assert figures["residuals"]["beyond"] == 1
    assert figures["residuals"]["counts"][-1] == 1


def test_bands_are_quantiles_of_the_rows_between_their_ends():
    rng = np.random.default_rng(0)
    predicted, noise = rng.uniform(0, 10, 1000), rng.normal(size=1000)
    bands = regression_figures(predicted + noise, predicted)["bands"]
    assert len(bands) == 20
    for band in bands:
        inside = (predicted >= band["low"]) & (predicted <= band["high"])
        assert inside.sum() == band["rows"] >= 20
        expected = np.percentile(noise[inside], [5, 25, 50, 75, 95])
        np.testing.assert_allclose(band["quantiles"], expected, atol=1e-12)
        assert band["middle"] == pytest.approx(np.median(predicted[inside]))


@pytest.mark.parametrize(
    "predicted",
    [np.repeat(np.arange(4.0), 25), np.r_[np.zeros(95), 1:6], np.r_[-5:0, np.zeros(95)]],
    ids=["steps", "ties below", "ties above"],
)
def test_bands_keep_equal_predictions_together_and_never_get_small(predicted):
    bands = regression_figures(predicted + 1, predicted)["bands"]
    ends = [(band["low"], band["high"]) for band in bands]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ends))
    assert min(band["rows"] for band in bands) >= 20


@pytest.mark.parametrize("rows", [1, 30], ids=str)
def test_constant_prediction_is_one_band(rows):
    figures = regression_figures(np.arange(float(rows)), np.full(rows, 0.5))
    assert len(figures["bands"]) == 1
    assert figures["bands"][0]["middle"] == 0.5


def test_rows_without_finite_values_are_counted():
    actual = np.array([1.0, np.nan, 3.0, 4.0])
    figures = regression_figures(actual, np.array([1.0, 2.0, np.inf, 4.0]))
    assert (figures["rows"], figures["not_finite"]) == (2, 2)
    assert np.sum(figures["density"]["counts"]) == 2


ERRORS = {
    "two targets": (
        (np.ones((3, 2)), np.ones((3, 2))),
        "actual and predicted must be two arrays of the same shape (N,), got (3, 2) and (3, 2); "
        "pass one target at a time",
    ),
    "lengths": (
        (np.ones(3), np.ones(4)),
        "actual and predicted must be two arrays of the same shape (N,), got (3,) and (4,); "
        "pass one target at a time",
    ),
    "no rows": (
        (np.ones(0), np.ones(0)),
        "figures need at least one row with finite values, got none",
    ),
    "nothing finite": (
        (np.ones(2), np.full(2, np.nan)),
        "figures need at least one row with finite values, got none",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    arguments, message = ERRORS[case]
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        regression_figures(*arguments)
