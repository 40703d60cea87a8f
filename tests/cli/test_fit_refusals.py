"""What ``pointwise fit`` is asked for in vain: one clear line, and no file touched or left."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import Bad, assert_refused, cell, changed, content, first, without
from houses import houses

from pointwise.estimators import PointwiseRegressor
from pointwise.training import Checkpoint


def other_checkpoint() -> None:
    """What a killed fit of other rows leaves beside the folder ``m``."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    model = PointwiseRegressor(members=1, hidden=(4,), max_epochs=1)
    model.fit(x, x[:, 0], checkpoint=Checkpoint("m.checkpoint", every_s=0))


N = len(houses())
HALF = np.arange(N) % 2
LETTERS = np.where(HALF, "u", "v")
LATE = np.where(np.arange(N) < 55, houses()["sold"], "never")
ONE_HUGE = np.array([1e300] + [1.5] * (N - 1))

# Short, should one of them be fitted after all.
FIT = "fit bad.csv --target price --members 1 --time-limit 5 --out m"
HOUSES = "fit houses.csv --target price --members 1 --time-limit 5 --out m"
SOLD = "fit bad.csv --target sold --members 1 --time-limit 5 --out m"
VALID = f"{HOUSES} --valid bad.csv"

FILES = {
    "missing file": Bad(
        "fit huoses.csv --target price", "no file 'huoses.csv': did you mean 'houses.csv'"
    ),
    "a name that looks like an emoji": Bad("fit :smile:.csv --target y", "no file ':smile:.csv'"),
    "unknown bundled name": Bad(
        "fit diabetis --target y", "no file 'diabetis': did you mean 'diabetes'"
    ),
    "folder": Bad(
        FIT,
        "--target, --members: for tables only, bad.csv is a folder of images",
        lambda: Path("bad.csv").mkdir(),
    ),
    "empty file": Bad(FIT, "bad.csv: the file is empty", content("")),
    "blank file": Bad(FIT, "bad.csv: the file is empty", content("\n\n \n")),
    "header alone": Bad(
        FIT,
        r"bad.csv: there are no rows below the header \(area, town, price\)",
        content("area,town,price\n"),
    ),
    "no header": Bad(
        FIT,
        "the first row looks like data .*: name the columns .3. with --columns a,b,c",
        content("5.1,2,0.3\n4,5.5,0.6\n7,8,0.9\n" * 9),
    ),
    "picture": Bad(
        FIT, "bad.csv: this is a PNG image, not a table", content(b"\x89PNG\r\n\x1a\n" + bytes(200))
    ),
    "empty zip": Bad(FIT, "bad.csv: this is a binary file", content(b"PK\x05\x06" + bytes(18))),
    "cut gzip": Bad(
        "fit bad.csv.gz --target price",
        "bad.csv.gz: the gzip file is truncated",
        content(b"\x1f\x8b\x08\0\0", "bad.csv.gz"),
    ),
    "cut parquet": Bad(FIT, "bad.csv: the Parquet file is truncated", content(b"PAR1xx")),
    "too many fields": Bad(
        FIT,
        "bad.csv: every row needs 3 fields, one per column: line 3 has 4",
        content("a,b,price\n1,2,3\n1,2,3,4\n" + "1,2,3\n" * 20),
    ),
    "too few fields": Bad(
        FIT,
        "every row needs 3 fields, one per column: line 3 has 2",
        content("a,b,price\n1,2,3\n1,2\n4,5,6,7\n"),
    ),
    "names twice": Bad(
        FIT,
        "every column needs a name of its own, 'a' is there more than once",
        content("a,a,price\n" + "1,2,3\n" * 20),
    ),
    "not in this encoding": Bad(
        f"{FIT} --encoding utf-8",
        "byte 0xe9 is not utf-8: give its encoding",
        content("a,b,price\né,1,2\n".encode("latin-1") * 9),
    ),
    "no such encoding": Bad(
        f"{HOUSES} --encoding klingon", "no text encoding is called 'klingon': try utf-8"
    ),
    "no such separator": Bad(
        f"{HOUSES} --separator abc", "a separator is one character, 'tab' or 'blanks', got 'abc'"
    ),
    "no such decimal mark": Bad(f"{HOUSES} --decimal x", "the decimal mark is '.' or ',', got 'x'"),
    "options for a bundled set": Bad(
        "fit iris --out m --decimal ,",
        "decimal can be given for text files only: iris is bundled with scikit-learn",
    ),
}

COLUMNS = {
    "fewer names than columns": Bad(
        f"{HOUSES} --columns a,b", "2 names are given for 6 columns: name each column"
    ),
    "names with a gap": Bad(f"{HOUSES} --columns a,,y", "single commas, got 'a,,y'"),
    "no target": Bad(
        "fit houses.csv", "with --target: houses.csv has area, town, built, garden, price, sold"
    ),
    "target misspelt": Bad(
        "fit houses.csv --target prise", "no target column 'prise': did you mean 'price'"
    ),
    "unlike any column": Bad(
        "fit houses.csv --target zzz --out m",
        "no target column 'zzz': its columns are area, town, built, garden, price, sold",
    ),
    "drop unknown": Bad(f"{HOUSES} --drop c", "no --drop column 'c': its columns are area"),
    "groups unknown": Bad(f"{HOUSES} --groups c", "no --groups column 'c': its columns are area"),
    "group misspelt": Bad(f"{HOUSES} --groups twn", "column 'twn': did you mean 'town'"),
    "time unknown": Bad(f"{HOUSES} --time c", "no --time column 'c': its columns are area"),
    "target dropped": Bad(f"{HOUSES} --drop price", "'price' is both --target and --drop"),
    "target twice": Bad(f"{HOUSES} --target price,price", "name column 'price' once"),
    "target as group": Bad(f"{HOUSES} --groups price", "name column 'price' once among targets"),
    "groups and times": Bad(f"{HOUSES} --groups town --time built", "give groups or times, not"),
    "one group": Bad(
        f"{FIT} --groups town", "names too few groups to hold one out", changed(town=1)
    ),
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
    "target alone": Bad(
        FIT, "nothing to predict from", without("area", "town", "built", "garden", "sold")
    ),
    "constants alone": Bad(
        "fit bad.csv --target price --drop town,built,sold --out m",
        r"says anything: 'area' is constant \(1\); 'garden' is constant",
        changed(area=1, garden="x"),
    ),
    "infinite": Bad(
        FIT, "column 'area' must hold finite numbers: row 7 is infinite", cell("area", "inf")
    ),
    "too large": Bad(
        FIT,
        r"column 'area' must hold finite numbers: row 0 is 1e\+300, too large",
        changed(area=ONE_HUGE),
    ),
}

TARGETS = {
    "constant": Bad(FIT, r"target 'price' is constant \(2\.5\)", changed(price=2.5)),
    "one class": Bad(FIT, r"target 'price' is constant \('u'\)", changed(price="u")),
    "no values": Bad(FIT, "target 'price' has no values", changed(price=np.nan)),
    "infinite": Bad(FIT, "'price' must hold finite .*: row 7 is inf", cell("price", "inf")),
    "huge": Bad(FIT, r"'price' must hold finite .*: row 7 is 1e\+300", cell("price", 1e300)),
    "words": Bad(
        f"{FIT} --task regression",
        "target 'price' must hold numbers for regression, holds 'v'",
        changed(price=LETTERS),
    ),
    "a word among numbers": Bad(
        f"{FIT} --task regression",
        "target 'price' must hold numbers for regression, holds 'dear'",
        cell("price", "dear"),
    ),
    "words among several": Bad(
        "fit houses.csv --target price,town --out m", "target 'town' must hold numbers"
    ),
    "two of classes": Bad(
        "fit houses.csv --target town,sold --task classification --out m",
        "one target column, got 2",
    ),
    "dates": Bad(
        "fit houses.csv --target built --out m",
        "target 'built' must hold classes or numbers, holds dates: give the days since some date",
    ),
    "names as classes": Bad(
        "fit bad.csv --target id --out m",
        "target 'id' has 60 classes in 60 rows, which need several rows each",
        changed(id=[f"n{i}" for i in range(N)]),
    ),
}

ROWS = {
    "one row": Bad(FIT, "1 rows with a target: at least 10 are needed", first(1)),
    "three rows": Bad(FIT, "3 rows with a target: at least 10 are needed", first(3)),
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
    "validation of nothing": Bad(f"{HOUSES} --valid 0", "--valid must be a file, or a share .* 0$"),
    "validation of more than all": Bad(
        f"{HOUSES} --valid 0.99",
        r"--valid must be a file, or a share of the rows above 0 and up to 0\.9, got 0\.99",
    ),
    "validation file missing": Bad(f"{HOUSES} --valid no.csv", r"no file 'no\.csv'"),
    "test of more than all": Bad(f"{HOUSES} --test 1.5", "Invalid value for '--test'", code=2),
    "too small a test": Bad(f"{HOUSES} --test 0.01", "--test 0.01 of 60 rows .*holds none out"),
    "a class in the latest rows only": Bad(
        f"{SOLD} --time built",
        "class 'never' is only in rows held out, so it cannot be learnt",
        changed(sold=LATE),
    ),
}

OPTIONS = {
    "unknown task": Bad(
        f"{HOUSES} --task ranking",
        "Invalid value: must be regression or classification, got 'ranking'",
        code=2,
    ),
    "no members": Bad(f"{HOUSES} --members 0", "Invalid value for '--members'", code=2),
    "no time": Bad(f"{HOUSES} --time-limit 0", "Invalid value for '--time-limit'", code=2),
    "unknown option": Bad(f"{HOUSES} --layers 3", "No such option: --layers", code=2),
    "option of images": Bad(
        f"{HOUSES} --epochs 3", "--epochs: for images only, houses.csv is none"
    ),
    "negative seed": Bad(f"{HOUSES} --seed -1", "Invalid value for '--seed'", code=2),
    "seed too large": Bad(f"{HOUSES} --seed 99999999999", "Invalid value for '--seed'", code=2),
    "seed in words": Bad(f"{HOUSES} --seed one", "Invalid value for '--seed'", code=2),
    "no such command": Bad("fti houses.csv", "No such command 'fti'", code=2),
    "no data": Bad("fit --target price", "Missing argument 'DATA'", code=2),
}

OUTPUT = {
    "out is a file": Bad(HOUSES, "m is a file, a model is a folder", content("x", "m")),
    "out holds a photo": Bad(
        "fit houses.csv --target price --out photos",
        "photos is not a model that pointwise wrote and is not empty, .*'me.jpg'",
        content("1", "photos/me.jpg"),
    ),
    "out below a file": Bad(
        "fit houses.csv --target price --out houses.csv/m", "cannot write the model folder"
    ),
    "resume of other rows": Bad(
        f"{HOUSES} --resume", "checkpoint m.checkpoint belongs to another run", other_checkpoint
    ),
    "resume of damage": Bad(
        f"{HOUSES} --resume",
        "checkpoint m.checkpoint cannot be read",
        content("no checkpoint", "m.checkpoint"),
    ),
}

TOPICS = {
    "files": FILES,
    "columns": COLUMNS,
    "targets": TARGETS,
    "rows": ROWS,
    "options": OPTIONS,
    "output": OUTPUT,
}
CASES = {f"{topic}-{name}": bad for topic, table in TOPICS.items() for name, bad in table.items()}


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_fit_refuses(bad: Bad, pointwise: Callable[[str], object]) -> None:
    assert_refused(bad, pointwise)


def test_a_class_with_one_row_is_learnt_from_all_the_same(
    pointwise: Callable[[str], object],
) -> None:
    cell("sold", "never")()
    ran = pointwise(f"{SOLD} --json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["task"] == "classification"
