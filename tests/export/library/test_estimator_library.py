"""Fitted estimators as C: rows of every kind of column, and pixels, give what ``predict`` does."""

import ctypes
import subprocess

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from pointwise.errors import DataError
from pointwise.estimators import ImageClassifier, PointwiseClassifier, PointwiseRegressor
from pointwise.export import to_library
from pointwise.export.library.calling import run_pixels, run_table
from pointwise.export.library.running import compiler, linked

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C compiler"),
    pytest.mark.filterwarnings("ignore:.*bands have no names"),
    pytest.mark.filterwarnings("ignore:.*is constant"),
]

FEW = {"members": 3, "hidden": (8, 8), "max_epochs": 3, "random_state": 0}


def loaded(done) -> ctypes.CDLL:
    """The library as it was written."""
    build = done.folder / "build"
    build.mkdir()
    return linked({n: (done.folder / n).read_bytes() for n in done.files}, build, compiler())


def mixed() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = 300
    frame = pd.DataFrame(
        {
            "area (m2)": rng.normal(80, 20, rows),
            "area m2": 4e9 + rng.normal(0, 3, rows),
            "class": rng.choice(["Zürich", "Bern", 'a "q" \\ ??/', "", "Basel\n*/"], rows),
            "born": pd.Timestamp("1899-12-30 22:00")
            + pd.to_timedelta(rng.integers(0, 10**10, rows), "s"),
            "ok": pd.Series(rng.random(rows) < 0.5, dtype="boolean"),
            "constant": 3.0,
        }
    )
    frame.loc[3, "area (m2)"] = np.nan
    frame.loc[4, "born"] = pd.NaT
    frame.loc[5, "ok"] = pd.NA
    frame.loc[6, "class"] = None
    return frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return mixed()


@pytest.fixture(scope="module")
def prices(frame) -> np.ndarray:
    return (frame["area m2"] - 4e9 + 1e7).to_numpy()


def test_regression_of_every_kind_of_column(frame, prices, tmp_path):
    model = PointwiseRegressor(**FEW).fit(frame, prices)
    done = to_library(model, tmp_path / "houses")
    assert done.largest_difference < 1e-5
    assert done.functions == (
        "void houses_predict(const houses_row *rows, double *prediction, size_t count)",
    )
    header = (tmp_path / "houses" / "houses.h").read_text()
    for line in (
        'double area_m2; /* "area (m2)": a number',
        'double area_m2_2; /* "area m2": a number',
        'const char *class_; /* "class": text in UTF-8: "", "Basel * /", "Bern", "Zürich"',
        'int64_t born; /* "born": microseconds since 1970, 1',
        'double ok; /* "ok": 1 or 0; NAN if missing */',
    ):
        assert line in header
    assert "constant" not in header
    found = run_table(loaded(done), "houses", model, frame)[0]
    np.testing.assert_allclose(found, model.predict(frame), rtol=0, atol=1e-4 * prices.std())


def test_levels_that_training_did_not_have(frame, prices, tmp_path):
    model = PointwiseRegressor(**FEW).fit(frame, prices)
    other = frame[:20].assign(**{"class": ["new"] * 10 + ["Zug"] * 10})
    library = loaded(to_library(model, tmp_path / "houses"))
    with pytest.warns(UserWarning, match="unseen|not have"):
        expected = model.predict(other)
    found = run_table(library, "houses", model, other)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * prices.std())


def test_columns_called_like_what_headers_and_the_library_have(tmp_path):
    rng = np.random.default_rng(0)
    numbers = ["NULL", "NAN", "INFINITY", "INT64_MIN", "M_PI", "TRUE", "int64_t", "BLOCK", "errno"]
    frame = pd.DataFrame({name: rng.normal(size=200) for name in numbers})
    for name in ("row", "predict", "classes", "code"):
        frame[name] = rng.choice(["p", "q"], 200)
    model = PointwiseClassifier(**FEW).fit(frame, rng.choice(["yes", "no"], 200))
    done = to_library(model, tmp_path / "levels")
    assert done.notes == ()
    shares = run_table(loaded(done), "levels", model, frame)[1]
    np.testing.assert_allclose(shares, model.predict_proba(frame), atol=1e-6)
    program = '#include <math.h>\n#include <stdlib.h>\n#include <errno.h>\n#include "levels.h"\n'
    for suffix in ("c", "cpp"):
        (done.folder / f"main.{suffix}").write_text(program)
        run = [*compiler(), "-c", "-o", "main.o", f"main.{suffix}"]
        built = subprocess.run(run, cwd=done.folder, capture_output=True, text=True, check=False)
        assert (built.returncode, built.stderr) == (0, "")


def test_texts_that_are_no_unicode(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.empty((100, 2), object)
    rows[:, 0] = rng.choice(np.array(["\ud800", "\udc80", "b"], object), 100)
    rows[:, 1] = rng.normal(size=100)
    labels = rng.choice(np.array(["\udc80", "\ud800"], object), 100)
    model = PointwiseClassifier(**FEW).fit(rows, labels)
    done = to_library(model, tmp_path / "texts")
    shares = run_table(loaded(done), "texts", model, rows)[1]
    np.testing.assert_allclose(shares, model.predict_proba(rows), atol=1e-6)


def test_several_targets(frame, prices, tmp_path):
    targets = pd.DataFrame({"price": prices, "loss */": -2 * prices})
    model = PointwiseRegressor(**FEW).fit(frame, targets)
    done = to_library(model, tmp_path / "houses")
    header = (tmp_path / "houses" / "houses.h").read_text()
    assert "#define HOUSES_TARGETS 2" in header
    assert "Predict price, loss * /: of row r at prediction[r * 2]." in header
    found = run_table(loaded(done), "houses", model, frame)[0]
    np.testing.assert_allclose(found, model.predict(frame), rtol=0, atol=2e-4 * prices.std())


@pytest.mark.parametrize("members", [1, 3])
def test_classes_of_rows(members, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["setosa", "versicolor", "Iris “virginica”"])[y]
    model = PointwiseClassifier(**{**FEW, "members": members}).fit(X, names)
    done = to_library(model, tmp_path / "iris")
    library = loaded(done)
    numbers, shares = run_table(library, "iris", model, X)
    np.testing.assert_allclose(shares, model.predict_proba(X), atol=1e-6)
    assert (model.classes_[numbers] == model.predict(X)).all()
    told = (ctypes.c_char_p * 3).in_dll(library, "iris_classes")
    assert [label.decode() for label in told] == model.classes_.tolist()


def test_either_output_may_be_left_out(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = PointwiseClassifier(**FEW).fit(X, y)
    library = loaded(to_library(model, tmp_path / "iris"))
    numbers, shares = np.zeros(150, np.int32), np.zeros((150, 3), np.float32)
    rows = np.ascontiguousarray(X)
    pointer, count = ctypes.c_void_p, ctypes.c_size_t(150)
    library.iris_predict(pointer(rows.ctypes.data), pointer(numbers.ctypes.data), None, count)
    library.iris_predict(pointer(rows.ctypes.data), None, pointer(shares.ctypes.data), count)
    np.testing.assert_allclose(shares, model.predict_proba(X), atol=1e-6)
    assert (numbers == model.predict(X)).all()


def test_an_array_with_a_column_that_says_nothing(tmp_path):
    X, y = load_iris(return_X_y=True)
    X = np.insert(X, 1, 7.0, axis=1)
    model = PointwiseRegressor(**FEW).fit(X, y)
    done = to_library(model, tmp_path / "iris")
    assert "const double *rows" in done.functions[0]
    assert "#define IRIS_COLUMNS 5" in (tmp_path / "iris" / "iris.h").read_text()
    found = run_table(loaded(done), "iris", model, X)[0]
    np.testing.assert_allclose(found, model.predict(X), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 31, 33, 255, 257, 5000])
def test_any_number_of_rows(rows, tmp_path):
    X, y = load_iris(return_X_y=True)
    model = PointwiseRegressor(**FEW).fit(X, y)
    library = loaded(to_library(model, tmp_path / "iris"))
    some = np.resize(X, (rows, 4))
    np.testing.assert_allclose(
        run_table(library, "iris", model, some)[0], model.predict(some), atol=1e-5
    )


def test_many_columns_take_memory_besides(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 900))
    model = PointwiseRegressor(**FEW).fit(X, X[:, 0])
    done = to_library(model, tmp_path / "wide")
    assert "memory(" in (tmp_path / "wide" / "wide.c").read_text()
    assert done.largest_difference < 1e-5


def scene() -> tuple[pd.DataFrame, np.ndarray]:
    X, y = load_iris(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    X["temperature"] = 30000 + rng.normal(0, 1, len(X))
    X.loc[4, "temperature"] = np.nan
    X.insert(2, "soil", pd.Categorical(rng.integers(0, 4, len(X)) * 10))
    X["constant"] = 1.0
    return X, y.to_numpy()


def as_bands(frame: pd.DataFrame) -> np.ndarray:
    """Pixels: some without a value, one of a level that is none, one beyond a float."""
    bands = frame.astype(float).to_numpy(np.float32).T.copy()
    bands[0, 10] = np.nan
    bands[1, 11] = np.inf
    bands[1, 12] = 3e38
    bands[2, 13] = 7.0
    bands[:, 14] = np.nan
    return bands


def test_classes_of_pixels(tmp_path):
    X, y = scene()
    model = PointwiseClassifier(**FEW).fit(X, y)
    done = to_library(model, tmp_path / "land", pixels=True)
    assert done.largest_difference < 1e-5
    bands = as_bands(X)
    numbers, shares = run_pixels(loaded(done), "land", model, bands)
    expected = np.asarray(model.predict_map(bands[:, None], output="proba"))[:, 0]
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    empty = np.isnan(expected).any(0)
    assert empty.tolist().count(True) == 4
    assert (numbers[empty] == -1).all()
    assert (numbers[~empty] == expected.argmax(0)[~empty]).all()


def test_numbers_of_pixels(tmp_path):
    X, y = scene()
    model = PointwiseRegressor(**FEW).fit(X, y)
    done = to_library(model, tmp_path / "land", pixels=True)
    bands = as_bands(X)
    found = run_pixels(loaded(done), "land", model, bands)[0]
    expected = np.asarray(model.predict_map(bands[:, None]))
    assert np.isnan(expected).sum() == 4
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("pixels", [False, True])
def test_half_width_of_intervals(targets, pixels, tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    y = X[["a", "b"]].to_numpy()[:, :targets] + rng.normal(size=(200, targets))
    y = y[:, 0] if targets == 1 else y
    model = PointwiseRegressor(**FEW).fit(X[:120], y[:120]).calibrate(X[120:], y[120:])
    done = to_library(model, tmp_path / "m", interval=0.8, pixels=pixels)
    assert done.largest_difference < 1e-5
    told = (ctypes.c_double * targets).in_dll(loaded(done), "m_half_width")
    ends = model.predict_interval(X[:1], 0.8).reshape(targets, 2)
    np.testing.assert_allclose(np.array(told), (ends[:, 1] - ends[:, 0]) / 2, rtol=1e-6)
    header = (tmp_path / "m" / "m.h").read_text()
    assert "A share of 0.8 of the true values" in header


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float64"])
def test_types_of_bands(dtype, tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 200, (200, 3)), columns=["red", "nir", "swir"])
    model = PointwiseRegressor(**FEW).fit(X, X["nir"] - X["red"])
    done = to_library(model, tmp_path / "field", pixels=True, dtype=dtype)
    bands = X.to_numpy(dtype).T
    found = run_pixels(loaded(done), "field", model, bands)[0]
    expected = np.asarray(model.predict_map(bands[:, None]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_generated_code_has_no_warnings(frame, prices, tmp_path):
    X, y = scene()
    models = {
        "rows": (PointwiseRegressor(**FEW).fit(frame, prices), False),
        "numbers": (PointwiseClassifier(**FEW).fit(*load_iris(return_X_y=True)), False),
        "land": (PointwiseClassifier(**FEW).fit(X, y), True),
        "height": (PointwiseRegressor(**FEW).fit(X, y), True),
    }
    for name, (model, pixels) in models.items():
        to_library(model, tmp_path / name, pixels=pixels)
        strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        run = [*compiler(), *strict, "-c", f"{name}.c"]
        done = subprocess.run(run, cwd=tmp_path / name, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_cannot_be(frame, prices, tmp_path):
    model = PointwiseRegressor(**FEW).fit(frame, prices)
    with pytest.raises(DataError, match="column 'born' held dates in training"):
        to_library(model, tmp_path / "houses", pixels=True)
    with pytest.raises(DataError, match="the type is for networks and pixels"):
        to_library(model, tmp_path / "houses", dtype="uint8")
    zero = frame.assign(**{"class": np.where(frame["area m2"] > 4e9, "a\0b", "c")})
    with pytest.raises(DataError, match="'class' has a level with a zero byte"):
        to_library(PointwiseRegressor(**FEW).fit(zero, prices), tmp_path / "houses")
    labels = np.where(prices > np.median(prices), "a\0b", "c")
    with pytest.raises(DataError, match=r"class 'a.x00b' has a zero byte"):
        to_library(PointwiseClassifier(**FEW).fit(frame, labels), tmp_path / "houses")
    images = np.zeros((8, 8, 8), np.uint8)
    images[:4] = 255
    reader = ImageClassifier(max_epochs=1, random_state=0).fit(images, [0] * 4 + [1] * 4)
    with pytest.raises(DataError, match="sees whole images"):
        to_library(reader, tmp_path / "houses")
    assert not (tmp_path / "houses").exists()
