"""Data frames of three makes with every type of column, as estimators take them."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from tiny import ROWS, classifier, regressor, table

from pointwise.errors import DataError, DataWarning

DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(ROWS)]
MINUTES = [dt.datetime(2026, 1, 1) + dt.timedelta(minutes=i) for i in range(ROWS)]
THREE = ["u", "v", None] * (ROWS // 3)

PANDAS = {
    "float": (np.arange(ROWS) / 7, "number"),
    "float32": (np.arange(ROWS, dtype="f4"), "number"),
    "int8": (np.arange(ROWS, dtype="i1"), "number"),
    "uint64": (np.arange(ROWS, dtype="u8"), "number"),
    "Int64": (pd.array([1, pd.NA, 3] * 40, dtype="Int64"), "number"),
    "Float64": (pd.array([1.5, pd.NA, 3] * 40, dtype="Float64"), "number"),
    "int64[pyarrow]": (pd.array([1, 2, None] * 40, dtype="int64[pyarrow]"), "number"),
    "decimal": ([Decimal(i) / 4 for i in range(ROWS)], "number"),
    "duration": (pd.to_timedelta(np.arange(ROWS), unit="h"), "number"),
    "time": (np.array([dt.time(i % 24) for i in range(ROWS)], dtype=object), "number"),
    "bool": ([True, False] * 60, "boolean"),
    "boolean": (pd.array([True, False, pd.NA] * 40, dtype="boolean"), "boolean"),
    "object of bools": (np.array([True, False, None] * 40, dtype=object), "boolean"),
    "object": (np.array(THREE, dtype=object), "category"),
    "str": (pd.Series(THREE), "category"),
    "string": (pd.array(THREE, dtype="string"), "category"),
    "string[pyarrow]": (pd.array(THREE, dtype="string[pyarrow]"), "category"),
    "mixed": (np.array([1, "a", 2.5, None] * 30, dtype=object), "category"),
    "category": (pd.Categorical(THREE), "category"),
    "category of numbers": (pd.Categorical([1, 2, None] * 40), "category"),
    "ordered": (pd.Categorical(THREE, categories=["v", "u", "w"], ordered=True), "category"),
    "datetime": (pd.date_range("2020-01-01", periods=ROWS), "date"),
    "datetime, ns": (pd.date_range("2020-01-01", periods=ROWS).astype("M8[ns]"), "date"),
    "datetime, zone": (pd.date_range("2020-01-01", periods=ROWS, tz="Asia/Tokyo"), "date"),
    "dates": (DAYS, "date"),
}
POLARS = {
    "Float32": (pl.Series(range(ROWS), dtype=pl.Float32), "number"),
    "Int128": (pl.Series(range(ROWS)).cast(pl.Int128), "number"),
    "UInt8": (pl.Series(range(ROWS), dtype=pl.UInt8), "number"),
    "Int64 with nulls": (pl.Series([1, None, 3] * 40), "number"),
    "Decimal": (pl.Series(range(ROWS)).cast(pl.Decimal(10, 2)), "number"),
    "Duration": (pl.Series([dt.timedelta(hours=i) for i in range(ROWS)]), "number"),
    "Time": (pl.Series([dt.time(i % 24) for i in range(ROWS)]), "number"),
    "Boolean": (pl.Series([True, None, False] * 40), "boolean"),
    "String": (pl.Series(THREE), "category"),
    "Categorical": (pl.Series(THREE, dtype=pl.Categorical), "category"),
    "Enum": (pl.Series(THREE, dtype=pl.Enum(["u", "v", "w"])), "category"),
    "Date": (pl.Series([DAYS[0], None, DAYS[9]] * 40), "date"),
    "Datetime": (pl.Series(MINUTES), "date"),
    "Datetime, ms": (pl.Series(MINUTES).cast(pl.Datetime("ms")), "date"),
    "Datetime, zone": (pl.Series(MINUTES).dt.replace_time_zone("Europe/Berlin"), "date"),
}
ARROW = {
    "float16": (pa.array(np.arange(ROWS, dtype="f2")), "number"),
    "int64 with nulls": (pa.array([1, None, 3] * 40), "number"),
    "decimal128": (pa.array([Decimal(i) for i in range(ROWS)]), "number"),
    "bool": (pa.array([True, None, False] * 40), "boolean"),
    "string": (pa.array(THREE), "category"),
    "large_string": (pa.array(THREE, type=pa.large_string()), "category"),
    "dictionary": (pa.array(THREE).dictionary_encode(), "category"),
    "date32": (pa.array(DAYS), "date"),
    "timestamp[ns]": (pa.array(MINUTES, type=pa.timestamp("ns")), "date"),
    "timestamp[s, UTC]": (pa.array(MINUTES, type=pa.timestamp("s", tz="UTC")), "date"),
}
MAKES = {
    "pandas": (PANDAS, pd.DataFrame),
    "polars": (POLARS, pl.DataFrame),
    "pyarrow": (ARROW, pa.table),
}


@pytest.mark.parametrize(
    ("make", "kind"), [(make, kind) for make, (kinds, _) in MAKES.items() for kind in kinds]
)
def test_a_column_of_every_type_is_understood(make, kind):
    kinds, frame_of = MAKES[make]
    values, expected = kinds[kind]
    y = table()[1]
    frame = frame_of({"plain": np.arange(ROWS) % 7 / 1.0, "it": values})
    model = regressor(max_epochs=1).fit(frame, y)
    coded = model.coding_.columns[1]
    assert (coded.name, coded.kind, coded.ignored) == ("it", expected, "")
    assert list(model.feature_names_in_) == ["plain", "it"]
    predicted = model.predict(frame)
    assert predicted.shape == (ROWS,)
    assert np.isfinite(predicted).all()


def test_makes_and_arrays_of_the_same_numbers_give_the_same_model():
    x, y, _ = table()
    plain = regressor().fit(x, y).predict(x)
    columns = dict(zip("abc", x.T, strict=True))
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        np.testing.assert_array_equal(regressor().fit(frame, y).predict(frame), plain)
    for other in (torch.from_numpy(x), x.tolist(), np.asfortranarray(x)):
        np.testing.assert_array_equal(regressor().fit(other, y).predict(other), plain)
    for target in (pd.Series(y), pl.Series(y), pa.array(y), y.tolist(), torch.from_numpy(y)):
        np.testing.assert_array_equal(regressor().fit(x, target).predict(x), plain)


@pytest.mark.parametrize("frame_of", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_column_without_values_is_left_out(frame_of):
    x, y, _ = table()
    frame = frame_of({"a": x[:, 0], "gone": [None] * ROWS})
    with pytest.warns(DataWarning, match="column 'gone' has no values: it is left out"):
        model = regressor().fit(frame, y)
    full = frame_of({"a": x[:, 0], "gone": [3.0] * ROWS})
    np.testing.assert_array_equal(model.predict(full), model.predict(frame))


LEFT_OUT = {
    "number": (np.full(ROWS, 5.0), r"column 'it' is constant \(5\)"),
    "truth value": ([True] * ROWS, r"column 'it' is constant \(1\)"),
    "text": (["x"] * ROWS, r"column 'it' is constant \('x'\)"),
    "date": ([DAYS[0]] * ROWS, r"column 'it' is constant \(2020-01-01T00:00:00.000000\)"),
    "names": ([f"n{i}" for i in range(ROWS)], "column 'it' has 102 different texts in 102 rows"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_column_that_says_nothing_is_left_out_with_a_warning(case):
    values, message = LEFT_OUT[case]
    x, y, _ = table()
    with pytest.warns(DataWarning, match=f"{message}: it is left out"):
        model = regressor().fit(pd.DataFrame({"a": x[:, 0], "it": values}), y)
    assert model.network_.mlp.channels[0] == model.network_.numbers.c_out
    other = pd.DataFrame({"a": x[:, 0], "it": ["anything", None] * 60})
    assert np.isfinite(model.predict(other)).all()


def test_columns_that_all_say_nothing_are_refused():
    frame = pd.DataFrame({"a": [1.0] * ROWS, "b": ["x"] * ROWS})
    with pytest.raises(DataError, match=r"no column says anything: 'a' is constant \(1\); 'b' is"):
        regressor().fit(frame, table()[1])


def test_an_unseen_level_counts_as_the_average_row_and_a_missing_one_as_missing():
    rng = np.random.default_rng(0)
    town = rng.choice(["a", "b"], ROWS)
    y = np.where(town == "a", 1.0, -1.0)
    frame = pd.DataFrame({"town": town, "noise": rng.normal(size=ROWS)})
    model = regressor(max_epochs=60, patience=60).fit(frame, y)
    new = pd.DataFrame({"town": ["a", "b", "c", None], "noise": [0.0] * 4})
    with pytest.warns(DataWarning, match="1 of 4 rows hold a value of column 'town'"):
        a, b, unseen, missing = model.predict(new)
    assert a > 0.8
    assert b < -0.8
    assert b < unseen < a
    assert np.isfinite(missing)


def test_missing_numbers_are_told_by_their_own_channel():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2))
    gone = rng.random(ROWS) < 0.5
    x[gone, 0] = np.nan
    model = regressor(max_epochs=100, patience=100).fit(x, gone * 2.0)
    assert np.corrcoef(model.predict(x), gone)[0, 1] > 0.99


def test_numbers_in_place_of_texts_that_spell_them_are_the_same_levels():
    rng = np.random.default_rng(0)
    zips = rng.choice(["10115", "20095", "80331"], ROWS)
    y = table()[1]
    model = classifier().fit(pd.DataFrame({"zip": zips}), y > 0)
    as_text = model.predict_proba(pd.DataFrame({"zip": zips}))
    for dtype in (int, float):
        as_number = model.predict_proba(pd.DataFrame({"zip": zips.astype(dtype)}))
        np.testing.assert_array_equal(as_number, as_text)


def test_whole_numbers_and_truth_values_in_place_of_numbers_are_numbers():
    x, y, _ = table()
    model = regressor().fit(pd.DataFrame({"a": np.round(x[:, 0]), "b": x[:, 1]}), y)
    ones = pd.DataFrame({"a": [1.0, 0.0], "b": [0.5, 0.5]})
    for dtype in (int, bool, "Int64", "boolean"):
        np.testing.assert_array_equal(model.predict(ones.astype({"a": dtype})), model.predict(ones))


def test_dates_as_text_are_dates_where_dates_were():
    y = table()[1]
    model = regressor().fit(pd.DataFrame({"day": pd.to_datetime(DAYS)}), y)
    text = pd.DataFrame({"day": [str(day) for day in DAYS]})
    np.testing.assert_array_equal(model.predict(text), model.predict(pd.DataFrame({"day": DAYS})))


REFUSED = {
    "text for numbers": (
        {"number": ["3", "many"]},
        "column 'number' held numbers in training: got 'many' in row 1; correct the value",
    ),
    "dates for numbers": (
        {"number": DAYS[:2]},
        "column 'number' held numbers in training: got '2020-01-01T00:00:00.000000' in row 0",
    ),
    "text for truth values": (
        {"truth": [None, "perhaps"]},
        "column 'truth' held truth values in training: got 'perhaps' in row 1",
    ),
    "numbers for dates": (
        {"date": [3.0, 4.0]},
        "column 'date' held dates in training: got '3.0' in row 0; write dates as 2026-11-21",
    ),
    "text for dates": (
        {"date": ["2020-01-01", "soon"]},
        "column 'date' held dates in training: got 'soon' in row 1",
    ),
    "infinity": (
        {"number": [1.0, -np.inf]},
        r"column 'number' must hold finite numbers: row 1 is infinite .* or make the value missing",
    ),
    "too large": (
        {"number": [1e300, 1.0]},
        "column 'number' must hold finite numbers: row 0 is 1e.300, too large",
    ),
    "a list": ({"number": [[1], [2]]}, "column 'number' must hold numbers, text, truth values or"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_of_another_kind_are_refused_at_prediction(case):
    changes, message = REFUSED[case]
    y = table()[1]
    frame = pd.DataFrame({"number": y, "truth": y > 0, "date": DAYS})
    model = regressor().fit(frame, y)
    new = frame[:2].assign(**{name: pd.Series(v, dtype=object) for name, v in changes.items()})
    with pytest.raises(DataError, match=message):
        model.predict(new)


def test_the_row_of_a_bad_value_is_that_of_the_given_table():
    x, y, _ = table()
    x[77, 1] = np.inf
    with pytest.raises(DataError, match="column 'x1' must hold finite numbers: row 77 is infinite"):
        regressor().fit(x, y)


NAMES = {
    "order": (["b", "a", "c"], "Feature names must be in the same order as they were in fit"),
    "unseen": (["a", "b", "z"], "Feature names unseen at fit time:\n- z"),
    "missing": (["a", "b"], "Feature names seen at fit time, yet now missing:\n- c"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_follow_the_rules_of_scikit_learn(case):
    names, message = NAMES[case]
    x, y, _ = table()
    model = regressor().fit(pd.DataFrame(x, columns=list("abc")), y)
    frame = pd.DataFrame(x[:, : len(names)], columns=names)
    with pytest.raises(ValueError, match=message):
        model.predict(frame)


def test_names_given_once_only_are_warned_of():
    x, y, _ = table()
    frame = pd.DataFrame(x, columns=list("abc"))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        regressor().fit(frame, y).predict(x)
    with pytest.warns(UserWarning, match="X has feature names, but PointwiseRegressor was fitted"):
        regressor().fit(x, y).predict(frame)
    assert not hasattr(regressor().fit(x, y), "feature_names_in_")


def test_names_that_are_numbers_are_no_names():
    x, y, _ = table()
    model = regressor().fit(pd.DataFrame(x), y)
    assert not hasattr(model, "feature_names_in_")
    assert [column.name for column in model.coding_.columns] == ["0", "1", "2"]


def test_a_name_that_is_there_twice_is_refused():
    x, y, _ = table()
    with pytest.raises(DataError, match="every column needs a name of its own"):
        regressor().fit(pd.DataFrame(x, columns=list("aba")), y)
