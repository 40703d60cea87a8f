"""Bad input: what a person typed or has in a file, and the one clear line that comes of it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, save

Pointwise = Callable[..., object]
FIT = "fit data.csv --target y --members 1 --out model --time-limit 5"


def table(rows: int = 40, **columns: object) -> pd.DataFrame:
    """Two columns and a target that follows them; ``columns`` replace or join them."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, rows))
    return pd.DataFrame({"a": a, "b": b, "y": a + b}).assign(**columns)


def csv(frame: pd.DataFrame, name: str = "data.csv") -> Callable[[Path], None]:
    """Make a file of a table."""
    return lambda folder: frame.to_csv(folder / name, index=False)


def text(content: str, name: str = "data.csv") -> Callable[[Path], None]:
    """Make a file of text."""
    return lambda folder: (folder / name).write_text(content)


def raw(content: bytes, name: str = "data.csv") -> Callable[[Path], None]:
    """Make a file of bytes."""
    return lambda folder: (folder / name).write_bytes(content)


def both(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    """Make several files."""

    def make(folder: Path) -> None:
        for one in makers:
            one(folder)

    return make


GOOD = csv(table())
LETTERS = np.resize(["u", "v"], 40)
ONE_ODD = np.array(["u"] * 39 + ["v"])

FIT_CASES = {
    "missing-file": (GOOD, "fit dta.csv --target y", 1, r"dta\.csv.*data\.csv"),
    "unknown-bundled-name": (GOOD, "fit diabetis --target y", 1, r"diabetis.*diabetes"),
    "directory": (lambda f: (f / "data.csv").mkdir(), FIT, 1, r"data\.csv.*(folder|directory)"),
    "empty-file": (text(""), FIT, 1, r"data\.csv.*empty"),
    "header-only": (text("a,b,y\n"), FIT, 1, r"data\.csv.*no rows"),
    "no-header": (text("5.1,2,0.3\n4,5.5,0.6\n7,8,0.9\n" * 9), FIT, 1, r"looks like data.*columns"),
    "columns-count": (GOOD, f"{FIT} --columns a,b", 1, r"2.*3|3.*2"),
    "columns-comma": (GOOD, f"{FIT} --columns a,,y", 1, r"single commas, got 'a,,y'"),
    "ragged": (text("a,b,y\n1,2,3\n1,2,3,4\n" + "1,2,3\n" * 20), FIT, 1, r"line 3.*4"),
    "binary": (raw(b"\x89PNG\r\n\x1a\n" + bytes(200)), FIT, 1, r"data\.csv"),
    "truncated-gzip": (raw(b"\x1f\x8b\x08\x00\x00", "data.csv.gz"), "fit data.csv.gz", 1, r"data"),
    "duplicate-columns": (text("a,a,y\n" + "1,2,3\n" * 20), FIT, 1, r"'?a'?"),
    "encoding": (
        raw("a,b,y\né,1,2\n".encode("latin-1") * 9),
        f"{FIT} --encoding utf-8",
        1,
        "utf-8",
    ),
    "no-target-given": (GOOD, "fit data.csv", 1, r"--target.*a, b, y"),
    "no-such-target": (GOOD, "fit data.csv --target yy", 1, r"no target column 'yy'.*'y'"),
    "target-constant": (csv(table(y=2.5)), FIT, 1, r"target 'y' is constant \(2\.5\)"),
    "target-one-class": (csv(table(y="u")), FIT, 1, r"target 'y' is constant \('u'\)"),
    "target-missing": (csv(table(y=np.nan)), FIT, 1, r"target 'y' has no values"),
    "target-text": (
        csv(table(y=LETTERS)),
        f"{FIT} --task regression",
        1,
        r"target 'y' must hold num",
    ),
    "two-class-targets": (
        csv(table(y=LETTERS, z=LETTERS)),
        "fit data.csv --target y,z --task classification",
        1,
        r"one target column, got 2",
    ),
    "task-unknown": (GOOD, f"{FIT} --task ranking", 2, r"regression or classification"),
    "only-target": (csv(table()[["y"]]), FIT, 1, r"nothing to predict from|column"),
    "one-row": (csv(table(1)), FIT, 1, r"1 row"),
    "three-rows": (csv(table(3)), FIT, 1, r"3 rows.*at least 10"),
    "only-constants": (csv(table(a=1, b="x")), FIT, 1, r"no column says anything.*constant"),
    "infinite": (csv(table(a=[np.inf] + [1.5] * 39)), FIT, 1, r"column 'a'.*infinit"),
    "too-large": (csv(table(a=[1e300] + [1.5] * 39)), FIT, 1, r"column 'a'.*1e\+300"),
    "drop-unknown": (GOOD, f"{FIT} --drop c", 1, r"--drop column 'c'"),
    "groups-unknown": (GOOD, f"{FIT} --groups c", 1, r"column 'c'"),
    "time-unknown": (GOOD, f"{FIT} --time c", 1, r"column 'c'"),
    "one-group": (csv(table(g=1)), f"{FIT} --groups g", 1, r"at least 2 groups|group"),
    "valid-fraction": (GOOD, f"{FIT} --valid 1.5", 1, r"share between 0 and 1, got 1\.5"),
    "valid-missing": (GOOD, f"{FIT} --valid no.csv", 1, r"no\.csv"),
    "valid-columns": (
        both(GOOD, csv(table()[["b", "y"]], "valid.csv")),
        f"{FIT} --valid valid.csv",
        1,
        r"'?a'?",
    ),
    "test-fraction": (GOOD, f"{FIT} --test 1.5", 2, r"--test"),
    "members-zero": (GOOD, "fit data.csv --target y --members 0", 2, r"--members"),
    "time-limit-zero": (GOOD, "fit data.csv --target y --time-limit 0", 2, r"--time-limit"),
    "unknown-option": (GOOD, f"{FIT} --epochs 3", 2, r"--epochs"),
    "out-is-file": (both(GOOD, text("x", "model")), FIT, 1, r"model.*file"),
    "out-is-full": (
        both(GOOD, lambda f: (f / "model").mkdir(), text("x", "model/thesis.txt")),
        FIT,
        1,
        r"model",
    ),
}


def assert_refused(ran: object, code: int, message: str) -> None:
    """One clear line on standard error, and nothing on standard output."""
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    said = ran.err.strip().splitlines()
    error = said[-1] if code == 1 else " ".join(said)
    assert re.search(message, error), error


@pytest.mark.parametrize("case", FIT_CASES)
def test_fit_refuses(case: str, pointwise: Pointwise, tmp_path: Path) -> None:
    make, line, code, message = FIT_CASES[case]
    make(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))}
    ran = pointwise(line)
    assert_refused(ran, code, message)
    after = {p: p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))}
    assert after == before  # nothing lost, nothing half-written


def test_a_class_with_one_row_is_learnt_from_all_the_same(
    pointwise: Pointwise, tmp_path: Path
) -> None:
    csv(table(y=ONE_ODD))(tmp_path)
    ran = pointwise(f"{FIT} --json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["task"] == "classification"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regressor and a classifier of the columns ``a`` and ``b``."""
    folder = tmp_path_factory.mktemp("models")
    frame = table(when=pd.date_range("2026-01-01", periods=40))
    x = frame[["a", "b", "when"]]
    small = {"members": 1, "hidden": (4,), "max_epochs": 2, "random_state": 0}
    save(PointwiseRegressor(**small).fit(x, frame["y"]), folder / "number", targets=["y"])
    labels = pd.Series(LETTERS)
    save(PointwiseClassifier(**small).fit(x, labels), folder / "label", targets=["y"])
    return folder


DATED = {"when": pd.date_range("2026-01-01", periods=40)}
OK = csv(table(**DATED))
PREDICT = "predict number data.csv --out out.csv"


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change a file of the model ``number``."""

    def make(folder: Path) -> None:
        path = folder / "number" / name
        path.write_bytes(change(path.read_bytes()))

    return both(OK, make)


def config(**entries: object) -> Callable[[bytes], bytes]:
    """Replace entries of a config."""
    return lambda data: json.dumps({**json.loads(data), **entries}).encode()


def remove(name: str) -> Callable[[Path], None]:
    """Remove a file of the model ``number``."""
    return both(OK, lambda folder: (folder / "number" / name).unlink())


MODEL_CASES = {
    "no-model": (OK, "predict nmber data.csv --out out.csv", 1, r"nmber.*number"),
    "model-is-a-file": (OK, "predict data.csv data.csv --out out.csv", 1, r"data\.csv"),
    "no-out": (OK, "predict number data.csv", 2, r"--out"),
    "out-suffix": (OK, "predict number data.csv --out out.xls", 1, r"\.csv.*\.parquet.*out\.xls"),
    "missing-column": (csv(table(**DATED).drop(columns="b")), PREDICT, 1, r"lacks 1 .*'b'"),
    "text-in-numbers": (
        csv(table(b=["x"] * 40, **DATED)),
        PREDICT,
        1,
        r"column 'b' held numbers in training: got 'x' in row 0",
    ),
    "no-dates": (csv(table(when="soon")), PREDICT, 1, r"column 'when' held dates.*'soon'"),
    "infinite": (csv(table(b=[np.inf] * 40, **DATED)), PREDICT, 1, r"column 'b'.*infinit"),
    "keep-unknown": (OK, f"{PREDICT} --keep c", 1, r"--keep column 'c'"),
    "proba-of-numbers": (OK, f"{PREDICT} --proba", 1, r"--proba needs a classifier"),
    "no-data": (OK, "predict number dat.csv --out out.csv", 1, r"dat\.csv.*data\.csv"),
    "evaluate-no-target": (
        csv(table(**DATED).drop(columns="y")),
        "evaluate number data.csv",
        1,
        r"no target column 'y'",
    ),
    "evaluate-new-class": (
        csv(table(y="w", **DATED)),
        "evaluate label data.csv",
        1,
        r"'w'.*does not know.*u, v",
    ),
    "no-report": (OK, "report number", 1, r"report"),
    "weights-truncated": (edit("model.safetensors", lambda d: d[:-9]), PREDICT, 1, r"safetensors"),
    "weights-edited": (
        edit("model.safetensors", lambda d: d[:-1] + bytes([d[-1] ^ 1])),
        PREDICT,
        1,
        r"model\.safetensors.*changed",
    ),
    "weights-gone": (remove("model.safetensors"), PREDICT, 1, r"model\.safetensors"),
    "config-gone": (remove("config.json"), PREDICT, 1, r"config\.json"),
    "config-truncated": (
        edit("config.json", lambda d: d[: len(d) // 2]),
        PREDICT,
        1,
        r"config\.json",
    ),
    "config-foreign": (
        edit("config.json", lambda d: b'{"model_type": "bert"}'),
        PREDICT,
        1,
        r"config\.json",
    ),
    "config-too-new": (edit("config.json", config(schema_version=99)), PREDICT, 1, r"99"),
    "config-misfit": (
        edit("config.json", config(network={})),
        PREDICT,
        1,
        r"does not fit together",
    ),
}


@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_model_refuses(case: str, pointwise: Pointwise, tmp_path: Path, models: Path) -> None:
    make, line, code, message = MODEL_CASES[case]
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ran = pointwise(line)
    assert_refused(ran, code, message)
    assert sorted(tmp_path.rglob("*")) == before


def test_resume_with_other_options_is_refused(pointwise: Pointwise, tmp_path: Path) -> None:
    csv(table())(tmp_path)
    (tmp_path / "model.checkpoint").write_bytes(b"no checkpoint")
    ran = pointwise(f"{FIT} --resume")
    assert ran.code == 1
    assert re.search(r"checkpoint .*cannot be read", ran.err)
