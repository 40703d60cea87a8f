"""The usual models on the columns as coded: gaps, levels, several targets, rare classes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_info, threadpool_limits

from pointwise.data.coding import code_table
from pointwise.data.table import as_table
from pointwise.studies import fit_baselines
from pointwise.studies.metrics import score

ROWS = 80
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": RNG.normal(size=ROWS),
        "b": np.where(np.arange(ROWS) % 9 == 0, np.nan, RNG.normal(size=ROWS)),
        "town": RNG.choice(np.array(["x", "y", None], dtype=object), ROWS),
        "flat": 1.0,
        "when": pd.date_range("2020-01-01", periods=ROWS, freq="9h"),
    }
)
Y = 2 * FRAME["a"].to_numpy() + (FRAME["town"] == "x").to_numpy()


def _fit(y, *, classify, frame=FRAME, learn=slice(0, 60), test=slice(60, ROWS)):
    coding = code_table(as_table(frame[learn]))
    parts = (frame[learn], y[learn]), (frame[test], y[test])
    return {one["key"]: one for one in fit_baselines(coding, *parts, classify=classify, seed=0)}


def test_numbers_are_predicted_by_four_models():
    found = _fit(Y, classify=False)
    assert list(found) == ["mean", "linear", "mlp", "boosting"]
    for one in found.values():
        assert set(one) == {"key", "name", "metrics", "seconds"}
        assert list(one["metrics"]) == ["rmse", "mae", "r2"]
        assert one["seconds"] >= 0
    mean = np.sqrt(np.mean((Y[60:] - Y[:60].mean()) ** 2))
    assert found["mean"]["metrics"]["rmse"] == pytest.approx(mean)
    assert found["linear"]["metrics"]["r2"] > 0.9
    assert all(found[key]["metrics"]["rmse"] < mean for key in ("linear", "mlp", "boosting"))


def test_a_linear_model_of_plain_numbers_is_ridge_on_scaled_ones():
    frame = FRAME[["a"]]
    scaled = (frame - frame[:60].mean()) / frame[:60].std(ddof=0)
    ridge = Ridge().fit(scaled[:60], Y[:60]).predict(scaled[60:])
    expected = np.sqrt(np.mean((ridge - Y[60:]) ** 2))
    assert _fit(Y, classify=False, frame=frame)["linear"]["metrics"]["rmse"] == pytest.approx(
        expected
    )


@pytest.mark.parametrize(("most", "threads"), [(10_000_000, {1}), (0, {2})])
def test_little_data_is_fitted_on_one_thread(monkeypatch, most, threads):
    """On a busy machine several wait for one another: 140 s instead of 0.2."""
    found = set()

    def spy(*asked):
        found.update(library["num_threads"] for library in threadpool_info())
        return score(*asked)

    monkeypatch.setattr("pointwise.studies.baselines.score", spy)
    monkeypatch.setattr("pointwise.studies.baselines.SHORT", most)
    with threadpool_limits(2):
        _fit(Y, classify=False)
        assert {library["num_threads"] for library in threadpool_info()} == {2}
    assert found == threads


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_predicted_by_four_models(classes):
    y = np.digitize(Y, np.quantile(Y, np.linspace(0, 1, classes + 1)[1:-1]))
    found = _fit(y, classify=True)
    assert list(found) == ["majority", "linear", "mlp", "boosting"]
    assert all(list(f["metrics"]) == ["accuracy", "log_loss", "roc_auc"] for f in found.values())
    values, counts = np.unique(y[:60], return_counts=True)
    share = np.mean(y[60:] == values[counts.argmax()])
    assert found["majority"]["metrics"]["accuracy"] == share
    assert found["linear"]["metrics"]["accuracy"] > share


def test_several_targets_are_predicted_together():
    found = _fit(np.stack([Y, 100 * FRAME["a"].to_numpy()], 1), classify=False)
    assert list(found) == ["mean", "linear", "mlp", "boosting"]
    assert found["linear"]["metrics"]["r2"] > 0.9


def test_levels_that_the_training_rows_do_not_have_are_taken():
    frame = FRAME.assign(town=["x", "y"] * 30 + ["z"] * 20)
    found = _fit(Y, classify=False, frame=frame)
    assert all(np.isfinite(one["metrics"]["rmse"]) for one in found.values())


def test_more_levels_than_boosting_takes_as_such_are_numbers_to_it():
    frame = pd.DataFrame({"code": [f"c{i % 300}" for i in range(700)], "a": np.arange(700.0)})
    y = np.arange(700) % 300 / 1.0
    found = _fit(y, classify=False, frame=frame, learn=slice(0, 600), test=slice(600, 700))
    assert np.isfinite(found["boosting"]["metrics"]["rmse"])


def test_a_class_of_one_row_among_very_many_does_not_stop_the_comparison():
    rows = 10_100  # boosting stops early from 10,000 rows on, and splits every class for it
    frame = pd.DataFrame({"a": np.arange(rows) % 7 / 1.0})
    y = np.where(np.arange(rows) == 0, "lone", np.where(frame["a"] > 3, "up", "down"))
    found = _fit(y, classify=True, frame=frame, learn=slice(0, 10_050), test=slice(10_050, rows))
    assert found["boosting"]["metrics"]["accuracy"] == 1.0


def test_the_same_seed_gives_the_same_figures():
    first, second = _fit(Y, classify=False), _fit(Y, classify=False)
    assert [f["metrics"] for f in first.values()] == [f["metrics"] for f in second.values()]
