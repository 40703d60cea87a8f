"""Estimators to model folders and back: the same bits, nothing of the rows, not too large."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from tiny import ROWS, classifier, regressor, table

from pointwise.errors import ModelFileError
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, load, save

X, Y, WORDS = table()
FRAME = pd.DataFrame(
    {
        "area": X[:, 0],
        "rooms": np.where(np.arange(ROWS) % 7 == 0, np.nan, np.arange(ROWS) % 5),
        "town": np.array(["a", "b", None] * 40, dtype=object),
        "new": [True, False] * 60,
        "seen": pd.date_range("2020-01-01", periods=ROWS, freq="7h"),
        "id": [f"person-{i}@example.org" for i in range(ROWS)],
    }
)


TABLE = FRAME.drop(columns="id")
BOTH = np.stack([Y, 1000 * Y], 1)
FITS = {
    "regression": lambda: regressor().fit(TABLE, Y),
    "array": lambda: regressor().fit(X, Y),
    "float64": lambda: regressor(precision="float64").fit(TABLE, Y),
    "several targets": lambda: regressor().fit(TABLE, BOTH),
    "no hidden layer": lambda: regressor(hidden=[]).fit(TABLE, Y),
    "random state": lambda: regressor(random_state=np.random.RandomState(0)).fit(TABLE, Y),
    "text": lambda: classifier().fit(TABLE, WORDS),
    "whole numbers": lambda: classifier(class_weight={2: 1, 7: 3.5}).fit(TABLE, 5 * (Y > 0) + 2),
    "truth values": lambda: classifier(class_weight={True: 2}).fit(TABLE, Y > 0),
    "fractions": lambda: classifier().fit(TABLE, (Y > 0) * 2.0),
    "balanced": lambda: classifier(class_weight="balanced").fit(TABLE, np.digitize(Y, [-1, 1])),
}


@pytest.mark.parametrize("kind", FITS)
def test_a_model_comes_back_to_the_same_bits(kind, tmp_path):
    model = FITS[kind]()
    x = X if kind == "array" else TABLE
    save(model, tmp_path / "model", metrics={"rmse": 1.5, "r2": math.nan})
    again = load(tmp_path / "model")
    assert type(again) is type(model)
    expected = {**model.get_params(), "hidden": tuple(model.hidden)}
    if kind == "random state":
        expected["random_state"] = None
    assert again.get_params() == expected
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    many = np.tile(x, (200, 1)) if kind == "array" else pd.concat([x] * 200)  # in float32
    np.testing.assert_array_equal(again.predict(many), model.predict(many))
    if isinstance(model, PointwiseClassifier):
        np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
        assert again.classes_.tolist() == model.classes_.tolist()
    assert (again.n_features_in_, again.rows_) == (model.n_features_in_, model.rows_)
    assert hasattr(again, "feature_names_in_") == (kind != "array")
    assert again.best_epoch_ == model.best_epoch_
    assert [set(epoch) for epoch in again.history_] == [set(epoch) for epoch in model.history_]
    for ours, theirs in zip(again.history_, model.history_, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_loaded_model_goes_on_by_itself(tmp_path):
    model = regressor(warm_start=True).fit(TABLE, Y)
    save(model, tmp_path / "model", targets=["price"])
    again = load(tmp_path / "model").fit(TABLE, Y)
    np.testing.assert_array_equal(again.predict(TABLE), model.fit(TABLE, Y).predict(TABLE))
    save(again, tmp_path / "model")  # over the old one
    np.testing.assert_array_equal(load(tmp_path / "model").predict(TABLE), again.predict(TABLE))


def test_no_training_row_is_in_the_folder(tmp_path):
    few = FRAME[:30].assign(note=[f"told in confidence {i}" for i in range(30)])
    for rows, names in ((FRAME, ["id"]), (few, ["id", "note"])):
        with pytest.warns(UserWarning, match="different texts in .* rows: it is left out"):
            model = regressor().fit(rows, Y[: len(rows)])
        save(model, tmp_path / "model")
        text = "".join((tmp_path / "model" / n).read_text() for n in ("config.json", "README.md"))
        weights = (tmp_path / "model" / "model.safetensors").read_bytes()
        for name in names:
            assert not any(value in text for value in rows[name])
            assert not any(value.encode() in weights for value in rows[name])


def test_of_numbers_the_ends_are_in_the_folder_and_no_row(tmp_path):
    model = regressor().fit(X, Y)
    save(model, tmp_path / "model")
    text = (tmp_path / "model" / "config.json").read_text()
    shown = np.array([[repr(value) in text for value in row] for row in X.tolist()])
    assert shown.sum() == 2 * X.shape[1]
    assert not shown.all(1).any()


def test_a_folder_is_little_more_than_its_weights(tmp_path):
    wide = np.random.default_rng(0).normal(size=(300, 60))
    model = PointwiseRegressor(members=1, hidden=(4,), max_epochs=1, random_state=0)
    model.fit(
        pd.DataFrame(wide, columns=[f"a_column_with_a_long_name_{i}" for i in range(60)]),
        wide[:, 0],
    )
    model.history_ = model.history_ * 200  # as many epochs as the defaults allow
    save(model, tmp_path / "model", report={"large": list(range(10_000))})
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "model").iterdir()}
    assert set(sizes) == {"config.json", "model.safetensors", "README.md", "report.json"}
    weights = sum(t.numel() * t.element_size() for t in model.network_.state_dict().values())
    assert sum(sizes.values()) - sizes["report.json"] <= 1.2 * weights + 50_000


def test_figures_that_json_lacks_are_left_open(tmp_path):
    model = regressor().fit(X, Y)
    model.history_[-1]["train_loss"] = math.inf
    save(model, tmp_path / "model", metrics={"r2": math.nan, "rmse": 0.5})
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["metrics"] == {"r2": None, "rmse": 0.5}
    assert config["training"]["history"]["train_loss"][-1] is None
    assert load(tmp_path / "model").history_[-1]["train_loss"] is None


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(NotFittedError, match="This PointwiseRegressor instance is not fitted yet"):
        save(regressor(), tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"targets must have one name per target \(1\), got"):
        save(regressor().fit(X, Y), tmp_path / "model", targets=["a", "b"])
    days = np.array(["2020-01-01", "2020-01-02"] * 60, dtype="M8[D]")
    with pytest.raises(
        ModelFileError, match=r"classes\[0\] is of type date, which JSON cannot hold"
    ):
        save(classifier().fit(X, days), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


EDITS = {
    "estimator": lambda c: c.update(estimator="Forest"),
    "parameter": lambda c: c["parameters"].update(depth=3),
    "column": lambda c: c["columns"].pop(),
    "level": lambda c: c["columns"][2]["levels"].append("c"),
    "ignored": lambda c: c["columns"][0].update(ignored="is dull"),
    "network": lambda c: c["network"].update(members=3),
    "channels": lambda c: c["network"]["channels"].__setitem__(1, 9),
    "activation": lambda c: c["network"].update(activation="step"),
    "history": lambda c: c["training"].update(history=[]),
    "training": lambda c: c.update(training={}),
    "kind of column": lambda c: c["columns"][0].update(levels=None),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_config_that_does_not_fit_the_weights_is_refused(edit, tmp_path):
    save(regressor().fit(TABLE, Y), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    EDITS[edit](config)
    path.write_text(json.dumps(config))
    with pytest.raises(
        ModelFileError, match=r"does not fit together .*: fit the model again|edited"
    ):
        load(tmp_path / "model")


def test_a_model_is_loaded_from_the_package_root(tmp_path):
    import pointwise

    pointwise.save(regressor().fit(X, Y), str(tmp_path / "model"))
    assert isinstance(pointwise.load(Path(tmp_path / "model")), PointwiseRegressor)
