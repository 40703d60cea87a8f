"""Figures against scikit-learn's own, and where they are not defined."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pointwise.studies import classification_metrics, regression_metrics, score

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)], ids=str)
def test_regression_figures_are_those_of_scikit_learn(shape):
    actual = RNG.normal(size=shape)
    predicted = actual + 0.3 * RNG.normal(size=shape)
    assert regression_metrics(actual, predicted) == {
        "rmse": root_mean_squared_error(actual, predicted),
        "mae": mean_absolute_error(actual, predicted),
        "r2": r2_score(actual, predicted),
    }


def test_r2_of_one_row_is_not_defined():
    metrics = regression_metrics(np.array([1.0]), np.array([3.0]))
    assert (metrics["rmse"], metrics["mae"]) == (2.0, 2.0)
    assert np.isnan(metrics["r2"])


LABELS = {
    "two words": ["no", "yes"],
    "three words": ["a", "b", "c"],
    "truth values": [False, True],
    "numbers": [-1, 3, 10, 11],
}


@pytest.mark.parametrize("case", LABELS)
def test_classification_figures_are_those_of_scikit_learn(case):
    classes = np.array(LABELS[case])
    k = len(classes)
    actual = classes[np.arange(60) % k]
    proba = RNG.dirichlet(np.ones(k), 60)
    figures = classification_metrics(actual, proba, classes)
    assert figures["accuracy"] == accuracy_score(actual, classes[proba.argmax(1)])
    assert figures["log_loss"] == pytest.approx(log_loss(actual, proba, labels=classes))
    scores = proba[:, 1] if k == 2 else proba
    expected = roc_auc_score(actual, scores, multi_class="ovr", labels=classes)
    assert figures["roc_auc"] == pytest.approx(expected)


def test_the_area_is_not_defined_where_a_class_has_no_row():
    proba = np.array([[0.9, 0.1], [0.6, 0.4]])
    figures = classification_metrics(np.array(["a", "a"]), proba, np.array(["a", "b"]))
    assert np.isnan(figures["roc_auc"])
    assert figures["accuracy"] == 1.0
    assert figures["log_loss"] == pytest.approx(-np.log([0.9, 0.6]).mean())


def test_any_fitted_estimator_is_scored():
    x, y = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(x, y)
    found = score(model, x, y)
    assert found.metrics["r2"] == pytest.approx(model.score(x, y))
    np.testing.assert_array_equal(found.predicted, model.predict(x)[:, None])
    x, y = load_wine(return_X_y=True)
    names = pd.Series(["red", "rosé", "white"])[y].to_numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, names)
    found = score(classifier, x, names)
    assert found.metrics["accuracy"] == pytest.approx(classifier.score(x, names))
    np.testing.assert_array_equal(found.predicted, classifier.predict_proba(x))
