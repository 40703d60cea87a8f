"""Tables from files of text: what is recognised and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pointwise.data.files import TableFile, read_table
from pointwise.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def values(table: TableFile) -> dict[str, list[object]]:
    """Give the columns as lists, ``None`` for missing."""
    frame = table.frame
    return {
        name: [None if pd.isna(value) else value for value in frame[name].tolist()]
        for name in frame.columns
    }


def refusal(path: Path | str, **options: object) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    return str(caught.value).replace(f"{Path(path).parent}/", "")


SPELLINGS = {
    "comma": ("a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}, ()),
    "semicolon": ("a;b\n1;x\n2;y\n", {"a": [1, 2], "b": ["x", "y"]}, ("separator ';'",)),
    "tab": ("a\tb\n1\tx y\n2\tz\n", {"a": [1, 2], "b": ["x y", "z"]}, ("separator tab",)),
    "pipe": ("a|b\n1|x\n2|y\n", {"a": [1, 2], "b": ["x", "y"]}, ("separator '|'",)),
    "blanks": (" a  b\n 1\tx\n2   y \n", {"a": [1, 2], "b": ["x", "y"]}, ("separator blanks",)),
    "decimal comma": (
        "a;b\n3,14;1\n-2,5;2\n",
        {"a": [3.14, -2.5], "b": [1, 2]},
        ("separator ';'", "decimal comma"),
    ),
    "quoted decimal comma": (
        'a,b\n"1,5",1\n"2,25",2\n',
        {"a": [1.5, 2.25], "b": [1, 2]},
        ("decimal comma",),
    ),
    "one column of decimal commas": (
        "value\n3,14\n2,71\n",
        {"value": [3.14, 2.71]},
        ("decimal comma",),
    ),
    "one column of text": (
        "review\nnice one\nvery, very bad\n",
        {"review": ["nice one", "very, very bad"]},
        (),
    ),
    "thousands stay text": (
        "a;b\n3,14;1.234,5\n2,5;2.000,0\n",
        {"a": [3.14, 2.5], "b": ["1.234,5", "2.000,0"]},
        ("separator ';'", "decimal comma", "numbers such as '1.234,5' left as text: b"),
    ),
    "thousands with commas": (
        'a,b\n"1,234",1\n"2,345",2\n',
        {"a": ["1,234", "2,345"], "b": [1, 2]},
        ("numbers such as '1,234' left as text: a",),
    ),
    "quoted separators and newlines": (
        'a,b\n"x, y\nz; ""w""",1\n"v;v;v",2\n',
        {"a": ['x, y\nz; "w"', "v;v;v"], "b": [1, 2]},
        (),
    ),
    "windows line ends": ("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}, ()),
    "old mac line ends": ("a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]}, ()),
    "blanks around fields": (" a , b \n1 , x \n2, x\n", {"a": [1, 2], "b": ["x", "x"]}, ()),
    "empty lines": ("\na,b\n\n1,x\n\n2,y\n\n", {"a": [1, 2], "b": ["x", "y"]}, ()),
    "separators at line ends": (
        "a,b\n1,x,\n2,y,\n",
        {"a": [1, 2], "b": ["x", "y"]},
        ("neither name nor values, dropped: column_3",),
    ),
    "separator after the header only": ("a,b,\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}, ()),
    "comment": (
        "# made on monday\n\na,b\n1,x\n2,y\n",
        {"a": [1, 2], "b": ["x", "y"]},
        ("comment skipped: # made on monday",),
    ),
    "comment of as many fields": (
        "# made, on monday\na,b\n1,x\n2,y\n",
        {"a": [1, 2], "b": ["x", "y"]},
        ("comment skipped: # made, on monday",),
    ),
    "names in a comment": (
        "# a b\n1 2\n3 4.5\n",
        {"a": [1, 3], "b": [2.0, 4.5]},
        ("column names read from a comment line", "separator blanks"),
    ),
    "Excel's separator line": (
        "sep=;\na;b\n1;x\n",
        {"a": [1], "b": ["x"]},
        ("comment skipped: sep=;", "separator ';'"),
    ),
    "latin": (
        "a,b\n1,é€\n".encode("cp1252"),
        {"a": [1], "b": ["é€"]},
        ("encoding cp1252",),
    ),
    "latin with codes that Windows lacks": (
        b"a,b\n1,\xe9\x81\n",
        {"a": [1], "b": ["é\x81"]},
        ("encoding latin-1",),
    ),
    "utf-8 with mark": ("\ufeffa,b\n1,é\n", {"a": [1], "b": ["é"]}, ()),
    "utf-16": ("a,b\n1,é\n".encode("utf-16"), {"a": [1], "b": ["é"]}, ("encoding utf-16",)),
    "long cell in the first row": (
        f"a,b\n1,{'y' * 200_000}\n",
        {"a": [1], "b": ["y" * 200_000]},
        (),
    ),
    "long cells": (f"a,b\n1,x\n2,{'y' * 200_000}\n", {"a": [1, 2], "b": ["x", "y" * 200_000]}, ()),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_spelling_is_recognised(case: str, write: Write) -> None:
    content, expected, notes = SPELLINGS[case]
    table = read_table(write(content))
    assert values(table) == expected
    assert table.notes == notes
    assert table.default_target is None


def test_latin_letter_far_below_the_sample(write: Write) -> None:
    table = read_table(write(b"a,b\n" + b"1,x\n" * 300_000 + b"2,\xe9\n"))
    assert table.frame["b"].iloc[-1] == "é"
    assert table.notes == ("encoding cp1252",)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("a;b\n1;2\n", {"separator": ","}, {"a;b": ["1;2"]}),
        ("a\tb,c\n1\t2\n", {"separator": "tab"}, {"a": [1], "b,c": [2]}),
        ("a b,c\n1 2\n", {"separator": "blanks"}, {"a": [1], "b,c": [2]}),
        ("a;b\n1,5;2\n", {"decimal": "."}, {"a": ["1,5"], "b": [2]}),
        (b"a\n\xe9\n", {"encoding": "iso8859-5"}, {"a": ["щ"]}),
    ],
    ids=["separator", "tab", "blanks", "decimal", "encoding"],
)
def test_what_is_given_is_not_questioned(
    content: str | bytes, options: dict[str, str], expected: object, write: Write
) -> None:
    assert values(read_table(write(content), **options)) == expected  # type: ignore[arg-type]


# name of the column, its cells, the type and values read, the note
COLUMNS = {
    "whole": (["1", "-2"], "int64", [1, -2], None),
    "with gaps": (["1", "", "NA"], "float64", [1.0, None, None], None),
    "infinite": (["1", "inf"], "float64", [1.0, math.inf], None),
    "question marks among numbers": (
        ["1", "?", "2.5"], "float64", [1.0, None, 2.5], "'?' read as missing: c"
    ),
    "dashes among words": (["x", "-", "y"], "text", ["x", None, "y"], "'-' read as missing: c"),
    "None among numbers": (["1", "None"], "float64", [1.0, None], "'None' read as missing: c"),
    "a dot among numbers": (["1", "."], "float64", [1.0, None], "'.' read as missing: c"),
    "na among truth values": (["true", "na"], "boolean", [True, None], "'na' read as missing: c"),
    "a spreadsheet's error": (
        ["1.5", "#DIV/0!"], "float64", [1.5, None], "'#DIV/0!' read as missing: c"
    ),
    "na among words": (["x", "na"], "text", ["x", "na"], "'na' kept as text: c"),
    "None among words": (["x", "None"], "text", ["x", "None"], "'None' kept as text: c"),
    "null among words": (["x", "null", "N/A"], "text", ["x", None, None], None),
    "only missing": (["", "NA", ""], "float64", [None, None, None], None),
    "only question marks": (["?", "?"], "float64", [None, None], "'?' read as missing: c"),
    "true and false": (["TRUE", "false", "True"], "bool", [True, False, True], None),
    "true with gaps": (["TRUE", ""], "boolean", [True, None], None),
    "yes and no": (["yes", "no"], "text", ["yes", "no"], None),
    "codes": (
        ["01234", "98765"], "text", ["01234", "98765"], "leading zeros kept, read as text: c"
    ),
    "codes with gaps": (["00", ""], "text", ["00", None], "leading zeros kept, read as text: c"),
    "zeros before a point": (["0.5", "00.25"], "float64", [0.5, 0.25], None),
    "long whole": (["9007199254740993", "1"], "int64", [9007199254740993, 1], None),
    "long with gaps": (
        ["9007199254740993", ""], "text", ["9007199254740993", None],
        "whole numbers too long to be exact, read as text: c",
    ),
    "beyond 64 bits": (
        ["123456789012345678901", "5"], "text", ["123456789012345678901", "5"],
        "whole numbers too long to be exact, read as text: c",
    ),
    "large floats": (["1e20", "2"], "float64", [1e20, 2.0], None),
    "dates": (
        ["2024-01-31", "2024-02-29"], "datetime64[us]",
        [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-29")], "dates read: c",
    ),
    "timestamps to UTC": (
        ["2024-01-31T23:30:00Z", "2024-01-31 23:30-01:00", ""], "datetime64[us]",
        [pd.Timestamp("2024-01-31 23:30"), pd.Timestamp("2024-02-01 00:30"), None],
        "dates read: c",
    ),
    "day first with dots": (
        ["1.2.2024 10:00", "3.4.2024 11:30"], "datetime64[us]",
        [pd.Timestamp("2024-02-01 10:00"), pd.Timestamp("2024-04-03 11:30")],
        "dates read, the day first: c",
    ),
    "hours without a zero": (
        ["30.03.2022 3:50", "31.03.2022 13:05"], "datetime64[us]",
        [pd.Timestamp("2022-03-30 03:50"), pd.Timestamp("2022-03-31 13:05")],
        "dates read, the day first: c",
    ),
    "no date in a database": (
        ["2024-01-31", "0000-00-00"], "datetime64[us]", [pd.Timestamp("2024-01-31"), None],
        ["dates read: c", "'0000-00-00' read as missing: c"],
    ),
    "a word among dates": (
        [*(f"2024-01-{day}" for day in range(10, 30)), "soon"], "text",
        [*(f"2024-01-{day}" for day in range(10, 30)), "soon"],
        "dates left as text because of 'soon': c",
    ),
    "month first": (
        ["1/31/2024", "2/3/2024"], "datetime64[us]",
        [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-03")], "dates read, the month first: c",
    ),
    "day first": (
        ["31/1/2024", "2/3/2024"], "datetime64[us]",
        [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-03-02")], "dates read, the day first: c",
    ),
    "day or month first": (
        ["1/2/2024", "3/4/2024"], "text", ["1/2/2024", "3/4/2024"],
        "dates left as text, since day and month cannot be told apart: c",
    ),
    "a day that is none": (
        ["2024-02-30", "2024-03-01"], "text", ["2024-02-30", "2024-03-01"],
        "dates left as text because of '2024-02-30': c",
    ),
    "two orders of dates": (
        ["13/1/2024", "1/13/2024"], "text", ["13/1/2024", "1/13/2024"],
        "dates left as text, since they are not all spelt alike: c",
    ),
    "digits are no dates": (["20240131", "20240229"], "int64", [20240131, 20240229], None),
    "units": (["45 %", "12 %"], "text", ["45 %", "12 %"], "numbers such as '45 %' left as text: c"),
    "a word among numbers": (
        [*map(str, range(20)), "abc"], "text", [*map(str, range(20)), "abc"],
        "numbers left as text because of 'abc': c",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_have_the_types_of_their_cells(case: str, write: Write) -> None:
    cells, dtype, expected, note = COLUMNS[case]
    table = read_table(write("c,n\n" + "".join(f"{cell},1\n" for cell in cells)))
    column = table.frame["c"]
    if dtype == "text":
        assert pd.api.types.is_string_dtype(column.dropna())
    else:
        assert str(column.dtype) == dtype
    assert values(table)["c"] == expected
    assert table.notes == (tuple(note) if isinstance(note, list) else (note,) if note else ())


def test_notes_gather_columns(write: Write) -> None:
    names = [f"c{number}" for number in range(10)]
    table = read_table(write(f"{','.join(names)}\n{','.join('?' * 10)}\n{','.join('x' * 10)}\n"))
    assert table.notes == ("'?' read as missing: c0, c1, c2, c3, c4, c5, c6, c7, ...",)


@pytest.mark.parametrize("gap", ["", "\n"], ids=["complete", "with gaps"])
def test_leading_zero_far_below_the_sample(gap: str, write: Write) -> None:
    row = f"98765,3\n{gap and ',3' + gap}"
    table = read_table(write("zip,n\n" + row * 200_000 + "01234,4\n"))
    assert table.frame["zip"].iloc[-1] == "01234"
    assert table.frame["zip"].iloc[0] == "98765"
    assert str(table.frame["n"].dtype) == "int64"
    assert table.notes == ("leading zeros kept, read as text: zip",)


REFUSED: dict[str, tuple[str | bytes, dict[str, object], str]] = {
    "empty": ("", {}, "t.csv: the file is empty"),
    "blank": (" \n\n", {}, "t.csv: the file is empty"),
    "header only": ("a,b\n", {}, "t.csv: there are no rows below the header (a, b)"),
    "one row of data": ("1.5,b\n", {}, "t.csv: there are no rows below the header (1.5, b)"),
    "short row": (
        "a,b,c\n1,2,3\n\n4,5\n6,7,8\n", {},
        "t.csv: every row needs 3 fields, one per column: line 4 has 2",
    ),
    "short row far below": (
        "a,b\n" + "1,2\n" * 300_000 + "3\n", {},
        "t.csv: every row needs 2 fields, one per column: line 300002 has 1",
    ),
    "long row": (
        '# c\na,b\n"x\ny",2\n4,5,6\n', {},
        "t.csv: every row needs 2 fields, one per column: line 5 has 3",
    ),
    "long row far below": (
        "a,b\n" + "1,2\n" * 300_000 + "3,4,5\n", {},
        "t.csv: every row needs 2 fields, one per column: line 300002 has 3",
    ),
    "all rows longer than the header": (
        "a b\n1 2 3 4\n5 6 7 8\n", {},
        "t.csv: every row needs 2 fields, one per column: line 2 has 4",
    ),
    "open quote": (
        'a,b\n1,2\n1,"x\n2,y\n', {},
        "t.csv: a quote is opened near line 3 and never closed",
    ),
    "open quote far below": (
        "a,b\n" + "1,x\n" * 300_000 + '1,"x\n2,y\n', {},
        "t.csv: a quote is opened near line 300002 and never closed",
    ),
    "open quote before long text": (
        'a,b\n1,"' + "x\n" * 100_000, {}, "t.csv: a quote is opened near line 2 and never closed"
    ),
    "open quote in the header": (
        '"a,b\n' + "1,2\n" * 100_000, {},
        "t.csv: no row could be read: is a quote opened and never closed?",
    ),
    "names twice": (
        "a,b,a,b\n1,2,3,x\n", {},
        "t.csv: every column needs a name of its own, 'a', 'b' is there more than once: "
        "rename it in the file, or name all columns with --columns a,b,c,...",
    ),
    "given names twice": (
        "1,2\n", {"columns": ["a", "a"]},
        "t.csv: every column needs a name of its own, 'a' is there more than once: "
        "rename it in the file, or name all columns with --columns a,b,c,...",
    ),
    "too few names": (
        "1,2,3\n4,5,6\n", {"columns": ["a", "b"]},
        "t.csv: 2 names are given for 3 columns: name each column",
    ),
    "not the given encoding": (
        "a\né\n", {"encoding": "ascii"},
        "t.csv: byte 0xc3 is not ascii: give its encoding, such as utf-8 or cp1252",
    ),
    "two encodings": (
        "a\né\n".encode() + b"x\n" * 600_000 + b"\xe9\n", {},
        "t.csv: byte 0xe9 is not utf-8: give its encoding, such as utf-8 or cp1252",
    ),
    "no such encoding": (
        "a\n1\n", {"encoding": "utf9"}, "no text encoding is called 'utf9': try utf-8"
    ),
    "no such separator": (
        "a\n1\n", {"separator": ";;"},
        "a separator is one character, 'tab' or 'blanks', got ';;'",
    ),
    "no such decimal": ("a\n1\n", {"decimal": "'"}, "the decimal mark is '.' or ',', got \"'\""),
    "not the given wide encoding": (
        b"a,b\n1,2\n\0", {"encoding": "utf-32"},
        "t.csv: byte 0x61 is not utf-32: give its encoding, such as utf-8 or cp1252",
    ),
    "json": ('[{"a": 1}]', {}, "t.csv: this is JSON, ARFF, XML or HTML: save the table as CSV"),
    "html": ("<html>", {}, "t.csv: this is JSON, ARFF, XML or HTML: save the table as CSV"),
    "png": (
        b"\x89PNG\r\n\x1a\n\0\0", {},
        "t.csv: this is a PNG image, not a table: save the table as CSV or Parquet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_no_table_gets_one_clear_error(case: str, write: Write) -> None:
    content, options, message = REFUSED[case]
    assert refusal(write(content), **options) == message


@pytest.mark.parametrize(
    ("content", "options", "expected", "noted"),
    [
        ("a;b\n76.586;1\n980;2\n", {}, ["76.586", "980"], "numbers such as '76.586' left as text"),
        ("a;b\n76.586;1\n980;2\n", {"decimal": "."}, [76.586, 980.0], ""),
        ("a;b\n76.586;1\n98.1;2\n", {}, [76.586, 98.1], ""),
        ("a;b\n76.586;1\n12.345;2\n", {}, [76.586, 12.345], ""),  # measured to a thousandth
        ("a,b\n76.586,1\n980,2\n", {}, [76.586, 980.0], ""),
    ],
    ids=["thousands", "said", "tenths", "all", "commas between"],
)
def test_points_that_look_like_thousands_are_no_decimals_where_semicolons_part_fields(
    content: str, options: dict[str, str], expected: object, noted: str, write: Write
) -> None:
    table = read_table(write(content), **options)  # type: ignore[arg-type]
    assert values(table)["a"] == expected
    assert any(noted in note for note in table.notes) or not noted


def test_columns_stay_text_and_dates_keep_their_order_where_an_earlier_file_said_so(
    write: Write,
) -> None:
    path = write("v,t,d,n\n1.10,TRUE,05/04/2023,none\n2.0,FALSE,01/02/2023,\n")
    table = read_table(path, texts=["v", "t", "n"], day_first={"d": True})
    assert values(table) == {
        "v": ["1.10", "2.0"],
        "t": ["TRUE", "FALSE"],
        "d": [pd.Timestamp("2023-04-05"), pd.Timestamp("2023-02-01")],
        "n": ["none", None],
    }
    assert table.day_first == {"d": True}
    told = read_table(write("d\n23/04/2023\n01/02/2023\n"), day_first={"d": False})
    assert told.day_first == {"d": True}


def test_points_are_no_thousands_where_an_earlier_file_held_numbers(write: Write) -> None:
    path = write("a;b\n76.586;x\n980;y\n")
    assert values(read_table(path, texts=["b"]))["a"] == [76.586, 980.0]
    assert values(read_table(path, texts=[]))["a"] == [76.586, 980.0]
