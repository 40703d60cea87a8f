"""A table taken apart: the task, the columns, the targets, and the rows held out."""

import numpy as np
import pandas as pd
import pytest

from pointwise.errors import DataError
from pointwise.studies import check_columns, choose_task, take_apart
from pointwise.studies.holdout import hold_out

N = 40
FRAME = pd.DataFrame(
    {
        "a": np.arange(N) / 3,
        "town": [f"t{i // 4}" for i in range(N)],
        "when": pd.date_range("2020-01-01", periods=N)[::-1],
        "y": np.sin(np.arange(N)),
        "z": np.cos(np.arange(N)),
        "word": np.where(np.arange(N) % 3 == 0, "no", "yes"),
    }
)

TASKS = {
    "fractions": (np.linspace(0, 1, 50), "regression"),
    "many whole numbers": (np.arange(50), "regression"),
    "few whole numbers": (np.arange(50) % 3, "classification"),
    "few whole numbers in few rows": (np.arange(12) % 4, "regression"),
    "two numbers in few rows": (np.arange(12) % 2, "classification"),
    "few fractions": (np.arange(50) % 2 / 2, "regression"),
    "eleven numbers": (np.arange(500) % 11, "regression"),
    "ten numbers": (np.arange(500) % 10, "classification"),
    "whole numbers and gaps": ([0, 1, None] * 20, "classification"),
    "text": (["a", "b"] * 25, "classification"),
    "truth": ([True, False] * 25, "classification"),
    "categories": (pd.Categorical([1, 2] * 25), "classification"),
}


@pytest.mark.parametrize("case", TASKS)
def test_the_task_is_told_from_the_target(case):
    values, task = TASKS[case]
    assert choose_task(pd.Series(values, name="y")) == task


def test_columns_that_are_not_there_are_named_with_those_most_like_them():
    check_columns(FRAME, ["a", "town"], "target")
    with pytest.raises(DataError, match="no target column 'twon': did you mean 'town'"):
        check_columns(FRAME, ["a", "twon"], "target")
    with pytest.raises(DataError, match="no --keep column 'qqq': its columns are a, town, when, y"):
        check_columns(FRAME, ["qqq"], "--keep")
    wide = pd.DataFrame(np.zeros((1, 30)), columns=[f"c{i}" for i in range(30)])
    with pytest.raises(DataError, match=r"its columns are c0, c1, .*, c19, \.\.\.$"):
        check_columns(wide, ["target"], "target")


def test_a_part_has_the_targets_and_all_other_columns():
    part = take_apart(FRAME, ["y"], "regression")
    assert part.x.columns.tolist() == ["a", "town", "when", "z", "word"]
    np.testing.assert_array_equal(part.y, FRAME["y"])
    assert part.groups is None
    assert part.times is None
    both = take_apart(FRAME, ["y", "z"], "regression")
    np.testing.assert_array_equal(both.y, FRAME[["y", "z"]])


def test_groups_are_not_predicted_from_and_times_are():
    part = take_apart(FRAME, ["y"], "regression", groups="town")
    assert "town" not in part.x
    assert part.groups.tolist() == FRAME["town"].tolist()
    part = take_apart(FRAME, ["y"], "regression", times="when")
    assert "when" in part.x
    few = part.take(np.array([3, 1]))
    np.testing.assert_array_equal(few.times, FRAME["when"].to_numpy()[[3, 1]])
    np.testing.assert_array_equal(few.y, FRAME["y"][[3, 1]])


def test_rows_without_a_target_are_left_out_and_said():
    said = []
    frame = FRAME.assign(y=FRAME["y"].mask(FRAME.index < 5), z=FRAME["z"].mask(FRAME.index > 37))
    part = take_apart(frame, ["y", "z"], "regression", say=said.append)
    assert part.x.index.tolist() == list(range(5, 38))
    assert said == ["7 rows have no value of the target and are left out"]


LABELS = {
    "text": (["b", "a"] * 20, ["b", "a"]),
    "truth": ([True, False] * 20, [True, False]),
    "nullable truth": (pd.array([True, False] * 20, dtype="boolean"), [True, False]),
    "whole numbers": ([3, 1] * 20, [3, 1]),
    "whole numbers as floats": ([3.0, 1.0] * 20, [3, 1]),
    "nullable whole numbers": (pd.array([3, 1] * 20, dtype="Int64"), [3, 1]),
    "fractions": ([0.5, 1.0] * 20, ["0.5", "1"]),
    "categories": (pd.Categorical([3, 1] * 20), ["3", "1"]),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_text_truth_or_whole_numbers_where_they_can_be(case):
    values, first = LABELS[case]
    labels = take_apart(FRAME.assign(word=values), ["word"], "classification").y.tolist()
    assert labels[:2] == first
    assert [type(label) for label in labels[:2]] == [type(label) for label in first]


KNOWN = {
    "the same": (["no", "yes"] * 20, ["no", "yes"], "no"),
    "a dot": (["no.", "yes."] * 20, ["no", "yes"], "no"),
    "numbers for text": ([1, 2] * 20, ["1", "2"], "1"),
    "text for numbers": (["1", "2"] * 20, [1, 2], 1),
    "floats for numbers": ([1.0, 2.0] * 20, [1, 2], 1),
    "whole numbers for fractions": ([1, 2] * 20, ["0.5", "1", "2"], "1"),
    "one of them": (["no"] * 40, ["no", "yes"], "no"),
}


@pytest.mark.parametrize("case", KNOWN)
def test_labels_are_those_that_a_model_knows(case):
    values, known, first = KNOWN[case]
    part = take_apart(
        FRAME.assign(word=values), ["word"], "classification", learn=False, known=np.array(known)
    )
    assert part.y.tolist()[0] == first
    assert part.y.dtype == np.array(known).dtype


def test_rows_to_be_scored_may_be_few_and_alike():
    one = take_apart(FRAME[:1], ["y"], "regression", learn=False)
    assert len(one.y) == 1
    odd = FRAME.assign(a=np.inf, y=1.0)
    assert len(take_apart(odd, ["y"], "regression", learn=False).y) == N
    for frame, message in (
        (FRAME[:9], "the table has 9 rows with a target: at least 10 are needed"),
        (FRAME.assign(y=1.0), r"target 'y' is constant \(1.0\)"),
        (odd, "column 'a' must hold finite numbers: row 0 is infinite"),
    ):
        with pytest.raises(DataError, match=message):
            take_apart(frame, ["y"], "regression")


def _part(task="regression", **roles):
    return take_apart(FRAME, ["word" if task == "classification" else "y"], task, **roles)


def _sizes(split):
    return [len(part.y) for part in (split.learn, split.valid, split.test)]


def _rows(part):
    return part.x.index.tolist()


def test_three_parts_share_no_row():
    split = hold_out(_part(), None, "regression", valid=0.25, test=0.2, seed=0)
    assert _sizes(split) == [24, 8, 8]
    assert sorted(_rows(split.learn) + _rows(split.valid) + _rows(split.test)) == list(range(N))
    again = hold_out(_part(), None, "regression", valid=0.25, test=0.2, seed=0)
    assert _rows(again.test) == _rows(split.test)
    other = hold_out(_part(), None, "regression", valid=0.25, test=0.2, seed=1)
    assert _rows(other.test) != _rows(split.test)


def test_without_a_test_part_the_validation_rows_are_scored_on():
    split = hold_out(_part(), None, "regression", valid=0.25, test=0.0, seed=0)
    assert split.test is split.valid
    assert _sizes(split) == [30, 10, 10]
    given = _part().take(np.arange(5))
    split = hold_out(_part(), given, "regression", valid=0.25, test=0.0, seed=0)
    assert split.valid is split.test is given
    assert _sizes(split)[0] == N
    split = hold_out(_part(), given, "regression", valid=0.25, test=0.2, seed=0)
    assert split.valid is given
    assert _sizes(split) == [32, 5, 8]


def test_classes_are_held_out_alike():
    split = hold_out(_part("classification"), None, "classification", valid=0.25, test=0.2, seed=0)
    assert [np.mean(part.y == "no") for part in (split.learn, split.valid, split.test)] == [
        pytest.approx(0.35, abs=0.1)
    ] * 3


def test_groups_and_times_decide_all_three_parts():
    split = hold_out(_part(groups="town"), None, "regression", valid=0.25, test=0.2, seed=0)
    towns = [set(part.groups.tolist()) for part in (split.learn, split.valid, split.test)]
    assert [len(one) for one in towns] == [6, 2, 2]
    assert not (towns[0] & towns[1])
    assert not (towns[0] & towns[2])
    assert not (towns[1] & towns[2])
    split = hold_out(_part(times="when"), None, "regression", valid=0.25, test=0.2, seed=0)
    assert _rows(split.test) == list(range(8))  # the dates descend: the first rows are the latest
    assert _rows(split.valid) == list(range(8, 16))


def test_shares_that_hold_nothing_out_and_classes_that_are_not_learnt_are_refused():
    with pytest.raises(DataError, match=r"--test 0.01 of 40 rows .* holds none out: give a larger"):
        hold_out(_part(), None, "regression", valid=0.25, test=0.01, seed=0)
    with pytest.raises(DataError, match=r"--valid 0.01 of 32 rows .* holds none out"):
        hold_out(_part(), None, "regression", valid=0.01, test=0.2, seed=0)
    late = FRAME.assign(word=np.where(np.arange(N) < 3, "late", FRAME["word"]))
    part = take_apart(late, ["word"], "classification", times="when")
    with pytest.raises(DataError, match="class 'late' is only in rows held out, so it cannot be"):
        hold_out(part, None, "classification", valid=0.25, test=0.2, seed=0)
    two = take_apart(FRAME.assign(town=np.arange(N) % 2), ["y"], "regression", groups="town")
    with pytest.raises(DataError, match="names too few groups to hold one out"):
        hold_out(two, None, "regression", valid=0.25, test=0.2, seed=0)
