"""The first rows of a file: names of columns, comments, or data already."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pointwise.data.files import read_table
from pointwise.errors import DataError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str) -> Path:
        path = tmp_path / "t.csv"
        path.write_text(content)
        return path

    return write_file


def refusal(path: Path) -> str:
    """Give the message of the error, the folder left out."""
    with pytest.raises(DataError) as caught:
        read_table(path)
    return str(caught.value).replace(f"{path.parent}/", "")


HEADERS = {
    "counted": ("0,1,2\n1.5,2,3\n", ["0", "1", "2"], "the first row (0, 1, 2) taken"),
    "years": ("land,2001,2002\nFR,1,2\n", ["land", "2001", "2002"], "the first row (land, 2001"),
    "wavelengths": (
        ",".join(f"{400 + n / 2}" for n in range(9)) + "\n" + ",".join("9" * 9) + "\n",
        [f"{400 + n / 2}" for n in range(9)],
        "the first row (400.0, 400.5, 401.0, ...) taken for names of columns",
    ),
    "days": ("shop,2020-01-01,2020-01-02\nA,1,2\n", ["shop", "2020-01-01", "2020-01-02"], ""),
    "words over words": ("name,city\nBob,Rome\nAl,Paris\n", ["name", "city"], ""),
    "one number": ("name,1\nBob,5\n", ["name", "1"], "the first row (name, 1) taken"),
    "missing mark as a name": ("NA,b\n1,2\n", ["NA", "b"], ""),
    "comment marks all the way": ("#a,b\n#x,1\n", ["#a", "b"], ""),
    "no name, not counting": (",b\n7,x\n9,y\n", ["column_1", "b"], "no name, called so: column_1"),
    "no name": ("a,,c\n1,2,3\n", ["a", "column_2", "c"], "no name, called so: column_2"),
    "saved index": (
        ",a\n0,5\n1,7\n",
        ["column_1", "a"],
        "counts the rows, a saved index?: column_1",
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header_is_kept(case: str, write: Write) -> None:
    content, names, note = HEADERS[case]
    table = read_table(write(content))
    assert list(table.frame.columns) == names
    assert note in "\n".join(table.notes)


HEADERLESS = {
    "mixed": ("39, State, 77516\n50, Self, 83311\n38, Self, 1\n", "39, State, 77516", 3),
    "falling": ("5.1,3.5,1.4,setosa\n4.9,3.0,1.4,setosa\n", "5.1, 3.5, 1.4, ...", 4),
    "numbers": ("5,3\n4,2\n", "5, 3", 2),
    "same number twice": ("1 1\n2 3\n", "1, 1", 2),
    "dates": ("2020-01-01,x\n2020-01-02,y\n", "2020-01-01, x", 2),
    "words that return": ("p,x,s\np,x,y\ne,b,s\n", "p, x, s", 3),
    "one word and a number": ("Bob,5\nAl,7\n", "Bob, 5", 2),
}


@pytest.mark.parametrize("case", HEADERLESS)
def test_headerless_file_asks_for_names(case: str, write: Write) -> None:
    content, shown, count = HEADERLESS[case]
    assert refusal(write(content)) == (
        f"t.csv: the first row looks like data ({shown}), not like column names: "
        f"name the columns ({count}) with --columns a,b,c,..."
    )
    names = [f"x{number}" for number in range(count)]
    table = read_table(write(content), columns=names)
    assert list(table.frame.columns) == names
    assert len(table.frame) == content.count("\n")
    assert "no header: columns named as given" in table.notes


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        ("a,b\n4,2\n", ()),
        ("x,y\n4,2\n", ("the header (x, y) replaced by the names given",)),
    ],
    ids=["same names", "other names"],
)
def test_given_names_replace_a_header(content: str, notes: tuple[str], write: Write) -> None:
    table = read_table(write(content), columns=["a", "b"])
    assert list(table.frame.columns) == ["a", "b"]
    assert len(table.frame) == content.count("\n") - 1
    assert table.notes == notes


def test_given_names_complete_the_header_of_r(write: Write) -> None:
    content = '"mpg","cyl"\n"Mazda",21,6\n"Ford",22.8,4\n'
    message = "t.csv: every row needs 2 fields, one per column: line 2 has 3"
    assert refusal(write(content)) == message
    table = read_table(write(content), columns=["car", "mpg", "cyl"])
    assert table.frame.to_dict("list") == {
        "car": ["Mazda", "Ford"],
        "mpg": [21.0, 22.8],
        "cyl": [6, 4],
    }
