"""What may be predicted: numbers, several of them, and classes of every type."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tiny import ROWS, classifier, regressor, table

from pointwise.errors import DataError

UP = table()[1] > 0
WORDS = np.where(UP, "up", "down")
LABELS = {
    "text": (WORDS, ["down", "up"]),
    "object": (WORDS.astype(object), ["down", "up"]),
    "list": (WORDS.tolist(), ["down", "up"]),
    "pandas str": (pd.Series(WORDS), ["down", "up"]),
    "pandas string": (pd.Series(WORDS, dtype="string"), ["down", "up"]),
    "pandas category": (pd.Series(WORDS, dtype="category"), ["down", "up"]),
    "polars String": (pl.Series(WORDS), ["down", "up"]),
    "polars Categorical": (pl.Series(WORDS, dtype=pl.Categorical), ["down", "up"]),
    "bool": (UP, [False, True]),
    "object of bools": (UP.astype(object), [False, True]),
    "pandas boolean": (pd.Series(UP, dtype="boolean"), [False, True]),
    "int": (UP * 5 - 2, [-2, 3]),
    "pandas Int64": (pd.Series(UP * 5 - 2, dtype="Int64"), [-2, 3]),
    "float": (UP * 2.0, [0.0, 2.0]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_in_the_type_they_came_in(kind):
    labels, classes = LABELS[kind]
    x = table()[0]
    model = classifier(max_epochs=30, members=4).fit(x, labels)
    assert model.classes_.tolist() == classes
    assert {type(c) for c in model.classes_.tolist()} == {type(c) for c in classes}
    predicted = model.predict(x)
    assert predicted.dtype == model.classes_.dtype
    assert model.score(x, np.asarray(labels, dtype=model.classes_.dtype)) > 0.85
    proba = model.predict_proba(x)
    assert proba.shape == (ROWS, 2)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(1), 1, rtol=0, atol=1e-12)


def test_all_types_of_labels_give_the_same_probabilities():
    x = table()[0]
    fits = [classifier().fit(x, labels).predict_proba(x) for labels, _ in LABELS.values()]
    assert all((proba == fits[0]).all() for proba in fits)


def test_many_classes_and_a_class_of_one_row():
    x, y, _ = table()
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, 31)[1:-1])).astype(object)
    labels[labels.argmax()] = 99
    model = classifier(max_epochs=1).fit(x, labels)
    assert len(model.classes_) == 31
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1, rtol=0, atol=1e-12)


BAD_LABELS = {
    "one class": (["a"] * ROWS, "y must have at least 2 classes, got 1 class: all are 'a'"),
    "missing text": (
        ["a", None] * 60,
        "y must have a class in every row: 60 rows hold NaN, infinity or nothing, "
        "the first is row 1; remove those rows",
    ),
    "missing number": ([0.0, np.nan] * 60, "60 rows hold NaN, infinity or nothing"),
    "infinite": ([0.0, np.inf] * 60, "60 rows hold NaN, infinity or nothing"),
    "pandas NA": (pd.Series(["a", pd.NA] * 60, dtype="string"), "60 rows hold NaN, infinity or"),
    "NA truth value": (pd.Series([True, pd.NA] * 60, dtype="boolean"), "60 rows hold NaN"),
    "two kinds": (
        np.array(["a", 1] * 60, dtype=object),
        r"y must hold labels of one kind, got 'a' \(str\) and 1 \(int\): write all of them as text",
    ),
    "fractions": (np.linspace(0, 1, ROWS), "Unknown label type: continuous"),
    "two columns": (np.zeros((ROWS, 2)), r"y should be a 1d array, got an array of shape"),
    "too few": (["a", "b"], "y must have one entry per row: got 2 for 120 rows"),
    "none": (None, "requires y to be passed, but the target y is None"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_cannot_be_are_refused(case):
    labels, message = BAD_LABELS[case]
    with pytest.raises(ValueError, match=message):
        classifier().fit(table()[0], labels)


def test_a_class_that_training_did_not_have_is_refused_where_training_goes_on():
    x, _, labels = table()
    model = classifier(warm_start=True).fit(x, labels)
    message = "y holds a class that training did not have: 'left'; known are 'down', 'up'"
    with pytest.raises(DataError, match=message):
        model.fit(x, np.where(labels == "up", "left", "down"))
    with pytest.raises(DataError, match=message):
        classifier().fit(x, labels, validation_data=(x, ["left"] * ROWS))


def test_several_targets_are_predicted_by_one_network():
    x, y, _ = table()
    both = np.stack([1000 + 100 * y, -0.001 * x[:, 2]], 1)
    model = regressor(max_epochs=150, patience=150, members=4).fit(x, both)
    assert model.predict(x).shape == (ROWS, 2)
    assert model.score(x, both) > 0.9
    named = regressor().fit(x, pd.DataFrame(both, columns=["a", "b"]))
    np.testing.assert_array_equal(named.predict(x), regressor().fit(x, both).predict(x))


def test_the_target_is_scaled_inside():
    x, y, _ = table()
    plain = regressor().fit(x, y).predict(x)
    for scale, offset in ((1e6, 0.0), (1e-20, 0.0), (1.0, 1e9), (1e30, 0.0)):
        moved = regressor().fit(x, scale * y + offset).predict(x)
        spread = 1e-6 + 1e-6 * abs(offset / scale) / 1e3
        np.testing.assert_allclose((moved - offset) / scale, plain, rtol=0, atol=spread)


@pytest.mark.parametrize("rows", [100, 20_000], ids=["few rows", "many rows"])
def test_a_target_far_from_zero_keeps_its_digits(rows):
    x, y, _ = table(rows)
    model = regressor(max_epochs=40 if rows == 100 else 3, patience=40).fit(x, 1e9 + y)
    off = model.predict(x) - (1e9 + y)
    assert np.sqrt(np.mean(off**2)) < 0.8 * y.std()


def test_whole_numbers_truth_values_and_decimals_are_numbers_to_predict():
    x, y, _ = table()
    whole = np.round(10 * y)
    plain = regressor().fit(x, whole).predict(x)
    for same in (whole.astype(int), pd.Series(whole, dtype="Int64"), list(map(Decimal, whole))):
        np.testing.assert_array_equal(regressor().fit(x, same).predict(x), plain)
    truth = regressor().fit(x, y > 0).predict(x)
    np.testing.assert_array_equal(truth, regressor().fit(x, (y > 0) * 1.0).predict(x))


BAD_NUMBERS = {
    "text": (WORDS, "y must hold numbers for regression .*: for classes use PointwiseClassifier"),
    "dates": (
        pd.Series(pd.date_range("2020-01-01", periods=ROWS)),
        "y must hold numbers for regression, got dates: give days since some date",
    ),
    "dates in a list": ([dt.datetime(2020, 1, 1)] * ROWS, "y must hold numbers for regression"),
    "missing": (
        np.where(np.arange(ROWS) == 7, np.nan, 1.0),
        r"y must hold finite numbers: 1 rows hold NaN, infinity or a number beyond 1.7e\+38, "
        "the first is row 7; remove those rows",
    ),
    "infinite": (np.full(ROWS, np.inf), "120 rows hold NaN, infinity or a number beyond"),
    "too large": (np.full(ROWS, 1e300), "120 rows hold NaN, infinity or a number beyond"),
    "NA": (pd.Series([1, pd.NA] * 60, dtype="Int64"), "60 rows hold NaN, infinity or a number"),
    "too few": ([1.0, 2.0], "y must have one entry per row: got 2 for 120 rows"),
    "none": (None, "requires y to be passed, but the target y is None"),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_numbers_that_cannot_be_are_refused(case):
    values, message = BAD_NUMBERS[case]
    with pytest.raises(ValueError, match=message):
        regressor().fit(table()[0], values)


def test_another_number_of_targets_is_refused_where_training_goes_on():
    x, y, _ = table()
    model = regressor(warm_start=True).fit(x, y)
    with pytest.raises(DataError, match="y must have 1 targets, got 2"):
        model.fit(x, np.stack([y, y], 1))


def test_a_constant_target_is_predicted_as_it_is():
    x = table()[0]
    model = regressor(max_epochs=60, patience=60).fit(x, np.full(ROWS, 5.0))
    np.testing.assert_allclose(model.predict(x), 5.0, rtol=0, atol=0.2)
