import numpy as np
import pytest

from pointwise.errors import DataError
from pointwise.reports import permutation_importance


def linear_loss(table, weights):
    """The mean squared error of a model that is right on untouched rows."""
    truth = sum(weight * table[name] for name, weight in weights.items())

    def score(name, permutation):
        shuffled = table | ({name: table[name][permutation]} if name is not None else {})
        guess = sum(weight * shuffled[column] for column, weight in weights.items())
        return float(np.mean((guess - truth) ** 2))

    return score


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=2000) for name in "abc"}


def test_importance_of_a_linear_model_is_twice_its_squared_weight(table):
    # E[(w x - w x')^2] = 2 w^2 for independent x, x' of variance one
    found = permutation_importance(list("abc"), linear_loss(table, {"a": 0, "b": 1, "c": 3}), 2000)
    assert [one["name"] for one in found] == ["c", "b", "a"]
    assert [one["mean"] for one in found] == pytest.approx([18, 2, 0], rel=0.1)
    assert found[-1] == {"name": "a", "mean": 0.0, "sd": 0.0}
    assert 0 < found[0]["sd"] < 3


def test_the_same_seed_gives_the_same_in_any_order_of_columns(table):
    score = linear_loss(table, {"a": 1, "b": 2, "c": 3})
    one = permutation_importance(list("abc"), score, 2000, seed=3)
    assert one == permutation_importance(list("cba"), score, 2000, seed=3)
    assert one != permutation_importance(list("abc"), score, 2000, seed=4)


def test_scores_are_asked_for_whole_permutations():
    asked = []

    def score(name, permutation):
        asked.append((name, None if permutation is None else permutation.tolist()))
        return 0.0

    permutation_importance(["a", "b"], score, 6, repeats=2)
    assert asked[0] == (None, None)
    assert [name for name, _ in asked[1:]] == ["a", "a", "b", "b"]
    assert all(sorted(permutation) == list(range(6)) for _, permutation in asked[1:])
    assert [p for name, p in asked if name == "a"] == [p for name, p in asked if name == "b"]


def test_a_loss_that_is_not_a_number_comes_last():
    losses = {None: 1.0, "broken": float("nan"), "used": 2.0, "harmful": 0.5}
    found = permutation_importance(
        ["broken", "harmful", "used"], lambda name, _: losses[name], 5, repeats=1
    )
    assert [one["name"] for one in found] == ["used", "harmful", "broken"]
    assert found[0] == {"name": "used", "mean": 1.0, "sd": 0.0}


def test_no_columns_no_importance():
    assert permutation_importance([], lambda *_: 0.0, 5) == []


@pytest.mark.parametrize(("rows", "repeats"), [(0, 5), (5, 0)], ids=["rows", "repeats"])
def test_errors(rows, repeats):
    message = f"^rows and repeats must be at least 1, got {rows} and {repeats}$"
    with pytest.raises(DataError, match=message):
        permutation_importance(["a"], lambda *_: 0.0, rows, repeats=repeats)
