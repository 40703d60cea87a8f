"""Weights of rows and classes: what stands in for scikit-learn's check, and what is refused."""

import numpy as np
import pytest
from tiny import classifier, regressor, table

from pointwise.errors import DataError

EXACT = {"precision": "float64", "batch_size": 10_000, "dropout": 0.0, "max_epochs": 30}


def _fits():
    x, y, labels = table()
    return {"regressor": (regressor(**EXACT), x, y), "classifier": (classifier(**EXACT), x, labels)}


def _outputs(model, x):
    return model.predict_proba(x) if hasattr(model, "classes_") else model.predict(x)


@pytest.mark.parametrize("weight", [2, 0], ids=["twice", "never"])
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_a_weight_is_how_often_a_row_counts(kind, weight):
    model, x, y = _fits()[kind]
    weights = np.ones(len(y), dtype=int)
    weights[: len(y) // 3] = weight
    held = (x[::2], y[::2])
    weighted = _outputs(model.fit(x, y, weights, validation_data=held), x)
    rows = np.repeat(np.arange(len(y)), weights)
    repeated = _outputs(model.fit(x[rows], y[rows], validation_data=held), x)
    np.testing.assert_allclose(weighted, repeated, rtol=0, atol=1e-6)
    plain = _outputs(model.fit(x, y, validation_data=held), x)
    assert np.abs(weighted - plain).max() > 1e-3


def test_weights_of_validation_rows_choose_the_epoch():
    x, y, _ = table()
    wrong = np.where(np.arange(len(y)) < 60, y, -y)
    trust = (np.arange(len(y)) < 60).astype(float)
    scores = [
        regressor().fit(x, y, validation_data=(x, wrong, w)).history_[-1]["valid_loss"]
        for w in (trust, 1 - trust)
    ]
    assert scores[0] < scores[1]


def test_a_class_weight_is_a_weight_of_its_rows():
    x, _, labels = table()
    held = (x, labels, np.where(labels == "up", 3.0, 1.0))
    by_row = classifier().fit(x, labels, held[2], validation_data=held)
    by_class = classifier(class_weight={"up": 3})
    by_class.fit(x, labels, validation_data=(x, labels))
    np.testing.assert_array_equal(by_class.predict_proba(x), by_row.predict_proba(x))


def test_balanced_classes_raise_the_rare_one():
    x, y, _ = table()
    rare = y > np.quantile(y, 0.9)
    plain, even = (
        classifier(class_weight=w).fit(x, rare).predict_proba(x)[:, 1].mean()
        for w in (None, "balanced")
    )
    assert even > plain + 0.05


def test_equal_weights_are_no_weights():
    x, y, _ = table()
    np.testing.assert_array_equal(
        regressor().fit(x, y, np.full(len(y), 7.0)).predict(x), regressor().fit(x, y).predict(x)
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    {
        "negative": (-np.ones(120), "Negative values in data passed to `sample_weight`"),
        "missing": (np.full(120, np.nan), "Input sample_weight contains NaN"),
        "none positive": (np.zeros(120), "at least one non-zero number"),
        "too few": (np.ones(3), r"sample_weight.shape == \(3,\), expected \(120,\)"),
    }.values(),
    ids=["negative", "missing", "none positive", "too few"],
)
def test_weights_that_cannot_be_are_refused(weight, message):
    x, y, _ = table()
    with pytest.raises(ValueError, match=message):
        regressor().fit(x, y, weight)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sideways": 1}, "class_weight names a class that y does not have: 'sideways'"),
        ({"up": -1}, r"class_weight must hold finite weights from 0 on, got \{'up': -1\}"),
        ("even", "class_weight must be a mapping, 'balanced' or None, got 'even'"),
        ({"up": 0, "down": 0}, "sample_weight and class_weight must leave a row of positive"),
    ],
    ids=["unknown class", "negative", "unknown word", "nothing left"],
)
def test_class_weights_that_cannot_be_are_refused(given, message):
    x, _, labels = table()
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=given).fit(x, labels)


def test_no_class_weight_leaves_a_row_but_a_sample_weight_does_not():
    x, _, labels = table()
    with pytest.raises(DataError, match="must leave a row of positive weight"):
        classifier(class_weight={"up": 0}).fit(x, labels, (labels == "up").astype(float))
