import dataclasses
import json
import re

import numpy as np
import pytest

from pointwise.errors import DataError, ModelFileError
from pointwise.reports import Report, classification_figures, regression_figures
from pointwise.reports.report import MOST_BYTES


def size(report: Report) -> int:
    return len(report.to_json().encode())


@pytest.mark.parametrize("task", ["regression_fields", "classification_fields"])
def test_json_there_and_back(task, request):
    report = Report(**request.getfixturevalue(task))
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.to_json() == report.to_json()
    assert json.loads(report.to_json())["schema"] == 1


def test_what_is_not_finite_becomes_null_and_digits_are_six(regression_fields):
    regression_fields["metrics"] = {"rmse": float("nan"), "mae": 0.123456789, "r2": -np.inf}
    regression_fields["seconds"] = np.float64(12.3456789)
    stored = json.loads(Report(**regression_fields).to_json())
    assert stored["metrics"] == {"rmse": None, "mae": 0.123457, "r2": None}
    assert stored["seconds"] == 12.3457


def test_a_narrow_range_far_from_zero_survives(regression_fields):
    actual = 1.7e9 + np.linspace(0, 100, 50)
    regression_fields["figures"] = {"price": regression_figures(actual, actual)}
    density = Report(**regression_fields).figures["price"]["density"]
    assert (density["low"], density["high"]) == (1.7e9, 1.7e9 + 100)


def test_a_report_is_frozen(regression_fields):
    report = Report(**regression_fields)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.title = "other"


@pytest.mark.parametrize("best", [1, 2, 3777, 4999, 5000, None], ids=str)
def test_a_long_history_is_thinned_and_keeps_its_ends_and_the_best_epoch(regression_fields, best):
    epochs = [{"epoch": e, "train_loss": 1 / e, "valid_loss": 2 / e} for e in range(1, 5001)]
    report = Report(**regression_fields | {"history": epochs, "best_epoch": best})
    kept = [one["epoch"] for one in report.history]
    assert len(kept) <= 300
    assert kept == sorted(set(kept))
    assert {1, 5000, best or 1} <= set(kept)
    assert max(np.diff(kept)) <= 18  # even steps: 5000 / 300 = 16.7
    assert report.left_out["history"] == 5000 - len(kept)


def huge_fields() -> dict:
    """1000 columns, 200 classes, 5000 epochs, 20 targets, long names: more than 200 kB of each."""
    rng = np.random.default_rng(0)
    name = "a column with quite a long name, längere Wörter, 長い列の名前 ".__add__
    actual = rng.standard_t(2, (20000, 20))
    regressions = {
        name(str(k)): regression_figures(actual[:, k], actual[:, k] + rng.normal(size=20000))
        for k in range(20)
    }
    return {
        "title": "wide " * 100,
        "task": "regression",
        "target": list(regressions),
        "created": "2026-01-31T12:30:45+00:00",
        "seconds": 1e5 / 7,
        "metrics": {name(f"metric {k}"): k / 7 for k in range(100)},
        "metrics_rows": "20,000 held-out rows",
        "rows": {"train": 10**9, "valid": 10**8, "test": 20000},
        "best_epoch": 4321,
        "history": [
            {
                "epoch": e,
                "train_loss": rng.random(),
                "valid_loss": rng.random(),
                "learning_rate": rng.random(),
                "seconds": rng.random(),
            }
            for e in range(1, 5001)
        ],
        "baselines": [
            {"name": name(str(k)), "metrics": {name(str(m)): m / 7 for m in range(50)}}
            for k in range(30)
        ],
        "figures": regressions,
        "importance": [{"name": name(str(k)), "mean": 1 / (k + 3), "sd": 0.1} for k in range(1000)],
        "columns": [
            {
                "name": name(str(k)),
                "kind": "category",
                "missing": k,
                "distinct": 10**6,
                "note": "a note " * 50,
                "levels": [{"level": name(str(level)), "rows": 10**6} for level in range(10)],
            }
            for k in range(1000)
        ],
        "layers": [
            {"name": name(str(k)), "kind": "PointwiseConv", "shape": [k, k], "parameters": k * k}
            for k in range(500)
        ],
        "warnings": ["something to look at " * 100] * 1000,
    }


def many_classes() -> dict:
    rng = np.random.default_rng(0)
    proba = rng.random((5000, 200))
    names = [f"a class with a name as long as a sentence may be, {k}" for k in range(200)]
    figures = classification_figures(rng.integers(0, 200, 5000), proba, names)
    return {"task": "classification", "figures": {f"target {k}": figures for k in range(20)}}


@pytest.mark.parametrize("more", [dict, many_classes], ids=["20 targets", "200 classes"])
def test_the_json_never_exceeds_its_limit(more):
    fields = huge_fields() | more()
    assert len(json.dumps(fields, default=str)) > 5 * MOST_BYTES
    report = Report(**fields)
    assert 0.4 * MOST_BYTES < size(report) <= MOST_BYTES
    assert Report.from_json(report.to_json()) == report
    for name in ("columns", "importance", "layers", "warnings", "history"):
        assert report.left_out[name] + len(getattr(report, name)) == len(fields[name])
    assert 4321 in {one["epoch"] for one in report.history}
    assert report.figures


def test_the_limit_holds_where_every_letter_takes_six_bytes():
    fields = huge_fields() | many_classes()
    label = "\1" * 500
    report = Report(
        **fields
        | {
            "warnings": [label] * 1000,
            "columns": [{"name": label, "kind": label, "note": label}] * 1000,
            "baselines": [{"name": label, "metrics": {f"{k}{label}": 1 / 3 for k in range(50)}}]
            * 20,
        }
    )
    assert size(report) <= MOST_BYTES


def test_what_fits_is_not_shortened(regression_fields):
    assert Report(**regression_fields).left_out == {}


def test_dropping_again_adds_up(regression_fields):
    columns = [{"name": f"c{k}", "kind": "number"} for k in range(250)]
    report = Report(**regression_fields | {"columns": columns, "left_out": {"columns": 50}})
    assert (len(report.columns), report.left_out) == (200, {"columns": 100})


def counts(**changes):
    """Change the figures of the regression at hand."""
    return lambda fields: fields["figures"]["price"]["density"].update(changes)


WRONG_FIELDS = {
    "task": (
        lambda fields: fields.update(task="ranking"),
        "the report's task must be 'regression' or 'classification' or 'segmentation', got "
        "'ranking'",
    ),
    "no target": (
        lambda fields: fields.update(target=[]),
        "the report's target must be a list of at least 1 items, got []",
    ),
    "a metric in words": (
        lambda fields: fields["metrics"].update(rmse="good"),
        "the report's metrics.rmse must be a number or null, got 'good'",
    ),
    "a record without its key": (
        lambda fields: fields["history"][1].pop("train_loss"),
        "the report's history[1] must be an object with 'train_loss', "
        "got ['epoch', 'learning_rate', 'seconds', 'valid_loss']",
    ),
    "a figure of no kind": (
        lambda fields: fields["figures"].update(price={"kind": ["regression"]}),
        "the report's figures.price must be an object with the kind regression or classification "
        "or segmentation, got {'kind': ['regression']}",
    ),
    "ragged counts": (
        counts(counts=[[1, 2], [3]]),
        "the report's figures.price.density.counts must be as many rows as columns, "
        "got [[1, 2], [3]]",
    ),
    "a range upside down": (
        counts(low=1, high=1, counts=[[2]]),
        "the report's figures.price.density must be a range with low below high, "
        "got {'low': 1, 'high': 1, 'beyond': 0, 'counts': [[2]]}",
    ),
    "an end at infinity": (
        counts(high=float("inf")),
        "the report's figures.price.density.high must be a finite number, got inf",
    ),
    "shape": (
        lambda fields: fields["layers"][0].update(shape=[1.5]),
        "the report's layers[0].shape[0] must be a whole number of at least 0, got 1.5",
    ),
}


@pytest.mark.parametrize("case", WRONG_FIELDS)
def test_wrong_fields_are_refused(case, regression_fields):
    change, message = WRONG_FIELDS[case]
    change(regression_fields)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Report(**regression_fields)


def edited(**changes):
    return lambda content: json.dumps(json.loads(content) | changes)


def without(name):
    return lambda content: json.dumps(
        {key: value for key, value in json.loads(content).items() if key != name}
    )


AGAIN = "; fit the model again to get a new one"
FOREIGN = {
    "empty": (
        lambda _: "",
        f"report.json is not JSON (Expecting value: line 1 column 1 (char 0)){AGAIN}",
    ),
    "a list": (
        lambda _: "[1]",
        f"report.json is not a report of pointwise: it has no 'schema'{AGAIN}",
    ),
    "another tool's": (
        lambda _: '{"loss": 1}',
        f"report.json is not a report of pointwise: it has no 'schema'{AGAIN}",
    ),
    "another schema": (
        edited(schema="json-schema.org"),
        f"report.json is not a report of pointwise: its schema is 'json-schema.org'{AGAIN}",
    ),
    "too new": (
        edited(schema=2),
        "report.json has schema 2, this version of pointwise reads up to 1; "
        "upgrade pointwise to read it",
    ),
    "lacks a field": (
        without("metrics"),
        f"report.json is damaged or was edited: it lacks ['metrics']{AGAIN}",
    ),
    "has another field": (
        edited(password="x"),
        f"report.json is damaged or was edited: it has unknown ['password']{AGAIN}",
    ),
    "a wrong value": (
        edited(members="four"),
        "report.json is damaged or was edited: "
        f"the report's members must be a whole number of at least 0, got 'four'{AGAIN}",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_content_is_refused(case, regression_fields):
    change, message = FOREIGN[case]
    content = change(Report(**regression_fields).to_json())
    with pytest.raises(ModelFileError, match=f"^{re.escape(message)}$"):
        Report.from_json(content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99], ids=str)
def test_a_truncated_file_is_refused(regression_fields, share):
    content = Report(**regression_fields).to_json()
    with pytest.raises(ModelFileError, match=r"^model/report\.json is not JSON \(.*\); fit the"):
        Report.from_json(content[: int(share * len(content))], name="model/report.json")


def test_deeply_nested_json_is_refused():
    with pytest.raises(ModelFileError, match=r"^report\.json is not JSON"):
        Report.from_json("[" * 200_000)
