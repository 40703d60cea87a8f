"""Tables of any make as typed columns: values and gaps, and what is refused."""

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pointwise.data.table import as_table, as_text, is_frame, missing_in
from pointwise.errors import DataError

NAN = float("nan")
NOON = dt.datetime(2020, 1, 2, 12)
NAT = np.datetime64("NaT", "us")

VALUES = {
    "numbers": ([1, 2.5, None], "number", [1.0, 2.5, NAN]),
    "Int64": (pd.array([1, pd.NA], dtype="Int64"), "number", [1.0, NAN]),
    "whole numbers beyond float": ([2**60, 2**60 + 1], "number", [2.0**60, 2.0**60]),
    "decimals": (pd.Series([Decimal("1.5"), None], dtype=object), "number", [1.5, NAN]),
    "durations": (pd.to_timedelta([1, None], unit="h"), "number", [3600.0, NAN]),
    "times": (pd.Series([dt.time(1, 0, 0, 500_000), None], dtype=object), "number", [3600.5, NAN]),
    "truth values": ([True, False], "boolean", [1.0, 0.0]),
    "boolean": (pd.array([True, pd.NA], dtype="boolean"), "boolean", [1.0, NAN]),
    "bools and gaps": (pd.Series([True, None], dtype=object), "boolean", [1.0, NAN]),
    "bools and numbers": (pd.Series([True, 2], dtype=object), "number", [1.0, 2.0]),
    "text": (pd.Series(["a", None, ""], dtype=object), "category", ["a", None, ""]),
    "text and numbers": (
        pd.Series(["a", 1, 2.5, 3.0, NAN]),
        "category",
        ["a", "1", "2.5", "3", None],
    ),
    "text and truth": (pd.Series(["a", True]), "category", ["a", "True"]),
    "levels": (pd.Categorical(["b", "a", None]), "category", ["b", "a", None]),
    "levels of numbers": (pd.Categorical([10, 2, None]), "category", ["10", "2", None]),
    "levels of truth": (pd.Categorical([True, False]), "category", ["True", "False"]),
    "dates": ([dt.date(2020, 1, 2), None], "date", ["2020-01-02", "NaT"]),
    "timestamps": (pd.Series([NOON, pd.NaT]), "date", ["2020-01-02T12", "NaT"]),
    "timestamps as objects": (
        pd.Series([NOON, None], dtype=object),
        "date",
        ["2020-01-02T12", "NaT"],
    ),
    "zone": (pd.Series([NOON]).dt.tz_localize("Asia/Tokyo"), "date", ["2020-01-02T03"]),
    "zone as objects": (
        pd.Series([NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=9)))], dtype=object),
        "date",
        ["2020-01-02T03"],
    ),
    "far future": ([dt.date(9999, 12, 31)], "date", ["9999-12-31"]),
    "nothing": ([None, None], "number", [NAN, NAN]),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_become_one_of_four_kinds(case):
    given, kind, expected = VALUES[case]
    column = as_table(pd.DataFrame({"it": given})).columns[0]
    assert (column.name, column.kind) == ("it", kind)
    if kind == "date":
        np.testing.assert_array_equal(column.values, np.array(expected, dtype="M8[us]"))
    elif kind == "category":
        assert column.values.tolist() == expected
    else:
        assert column.values.dtype == np.float64
        np.testing.assert_array_equal(column.values, expected)
    gaps = [v is None or v != v or v == "NaT" for v in expected]
    assert column.missing().tolist() == gaps


ARRAYS = {
    "float": (np.array([[1.5], [np.nan]]), "number"),
    "int": (np.array([[1], [2]]), "number"),
    "bool": (np.array([[True], [False]]), "boolean"),
    "text": (np.array([["a"], ["b"]]), "category"),
    "dates": (np.array([["2020-01-01"], ["NaT"]], dtype="M8[D]"), "date"),
    "durations": (np.array([[1], [2]], dtype="m8[h]"), "number"),
    "objects": (np.array([["a"], [None]], dtype=object), "category"),
    "objects that are numbers": (np.array([[1], [None]], dtype=object), "number"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_has_columns_of_the_same_kinds(case):
    array, kind = ARRAYS[case]
    table = as_table(array)
    assert (table.names, table.rows, table.columns[0].kind) == (("x0",), 2, kind)
    assert as_table(array, ["age"]).names == ("age",)


def test_durations_of_every_make_are_seconds():
    frames = (
        pd.DataFrame({"a": pd.to_timedelta([90], unit="s")}),
        pl.DataFrame({"a": [dt.timedelta(seconds=90)]}),
        pa.table({"a": pa.array([dt.timedelta(seconds=90)])}),
        np.array([[90]], dtype="m8[s]"),
    )
    assert [as_table(frame).columns[0].values.tolist() for frame in frames] == [[90.0]] * 4


REFUSED = {
    "lists": ([[1], [2]], "got [1] of type list"),
    "bytes": ([b"a"], "got b'a' of type bytes"),
    "complex": (pd.Series([1j], dtype=object), "got 1j of type complex"),
    "periods": (pd.period_range("2020", periods=2, freq="Y"), "of type Period"),
    "dates and numbers": (pd.Series([dt.date(2020, 1, 1), 5], dtype=object), "of type date"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_of_other_kinds_are_refused(case):
    values, message = REFUSED[case]
    rule = "column 'it' must hold numbers, text, truth values or dates: "
    with pytest.raises(DataError, match=re.escape(rule) + ".*" + re.escape(message)):
        as_table(pd.DataFrame({"it": values}))


def test_names_must_differ_as_text_too():
    for frame in (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[0, "0"]),
    ):
        with pytest.raises(DataError, match="every column needs a name of its own"):
            as_table(frame)


def test_frames_are_told_from_arrays():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert is_frame(pa.table({"a": [1]}))
    assert not any(map(is_frame, (np.zeros((1, 1)), [[1]], pd.Series([1]), None)))


def test_levels_of_long_whole_numbers_stay_apart():
    ids = pd.Series([2**60, 2**60 + 1]).astype("category")
    assert as_table(ids.to_frame("id")).columns[0].values.tolist() == [str(2**60), str(2**60 + 1)]


def test_text_of_numbers_has_no_needless_point():
    values = [1, 1.0, 1.5, True, "01", None, pd.NA, np.nan, np.float32(2)]
    assert as_text(values).tolist() == ["1", "1", "1.5", "True", "01", None, None, None, "2"]


@pytest.mark.parametrize(
    ("values", "gaps"),
    [
        (np.array([1.0, np.nan]), [False, True]),
        (np.array(["2020", "NaT"], dtype="M8[D]"), [False, True]),
        (np.array([1, 2]), [False, False]),
        (np.array(["a", ""]), [False, False]),
        (np.array([None, pd.NA, pd.NaT, np.nan, 0, "", np.zeros(2)], dtype=object), None),
    ],
    ids=["float", "date", "int", "text", "object"],
)
def test_gaps_are_found_in_arrays_of_every_type(values, gaps):
    expected = gaps or [True, True, True, True, False, False, True]
    assert missing_in(values).tolist() == expected
