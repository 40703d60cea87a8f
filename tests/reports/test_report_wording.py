import pytest

from pointwise.reports import Report
from pointwise.reports.wording import count, duration, headline, quantity, score

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"

QUANTITIES = {
    0: "0",
    0.46329: "0.4633",
    1234.56: "1235",
    9999.6: "1e+04",
    48213.4: "48,213",
    123456789: "123,456,789",
    -2: f"{MINUS}2",
    -0.00001234: f"{MINUS}1.23e-05",
    1e15: "1.00e+15",
    None: DASH,
    "2024-05-01": "2024-05-01",
    "-": "-",
}


@pytest.mark.parametrize("value", QUANTITIES, ids=str)
def test_quantity(value):
    assert quantity(value) == QUANTITIES[value]


SCORES = {
    ("rmse", 0.46): "0.46",
    ("accuracy", 0.87314): "87.31 %",
    ("accuracy", 1.0): "100.00 %",
    ("accuracy", None): DASH,
    ("r2", -0.0003): f"{MINUS}0.0003",
    ("r2", -3e5): f"{MINUS}300,000",
    ("log_loss", 0.1): "0.1000",
    ("of_mine", 0.1): "0.1",
}


@pytest.mark.parametrize("case", SCORES, ids=str)
def test_score(case):
    assert score(*case) == SCORES[case]


DURATIONS = {
    None: DASH,
    0: "< 0.01 s",
    0.84: "0.84 s",
    9.99: "9.99 s",
    9.999: "10 s",
    59.4: "59 s",
    59.6: "1 min 0 s",
    3599.7: "1 h 0 min",
    8000: "2 h 13 min",
}


@pytest.mark.parametrize("seconds", DURATIONS, ids=str)
def test_duration(seconds):
    assert duration(seconds) == DURATIONS[seconds]


def test_count():
    assert count(20640) == "20,640"


HEADLINES = {
    "beside the best baseline": (
        {},
        "RMSE 0.31 on 500 held-out rows; boosting in the same run: 0.33.",
    ),
    "higher is better": (
        {"metrics": {"r2": 0.5}},
        "R² 0.5000 on 500 held-out rows; boosting in the same run: 0.8900.",
    ),
    "no baselines": ({"baselines": []}, "RMSE 0.31 on 500 held-out rows."),
    "no baseline has it": ({"metrics": {"mse": 0.5}}, "MSE 0.5 on 500 held-out rows."),
    "not known": ({"metrics": {"gini": 0.5}}, "gini 0.5 on 500 held-out rows."),
    "not a number": (
        {"metrics": {"rmse": float("nan")}},
        "RMSE could not be computed on 500 held-out rows; boosting in the same run: 0.33.",
    ),
    "no metrics": ({"metrics": {}}, "No metric was computed on 500 held-out rows."),
}


@pytest.mark.parametrize("case", HEADLINES)
def test_headline(case, regression_fields):
    changes, sentence = HEADLINES[case]
    assert headline(Report(**regression_fields | changes)) == sentence
