"""Estimators of tables over the pixels of images: what ``predict_map`` gives."""

import numpy as np
import pandas as pd
import pytest
from exported import mixed_table, run
from sklearn.datasets import load_iris

from pointwise.errors import DataError
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor
from pointwise.export import to_onnx

FEW = {"members": 3, "hidden": (8, 8), "max_epochs": 3, "random_state": 0}


def scene() -> tuple[pd.DataFrame, np.ndarray]:
    """Bands: numbers, one of them far from zero and with gaps, a category and a constant."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    X["temperature"] = 30000 + rng.normal(0, 1, len(X))
    X.loc[4, "temperature"] = np.nan
    X["soil"] = pd.Categorical(rng.integers(0, 4, len(X)) * 10)
    X["constant"] = 1.0
    return X, y.to_numpy()


def raster(frame: pd.DataFrame, rows: int, columns: int) -> np.ndarray:
    values = frame.astype(float).to_numpy()[: rows * columns]
    return values.T.reshape(-1, rows, columns).astype(np.float32)


@pytest.mark.filterwarnings("ignore:column 'constant'", "ignore:the array")
def test_classes_of_pixels(tmp_path):
    frame, y = scene()
    model = PointwiseClassifier(**FEW).fit(frame, np.array(["a", "b", "c"])[y])
    done = to_onnx(model, tmp_path / "m.onnx", pixels=True)
    assert [str(port) for port in (*done.inputs, *done.outputs)] == [
        "bands: float32 (N, 7, H, W)",
        "label: text (N, H, W)",
        "probabilities: float32 (N, 3, H, W)",
    ]
    bands = raster(frame, 9, 11)
    bands[0, 2, 3] = np.nan  # never missing in training: nodata
    bands[4, 3, 4] = np.nan  # missing in training, too
    bands[5, 4, 5] = 35  # a soil that was not there
    found = run(done.path, {"bands": bands[None]})
    expected = model.predict_map(bands, output="proba")
    np.testing.assert_allclose(found["probabilities"][0], expected, atol=1e-5)
    assert np.isnan(expected[:, 2, 3]).all()
    assert not np.isnan(expected[:, 3, 4]).any()
    known = ~np.isnan(expected[0])
    assert (found["label"][0] == model.classes_[expected.argmax(0)])[known].all()


@pytest.mark.parametrize("targets", [1, 2])
def test_numbers_of_pixels(targets, tmp_path):
    X, y = load_iris(return_X_y=True)
    Y = np.stack([y + 1e6, X[:, 0]], 1)[:, :targets]
    model = PointwiseRegressor(**FEW).fit(X, Y if targets > 1 else Y[:, 0])
    bands = X[:140].T.reshape(4, 10, 14).astype(np.float32)
    done = to_onnx(model, tmp_path / "m.onnx", pixels=True, example=bands)
    assert done.checked == "140 pixels"
    found = run(done.path, {"bands": np.stack([bands, bands[:, ::-1]])})["prediction"]
    expected = model.predict_map(bands, output="value").reshape(targets, 10, 14)
    np.testing.assert_allclose(found[0], expected, rtol=3e-7, atol=1e-4)
    np.testing.assert_allclose(found[1], expected[:, ::-1], rtol=3e-7, atol=1e-4)


def test_one_pixel_to_check_it_with_leaves_any_size(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = PointwiseClassifier(**FEW).fit(X, y)
    done = to_onnx(model, tmp_path / "m.onnx", pixels=True, example=np.ones((4, 1, 1)))
    assert done.outputs[1].shape == ("N", 3, "H", "W")
    bands = X[:140].T.reshape(4, 10, 14).astype(np.float32)
    found = run(done.path, {"bands": np.stack([bands] * 3)})["probabilities"]
    np.testing.assert_allclose(found[2], model.predict_map(bands, output="proba"), atol=1e-5)


def test_levels_that_float32_rounds_are_those_of_the_map(tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["share"] = pd.Categorical(np.resize([0.1, 0.25, 0.5], len(X)))
    model = PointwiseClassifier(**FEW).fit(X, y)
    assert to_onnx(model, tmp_path / "m.onnx", pixels=True).largest_difference < 1e-5


def test_what_no_raster_holds_is_refused(tmp_path):
    frame = mixed_table()
    y = frame["age"].fillna(0)
    with pytest.warns(UserWarning, match="constant"):
        model = PointwiseRegressor(**FEW).fit(frame, y)
    with pytest.raises(DataError, match="'born' held dates"):
        to_onnx(model, tmp_path / "m.onnx", pixels=True)
    model = PointwiseRegressor(**FEW).fit(frame[["age", "label"]], y)
    with pytest.raises(DataError, match="'label' held texts"):
        to_onnx(model, tmp_path / "m.onnx", pixels=True)


def test_rasters_of_other_bands_are_refused(tmp_path):
    model = PointwiseClassifier(**FEW).fit(*load_iris(return_X_y=True))
    with pytest.raises(DataError, match=r"4 bands x0, x1, x2, x3, got \(3, 5, 5\)"):
        to_onnx(model, tmp_path / "m.onnx", pixels=True, example=np.ones((3, 5, 5)))
