"""Maps of fitted estimators: what is predicted row by row, for every pixel."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from tiny import classifier, regressor, table

from pointwise.errors import DataError, DataWarning
from pointwise.estimators import load, save
from pointwise.maps import PixelModel, plan_output, predict_map

ROWS, COLUMNS = 9, 14
VALUES = ("value1", "value2")


def as_rows(raster):
    return raster.reshape(len(raster), -1).T


def fitted(task, labels=("down", "up"), **more):
    x, y, text = table()
    if task == "regressor":
        return regressor(**more).fit(x, y)
    return classifier(**more).fit(x, np.where(text == "up", *labels[::-1]))


def float_raster(holes=False):
    rng = np.random.default_rng(1)
    raster = rng.normal(size=(3, ROWS, COLUMNS)).astype(np.float32)
    if holes:
        raster[rng.random(raster.shape) < 0.1] = np.nan
    return raster


def byte_raster():
    raster = np.random.default_rng(1).integers(0, 3, (3, ROWS, COLUMNS)).astype(np.uint8)
    raster[:, 2:4, 3:9] = 255
    raster[0, 0, 0] = 255
    return raster


FIRST_CALLS = {
    "classifier, clean": ("classifier", (1, 2), float_raster(), None),
    "classifier, NaN": ("classifier", (1, 2), float_raster(holes=True), None),
    "regressor, NaN": ("regressor", (), float_raster(holes=True), None),
    "text labels, clean": ("classifier", ("down", "up"), float_raster(), None),
    "text labels, NaN": ("classifier", ("down", "up"), float_raster(holes=True), None),
    "nodata 255": ("classifier", (1, 2), byte_raster(), 255),
    "truth values": ("classifier", (False, True), float_raster(holes=True), None),
    "negative labels": ("classifier", (-5, 70000), float_raster(holes=True), None),
}


@pytest.mark.parametrize(
    ("task", "labels", "raster", "nodata"), FIRST_CALLS.values(), ids=FIRST_CALLS.keys()
)
def test_the_first_call_works(task, labels, raster, nodata):
    model = fitted(task, labels)
    made = model.predict_map(raster, nodata=nodata)
    assert made.shape == (ROWS, COLUMNS)
    rows = as_rows(raster)
    lost = np.isnan(rows).any(1) if nodata is None else (rows == nodata).any(1)
    expected = model.predict(rows[~lost])
    if task == "regressor":
        assert made.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(made.ravel()), lost)
        np.testing.assert_allclose(made.ravel()[~lost], expected, rtol=1e-4, atol=1e-5)
        return
    plan = plan_output(model.pixel_model())
    assert made.dtype == plan.dtype == np.uint8
    np.testing.assert_array_equal(made.ravel() == plan.nodata, lost)
    shown = [plan.codes[int(number)] for number in made.ravel()[~lost]]
    assert shown == expected.tolist()


def test_fitting_is_kept_and_the_model_left_alone():
    model = fitted("regressor")
    before = model.predict(table()[0])
    model.predict_map(float_raster())
    check_is_fitted(model)
    np.testing.assert_array_equal(model.predict(table()[0]), before)
    own = model.pixel_model().network
    assert own is not model.network_
    assert not own.training


def test_probabilities_and_their_spread():
    model = fitted("classifier")
    raster = float_raster()
    made = model.predict_map(raster, output="proba", spread=True)
    members = model._outputs(as_rows(raster)).softmax(2)
    mean, deviation = members.mean(1), members.std(1, correction=0)
    expected = np.concatenate([mean.numpy().T, deviation.numpy().T])
    np.testing.assert_allclose(made.reshape(4, -1), expected, rtol=1e-4, atol=1e-6)


def test_several_targets_and_their_spread():
    x, y, _ = table()
    targets = np.stack([1e4 + y, -3 * y], 1)
    model = regressor().fit(x, targets)
    raster = float_raster()
    made = model.predict_map(raster, spread=True)
    members = model._outputs(as_rows(raster)).numpy()
    expected = np.concatenate([members.mean(1).T, members.std(1).T])
    np.testing.assert_allclose(made.reshape(4, -1), expected, rtol=1e-4, atol=1e-5)
    assert model.pixel_model().targets == ("value1", "value2")


NAMED = {
    "a series": (pd.Series(table()[1], name="height"), ("height",)),
    "a frame": (pd.DataFrame({"height": table()[1], "age": table()[1]}), ("height", "age")),
    "a series without a name": (pd.Series(table()[1]), ("value",)),
    "a frame of numbered columns": (pd.DataFrame(np.stack([table()[1]] * 2, 1)), VALUES),
    "an array": (np.stack([table()[1]] * 2, 1), VALUES),
}


@pytest.mark.parametrize(("y", "names"), NAMED.values(), ids=NAMED.keys())
def test_bands_are_called_as_the_targets_are(y, names, tmp_path):
    model = regressor().fit(table()[0], y)
    assert model.pixel_model().targets == names
    assert plan_output(model.pixel_model()).bands == names
    save(model, tmp_path / "m")
    again = load(tmp_path / "m").pixel_model().targets
    unnamed = ("y",) if names == ("value",) else ("y0", "y1")
    assert again == (unnamed if "value" in names[0] else names)


def test_what_the_classes_are_is_told(tmp_path):
    x, _, text = table()
    model = classifier().fit(x, pd.Series(text, name="land cover"))
    assert model.pixel_model().target == "land cover"
    save(model, tmp_path / "m")
    assert load(tmp_path / "m").pixel_model().target == "land cover"
    save(model, tmp_path / "m", targets=["cover"])
    assert plan_output(load(tmp_path / "m").pixel_model()).target == "cover"
    assert fitted("classifier").pixel_model().target == ""


def test_a_column_with_gaps_in_training_may_have_gaps_in_the_raster():
    x, y, _ = table()
    x[::5, 1] = np.nan
    model = regressor().fit(x, y)
    assert [band.gaps for band in model.pixel_model().bands] == [False, True, False]
    raster = float_raster(holes=True)
    made = model.predict_map(raster).ravel()
    rows = as_rows(raster)
    lost = np.isnan(rows[:, [0, 2]]).any(1)
    assert np.isnan(rows[~lost]).any()
    np.testing.assert_array_equal(np.isnan(made), lost)
    np.testing.assert_allclose(made[~lost], model.predict(rows[~lost]), rtol=1e-4, atol=1e-5)


def test_a_pixel_without_any_value_is_nodata_though_training_had_gaps_everywhere():
    x, y, _ = table()
    for column in range(3):
        x[column::5, column] = np.nan
    model = regressor().fit(x, y)
    assert all(band.gaps for band in model.pixel_model().bands)
    raster = float_raster()
    raster[:, 0, 0] = np.nan
    raster[:2, 0, 1] = np.nan
    np.testing.assert_array_equal(np.argwhere(np.isnan(model.predict_map(raster))), [[0, 0]])


def frame(rows=150):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "soil": pd.Categorical(rng.choice([3, 7, 12], rows)),
            "far": 1e9 + rng.normal(size=rows),
            "same": np.ones(rows),
            "slope": rng.normal(size=rows),
        }
    )


def fit_frame(x, **more):
    y = x["slope"].fillna(0) + (x["far"] - 1e9) + (x["soil"] == 7)
    with pytest.warns(DataWarning, match=r"^column 'same' is constant \(1\): it is left out$"):
        return regressor(**more).fit(x, y)


@pytest.mark.parametrize("dtype", [np.float64, np.int64], ids=["float64", "int64"])
def test_categories_offsets_and_columns_left_out(dtype):
    x = frame()
    model = fit_frame(x)
    made = model.pixel_model()
    assert [band.name for band in made.used] == ["far", "slope", "soil"]
    assert made.used[2].levels == ("12", "3", "7")
    assert made.used[0].offset == pytest.approx(1e9)
    assert (made.bands[2].ignored, made.named, made.name) == (True, True, "PointwiseRegressor")
    assert (made.used[1].low, made.used[1].high) == (x["slope"].min(), x["slope"].max())
    soil = np.random.default_rng(2).choice([3, 7, 12, 99], (4, 5)).astype(dtype)
    far = (1e9 + np.linspace(-2, 2, 20).reshape(4, 5)).astype(dtype)
    slope = np.linspace(-2, 2, 20).reshape(4, 5).astype(dtype)
    mapped = model.predict_map(np.stack([slope, far, soil]), bands=["slope", "far", "soil"])
    columns = {"soil": soil.ravel(), "far": far.ravel(), "same": 1.0, "slope": slope.ravel()}
    rows = pd.DataFrame(columns)
    rows["soil"] = pd.Categorical(rows["soil"])
    with pytest.warns(DataWarning, match="5 of 20 rows hold a value of column 'soil'"):
        predicted = model.predict(rows)
    np.testing.assert_allclose(mapped.ravel(), predicted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [3, 80], ids=["one-hot", "embedded"])
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_a_category_with_missing_values_in_training(levels, gaps):
    rng = np.random.default_rng(0)
    soil = pd.Series(rng.integers(0, levels, 400)).astype("Int64")
    if gaps:
        soil[::7] = pd.NA
    x = pd.DataFrame({"soil": soil.astype("category"), "slope": rng.normal(size=400)})
    model = regressor(max_epochs=1).fit(x, x["slope"])
    assert [band.gaps for band in model.pixel_model().bands] == [gaps, False]
    pixels = np.array([[[1.0, np.nan]], [[0.5, 0.5]]])
    made = model.predict_map(pixels, bands=["soil", "slope"])
    assert np.isnan(made).tolist() == [[False, not gaps]]
    rows = pd.DataFrame({"soil": pd.Categorical([1, None]), "slope": [0.5, 0.5]})
    expected = model.predict(rows)[: 2 if gaps else 1]
    np.testing.assert_allclose(made[0, : len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_dates_are_in_no_raster():
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(120)]
    x = pd.DataFrame({"day": days, "slope": np.linspace(0, 1, 120)})
    model = regressor().fit(x, x["slope"])
    message = (
        "column 'day' held dates in training, but a raster holds numbers: fit on days since some "
        "date in its place, or leave the column out"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        model.predict_map(np.zeros((2, 3, 3)))


def test_texts_are_in_no_raster():
    x = pd.DataFrame({"soil": ["clay", "loam"] * 60, "slope": np.linspace(0, 1, 120)})
    model = regressor().fit(x, x["slope"])
    with pytest.raises(DataError, match=r"^column 'soil' held texts in training \('clay', 'loam'"):
        model.predict_map(np.zeros((2, 3, 3)), bands=["soil", "slope"])


def test_an_estimator_must_be_fitted():
    with pytest.raises(NotFittedError, match="PointwiseRegressor instance is not fitted yet"):
        regressor().predict_map(np.zeros((3, 2, 2)))
    with pytest.raises(NotFittedError, match="PointwiseClassifier instance is not fitted yet"):
        classifier().pixel_model()


def test_the_function_takes_estimators_and_their_models():
    model = fitted("classifier")
    raster = float_raster()
    expected = model.predict_map(raster)
    assert isinstance(model.pixel_model(), PixelModel)
    np.testing.assert_array_equal(predict_map(model, raster), expected)
    np.testing.assert_array_equal(predict_map(model.pixel_model(), raster), expected)


def test_double_precision_trains_and_maps():
    model = fitted("regressor", precision="float64")
    raster = float_raster()
    np.testing.assert_allclose(
        model.predict_map(raster).ravel(), model.predict(as_rows(raster)), rtol=1e-4, atol=1e-5
    )
