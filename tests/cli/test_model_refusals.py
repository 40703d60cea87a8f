"""What ``predict``, ``evaluate`` and ``report`` refuse: bad new rows and damaged models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import Bad, assert_refused, cell, changed, content, without
from houses import houses

WEIGHTS, CONFIG = "price-model/model.safetensors", "price-model/config.json"
PREDICT = "predict price-model houses.csv --out p.csv"
ASK = "predict price-model bad.csv --out p.csv"
JUDGE = "evaluate price-model bad.csv"


def edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[], object]:
    """A file with other bytes."""
    return lambda: Path(name).write_bytes(change(Path(name).read_bytes()))


def config(**entries: object) -> Callable[[], object]:
    """``price-model`` with another config."""
    return edited(CONFIG, lambda data: json.dumps({**json.loads(data), **entries}).encode())


def gone(name: str) -> Callable[[], object]:
    """No such file any more."""
    return lambda: Path(name).unlink()


USE = {
    "no such model": Bad(
        "predict price-modle houses.csv --out p.csv",
        "no model folder price-modle; did you mean 'price-model'",
    ),
    "model is a file": Bad(
        "predict houses.csv houses.csv --out p.csv", "houses.csv is a file, a model is a folder"
    ),
    "no such data": Bad(
        "predict price-model huoses.csv --out p.csv",
        "no file 'huoses.csv': did you mean 'houses.csv'",
    ),
    "no out": Bad("predict price-model houses.csv", "Missing option '--out'", code=2),
    "out with another suffix": Bad(
        "predict price-model houses.csv --out p.xls", r"written as \.csv, .*\.parquet, got 'p\.xls'"
    ),
    "keep unknown": Bad(f"{PREDICT} --keep c", "no --keep column 'c'"),
    "probabilities of numbers": Bad(f"{PREDICT} --proba", "--proba needs a classifier"),
    "an interval beyond all": Bad(
        f"{PREDICT} --interval 1", "it must be a share above 0 and below 1, got 1", code=2
    ),
    "predictions over a model": Bad(
        "predict price-model houses.csv --out price-model", "a table is written as .csv"
    ),
    "predictions nowhere": Bad(
        "predict price-model houses.csv --out no/p.csv", "no/p.csv: there is no folder no"
    ),
    "no report": Bad("report price-model", "price-model was written without report.json"),
    "a report over a part of the model": Bad(
        "report iris-model --out iris-model/config.json",
        r"a page ends in \.html, got 'iris-model/config\.json'",
        code=2,
    ),
    "report nowhere": Bad("report iris-model --out no/r.html", "cannot write the page no/r.html"),
}

DAMAGE = {
    "weights cut short": Bad(
        PREDICT,
        r"model.safetensors was cut short, it has \d+ of \d+ bytes",
        edited(WEIGHTS, lambda data: data[:-9]),
    ),
    "weights edited": Bad(
        PREDICT,
        "model.safetensors was changed after it was written",
        edited(WEIGHTS, lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    ),
    "weights gone": Bad(PREDICT, "model.safetensors is missing", gone(WEIGHTS)),
    "weights of another model": Bad(
        "evaluate price-model houses.csv",
        "model.safetensors was changed after it was written|was cut short",
        lambda: shutil.copy("sold-model/model.safetensors", WEIGHTS),
    ),
    "config gone": Bad(PREDICT, "price-model has no config.json", gone(CONFIG)),
    "config cut short": Bad(
        PREDICT,
        "config.json is not JSON, it was cut short or edited",
        edited(CONFIG, lambda data: data[: len(data) // 2]),
    ),
    "config of another program": Bad(
        PREDICT,
        'config.json must say "format": "pointwise"',
        content('{"model_type": "bert"}', CONFIG),
    ),
    "config of the future": Bad(
        PREDICT,
        "config.json has schema_version 99, this pointwise reads up to",
        config(schema_version=99),
    ),
    "config without a network": Bad(
        PREDICT, "model price-model does not fit together", config(network={})
    ),
    "config without columns": Bad(
        "evaluate price-model houses.csv",
        "does not fit together .*; fit the model",
        config(columns=[]),
    ),
    "report cut short": Bad(
        "report iris-model",
        "report.json was cut short",
        edited("iris-model/report.json", lambda data: data[:99]),
    ),
}

NEW_ROWS = {
    "no rows": Bad(ASK, "bad.csv: there are no rows below", content("area,town,built,garden\n")),
    "a column missing": Bad(
        ASK, "bad.csv lacks 1 of the model's 4 columns: 'area'", without("area")
    ),
    "infinite": Bad(
        ASK, "column 'area' must hold finite numbers: row 0 is infinite", changed(area=np.inf)
    ),
    "dates for numbers": Bad(
        ASK, "column 'area' held numbers in training: got '1990-01", changed(area=houses()["built"])
    ),
    "words for numbers": Bad(
        ASK, "column 'area' held numbers in training: got 'x' in row 0", changed(area="x")
    ),
    "a word among numbers": Bad(
        ASK, "column 'area' held numbers in training: got 'big' in row 7", cell("area", "big")
    ),
    "numbers for dates": Bad(
        ASK, "'built' held dates in training: got '7.0' in row 0; write dates as", changed(built=7)
    ),
    "words for dates": Bad(
        ASK, "column 'built' held dates in training: got 'soon' in row 0", changed(built="soon")
    ),
    "a word among dates": Bad(
        ASK, "column 'built' held dates in training: got 'soon' in row 7", cell("built", "soon")
    ),
    "words for truth values": Bad(
        ASK,
        "'garden' held truth values in training: got 'perhaps' in row 7",
        cell("garden", "perhaps"),
    ),
}

TRUE_TARGETS = {
    "no target": Bad(JUDGE, "no target column 'price'", without("price")),
    "no values": Bad(JUDGE, "target 'price' has no values", changed(price=None)),
    "words": Bad(JUDGE, "target 'price' must hold numbers", changed(price="dear")),
    "another class": Bad(
        "evaluate sold-model bad.csv",
        "holds 'w', a class that the model does not know: it knows fast, slow",
        changed(sold="w"),
    ),
}

TOPICS = {"use": USE, "damage": DAMAGE, "new rows": NEW_ROWS, "true targets": TRUE_TARGETS}
CASES = {f"{topic}-{name}": bad for topic, table in TOPICS.items() for name, bad in table.items()}


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_a_model_refuses(bad: Bad, pointwise: Callable[[str], object]) -> None:
    assert_refused(bad, pointwise)
