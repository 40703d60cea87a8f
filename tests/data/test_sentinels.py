"""Values such as -999 that stand for none: taken out where they are named, else pointed out."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointwise.data.files import read_table
from pointwise.data.sentinels import strange_value, take_out
from pointwise.data.table import Column, as_table

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMED = ["-999", "unknown", "01.01.1900"]

TABLE = """heat;count;zip;site;day;open
1,5;3;01234;unknown;02.03.2021;true
-999;-999;-999;north;01.01.1900;-999
-999,0;5;04567;south;14.05.2022;false
"""
READ = {
    "heat": [1.5, None, None],
    "count": [3, None, 5],
    "zip": ["01234", None, "04567"],
    "site": [None, "north", "south"],
    "day": ["2021-03-02", None, "2022-05-14"],
    "open": [True, None, False],
}


@pytest.mark.parametrize("packed", [False, True], ids=["text", "Parquet"])
def test_what_stands_for_no_value_is_missing_whatever_the_column_holds(
    packed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE, encoding="utf-8")
    if packed:  # texts stay texts there
        frame = pd.read_csv(path, sep=";", decimal=",", dtype={"zip": str})
        path = tmp_path / "t.parquet"
        frame.to_parquet(path)
    table = read_table(path, missing=NAMED)
    found = table.frame.astype(object).where(table.frame.notna(), None)
    for name, values in READ.items():
        got = [None if v is None else v for v in found[name]]
        if packed and name in ("day", "open"):
            assert [v is None for v in got] == [v is None for v in values]
        else:
            assert [str(v)[:10] if name == "day" and v else v for v in got] == values
    assert any(note.startswith("'-999' read as missing: heat, count") for note in table.notes)
    assert "'unknown' read as missing: site" in table.notes


def test_nothing_is_taken_out_unless_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n-999,x\n1,y\n", encoding="utf-8")
    assert read_table(path).frame.to_dict("list") == {"a": [-999, 1], "b": ["x", "y"]}
    assert read_table(path, missing=["99", "z"]).frame["a"].dtype == "int64"


def test_other_whole_numbers_stay_exact() -> None:
    column, found = take_out(pd.Series([2**60 + 1, -999]), ["-999"])
    assert (column[0], found) == (str(2**60 + 1), ["-999"])
    assert column.isna().tolist() == [False, True]


def test_bundled_tables_take_it_too() -> None:
    assert read_table("iris", missing=["setosa"]).frame["target"].isna().sum() == 50


SPREAD = np.linspace(5, 25, 60)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.r_[SPREAD, -999], "-999 in 1 row, where all others are 5 to 25"),
        (np.r_[SPREAD, -200, -200], "-200 in 2 rows, where all others are 5 to 25"),
        (np.r_[SPREAD, np.nan, 9999], "9999 in 1 row, where all others are 5 to 25"),
        (np.r_[SPREAD, 200], None),  # one row far out is a row far out
        (np.r_[SPREAD, 26, 26], None),
        (np.r_[np.arange(900, 999), 999], None),
        (np.r_[1, 2, 3, 999, 999], None),  # too few to tell
        (np.full(9, np.nan), None),
    ],
)
def test_a_value_that_looks_like_none_is_told(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], expected: str | None
) -> None:
    found = strange_value(Column("heat", "number", values))
    assert (found and str(found)) == expected


def test_words_and_dates_look_like_nothing() -> None:
    frame = pd.DataFrame({"a": list("xyz") * 20, "b": pd.date_range("2020-01-01", periods=60)})
    assert [strange_value(column) for column in as_table(frame).columns] == [None, None]


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_of_adults_columns_the_gain_that_stands_for_more_is_told() -> None:
    with gzip.open(SHARED / "adult" / "adult.data.gz", "rt") as file:
        frame = pd.read_csv(file, header=None, skipinitialspace=True)
    told = {c.name: str(s) for c in as_table(frame).columns if (s := strange_value(c))}
    assert told == {"10": "99999 in 159 rows, where all others are 0 to 41310"}
