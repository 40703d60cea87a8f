"""``pointwise fit``: what it reads, says, prints and writes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from houses import ROWS, houses

from pointwise.estimators import load
from pointwise.modelfiles import read_config, read_report
from pointwise.training.run import Run

FIT = "fit houses.csv --target price --members 1 --out m"
RESULT = {
    "task", "target", "metrics", "metrics_rows", "baselines", "seconds", "parameters", "epochs",
    "best_epoch", "rows", "warnings", "model",
}  # fmt: skip


def result(ran):
    """The one JSON object that a command printed."""
    assert ran.code == 0, ran.err
    assert ran.out.count("\n") == 1
    return json.loads(ran.out)


@pytest.mark.parametrize(
    ("name", "task", "metrics", "baselines"),
    [
        ("diabetes", "regression", ["rmse", "mae", "r2"], ["mean", "linear", "mlp", "boosting"]),
        (
            "breast_cancer",
            "classification",
            ["accuracy", "log_loss", "roc_auc"],
            ["majority", "linear", "mlp", "boosting"],
        ),
    ],
)
def test_json_is_one_object_with_the_figures(name, task, metrics, baselines, pointwise):
    ran = pointwise(f"fit {name} --members 1 --json")
    figures = result(ran)
    assert set(figures) == RESULT
    assert (figures["task"], figures["model"]) == (task, f"{name}-model")
    assert list(figures["metrics"]) == metrics
    assert list(figures["baselines"]) == baselines
    assert all(list(one) == metrics for one in figures["baselines"].values())
    worst, better = figures["baselines"][baselines[0]], figures["metrics"]
    key = "rmse" if task == "regression" else "log_loss"
    assert better[key] < worst[key]
    assert figures["epochs"] >= figures["best_epoch"] >= 1
    assert sum(figures["rows"].values()) == {"diabetes": 442, "breast_cancer": 569}[name]
    assert "fitting the usual models" in ran.err
    assert read_config(f"{name}-model")["metrics"] == pytest.approx(figures["metrics"])
    assert read_report(f"{name}-model")["parameters"] == figures["parameters"]


@pytest.mark.usefixtures("no_baselines")
def test_names_that_hold_commas_stand_in_double_quotes(pointwise):
    names = {"price": "price, dollars", "town": "town, district"}
    houses().rename(columns=names).to_csv("named.csv", index=False)
    line = FIT.replace("houses.csv --target price", "named.csv --target '\"price, dollars\"'")
    found = result(pointwise(f"{line} --drop 'sold, \"town, district\"' --json"))
    assert found["target"] == ["price, dollars"]
    assert [c["name"] for c in read_config("m")["columns"]] == ["area", "built", "garden"]


def test_people_get_a_table_and_what_was_understood(pointwise):
    ran = pointwise(f"{FIT} --drop sold")
    assert ran.code == 0
    for words in ("pointwise", "mean of the target", "linear model", "scikit-learn's MLP"):
        assert words in ran.out
    assert "price: 12 test rows" in ran.out
    assert ran.out.rstrip().endswith("model: m")
    said = ran.err.splitlines()
    assert "dates read: built" in said
    assert "60 rows; regression of price from" in said
    assert "  area: number" in said
    assert "  town: category of 3 levels" in said
    assert "  built: date" in said
    assert "  garden: boolean" in said
    files = {file.name for file in Path("m").iterdir()}
    assert files == {"config.json", "model.safetensors", "README.md", "report.json"}
    assert not list(Path().glob("*checkpoint*"))


def _write(frame, make):
    if make == "semicolons and decimal commas":
        frame.to_csv("t.csv", sep=";", decimal=",", index=False)
    elif make == "gzip":
        frame.to_csv("t.csv.gz", index=False)
        return "t.csv.gz"
    elif make == "tabs":
        frame.to_csv("t.csv", sep="\t", index=False)
    elif make == "parquet":
        frame.assign(built=pd.to_datetime(frame["built"])).to_parquet("t.parquet")
        return "t.parquet"
    elif make == "utf-16":
        frame.to_csv("t.csv", index=False, encoding="utf-16")
    else:
        frame.to_csv("t.csv", index=False, header=False)
        return f"t.csv --columns {','.join(frame.columns)}"
    return "t.csv"


MAKES = ["semicolons and decimal commas", "gzip", "tabs", "parquet", "utf-16", "no header"]


@pytest.mark.usefixtures("no_baselines")
@pytest.mark.parametrize("make", MAKES)
def test_a_table_is_the_same_however_it_is_written(make, pointwise):
    plain = result(pointwise(f"{FIT} --json"))
    file = _write(houses(), make)
    other = result(pointwise(f"fit {file} --target price --members 1 --out n --json"))
    assert other["metrics"] == plain["metrics"]
    weights = [Path(m, "model.safetensors").read_bytes() for m in ("m", "n")]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("no_baselines")
def test_the_same_seed_gives_the_same_model_and_another_another(pointwise):
    weights = []
    for seed in (1, 1, 2):
        result(pointwise(f"{FIT} --seed {seed} --json"))
        weights.append(Path("m/model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.usefixtures("no_baselines")
@pytest.mark.parametrize(
    ("options", "rows", "where"),
    [
        ("", {"train": 41, "valid": 7, "test": 12}, "12 test rows"),
        ("--test 0.5", {"train": 26, "valid": 4, "test": 30}, "30 test rows"),
        ("--test 0", {"train": 51, "valid": 9, "test": 0}, "9 validation rows"),
        ("--valid 0.5", {"train": 24, "valid": 24, "test": 12}, "12 test rows"),
        ("--valid more.csv", {"train": 60, "valid": 20, "test": 0}, "20 validation rows"),
        ("--valid more.csv --test 0.1", {"train": 54, "valid": 20, "test": 6}, "6 test rows"),
        ("--time built", {"train": 41, "valid": 7, "test": 12}, "12 test rows"),
        ("--time built --test 0.1", {"train": 46, "valid": 8, "test": 6}, "6 test rows"),
    ],
)
def test_rows_are_held_out_as_asked(options, rows, where, pointwise):
    more = houses()[:20]
    more[more.columns[::-1]].assign(note="x").to_csv("more.csv", index=False)
    figures = result(pointwise(f"{FIT} --json {options}"))
    assert figures["rows"] == rows
    assert figures["metrics_rows"] == where


@pytest.mark.usefixtures("no_baselines")
def test_groups_are_never_split_and_not_learnt_from(pointwise):
    houses().assign(street=np.arange(ROWS) // 6).to_csv("houses.csv", index=False)
    figures = result(pointwise(f"{FIT} --groups street --json"))
    assert figures["rows"] == {"train": 42, "valid": 6, "test": 12}
    assert "street" not in [c["name"] for c in read_config("m")["columns"]]


@pytest.mark.usefixtures("no_baselines")
def test_times_that_are_text_are_warned_of(pointwise):
    houses().assign(when=[f"week {i}" for i in range(ROWS)]).to_csv("houses.csv", index=False)
    ran = pointwise(f"{FIT} --time when --json")
    assert ran.code == 0
    assert "column 'when' holds text, not times: the last rows in alphabetical" in ran.err


@pytest.mark.usefixtures("no_baselines")
def test_columns_can_be_left_out(pointwise):
    result(pointwise(f"{FIT} --drop sold,town --json"))
    assert [c["name"] for c in read_config("m")["columns"]] == ["area", "built", "garden"]


@pytest.mark.usefixtures("no_baselines")
def test_several_targets_are_fitted_by_one_model(pointwise):
    figures = result(pointwise(f"{FIT} --target price,area --json"))
    assert (figures["task"], figures["target"]) == ("regression", ["price", "area"])
    assert read_config("m")["targets"] == ["price", "area"]
    assert set(read_report("m")["figures"]) == {"price", "area"}


@pytest.mark.usefixtures("no_baselines")
@pytest.mark.parametrize(
    ("options", "task"),
    [
        ("--target sold", "classification"),
        ("--target garden", "classification"),
        ("--target area", "regression"),
        ("--target rooms", "classification"),
        ("--target rooms --task regression", "regression"),
        ("--target stars --task classification", "classification"),
    ],
)
def test_the_task_is_told_from_the_target_or_given(options, task, pointwise):
    some = np.arange(ROWS) % 4
    houses().assign(rooms=some, stars=some / 2).to_csv("houses.csv", index=False)
    assert result(pointwise(f"{FIT} {options} --json"))["task"] == task


@pytest.mark.usefixtures("no_baselines")
def test_whole_numbers_with_gaps_are_classes_all_the_same(pointwise):
    rooms = pd.Series(np.arange(ROWS) % 3, dtype="Int64").mask(np.arange(ROWS) % 10 == 9)
    houses().assign(rooms=rooms).to_csv("houses.csv", index=False)
    ran = pointwise(f"{FIT} --target rooms --json")
    assert "6 rows have no value of the target and are left out" in ran.err
    assert sum(result(ran)["rows"].values()) == 54
    assert load("m").classes_.tolist() == [0, 1, 2]


@pytest.mark.usefixtures("no_baselines")
def test_columns_that_look_wrong_are_named(pointwise):
    table = houses()
    table.insert(0, "id", np.arange(ROWS))
    table.assign(dollars=table["price"] * 1.1, flat=3, name=[f"n{i}" for i in range(ROWS)]).to_csv(
        "houses.csv", index=False
    )
    ran = pointwise(f"{FIT} --json")
    expected = [
        "column 'id' looks like a row number (0, 1, 2, ... in order): leave it out with --drop",
        "column 'dollars' looks like a copy of the target 'price': leave it out with --drop",
        "column 'flat' is constant (3): it is left out",
        "column 'name' has 41 different texts in 41 rows: it is left out",
    ]
    for words in expected:
        assert words in ran.err
        assert any(words in warning for warning in result(ran)["warnings"])


@pytest.mark.usefixtures("no_baselines")
def test_what_stands_for_no_value_is_asked_for_said_and_kept(pointwise):
    table = houses()
    table.loc[:9, "area"] = -999
    table.to_csv("houses.csv", index=False)
    table.assign(area=-999).to_csv("gone.csv", index=False)
    table.assign(area=np.nan).to_csv("blank.csv", index=False)
    told = "column 'area' holds -999 in 10 rows"
    assert told in pointwise(f"{FIT} --json").err
    assert "reading" not in read_config("m")
    ran = pointwise(f"{FIT} --missing -999,unknown --json")
    assert told not in ran.err
    assert "'-999' read as missing: area" in ran.err
    assert "area: number, 10 missing" in ran.err
    assert read_config("m")["reading"] == {"missing": ["-999", "unknown"]}
    for name in ("gone", "blank"):
        assert pointwise(f"predict m {name}.csv --out {name}-p.csv").code == 0
        assert pointwise(f"evaluate m {name}.csv --json").code == 0
    assert Path("gone-p.csv").read_text() == Path("blank-p.csv").read_text()
    assert pointwise("predict m gone.csv --out asked.csv --missing 7").code == 0
    assert Path("asked.csv").read_text() != Path("blank-p.csv").read_text()


@pytest.mark.usefixtures("no_baselines")
def test_a_column_may_have_any_name(pointwise):
    odd = {"area": "self", "town": "x[0] ü", "built": "[red]", "garden": "a b", "sold": "{c}"}
    houses().rename(columns=odd).to_csv("houses.csv", index=False)
    ran = pointwise(f"{FIT} --json")
    assert result(ran)["task"] == "regression"
    assert "  [red]: date" in ran.err


@pytest.mark.usefixtures("no_baselines")
def test_training_stops_at_the_time_limit(pointwise):
    assert result(pointwise(f"{FIT} --time-limit 0.001 --json"))["epochs"] == 1


@pytest.mark.usefixtures("no_baselines")
def test_a_model_is_replaced_and_files_beside_it_stay(pointwise):
    result(pointwise(f"{FIT} --target sold --json"))
    Path("m/notes.txt").write_text("mine")
    result(pointwise(f"{FIT} --json"))
    assert read_config("m")["task"] == "regression"
    assert Path("m/notes.txt").read_text() == "mine"


def _stop_at(epoch, stop, monkeypatch):
    validate, calls = Run._validate, []

    def validate_or_stop(run):
        calls.append(1)
        if len(calls) == epoch:
            stop()
        return validate(run)

    monkeypatch.setattr(Run, "_validate", validate_or_stop)


@pytest.mark.usefixtures("no_baselines")
def test_a_fit_that_stopped_is_resumed_to_the_same_model(pointwise, monkeypatch):
    whole = result(pointwise(f"{FIT} --json"))
    unbroken = Path("m/model.safetensors").read_bytes()
    for file in Path("m").iterdir():
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("pointwise.training.checkpoint.Checkpoint.due", True)
        _stop_at(4, lambda: sys.exit(9), patch)
        assert pointwise(FIT).code == 9
    assert Path("m.checkpoint").exists()
    resumed = result(pointwise(f"{FIT} --resume --json"))
    assert Path("m/model.safetensors").read_bytes() == unbroken
    assert resumed["metrics"] == whole["metrics"]
    assert not Path("m.checkpoint").exists()


@pytest.mark.usefixtures("no_baselines")
def test_a_checkpoint_is_not_resumed_unasked_and_its_absence_said(pointwise):
    Path("m.checkpoint").write_bytes(b"of another run")
    assert result(pointwise(f"{FIT} --json"))
    assert not Path("m.checkpoint").exists()
    ran = pointwise(f"{FIT} --resume --json")
    assert "nothing to resume: there is no m.checkpoint" in ran.err
    assert result(ran)


@pytest.mark.usefixtures("no_baselines")
def test_an_interrupt_keeps_the_best_epoch_so_far(pointwise, monkeypatch):
    _stop_at(4, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    ran = pointwise(f"{FIT} --json")
    assert "interrupted after 3 epochs: the best one so far is kept" in ran.err
    assert result(ran)["epochs"] == 3


def test_an_interrupt_before_any_epoch_leaves_nothing(pointwise, monkeypatch):
    _stop_at(1, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    ran = pointwise(f"{FIT} --json")
    assert (ran.code, ran.out) == (130, "")
    assert not Path("m").exists()


def test_a_process_of_its_own_prints_json_alone_on_standard_output(home):
    line = "-m pointwise fit iris --members 1 --time-limit 1 --json"
    run = subprocess.run(
        [sys.executable, *line.split()], capture_output=True, text=True, timeout=300, check=True
    )
    assert set(json.loads(run.stdout)) == RESULT
    assert run.stderr.startswith("iris: bundled with scikit-learn\n150 rows; classification")
    assert "Warning" not in run.stderr
