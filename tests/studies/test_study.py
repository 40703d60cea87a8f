"""The main job on a table: the model, its figures, and the report of it."""

import json

import numpy as np
import pandas as pd
import pytest

from pointwise.data.bundled import load_bundled
from pointwise.errors import DataError
from pointwise.reports import Report
from pointwise.studies import Options, score, study_table
from pointwise.studies.holdout import hold_out
from pointwise.studies.parts import take_apart

QUICK = Options(members=1)


@pytest.fixture(scope="module")
def study():
    return study_table(load_bundled("diabetes"), ["target"], "regression", QUICK, title="diabetes")


def test_the_figures_are_those_of_the_rows_held_out(study):
    whole = take_apart(load_bundled("diabetes"), ["target"], "regression")
    split = hold_out(whole, None, "regression", valid=0.15, test=0.2, seed=0)
    assert study.where == "88 test rows"
    assert score(study.model, split.test.x, split.test.y).metrics == study.metrics
    assert study.report.rows == {"train": 301, "valid": 53, "test": 88}
    assert study.model.rows_ == {"train": 301, "valid": 53}


def test_the_model_is_better_than_the_mean_on_real_rows(study):
    mean = study.baselines[0]
    assert mean["key"] == "mean"
    assert study.metrics["rmse"] < 0.9 * mean["metrics"]["rmse"]


def test_the_report_tells_all_of_it_and_survives_json(study):
    report = study.report
    assert (report.title, report.task, report.target) == ("diabetes", "regression", ["target"])
    assert len(report.history) == len(study.model.history_)
    assert report.best_epoch == study.model.best_epoch_
    assert report.metrics == pytest.approx(study.metrics, rel=1e-4)
    assert [one["name"] for one in report.baselines] == [one["name"] for one in study.baselines]
    assert [column["name"] for column in report.columns] == list(study.model.feature_names_in_)
    assert {one["name"] for one in report.importance} <= set(study.model.feature_names_in_)
    assert report.parameters == sum(p.numel() for p in study.model.network_.parameters())
    assert report.layers
    text = report.to_json()
    assert len(text) < 200_000
    assert Report.from_json(text, "report.json").metrics == report.metrics
    assert json.loads(text)["title"] == "diabetes"


def test_what_matters_is_found_important():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=["much", "little", "self"])
    frame["y"] = 3 * frame["much"] + 0.5 * frame["little"]
    report = study_table(frame, ["y"], "regression", Options(members=2)).report
    assert [one["name"] for one in report.importance][:2] == ["much", "little"]


def test_classes_and_validation_rows_of_ones_own():
    frame = load_bundled("wine")
    valid = frame[::3][frame.columns[::-1]].assign(note="not used")
    said = []
    found = study_table(
        frame, ["target"], "classification", Options(members=1, test=0.0),
        valid=valid, say=said.append,
    )  # fmt: skip
    assert found.where == f"{len(valid)} validation rows"
    assert found.report.rows == {"train": 178, "valid": 60, "test": 0}
    assert found.metrics["accuracy"] > 0.9
    assert "fitting the usual models to the same rows, to compare" in said


def test_validation_rows_without_the_columns_are_refused():
    frame = load_bundled("wine")
    with pytest.raises(DataError, match="validation rows: the table has no such column 'ash'"):
        study_table(frame, ["target"], "classification", QUICK, valid=frame.drop(columns="ash"))


def test_what_a_person_should_know_is_said_and_reported():
    frame = load_bundled("diabetes").assign(flat=1.0)
    frame.insert(0, "row", np.arange(len(frame)))
    said = []
    found = study_table(frame, ["target"], "regression", QUICK, say=said.append)
    expected = [
        "column 'row' looks like a row number (0, 1, 2, ... in order): leave it out with --drop if "
        "new rows will not have it",
        "column 'flat' is constant (1): it is left out",
    ]
    assert found.report.warnings == expected
    assert said == [*expected, "fitting the usual models to the same rows, to compare"]
