"""Tables from files and back: packed, Parquet, bundled, missing; real files where they are."""

import bz2
import datetime
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pointwise.data.files import read_table, write_table
from pointwise.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
TABLE = b"a,b\n1,x\n2,y\n"
SAVE = "not a table: save the table as CSV or Parquet"


def refusal(path: Path | str, **options: object) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    return str(caught.value).replace(f"{Path(path).parent}{os.sep}", "")


def zipped(*members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in members:
            archive.writestr(name, TABLE)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["t.csv", "t.csv.packed", "t.zip", "t"])
@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress, lambda _: zipped("t.csv", "__MACOSX/t")],
    ids=["plain", "gzip", "bzip2", "xz", "zip"],
)
def test_packing_is_known_by_its_bytes(
    pack: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(TABLE))
    assert read_table(path).frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    assert read_table(str(path)).notes == ()


LONG = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(200_000)))
ENDED = "truncated or damaged (Compressed file ended before the end-of-stream marker was reached)"
REFUSED = {
    "old excel": (b"\xd0\xcf\x11\xe0\xa1\xb1", f"t.csv: this is an Excel workbook, {SAVE}"),
    "excel": (
        zipped("[Content_Types].xml", "xl/workbook.xml"),
        "t.csv: this is an office document (Excel?): save it as CSV",
    ),
    "tar": (b"n".ljust(257, b"\0") + b"ustar\0", f"t.csv: this is a tar archive, {SAVE}"),
    "packed junk": (gzip.compress(bytes(range(256))), f"t.csv: this is a binary file, {SAVE}"),
    "packed nothing": (gzip.compress(b""), "t.csv: the file is empty"),
    "two in a zip": (
        zipped("a.csv", "b.csv"),
        "t.csv: a zip archive must hold one file, found a.csv, b.csv: unpack it",
    ),
    "none in a zip": (
        zipped("a/"),
        "t.csv: a zip archive must hold one file, found none: unpack it",
    ),
    "gzip cut in the sample": (LONG[:1000], f"t.csv: the gzip file is {ENDED}"),
    "gzip cut below the sample": (LONG[:-1000], f"t.csv: the gzip file is {ENDED}"),
    "cut bzip2": (bz2.compress(TABLE)[:-9], f"t.csv: the bzip2 file is {ENDED}"),
    "cut xz": (lzma.compress(TABLE)[:-20], f"t.csv: the xz file is {ENDED}"),
    "cut zip": (
        zipped("a.csv")[:-30],
        "t.csv: the zip archive is truncated or damaged (File is not a zip file)",
    ),
    "damaged bzip2": (
        bz2.compress(TABLE * 99)[:12] + b"x" * 50,
        "t.csv: cannot be read (the bzip2 file is damaged: Invalid data stream)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_packed_or_foreign_file_gets_one_clear_error(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert refusal(path) == message


def test_zip_with_a_password(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    content = bytearray(zipped("a.csv"))
    content[6] |= 1  # the flag in the member's own header, then in the list of members
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    message = refusal(path).replace(f"{tmp_path}{os.sep}", "")
    assert message == (
        "t.zip: File 'a.csv' is encrypted, password required for extraction: unpack it"
    )


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TABLE)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == "t.csv: cannot be read (Permission denied)"


def test_missing_file_suggests_near_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "housing.csv").write_bytes(TABLE)
    monkeypatch.chdir(tmp_path)
    sets = "Sets that need no file: breast_cancer, diabetes, digits, iris, wine."
    expected = {
        "hosing.csv": f"no file 'hosing.csv': did you mean 'housing.csv'? {sets}",
        "diabets": f"no file 'diabets': did you mean 'diabetes' or 'digits'? {sets}",
        "zzz": f"no file 'zzz': check its name and folder. {sets}",
        "no/t.csv": "no file 'no/t.csv': there is no folder 'no'",
        ".": "a table is read from a file, '.' is a folder",
    }
    for source, message in expected.items():
        with pytest.raises(DataError) as caught:
            read_table(source)
        assert str(caught.value) == message


def test_bundled_name_gives_way_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = read_table("iris")
    assert bundled.frame.shape == (150, 5)
    assert bundled.default_target == "target"
    assert bundled.notes == ("iris: bundled with scikit-learn",)
    Path("iris").write_bytes(TABLE)
    assert read_table("iris").frame.shape == (2, 2)
    assert read_table("iris").default_target is None


def test_options_of_text_are_refused_elsewhere(tmp_path: Path) -> None:
    message = "columns, decimal can be given for text files only: "
    assert refusal("iris", columns=["a"], decimal=".") == message + (
        "iris is bundled with scikit-learn"
    )
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    assert refusal(tmp_path / "t.parquet", columns=["a"], decimal=".") == message + (
        "t.parquet is a Parquet file"
    )


def test_parquet_columns_have_the_types_of_text_files(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 1, 31, 23, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    columns = {
        "whole": ([1, 2], "int64"),
        "gaps": ([1, None], "float64"),
        "long": ([2**53 + 1, None], None),
        "share": ([0.5, None], "float64"),
        "price": ([Decimal("1.5"), Decimal("2.25")], "float64"),
        "flag": ([True, False], "bool"),
        "flag_gaps": ([True, None], "boolean"),
        "empty": ([None, None], "float64"),
        "text": (["?", None], None),
        "kind": (pa.array(["x", "y"]).dictionary_encode(), "category"),
        "day": ([datetime.date(2024, 1, 31), None], "datetime64[ms]"),
        "when": (pa.array([when, None], pa.timestamp("us", "Europe/Rome")), "datetime64[us]"),
    }
    path = tmp_path / "t"
    pq.write_table(pa.table({name: column for name, (column, _) in columns.items()}), path)
    table = read_table(path)
    frame = table.frame
    for name, (_, dtype) in columns.items():
        assert dtype is None or str(frame[name].dtype) == dtype, name
    assert frame["long"].iloc[0] == str(2**53 + 1)
    assert frame["text"].iloc[0] == "?"
    assert frame["price"].tolist() == [1.5, 2.25]
    assert frame["when"].iloc[0] == pd.Timestamp("2024-01-31 21:00")
    assert table.notes == ()


def test_index_saved_by_pandas_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [5.0, 7.0]}, index=[1, 2])
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.frame.to_dict("list") == {"a": [5.0, 7.0], "column_2": [1, 2]}
    assert table.notes == ("no name, called so: column_2",)
    frame.rename_axis("id").to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").frame.columns) == ["a", "id"]


def test_unusable_parquet_gets_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and then junk")
    assert refusal(path).startswith("t.parquet: the Parquet file is truncated or damaged (")
    path.write_bytes(TABLE)
    assert refusal(path).startswith("t.parquet: the Parquet file is truncated or damaged (")
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    assert refusal(path) == "t.parquet: the table has 0 rows and 1 columns"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    assert refusal(path).startswith("t.parquet: every column needs a name of its own, 'a' is")
    pq.write_table(pa.table({"b": [[1, 2]], "c": [b"3"]}), path)
    assert refusal(path) == (
        "t.parquet: column 'b' holds list<element: int64>, where a cell holds one value: it is "
        "left out, and so is every other"
    )


def test_parquet_columns_of_lists_records_and_bytes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {"a": [1, 2], "b": [[1, 2], None], "c": [{"x": 1}] * 2, "d": [b"12", b"3"]}
    pq.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table.frame.to_dict("list") == {"a": [1, 2]}
    assert len(table.notes) == 3
    assert table.notes[0] == (
        "column 'b' holds list<element: int64>, where a cell holds one value: it is left out"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_refused_as_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    assert refusal(tmp_path / "t.csv") == (
        "'t.csv' is a pipe, which can be read only once: save it as a file"
    )


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".CSV"])
def test_written_table_reads_back(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=50).round(9),
            "n": rng.integers(-9, 9, size=50),
            "gap": np.where(rng.random(50) < 0.5, np.nan, 1.5),
            "word": rng.choice(["a, b", 'say "c"', "d\te", "é\nf"], size=50),
            "flag": rng.random(50) < 0.5,
            "when": pd.date_range("2024-01-01", periods=50, freq="h", unit="us"),
        }
    )
    path = tmp_path / f"t{suffix}"
    path.write_text("old")
    write_table(frame, path)
    pd.testing.assert_frame_equal(read_table(path).frame, frame)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    for name in ("one.csv.gz", "two.csv.gz"):
        write_table(frame, tmp_path / name)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_table_is_not_written_in_other_ways(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(DataError) as caught:
        write_table(frame, "out.xlsx")
    assert str(caught.value) == (
        "a table is written as .csv, .csv.gz, .tsv, .tsv.gz, .parquet, got 'out.xlsx'"
    )
    with pytest.raises(DataError) as caught:
        write_table(frame, tmp_path / "no" / "out.csv")
    assert str(caught.value) == (
        f"{tmp_path / 'no' / 'out.csv'}: cannot be written (No such file or directory)"
    )


ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation"),
    *("relationship", "race", "sex", "gain", "loss", "hours", "country", "income"),
]
QUESTION = "'?' read as missing: workclass, occupation, country"
NAMED = "no header: columns named as given"
# file, number of names to give (0: it has a header), rows, numeric columns, missing, notes
REAL = {
    "california-housing/cal_housing.csv.gz": (0, 20640, 9, 0, ()),
    "california-housing/housing_geron.csv.gz": (0, 20640, 9, 207, ()),
    "adult/adult.data.gz": (15, 32561, 6, 4262, (NAMED, QUESTION)),
    "adult/adult.test.gz": (
        15, 16281, 6, 2203, ("comment skipped: |1x3 Cross validator", NAMED, QUESTION)
    ),
    "uci-regression/bostonHousing/data/data.txt": (14, 506, 14, 0, (NAMED, "separator blanks")),
    "uci-regression/concrete/data/data.txt": (9, 1030, 9, 0, (NAMED, "separator tab")),
    "uci-regression/energy/data/data.txt": (9, 768, 9, 0, (NAMED, "separator tab")),
    "uci-regression/power-plant/data/data.txt": (5, 9568, 5, 0, (NAMED, "separator tab")),
    "statlog-landsat/sat.trn": (37, 4435, 37, 0, (NAMED, "separator tab")),
    "statlog-landsat/sat.tst": (37, 2000, 37, 0, (NAMED, "separator tab")),
}  # fmt: skip


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real data sets is not here")
@pytest.mark.parametrize("name", REAL)
def test_real_files_need_no_preparation(name: str) -> None:
    named, rows, numeric, missing, notes = REAL[name]
    columns = None
    if named:
        message = f"not like column names: name the columns ({named}) with --columns a,b,c,..."
        assert refusal(SHARED / name).endswith(message)
        columns = ADULT if "adult" in name else [f"x{number}" for number in range(named)]
    table = read_table(SHARED / name, columns=columns)
    assert len(table.frame) == rows
    assert table.frame.select_dtypes("number").shape[1] == numeric
    assert table.frame.isna().sum().sum() == missing
    assert table.notes == notes
