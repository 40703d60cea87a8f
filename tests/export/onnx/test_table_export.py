"""Estimators of tables as ONNX: ONNX Runtime predicts what they predict, from what they take."""

import datetime

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from exported import mixed_table, run
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError

from pointwise.errors import DataError, DifferenceError
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, load, save
from pointwise.export import onnx_inputs, to_onnx

FEW = {"members": 3, "hidden": (8, 8), "max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return mixed_table()


@pytest.fixture(scope="module")
def classifier(frame: pd.DataFrame) -> PointwiseClassifier:
    y = np.where(frame["age"].fillna(0) > 40, "old", "young")
    with pytest.warns(UserWarning, match="'constant' is constant"):
        return PointwiseClassifier(**FEW).fit(frame, y)


@pytest.fixture(scope="module")
def exported(classifier: PointwiseClassifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return to_onnx(classifier, path)


def test_classifier_with_every_kind_of_column(classifier, exported, frame):
    found = run(exported.path, onnx_inputs(classifier, frame))
    np.testing.assert_allclose(found["probabilities"], classifier.predict_proba(frame), atol=1e-5)
    assert found["label_"].tolist() == classifier.predict(frame).tolist()


def test_ports_are_the_columns_that_count(exported):
    assert [str(port) for port in exported.inputs] == [
        "age: float64 (N, 1)",
        "billions: float64 (N, 1)",
        "job: text (N, 1)",
        "label: text (N, 1)",
        "born: int64 (N, 1)",
        "ok: float64 (N, 1)",
    ]
    # A column is called label, so that the output is not.
    assert [str(port) for port in exported.outputs] == [
        "label_: text (N,)",
        "probabilities: float32 (N, 2)",
    ]
    assert exported.largest_difference < 1e-5
    assert "equal to" in str(exported)


def test_what_a_program_without_the_package_gives_it(classifier, exported, frame):
    """Text, numbers and dates by hand; an unseen level, and everything missing."""
    when = datetime.datetime(2020, 2, 29, 23, 59, 59, tzinfo=datetime.UTC)
    feeds = {
        "age": np.array([[31.0], [np.nan]]),
        "billions": np.array([[4e9 + 1], [np.nan]]),
        "job": np.array([["Bäcker"], ["nobody"]], dtype=object),
        "label": np.array([["v7"], [""]], dtype=object),
        "born": np.array([[int(when.timestamp()) * 10**6], [np.iinfo(np.int64).min]]),
        "ok": np.array([[1.0], [np.nan]]),
    }
    rows = pd.DataFrame(
        {
            "age": [31.0, np.nan],
            "billions": [4e9 + 1, np.nan],
            "job": ["Bäcker", "nobody"],
            "label": ["v7", None],
            "born": pd.to_datetime([when.replace(tzinfo=None), None]),
            "ok": pd.array([True, None], dtype="boolean"),
            "constant": 3.0,
        }
    )
    for name, values in onnx_inputs(classifier, rows).items():
        np.testing.assert_array_equal(values, feeds[name])
    with pytest.warns(UserWarning, match="training did not have"):
        expected = classifier.predict_proba(rows)
    np.testing.assert_allclose(run(exported.path, feeds)["probabilities"], expected, atol=1e-5)


def test_one_row_and_none(classifier, exported, frame):
    for rows in (1, 0):
        feeds = {name: v[:rows] for name, v in onnx_inputs(classifier, frame).items()}
        assert run(exported.path, feeds)["probabilities"].shape == (rows, 2)


@pytest.mark.parametrize("shift", [0.0, 1e9])
@pytest.mark.parametrize("targets", [1, 2])
def test_regression_keeps_large_targets(targets, shift, tmp_path):
    X, y = load_diabetes(return_X_y=True)
    y = y + shift
    y = np.stack([y, -y], 1) if targets == 2 else y
    model = PointwiseRegressor(**FEW).fit(X, y)
    done = to_onnx(model, tmp_path / "m.onnx")
    assert [str(port) for port in done.inputs] == ["rows: float64 (N, 10)"]
    found = run(done.path, onnx_inputs(model, X))["prediction"]
    assert found.shape == y.shape
    np.testing.assert_allclose(found - shift, model.predict(X) - shift, rtol=0, atol=1e-2)


@pytest.mark.parametrize("labels", [[3, 7], [False, True], [0.0, 2.0], ["no", "yes"]])
def test_labels_keep_their_type(labels, tmp_path):
    X, y = load_diabetes(return_X_y=True)
    y = np.array(labels)[(y > 140).astype(int)]
    model = PointwiseClassifier(**FEW).fit(X, y)
    found = run(to_onnx(model, tmp_path / "m.onnx").path, onnx_inputs(model, X))["label"]
    assert found.tolist() == model.predict(X).tolist()
    assert type(found.tolist()[0]) is type(labels[0])


def test_constant_columns_of_an_array_are_not_read(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    X[:, 2] = 5.0
    with pytest.warns(UserWarning, match="constant"):
        model = PointwiseRegressor(**FEW).fit(X, y)
    done = to_onnx(model, tmp_path / "m.onnx")
    other = X.copy()
    other[:, 2] = np.nan
    np.testing.assert_array_equal(
        run(done.path, {"rows": other})["prediction"], run(done.path, {"rows": X})["prediction"]
    )


def test_array_of_text_and_numbers_has_an_input_for_each(tmp_path):
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=90).astype(object), rng.choice(["a", "b"], 90)], 1)
    model = PointwiseClassifier(**FEW).fit(X, X[:, 1])
    done = to_onnx(model, tmp_path / "m.onnx")
    assert [port.name for port in done.inputs] == ["x0", "x1"]
    found = run(done.path, onnx_inputs(model, X))
    assert found["label"].tolist() == model.predict(X).tolist()


def test_double_networks(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    model = PointwiseRegressor(**FEW, precision="float64").fit(X, y)
    done = to_onnx(model, tmp_path / "m.onnx")
    assert done.largest_difference < 1e-12


def test_a_saved_model_gives_the_same_file(classifier, exported, frame, tmp_path):
    save(classifier, tmp_path / "folder")
    again = to_onnx(load(tmp_path / "folder"), tmp_path / "again.onnx", example=frame)
    assert (again.inputs, again.outputs, again.checked) == (
        exported.inputs,
        exported.outputs,
        "300 rows",
    )
    feeds = onnx_inputs(classifier, frame)
    np.testing.assert_array_equal(
        run(again.path, feeds)["probabilities"], run(exported.path, feeds)["probabilities"]
    )


def test_the_file_is_valid_and_says_what_it_is(exported):
    onnx.checker.check_model(onnx.load(exported.path), full_check=True)
    told = onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map
    assert told["model"] == "PointwiseClassifier"
    assert told["classes"] == '["old", "young"]'


def test_the_same_model_gives_the_same_bytes_without_lines_of_code(classifier, exported, tmp_path):
    again = to_onnx(classifier, tmp_path / "again.onnx").path.read_bytes()
    assert again == exported.path.read_bytes()
    for private in (b"stack_trace", b"forward", b".py", b"pointwise.nn"):
        assert private not in again


def test_older_operators(classifier, frame, tmp_path):
    done = to_onnx(classifier, tmp_path / "m.onnx", opset=18)
    versions = {one.domain: one.version for one in onnx.load(done.path).opset_import}
    assert versions[""] == 18
    found = run(done.path, onnx_inputs(classifier, frame))["probabilities"]
    np.testing.assert_allclose(found, classifier.predict_proba(frame), atol=1e-5)


def test_one_row_to_check_it_with_leaves_any_number_of_rows(classifier, frame, tmp_path):
    done = to_onnx(classifier, tmp_path / "m.onnx", example=frame[:1])
    found = run(done.path, onnx_inputs(classifier, frame))["probabilities"]
    np.testing.assert_allclose(found, classifier.predict_proba(frame), atol=1e-5)


# --- What is refused ---


@pytest.mark.parametrize("opset", [1, 17, 99])
def test_operators_that_cannot_be_written(opset, classifier, tmp_path):
    with pytest.raises(DataError):
        to_onnx(classifier, tmp_path / "m.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_rows_of_another_form(classifier):
    X, y = load_diabetes(return_X_y=True)
    model = PointwiseRegressor(**FEW).fit(X, y)
    with pytest.raises(DataError, match=r"got shape \(10,\)"):
        onnx_inputs(model, X[0])
    with pytest.raises(DataError, match="has no rows"):
        onnx_inputs(model, X[:0])


def test_other_columns_are_named(classifier, frame):
    with pytest.raises(DataError, match="no column 'job'"):
        onnx_inputs(classifier, frame.drop(columns="job"))
    with pytest.raises(DataError, match="in their order"):
        onnx_inputs(classifier, frame[frame.columns[::-1]])
    with pytest.raises(DataError, match="column 'age' held numbers in training: got 'x'"):
        onnx_inputs(classifier, frame.assign(age="x"))


def test_wrong_number_of_columns_of_an_array():
    X, y = load_diabetes(return_X_y=True)
    model = PointwiseRegressor(**FEW).fit(X, y)
    with pytest.raises(DataError, match="must have 10 columns, got 9"):
        onnx_inputs(model, X[:, :9])


def test_a_column_without_a_name(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    X = pd.DataFrame(X[:, :2], columns=["", "b"])
    model = PointwiseRegressor(**FEW).fit(X, y)
    with pytest.raises(DataError, match="a column has no name"):
        to_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_the_file_would_predict_something_else(
    classifier, tmp_path, monkeypatch
):
    from pointwise.export.onnx import graphs

    (tmp_path / "m.onnx").write_bytes(b"old")
    wrong = graphs.date_part
    monkeypatch.setattr(graphs, "date_part", lambda dates, part: wrong(dates, part) + 9)
    with pytest.raises(DifferenceError, match="the ONNX model computes something else"):
        to_onnx(classifier, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"old"


def test_no_such_folder_and_no_such_package(classifier, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no folder"):
        to_onnx(classifier, tmp_path / "none" / "m.onnx")
    with pytest.raises(DataError, match="is a folder: give the name of a file"):
        to_onnx(classifier, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"onnx, onnxruntime, onnxscript must be installed"):
        to_onnx(classifier, tmp_path / "m.onnx")


def test_not_a_model(tmp_path):
    with pytest.raises(TypeError, match="a fitted estimator of this package or a torch"):
        to_onnx("resnet50", tmp_path / "m.onnx")


@pytest.mark.parametrize("targets", [1, 2])
def test_intervals_of_a_calibrated_regression(targets, tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    y = 1e6 + 100 * X[["a", "b"]].to_numpy()[:, :targets] + rng.normal(size=(200, targets))
    y = y[:, 0] if targets == 1 else y
    model = PointwiseRegressor(members=2, max_epochs=3, random_state=0).fit(X[:120], y[:120])
    with pytest.raises(NotFittedError, match="call 'calibrate'"):
        to_onnx(model, tmp_path / "m.onnx", interval=0.9)
    model.calibrate(X[120:], y[120:])
    for pixels in (False, True):
        done = to_onnx(model, tmp_path / "m.onnx", interval=0.9, pixels=pixels)
        assert [port.name for port in done.outputs] == ["prediction", "low", "high"]
    to_onnx(model, tmp_path / "m.onnx", interval=0.8)
    found = run(tmp_path / "m.onnx", onnx_inputs(model, X))
    ends = np.stack([found["low"], found["high"]], -1)
    np.testing.assert_allclose(ends, model.predict_interval(X, 0.8), rtol=1e-7)
    with pytest.raises(DataError, match=r"a coverage of 0\.999 needs"):
        to_onnx(model, tmp_path / "m.onnx", interval=0.999)


def test_columns_called_like_parts_of_the_graph(tmp_path):
    X = pd.DataFrame({"pointwise:inside/input0": [1.0, 2.0, 3.0, 5.0] * 9, "x": range(36)})
    model = PointwiseRegressor(members=1, max_epochs=1, random_state=0).fit(X, X["x"])
    with pytest.raises(DataError, match="column 'pointwise:inside/input0' is called like a part"):
        to_onnx(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_only_regressions_have_intervals(classifier, tmp_path):
    with pytest.raises(DataError, match="a classifier has no interval"):
        to_onnx(classifier, tmp_path / "m.onnx", interval=0.9)
    with pytest.raises(DataError, match="interval= is for calibrated regressions"):
        to_onnx(torch.nn.Linear(2, 1), tmp_path / "m.onnx", example=torch.ones(3, 2), interval=0.9)
    assert not (tmp_path / "m.onnx").exists()
