"""``pointwise evaluate`` and ``report``: how good a model is, in figures and drawn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from houses import houses
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, root_mean_squared_error

from pointwise.estimators import load

ADULT = Path(__file__).parents[2].parent / "shared" / "data" / "adult"
ADULT_COLUMNS = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,"
    "capital_gain,capital_loss,hours_per_week,native_country,income"
)


def _x():
    x = houses().drop(columns=["price", "sold"])
    return x.assign(built=pd.to_datetime(x["built"]))


def test_figures_of_a_regressor_are_those_of_scikit_learn(pointwise):
    ran = pointwise("evaluate price-model houses.csv --json")
    figures = json.loads(ran.out)
    assert (figures["task"], figures["target"], figures["rows"]) == ("regression", ["price"], 60)
    predicted, price = load("price-model").predict(_x()), houses()["price"]
    assert figures["metrics"] == pytest.approx(
        {
            "rmse": root_mean_squared_error(price, predicted),
            "mae": mean_absolute_error(price, predicted),
            "r2": load("price-model").score(_x(), price),
        }
    )


def test_figures_of_a_classifier_are_those_of_scikit_learn(pointwise):
    figures = json.loads(pointwise("evaluate sold-model houses.csv --json").out)
    model, sold = load("sold-model"), houses()["sold"]
    assert figures["metrics"]["accuracy"] == accuracy_score(sold, model.predict(_x()))
    assert figures["metrics"]["log_loss"] == pytest.approx(
        log_loss(sold, model.predict_proba(_x()))
    )
    assert 0 <= figures["metrics"]["roc_auc"] <= 1


def test_people_get_a_table(pointwise):
    ran = pointwise("evaluate price-model houses.csv")
    assert ran.code == 0
    assert "price: 60 rows" in ran.out
    assert all(name in ran.out for name in ("rmse", "mae", "r2", "price-model"))


def test_rows_without_a_target_are_left_out_and_said(pointwise):
    table = houses()
    table.loc[50:, "price"] = np.nan
    table.to_csv("new.csv", index=False)
    ran = pointwise("evaluate price-model new.csv --json")
    assert "10 rows have no value of the target and are left out" in ran.err
    table[:50].to_csv("few.csv", index=False)
    few = json.loads(pointwise("evaluate price-model few.csv --json").out)
    assert json.loads(ran.out) == few
    assert few["rows"] == 50


@pytest.mark.parametrize(
    ("model", "rows", "undefined"),
    [("price-model", slice(0, 1), "r2"), ("sold-model", slice(0, 1), "roc_auc")],
)
def test_what_a_single_row_does_not_define_is_null(model, rows, undefined, pointwise):
    houses()[rows].to_csv("new.csv", index=False)
    ran = pointwise(f"evaluate {model} new.csv --json")
    assert ran.code == 0, ran.err
    metrics = json.loads(ran.out)["metrics"]
    assert metrics[undefined] is None
    assert all(metrics[name] is not None for name in metrics if name != undefined)


def test_labels_that_end_in_a_dot_are_read_without_it(pointwise):
    table = houses()
    table.assign(sold=table["sold"] + ".").to_csv("dots.csv", index=False)
    plain = json.loads(pointwise("evaluate sold-model houses.csv --json").out)
    ran = pointwise("evaluate sold-model dots.csv --json")
    assert json.loads(ran.out) == plain
    assert "the target's labels end in a dot, which the model's do not" in ran.err


def test_far_rows_are_a_sentence_not_a_warning_of_python(pointwise):
    houses().assign(area=10**6).to_csv("new.csv", index=False)
    ran = pointwise("evaluate price-model new.csv")
    assert "60 of 60 rows lie far outside the training range of column 'area'" in ran.err
    assert "Warning" not in ran.err


def test_a_bundled_set_is_evaluated_by_name(pointwise):
    figures = json.loads(pointwise("evaluate iris-model iris --json").out)
    assert figures["metrics"]["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not ADULT.is_dir(), reason="the Adult files are not beside the checkout")
@pytest.mark.usefixtures("no_baselines")
def test_adult_is_fitted_and_judged_straight_from_its_files(pointwise):
    fit = f"fit {ADULT / 'adult.data.gz'} --columns {ADULT_COLUMNS} --target income --members 1"
    fitted = pointwise(f"{fit} --time-limit 2 --out m --json")
    assert fitted.code == 0, fitted.err
    assert "'?' read as missing: workclass, occupation, native_country" in fitted.err
    test = pointwise(f"evaluate m {ADULT / 'adult.test.gz'} --columns {ADULT_COLUMNS} --json")
    assert "labels end in a dot" in test.err
    figures = json.loads(test.out)
    assert figures["rows"] == 16281
    assert figures["metrics"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("options", "file"), [("", "iris-model/report.html"), ("--out r.html", "r.html")]
)
def test_a_report_is_one_html_file(options, file, pointwise):
    ran = pointwise(f"report iris-model {options}")
    assert (ran.code, ran.out, ran.err) == (0, f"report: {file}\n", "")
    html = Path(file).read_text()
    assert html.lower().startswith("<!doctype html>")
    assert "virginica" in html
    again = pointwise(f"report iris-model {options} --json")
    assert json.loads(again.out) == {"report": file}
    assert load("iris-model").classes_.tolist() == ["setosa", "versicolor", "virginica"]
