import numpy as np
import pytest

from pointwise.reports.binning import bin_count, bin_index, robust_range


@pytest.mark.parametrize(
    ("rows", "bins"), [(1, 8), (64, 8), (100, 10), (1600, 40), (10**7, 40)], ids=str
)
def test_few_rows_get_few_bins(rows, bins):
    assert bin_count(rows) == bins


RANGES = {
    "all of it": ([1, 2, 3, 4], (1, 4)),
    "one value": ([2.0], (1.9, 2.1)),
    "zeros": ([0.0, 0.0], (-0.5, 0.5)),
    "negative constant": ([-10.0] * 3, (-10.5, -9.5)),
    "mostly one value": ([0.0] * 999 + [5.0], (0, 5)),
    # the middle 99 % goes from 5 to 995, so the range ends 990 / 4 beyond it
    "far outlier": ([*range(1000), 1e9], (0, 995 + 990 / 4)),
}


@pytest.mark.parametrize("case", RANGES)
def test_robust_range(case):
    values, expected = RANGES[case]
    assert robust_range(np.array(values, dtype=float)) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-8, 3.0, 1.7e9, -1e30], ids=str)
def test_a_constant_gets_a_range_with_room_for_bins(value):
    low, high = robust_range(np.full(7, value))
    assert low < value < high
    assert bin_index(np.full(7, value), low, high, 8).tolist() == [4] * 7


def test_every_value_falls_in_the_bin_that_holds_it():
    values = np.random.default_rng(0).uniform(-2, 5, 1000)
    place = bin_index(values, -2.0, 5.0, 14)
    edges = np.linspace(-2, 5, 15)
    assert ((edges[place] <= values) & (values <= edges[place + 1])).all()
