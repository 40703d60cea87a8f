import pytest

from pointwise.reports import Report
from pointwise.reports.tables import confusion_rows, importance_bars, metric_table


def test_the_best_of_each_column_is_marked_in_its_direction(regression_fields):
    table = metric_table(Report(**regression_fields))
    assert [metric.label for metric in table.metrics] == ["RMSE", "MAE", "R²"]
    assert [metric.better for metric in table.metrics] == [-1, -1, 1]
    assert {row.name: [cell.best for cell in row.cells] for row in table.rows} == {
        "this model": [True, False, True],
        "mean": [False, False, False],
        "boosting": [False, True, False],
    }
    assert [row.own for row in table.rows] == [True, False, False]


def best(own, other, name="rmse", fields=None):
    report = Report(
        **fields | {"metrics": {name: own}, "baselines": [{"name": "b", "metrics": {name: other}}]}
    )
    return tuple(row.cells[0].best for row in metric_table(report).rows)


BEST = {
    "reads the same": (("rmse", 0.123441, 0.123442), (True, True)),
    "own has none": (("rmse", None, 1.0), (False, False)),
    "other has none": (("rmse", 1.0, None), (False, False)),
    "higher": (("accuracy", 0.9, 0.8), (True, False)),
    "not known": (("gini_of_mine", 1.0, 2.0), (False, False)),
}


@pytest.mark.parametrize("case", BEST)
def test_best(case, regression_fields):
    (name, own, other), expected = BEST[case]
    assert best(own, other, name, regression_fields) == expected


def test_metrics_of_a_baseline_alone_get_a_column(regression_fields):
    regression_fields["baselines"] = [{"name": "b", "metrics": {"mse": 0.5}}]
    table = metric_table(Report(**regression_fields))
    assert [metric.label for metric in table.metrics] == ["RMSE", "MAE", "R²", "MSE"]
    assert [cell.text for cell in table.rows[0].cells] == ["0.31", "0.24", "0.9000", "\N{EN DASH}"]


def test_confusion_is_shaded_by_the_share_of_the_actual_class():
    confusion = {"labels": ["a", "b", "c"], "counts": [[3, 1, 0], [0, 0, 0], [2, 0, 2]]}
    a, b, c = confusion_rows({"confusion": confusion | {"lumped": 0}})
    assert [cell.share for cell in a.cells] == [0.75, 0.25, 0]
    assert (a.rows, a.right) == (4, 0.75)
    assert (b.rows, b.right) == (0, None)
    assert [cell.share for cell in b.cells] == [0, 0, 0]
    assert (c.rows, c.right) == (4, 0.5)


def test_lumped_classes_have_no_share_that_is_right():
    confusion = {"labels": ["a", "other (9 classes)"], "counts": [[3, 1], [0, 4]], "lumped": 9}
    assert [row.right for row in confusion_rows({"confusion": confusion})] == [0.75, None]


def test_bars_scale_to_the_longest_with_its_whisker():
    importance = [
        {"name": "a", "mean": 3.0, "sd": 1.0},
        {"name": "b", "mean": 1.0, "sd": 2.0},
        {"name": "c", "mean": -1.0, "sd": 0.5},
        {"name": "d", "mean": None, "sd": None},
    ]
    bars = importance_bars(importance)
    assert [bar.width for bar in bars] == [75, 25, 0, 0]
    assert [(bar.whisker_start, bar.whisker_width) for bar in bars] == [
        (50, 50),
        (0, 75),
        (0, 0),
        (0, 0),
    ]


@pytest.mark.parametrize("mean", [0.0, -1.0, None], ids=str)
def test_nothing_above_zero_has_no_bar(mean):
    assert importance_bars([{"name": "a", "mean": mean, "sd": 0.0}])[0].width == 0
    assert importance_bars([]) == []


def test_twenty_bars_at_most():
    importance = [{"name": str(k), "mean": 1.0, "sd": 0.0} for k in range(30)]
    assert [bar.name for bar in importance_bars(importance)] == [str(k) for k in range(20)]
