import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pointwise.errors import DataError
from pointwise.reports import classification_figures


def random_proba(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


def test_confusion_by_hand():
    proba = np.eye(3)[[0, 0, 1, 2, 2, 1]]
    figures = classification_figures(np.array([0, 1, 1, 2, 0, 0]), proba, ["a", "b", "c"])
    assert figures["confusion"] == {
        "labels": ["a", "b", "c"],
        "counts": [[1, 1, 1], [1, 1, 0], [0, 0, 1]],
        "lumped": 0,
    }


def test_beyond_thirty_classes_the_rarer_are_one():
    rng = np.random.default_rng(0)
    actual = np.concatenate([np.repeat(np.arange(10, 40), 10), rng.integers(0, 10, 40)])
    guess = np.roll(actual, 1)
    figures = classification_figures(actual, np.eye(40)[guess], [f"class {k}" for k in range(40)])
    confusion = figures["confusion"]
    assert confusion["lumped"] == 10
    assert confusion["labels"] == [f"class {k}" for k in range(10, 40)] + ["other (10 classes)"]
    counts = np.array(confusion["counts"])
    assert counts.shape == (31, 31)
    assert counts.sum() == len(actual) == 340
    assert counts[:30].sum(axis=1).tolist() == [10] * 30
    assert counts[30, 30] == ((actual < 10) & (guess < 10)).sum()


def test_thirty_classes_are_all_shown():
    figures = classification_figures(np.arange(30), np.eye(30), [str(k) for k in range(30)])[
        "confusion"
    ]
    assert figures["lumped"] == 0
    np.testing.assert_array_equal(figures["counts"], np.eye(30))


@pytest.mark.parametrize("classes", [2, 5], ids=["binary", "five classes"])
def test_calibration_against_brute_force(classes):
    rows = 300
    proba = random_proba(rows, classes)
    actual = np.random.default_rng(1).integers(0, classes, rows)
    names = [str(k) for k in range(classes)]
    calibration = classification_figures(actual, proba, names)["calibration"]

    bins: dict[int, list[tuple[float, bool]]] = {}
    for row in range(rows):
        said = 1 if classes == 2 else max(range(classes), key=lambda k: proba[row, k])
        chance = proba[row, said]
        bins.setdefault(min(int(chance * 10), 9), []).append((chance, actual[row] == said))
    error = 0.0
    expected = []
    for place in sorted(bins):
        chances, right = zip(*bins[place], strict=True)
        expected.append((sum(chances) / len(right), sum(right) / len(right), len(right)))
        error += abs(sum(chances) - sum(right)) / rows

    found = zip(
        calibration["probability"], calibration["frequency"], calibration["rows"], strict=True
    )
    np.testing.assert_allclose(list(found), expected)
    assert calibration["error"] == pytest.approx(error)
    assert sum(calibration["rows"]) == rows
    assert calibration["positive"] == ("1" if classes == 2 else None)


def test_perfect_probabilities_have_no_calibration_error():
    figures = classification_figures(np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]], ["a", "b"])
    assert figures["calibration"]["error"] == 0
    assert figures["calibration"]["probability"] == [0, 1]


@pytest.mark.parametrize("rows", [3, 50, 5000], ids=str)
@pytest.mark.parametrize("digits", [1, 12], ids=["ties", "no ties"])
def test_roc_against_scikit_learn(rows, digits):
    rng = np.random.default_rng(rows)
    actual = np.r_[0, 1, rng.integers(0, 2, rows - 2)]
    chance = np.round(np.clip(0.3 * actual + rng.uniform(0, 0.7, rows), 0, 1), digits)
    roc = classification_figures(actual, np.stack([1 - chance, chance], 1), ["a", "b"])["roc"]
    assert roc["area"] == pytest.approx(roc_auc_score(actual, chance))
    false, true = np.array(roc["false_positive"]), np.array(roc["true_positive"])
    assert len(false) == len(true) <= 100
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert np.trapezoid(true, false) == pytest.approx(roc["area"], abs=2e-3)


NO_ROC = {
    "three classes": (np.array([0, 1, 2]), 3),
    "only negatives": (np.array([0, 0]), 2),
    "only positives": (np.array([1, 1]), 2),
    "one row": (np.array([1]), 2),
}


@pytest.mark.parametrize("case", NO_ROC)
def test_no_roc_without_both_of_two_classes(case):
    actual, classes = NO_ROC[case]
    names = [str(k) for k in range(classes)]
    figures = classification_figures(actual, random_proba(len(actual), classes), names)
    assert figures["roc"] is None
    assert np.sum(figures["confusion"]["counts"]) == len(actual)


def test_rows_without_finite_probabilities_are_counted():
    proba = np.array([[0.2, 0.8], [np.nan, 0.5], [0.9, 0.1]])
    figures = classification_figures(np.array([1, 1, 0]), proba, ["a", "b"])
    assert (figures["rows"], figures["not_finite"]) == (2, 1)
    assert figures["confusion"]["counts"] == [[1, 0], [0, 1]]


ERRORS = {
    "too few columns": (
        (np.array([0, 1]), np.ones((2, 2)), ["a", "b", "c"]),
        "actual must have shape (N,) and proba (N, 3), a column per class, got (2,) and (2, 2)",
    ),
    "lengths": (
        (np.array([0, 1, 1]), np.ones((2, 2)), ["a", "b"]),
        "actual must have shape (N,) and proba (N, 2), a column per class, got (3,) and (2, 2)",
    ),
    "labels": (
        (np.array(["a", "b"]), np.ones((2, 2)), ["a", "b"]),
        "actual must hold class indices, got <U1; encode labels first",
    ),
    "an index too large": (
        (np.array([0, 2]), np.ones((2, 2)), ["a", "b"]),
        "actual must hold class indices from 0 to 1, got 0 to 2",
    ),
    "nothing finite": (
        (np.array([0]), np.full((1, 2), np.nan), ["a", "b"]),
        "figures need at least one row with finite values, got none",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    arguments, message = ERRORS[case]
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        classification_figures(*arguments)
