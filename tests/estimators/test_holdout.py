"""Which rows are held out to choose the epoch with."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tiny import ROWS, classifier, regressor, table

from pointwise.errors import DataError
from pointwise.estimators.splitting import split_rows


def _rng():
    return np.random.RandomState(0)


@pytest.mark.parametrize("rows", [2, 3, 10, 101])
@pytest.mark.parametrize("by", [None, "classes", "groups", "times"])
def test_every_row_is_in_one_part(rows, by):
    given = (
        {} if by is None else {by: np.arange(rows) % 5 if by == "times" else np.arange(rows) % 2}
    )
    learn, held = split_rows(rows, 0.2, _rng(), **given)
    assert np.all(np.diff(learn) > 0)
    assert np.all(np.diff(held) > 0)
    if len(learn) == len(held) == rows:  # too few to hold any out: both parts are all rows
        assert rows * 0.2 < 1 or by == "classes"
    else:
        np.testing.assert_array_equal(np.sort(np.concatenate([learn, held])), np.arange(rows))


def test_the_share_is_the_one_asked_for():
    assert [len(part) for part in split_rows(200, 0.15, _rng())] == [170, 30]


def test_every_class_is_held_out_by_the_same_share_and_a_lone_row_trains():
    classes = np.repeat([0, 1, 2], [100, 40, 1])
    learn, held = split_rows(141, 0.25, _rng(), classes=classes)
    assert np.bincount(classes[held], minlength=3).tolist() == [25, 10, 0]
    assert np.bincount(classes[learn], minlength=3).tolist() == [75, 30, 1]


GROUPS = {
    "numbers": np.arange(ROWS) // 10,
    "text": np.array([f"g{i // 10}" for i in range(ROWS)]),
    "objects": np.array([f"g{i // 10}" for i in range(ROWS)], dtype=object),
    "numbers and text": np.array(
        [i // 10 if i < 60 else f"g{i // 10}" for i in range(ROWS)], object
    ),
    "dates": np.array("2020-01-01", dtype="M8[D]") + np.arange(ROWS) // 10,
}


@pytest.mark.parametrize("kind", GROUPS)
def test_no_group_is_split(kind):
    groups = GROUPS[kind]
    learn, held = split_rows(ROWS, 0.25, _rng(), groups=groups)
    assert not set(groups[learn].tolist()) & set(groups[held].tolist())
    assert len(set(groups[held].tolist())) == 3


TIMES = {
    "numbers": np.arange(ROWS)[::-1],
    "dates": np.array("2020-01-01", dtype="M8[D]") - np.arange(ROWS),
    "text": np.array([f"{2020 - i}-01-01" for i in range(ROWS)]),
    "dates of Python": np.array([dt.date(2020, 1, 1) - dt.timedelta(days=i) for i in range(ROWS)]),
}


@pytest.mark.parametrize("kind", TIMES)
def test_the_latest_rows_are_held_out(kind):
    learn, held = split_rows(ROWS, 0.1, _rng(), times=TIMES[kind])
    assert held.tolist() == list(range(12))
    assert learn.tolist() == list(range(12, ROWS))


REFUSED = {
    "both": (
        {"groups": np.arange(ROWS), "times": np.arange(ROWS)},
        "give groups or times, not both: each decides the validation rows alone",
    ),
    "one group": ({"groups": np.zeros(ROWS)}, "groups must name at least 2 groups, got 1"),
    "few groups": ({"groups": [1, 2]}, "groups must have one entry per row: got 2 for 120"),
    "few times": ({"times": [1, 2]}, "times must have one entry per row: got 2 for 120"),
    "no group": (
        {"groups": ["a", None] * 60},
        "groups must be known for every row: 60 rows have none, the first is row 1",
    ),
    "NaN group": ({"groups": [0.0, np.nan] * 60}, "groups must be known for every row: 60 rows"),
    "NaT": (
        {"times": pd.Series(pd.to_datetime(["2020-01-01", None] * 60))},
        "times must be known for every row: 60 rows have none, the first is row 1",
    ),
    "mixed times": (
        {"times": np.array([1, "a"] * 60, dtype=object)},
        "times must all be numbers, dates or text",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_groups_and_times_that_cannot_be_are_refused(case):
    given, message = REFUSED[case]
    x, y, _ = table()
    with pytest.raises(DataError, match=message):
        regressor().fit(x, y, **given)


def test_groups_and_times_of_every_make_reach_the_split():
    x, y, labels = table()
    groups = np.arange(ROWS) // 10
    for given in (groups, groups.tolist(), pd.Series(groups), pl.Series(groups)):
        assert regressor(max_epochs=1).fit(x, y, groups=given).rows_ == {"train": 100, "valid": 20}
    days = pd.Series(pd.date_range("2020-01-01", periods=ROWS, tz="UTC"))
    for given in (days, days.dt.tz_localize(None), np.arange(ROWS)):
        assert classifier(max_epochs=1).fit(x, labels, times=given).rows_["valid"] == 18


def test_validation_data_of_ones_own_is_never_learnt_from():
    x, y, _ = table()
    model = regressor(max_epochs=1).fit(x[:100], y[:100], validation_data=(x[100:], y[100:]))
    assert model.rows_ == {"train": 100, "valid": 20}
    other = regressor(max_epochs=1).fit(x[:100], y[:100], validation_data=(x[:7], 5 + y[:7]))
    np.testing.assert_array_equal(model.predict(x), other.predict(x))
    assert model.history_[0]["valid_loss"] != other.history_[0]["valid_loss"]


def test_the_validation_loss_is_that_of_the_predictions():
    x, y, labels = table()
    held = (x[100:], y[100:])
    model = regressor(dropout=0.5).fit(x[:100], y[:100], validation_data=held)
    scale = model.network_.scale.scale.item()
    loss = np.mean((model.predict(held[0]) - held[1]) ** 2) / scale**2
    assert model.history_[model.best_epoch_ - 1]["valid_loss"] == pytest.approx(loss, rel=1e-4)
    named = classifier(dropout=0.5)
    named.fit(x[:100], labels[:100], validation_data=(x[100:], labels[100:]))
    right = named.predict_proba(x[100:])[np.arange(20), (labels[100:] == "up").astype(int)]
    best = named.history_[named.best_epoch_ - 1]["valid_loss"]
    assert best == pytest.approx(-np.log(right).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: (x,), r"validation_data must be \(X, y\) or \(X, y, sample_weight\)"),
        (lambda x, y: [x, y], r"validation_data must be \(X, y\) or \(X, y, sample_weight\)"),
        (lambda x, y: (x[:, :2], y), "X has 2 features, but PointwiseRegressor is expecting 3"),
        (lambda x, y: (x, y[:5]), "y must have one entry per row: got 5 for 120 rows"),
        (lambda x, y: (x, y, np.zeros(ROWS)), "at least one non-zero number"),
        (lambda x, y: (x, np.full(ROWS, np.nan)), "y must hold finite numbers"),
        (lambda x, y: (np.full((ROWS, 3), np.inf), y), "column 'x0' must hold finite numbers"),
    ],
    ids=["no y", "list", "columns", "rows", "weights", "no targets", "infinite"],
)
def test_validation_data_that_cannot_be_is_refused(data, message):
    x, y, _ = table()
    with pytest.raises(ValueError, match=message):
        regressor().fit(x, y, validation_data=data(x, y))
