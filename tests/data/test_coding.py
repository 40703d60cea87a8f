"""Columns to the channels of a network: levels, dates, offsets, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pointwise.data.coding import FEW_LEVELS, MAX_LEVELS, check_finite, code_table
from pointwise.data.days import date_part, day_text, days_since_1970
from pointwise.data.table import as_table
from pointwise.errors import DataError
from pointwise.nn.encoding import UNSEEN


def _coded(dtype=np.float64, **columns):
    table = as_table(pd.DataFrame(columns))
    return code_table(table).encode(table, dtype)


def test_numbers_come_first_and_categories_after():
    table = as_table(
        pd.DataFrame({"a": ["x", "y", None], "b": [1.0, 2.0, None], "c": [True, False, True]})
    )
    coding = code_table(table)
    assert [c.name for c in coding.numbers] == ["b", "c"]
    assert [c.name for c in coding.categories] == ["a"]
    expected = [[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [np.nan, 1.0, np.nan]]
    np.testing.assert_array_equal(coding.encode(table, np.float64), expected)


def test_levels_that_training_did_not_have_are_unseen():
    coding = code_table(as_table(pd.DataFrame({"a": ["x", "y", "x"]})))
    new = as_table(pd.DataFrame({"a": ["y", "z", None]}))
    np.testing.assert_array_equal(coding.encode(new), [[1.0], [UNSEEN], [np.nan]])


def test_the_most_frequent_levels_are_kept():
    often = [f"level {i}" for i in range(MAX_LEVELS)] * 3
    rare = [f"rare {i}" for i in range(50)]
    coding = code_table(as_table(pd.DataFrame({"a": often + rare}))).columns[0]
    assert set(coding.levels) == set(often)


@pytest.mark.parametrize(
    ("levels", "rows", "left_out"),
    [(FEW_LEVELS, FEW_LEVELS, False), (FEW_LEVELS + 1, FEW_LEVELS + 1, True), (30, 60, False)],
)
def test_texts_that_only_tell_rows_apart_are_left_out(levels, rows, left_out):
    names = [f"n{i % levels}" for i in range(rows)]
    frame = pd.DataFrame({"name": names, "b": np.arange(rows) % 2})
    coding = code_table(as_table(frame)).columns[0]
    assert bool(coding.ignored) == left_out
    assert bool(coding.levels) != left_out


CONSTANT = {
    "number": ([7.5, 7.5], "is constant (7.5)"),
    "truth value": ([True, True], "is constant (1)"),
    "text": (["x", "x"], "is constant ('x')"),
    "date": (pd.to_datetime(["2020-01-01"] * 2), "is constant (2020-01-01T00:00:00.000000)"),
    "nothing": ([None, None], "has no values"),
}


@pytest.mark.parametrize("case", CONSTANT)
def test_columns_that_say_nothing_are_left_out(case):
    values, reason = CONSTANT[case]
    coding = code_table(as_table(pd.DataFrame({"it": values, "b": [1, 2]})))
    assert coding.columns[0].ignored == reason
    assert [c.name for c in coding.numbers] == ["b"]
    with pytest.raises(DataError, match="no column says anything: 'it' "):
        code_table(as_table(pd.DataFrame({"it": values})))


@pytest.mark.parametrize("values", [[1.0, None], ["x", None]], ids=["number", "text"])
def test_one_value_with_gaps_says_something(values):
    assert not code_table(as_table(pd.DataFrame({"it": values}))).columns[0].ignored


def test_offsets_are_subtracted_before_the_cast():
    minutes = pd.Timestamp("2026-11-21").timestamp() / 60 + np.arange(1000.0)
    assert len(np.unique(minutes.astype(np.float32))) < 600
    coded = _coded(np.float32, minute=minutes)
    assert len(np.unique(coded)) == 1000
    dates = pd.Timestamp("2026-11-21") + pd.to_timedelta(np.arange(1000), unit="min")
    assert len(np.unique(_coded(np.float32, date=dates)[:, 0])) == 1000


@given(
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1, 1, width=32)),
    st.floats(-1e12, 1e12),
)
def test_a_number_is_coded_by_its_offset_alone(values, offset):
    moved = np.append(values, 2.0) + offset
    table = as_table(moved[:, None])
    coding = code_table(table)
    if not coding.columns[0].ignored:
        found = coding.encode(table, np.float64)[:, 0]
        np.testing.assert_array_equal(found, moved - coding.columns[0].offset)


def test_dates_become_days_and_the_parts_that_vary():
    dates = pd.to_datetime(["2026-01-31T06:00", "2026-03-01T18:00", None])
    table = as_table(pd.DataFrame({"when": dates}))
    coding = code_table(table)
    assert coding.columns[0].parts == ("elapsed", "month", "day", "weekday", "hour")
    offset = coding.columns[0].offset
    np.testing.assert_allclose(
        coding.encode(table, np.float64)[:2],
        [[20484.25 - offset, 1, 31, 5, 6], [20513.75 - offset, 3, 1, 6, 18]],
    )
    assert np.isnan(coding.encode(table)[2]).all()
    days = pd.date_range("2026-01-01", periods=3)
    assert code_table(as_table(pd.DataFrame({"d": days}))).columns[0].parts == (
        "elapsed",
        "day",
        "weekday",
    )


@given(st.datetimes())
def test_parts_of_a_date_are_those_of_python(date):
    one = np.array([date], dtype="M8[us]")
    hours = date.hour + date.minute / 60 + (date.second + date.microsecond / 1e6) / 3600
    expected = {"month": date.month, "day": date.day, "weekday": date.weekday(), "hour": hours}
    for part, value in expected.items():
        assert date_part(one, part)[0] == pytest.approx(value)
    days = date_part(one, "elapsed")[0]
    assert days == days_since_1970(one)[0]
    assert day_text(days) == str(date.date()) or date.hour == 23


def test_far_values_are_counted_in_numbers_and_dates():
    frame = pd.DataFrame(
        {
            "a": [0.0, 10.0],
            "when": pd.to_datetime(["2020-01-01", "2020-01-11"]),
            "word": ["x", "y"],
            "flat": [1.0, 1.0],
        }
    )
    coding = code_table(as_table(frame))
    new = pd.DataFrame(
        {
            "a": [-5.0, -5.1, 15.1, np.nan],
            "when": ["2020-01-16", "2020-01-17", "2019-12-01", None],
            "word": ["z"] * 4,
            "flat": [1e6] * 4,
        }
    )
    assert coding.far_outside(as_table(new)) == {"a": 2, "when": 2}
    assert coding.columns[0].span == "0 to 10"
    assert coding.columns[1].span == "2020-01-01 to 2020-01-11"
    assert coding.far_outside(as_table(frame)) == {}


def test_levels_that_training_did_not_have_are_told_where_they_are_many():
    letters = list("abcdefghij") * 12
    frame = pd.DataFrame({"a": range(120), "letter": letters, "other": letters})
    coding = code_table(as_table(frame))
    few = frame.assign(letter=["z"] * 12 + letters[12:])
    many = frame.assign(letter=["z"] * 13 + letters[13:])
    gaps = frame.assign(letter=["z", "a", None] + [None] * 117)
    assert coding.many_unseen(coding.encode(as_table(few))) == {}
    for strange, count in ((many, 13), (gaps, 1)):
        found = coding.many_unseen(coding.encode(as_table(strange)))
        assert {name: int(rows.sum()) for name, rows in found.items()} == {"letter": count}
        assert found["letter"][:count].all()


def test_a_column_of_more_levels_than_are_kept_has_none_that_are_unseen_for_sure():
    frame = pd.DataFrame({"a": range(4400), "name": [f"n{i % 1100}" for i in range(4400)]})
    coding = code_table(as_table(frame))
    assert coding.many_unseen(coding.encode(as_table(frame.assign(name="new")))) == {}


def test_a_column_of_gaps_is_missing_whatever_its_kind_was():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": pd.to_datetime(["2020", "2021"])})
    coding = code_table(as_table(frame))
    for nothing in (None, np.nan, pd.NaT):
        gaps = as_table(pd.DataFrame({name: [nothing] for name in frame}, dtype=object))
        assert np.isnan(coding.encode(gaps)).all()


@pytest.mark.parametrize("word", [".", "na", "None"])
def test_words_for_nothing_that_fill_a_column_are_missing_numbers_and_dates(word):
    frame = pd.DataFrame({"a": [1.0, 2.0], "c": pd.to_datetime(["2020", "2021"])})
    rows = as_table(pd.DataFrame({"a": [word, None], "c": [word, word]}, dtype=object))
    assert np.isnan(code_table(as_table(frame)).encode(rows)).all()


def test_the_first_value_that_does_not_fit_is_named():
    frame = pd.DataFrame({"a": [1.0, 2.0], "when": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    coding = code_table(as_table(frame))
    bad = pd.DataFrame({"a": ["3", "4e2", "x7"], "when": ["2020-01-01"] * 3})
    with pytest.raises(DataError, match="column 'a' held numbers in training: got 'x7' in row 2"):
        coding.encode(as_table(bad))
    bad = pd.DataFrame({"a": [1.0] * 3, "when": [None, "2020-01-01", "1/2/2020"]})
    with pytest.raises(DataError, match="'when' held dates in training: got '1/2/2020' in row 2"):
        coding.encode(as_table(bad))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.inf, "row 1 is infinite"),
        (-np.inf, "row 1 is infinite"),
        (3e38, r"row 1 is 3e\+38, too large for dtype\('float32'\)"),
        (1e300, r"row 1 is 1e\+300, too large for dtype\('float32'\)"),
    ],
)
def test_numbers_that_float32_cannot_hold_are_refused(value, message):
    column = as_table(np.array([[1.0], [value]])).columns[0]
    with pytest.raises(DataError, match=f"column 'x0' must hold finite numbers: {message}"):
        check_finite(column)
    with pytest.raises(DataError, match=message):
        code_table(as_table(np.array([[1.0], [value]])))


def test_columns_of_other_kinds_are_finite():
    table = as_table(pd.DataFrame({"a": ["inf"], "b": [True], "c": [pd.Timestamp("2020")]}))
    assert [check_finite(column) for column in table.columns] == [None] * 3
