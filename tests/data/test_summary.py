"""What is said of the columns of a table, and which of them look wrong."""

import json

import numpy as np
import pandas as pd
import pytest

from pointwise.data.coding import code_table
from pointwise.data.summary import summarize, suspicious_columns
from pointwise.data.table import as_table

N = 60
RNG = np.random.default_rng(0)
Y = RNG.normal(size=N)
WORD = np.where(Y > 0, "up", "down")


def test_columns_are_described_in_a_few_numbers():
    frame = pd.DataFrame(
        {
            "a": [1.0, 2.0, 6.0, np.nan],
            "b": ["x", "x", "y", "x"],
            "c": [True, False, True, True],
            "d": pd.to_datetime(["2020-01-01T00", "2020-01-03T12", "2020-01-02T00", None]),
            "e": [None] * 4,
            "f": [5.0] * 4,
        }
    )
    table = as_table(frame)
    a, b, c, d, e, f = summarize(table, code_table(table))
    counts = {"name": "a", "kind": "number", "missing": 1, "distinct": 3}
    assert a == counts | {"minimum": 1.0, "median": 2.0, "maximum": 6.0, "note": ""}
    assert b["levels"] == [{"level": "x", "rows": 3}, {"level": "y", "rows": 1}]
    assert (b["kind"], b["missing"], b["distinct"]) == ("category", 0, 2)
    assert (c["kind"], c["distinct"], c["median"]) == ("boolean", 2, 1.0)
    assert (d["minimum"], d["median"], d["maximum"]) == (
        "2020-01-01T00:00:00",
        "2020-01-02T00:00:00",
        "2020-01-03T12:00:00",
    )
    counts = {"name": "e", "kind": "number", "missing": 4, "distinct": 0}
    assert e == counts | {"note": "left out: has no values"}
    assert f["note"] == "left out: is constant (5)"
    assert json.loads(json.dumps([a, b, c, d, e, f])) == [a, b, c, d, e, f]


def test_texts_of_single_rows_are_not_shown():
    table = as_table(pd.DataFrame({"name": [f"n{i}" for i in range(N)], "b": np.arange(N)}))
    name, _ = summarize(table, code_table(table))
    assert name["levels"] == []
    assert name["distinct"] == N


def _suspects(target=Y, **columns):
    table = as_table(pd.DataFrame(columns))
    return suspicious_columns(table, as_table(pd.DataFrame({"y": target})).columns[0])


ROW_NUMBER = "looks like a row number"
COPY = "looks like a copy of the target 'y'"
SUSPECTS = {
    "row numbers": (np.arange(N), Y, f"{ROW_NUMBER} (0, 1, 2, ... in order)"),
    "row numbers from 1,000": (
        1000 + np.arange(N),
        Y,
        f"{ROW_NUMBER} (1000, 1001, 1002, ... in order)",
    ),
    "the target": (Y, Y, COPY),
    "its negative in other units": (5 - 1000 * Y, Y, COPY),
    "its rounding": (np.round(Y, 3), Y, COPY),
    "its exponential": (np.exp(5 * Y), Y, COPY),
    "the target and gaps": (np.where(np.arange(N) % 4 == 0, np.nan, Y), Y, COPY),
    "a code of the class": (WORD == "up", WORD, COPY),
    "other words for the class": (np.where(Y > 0, "yes", "no"), WORD, COPY),
    "numbers for the class": (np.where(Y > 0, 7, 3), WORD, COPY),
    "two numbers for two": (np.where(Y > 0, 7, 3), np.where(Y > 0, 1.0, 0.0), COPY),
}
FINE = {
    "a noisy copy": (Y + 0.1 * RNG.normal(size=N), Y),
    "counting backwards": (-np.arange(N), Y),
    "counting with a gap": (np.append(np.arange(N - 1), N + 5), Y),
    "the class but for one": (np.append(WORD[:-1], "sideways"), WORD),
    "finer words": (np.char.add(WORD, np.where(RNG.random(N) < 0.5, "1", "2")), WORD),
    "constant": (np.ones(N), Y),
    "a constant word": (["x"] * N, WORD),
    "dates": (pd.date_range("2020", periods=N), Y),
    "names": ([f"n{i}" for i in range(N)], WORD),
    "two values, many targets": (np.where(Y > 0, 1.0, 0.0), Y),
    "nothing": ([None] * N, Y),
}


@pytest.mark.parametrize("case", SUSPECTS)
def test_columns_that_give_the_target_away_are_found(case):
    values, target, reason = SUSPECTS[case]
    assert _suspects(target, it=values, other=RNG.normal(size=N)) == {"it": reason}


@pytest.mark.parametrize("case", FINE)
def test_other_columns_are_left_in_peace(case):
    values, target = FINE[case]
    assert _suspects(target, it=values) == {}


def test_few_rows_tell_nothing():
    assert _suspects(Y[:15], it=Y[:15], row=np.arange(15)) == {}
