"""More bad input, on a table with every kind of column; the plain cases are in test_bad_input."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from houses import houses

from pointwise.estimators import PointwiseRegressor
from pointwise.training import Checkpoint


@dataclass(frozen=True)
class Bad:
    """A command line on what ``make`` put into the working folder, and what comes of it."""

    line: str
    message: str
    make: Callable[[], object] = lambda: None
    code: int = 1


def changed(**columns: object) -> Callable[[], None]:
    """``houses.csv`` with other columns."""
    return lambda: houses().assign(**columns).to_csv("bad.csv", index=False)


def without(column: str) -> Callable[[], None]:
    """``houses.csv`` with a column less."""
    return lambda: houses().drop(columns=column).to_csv("bad.csv", index=False)


def cell(column: str, value: object, row: int = 7) -> Callable[[], None]:
    """``houses.csv`` with one other value."""

    def write() -> None:
        table = houses().astype({column: object})
        table.loc[row, column] = value
        table.to_csv("bad.csv", index=False)

    return write


def content(data: str | bytes, name: str = "bad.csv") -> Callable[[], object]:
    """A file of this content."""
    return lambda: Path(name).write_bytes(data.encode() if isinstance(data, str) else data)


def cut(name: str, size: int) -> Callable[[], object]:
    """A file cut short."""
    return lambda: Path(name).write_bytes(Path(name).read_bytes()[:size])


def edited(**changes: object) -> Callable[[], object]:
    """``price-model`` with another config."""
    path = Path("price-model/config.json")
    return lambda: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def other_checkpoint() -> None:
    """What a killed fit of other rows leaves beside the folder ``m``."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    model = PointwiseRegressor(members=1, hidden=(4,), max_epochs=1)
    model.fit(x, x[:, 0], checkpoint=Checkpoint("m.checkpoint", every_s=0))


def folder_with_photo() -> None:
    """A folder that is the user's own."""
    Path("photos").mkdir()
    Path("photos/me.jpg").write_bytes(b"1")


N = len(houses())
HALF = np.arange(N) % 2
LATE = np.where(np.arange(N) < 55, houses()["sold"], "never")
FIT = "fit bad.csv --target price --out m"
HOUSES = "fit houses.csv --target price --out m"
VALID = f"{HOUSES} --valid bad.csv"
ASK = "predict price-model bad.csv --out p.csv"
JUDGE = "evaluate price-model bad.csv"

CASES = {
    # files
    "blank file": Bad(FIT, "bad.csv: the file is empty", content("\n\n \n")),
    "empty zip": Bad(FIT, "bad.csv: this is a binary file", content(b"PK\x05\x06" + bytes(18))),
    "cut parquet": Bad(FIT, "bad.csv: the Parquet file is truncated", content(b"PAR1xx")),
    "few fields": Bad(FIT, "bad.csv.*line 3", content("a,b,price\n1,2,3\n1,2\n4,5,6,7\n")),
    "no such encoding": Bad(f"{HOUSES} --encoding klingon", "klingon"),
    "no such separator": Bad(f"{HOUSES} --separator abc", "separator"),
    "no such decimal mark": Bad(f"{HOUSES} --decimal x", "decimal"),
    "options for a bundled set": Bad("fit iris --out m --decimal ,", "bundled with scikit-learn"),
    # columns
    "unlike any column": Bad(
        "fit houses.csv --target zzz --out m",
        "no target column 'zzz': its columns are area, town, built, garden, price, sold",
    ),
    "group misspelt": Bad(f"{HOUSES} --groups twn", "column 'twn': did you mean 'town'"),
    "target dropped": Bad(f"{HOUSES} --drop price", "'price' is both --target and --drop"),
    "target twice": Bad(f"{HOUSES} --target price,price", "name column 'price' once"),
    "target as group": Bad(f"{HOUSES} --groups price", "name column 'price' once among targets"),
    "groups and times": Bad(f"{HOUSES} --groups town --time built", "give groups or times, not"),
    "two groups for three parts": Bad(
        f"{FIT} --groups town", "names too few groups to hold one out", changed(town=HALF)
    ),
    "a group missing": Bad(
        f"{FIT} --groups town",
        "column 'town' of groups or times must be known .*: 30 rows have none",
        changed(town=np.where(HALF, "a", None)),
    ),
    "a time missing": Bad(
        f"{FIT} --time built", "'built' of groups or times must be known", cell("built", None)
    ),
    # targets
    "infinite target": Bad(FIT, "'price' must hold finite .*: row 7 is inf", cell("price", "inf")),
    "huge target": Bad(FIT, r"'price' must hold finite .*: row 7 is 1e\+300", cell("price", 1e300)),
    "a word among numbers": Bad(
        f"{FIT} --task regression",
        "target 'price' must hold numbers for regression, holds 'dear'",
        cell("price", "dear"),
    ),
    "words among several": Bad(
        "fit houses.csv --target price,town --out m", "target 'town' must hold numbers"
    ),
    "dates as target": Bad(
        "fit houses.csv --target built --out m",
        "target 'built' must hold classes or numbers, holds dates: give the days since some date",
    ),
    "names as classes": Bad(
        "fit bad.csv --target id --out m",
        "target 'id' has 60 classes in 60 rows, which need several rows each",
        changed(id=[f"n{i}" for i in range(N)]),
    ),
    # rows held out
    "validation without a column": Bad(
        VALID, "validation rows: the table has no such column 'area'", without("area")
    ),
    "validation without the target": Bad(
        VALID, "validation rows: the table has no target column 'price'", without("price")
    ),
    "validation with another class": Bad(
        "fit houses.csv --target sold --valid bad.csv --out m",
        "validation rows: the target holds 'never', a class that the model does not know",
        changed(sold="never"),
    ),
    "validation of nothing": Bad(f"{HOUSES} --valid 0", "--valid must be a file or a share .* 0$"),
    "too small a test": Bad(f"{HOUSES} --test 0.01", "--test 0.01 of 60 rows .*holds none out"),
    "a class in the latest rows only": Bad(
        "fit bad.csv --target sold --time built --out m",
        "class 'never' is only in rows held out, so it cannot be learnt",
        changed(sold=LATE),
    ),
    # options
    "negative seed": Bad(f"{HOUSES} --seed -1", "Invalid value for '--seed'", code=2),
    "seed too large": Bad(f"{HOUSES} --seed 99999999999", "Invalid value for '--seed'", code=2),
    "seed in words": Bad(f"{HOUSES} --seed one", "Invalid value for '--seed'", code=2),
    "no such command": Bad("fti houses.csv", "No such command 'fti'", code=2),
    "no data": Bad("fit --target price", "Missing argument 'DATA'", code=2),
    # what is written
    "out holds a photo": Bad(
        "fit houses.csv --target price --out photos",
        "photos is not a model that pointwise wrote and is not empty, .*'me.jpg'",
        folder_with_photo,
    ),
    "out below a file": Bad(
        "fit houses.csv --target price --out houses.csv/m", "cannot write the model folder"
    ),
    "resume of other rows": Bad(
        f"{HOUSES} --resume", "checkpoint m.checkpoint belongs to another run", other_checkpoint
    ),
    "predictions over a model": Bad(
        "predict price-model houses.csv --out price-model", "a table is written as .csv"
    ),
    "predictions nowhere": Bad(
        "predict price-model houses.csv --out no/p.csv", "no/p.csv: cannot be written"
    ),
    "report nowhere": Bad("report iris-model --out no/r.html", "cannot write the report no/r.html"),
    # models
    "weights of another model": Bad(
        JUDGE,
        "model.safetensors was changed after it was written|was cut short",
        lambda: shutil.copy("sold-model/model.safetensors", "price-model/model.safetensors"),
    ),
    "columns edited away": Bad(
        JUDGE, "does not fit together .*; fit the model", edited(columns=[])
    ),
    "report cut short": Bad(
        "report iris-model", "report.json was cut short", cut("iris-model/report.json", 99)
    ),
    # new rows
    "dates for numbers": Bad(
        ASK, "column 'area' held numbers in training: got '1990-01", changed(area=houses()["built"])
    ),
    "a word among new numbers": Bad(
        ASK, "column 'area' held numbers in training: got 'big' in row 7", cell("area", "big")
    ),
    "numbers for dates": Bad(
        ASK, "'built' held dates in training: got '7.0' in row 0; write dates as", changed(built=7)
    ),
    "a word among dates": Bad(
        ASK, "column 'built' held dates in training: got 'soon' in row 7", cell("built", "soon")
    ),
    "words for truth values": Bad(
        ASK,
        "'garden' held truth values in training: got 'perhaps' in row 7",
        cell("garden", "perhaps"),
    ),
    "no new rows": Bad(
        ASK, "bad.csv: there are no rows below", content("area,town,built,garden\n")
    ),
    "targets without values": Bad(JUDGE, "target 'price' has no values", changed(price=None)),
    "words as targets": Bad(JUDGE, "target 'price' must hold numbers", changed(price="dear")),
}


def _files() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path().rglob("*") if p.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing_behind(case, pointwise):
    bad = CASES[case]
    bad.make()
    before = _files()
    ran = pointwise(bad.line)
    assert (ran.code, ran.out) == (bad.code, ""), ran.err
    assert "Traceback" not in ran.err
    last = ran.err.splitlines()[-1] if bad.code == 1 else ran.err
    assert re.search(bad.message, last), ran.err
    assert _files() == before
    if bad.code == 1:
        assert last.startswith("error: ")
