import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pointwise.reports import (
    Report,
    classification_figures,
    permutation_importance,
    regression_figures,
    render_html,
)

SECTIONS = ["summary", "metrics", "learning", "predictions", "importance", "data", "network"]
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """What a page holds; an end tag that does not match its start tag fails."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if attributes.get("id")]


def page(fields) -> Page:
    return Page(render_html(Report(**fields)))


@pytest.fixture(params=["regression_fields", "classification_fields"])
def fields(request):
    return request.getfixturevalue(request.param)


def test_every_section_is_there_in_order(fields):
    found = page(fields)
    ids = [name for name in found.ids() if name in [*SECTIONS, "warnings"]]
    assert ids == [*SECTIONS, "warnings"]
    assert len(found.ids()) == len(set(found.ids()))
    assert [tag for tag, _ in found.tags].count("h1") == 1


def test_nothing_is_fetched_and_no_script_runs(fields):
    content = render_html(Report(**fields))
    assert "http" not in content
    assert not re.search(r"@import|<script|<link|<iframe|javascript:|\son\w+=", content, re.I)
    for _, attributes in Page(content).tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"url\((?!#)", content)


def test_figures_have_a_caption_on_how_to_read_them_and_a_label(fields):
    found = page(fields)
    tags = [tag for tag, _ in found.tags]
    assert tags.count("figure") == tags.count("figcaption") >= 5
    assert found.text.count("How to read it: ") == tags.count("figure")
    drawings = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert all(attributes["aria-label"] and attributes["role"] == "img" for attributes in drawings)
    assert len({attributes["aria-label"] for attributes in drawings}) == len(drawings) >= 3


def test_regression_page(regression_fields):
    text = page(regression_fields).text
    for said in (
        "regression of price",
        "RMSE 0.31 on 500 held-out rows; boosting in the same run: 0.33.",
        "1 warning to look at before using the model",
        "Measured on 500 held-out rows. All models were fitted in one run",
        "lower is better",
        "Predicted against actual",
        "Residuals against predicted",
        "best epoch, kept 32",
        "0.8 ± 0.05",
        "20 to 400 , median 85.5",
        "Oslo 300 , oslo 20 and 10 more",
        "two levels differ only in case",
        "8 \N{MULTIPLICATION SIGN} 64",
        "together, 4 networks in one 592",
        "area has 3 missing values",
        "1 min 23 s",
        "2026-01-31 12:30",
    ):
        assert said in text


def test_classification_page(classification_fields):
    content = render_html(Report(**classification_fields))
    text = Page(content).text
    for said in (
        "Accuracy 81.25 % on 500 held-out rows; majority class in the same run: 51.00 %.",
        "Confusion matrix",
        "Calibration",
        "Expected calibration error",
        "ROC curve",
    ):
        assert said in text
    assert "Predicted against actual" not in text
    assert "<strong>81.25 %</strong>" in content


EVIL = "<script>alert(1)</script>"


def test_every_text_is_escaped(classification_fields):
    figures = classification_figures(np.array([0, 1, 1]), np.eye(2)[[0, 1, 0]], [EVIL, EVIL + '"&'])
    evil = classification_fields | {
        "title": EVIL,
        "target": [EVIL],
        "created": EVIL + '" onload="x',
        "metrics": {EVIL: 1.0},
        "metrics_rows": EVIL,
        "baselines": [{"name": EVIL, "metrics": {EVIL: 2.0}}],
        "figures": {EVIL: figures, "other": figures},
        "importance": [{"name": EVIL, "mean": 1.0, "sd": 0.0}],
        "columns": [
            {
                "name": EVIL,
                "kind": EVIL,
                "note": EVIL,
                "levels": [{"level": EVIL, "rows": 1}],
            },
            {"name": EVIL, "kind": EVIL, "minimum": EVIL, "median": EVIL, "maximum": EVIL},
        ],
        "layers": [{"name": EVIL, "kind": EVIL, "shape": EVIL, "parameters": 1}],
        "warnings": [EVIL],
    }
    content = render_html(Report(**evil))
    found = Page(content)
    assert not any(tag == "script" for tag, _ in found.tags)
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert "<script" not in content
    assert found.text.count(EVIL) >= 20


def test_several_targets_are_each_shown(regression_fields):
    figures = next(iter(regression_fields["figures"].values()))
    names = [f"target {k}" for k in range(5)]
    found = page(regression_fields | {"target": names, "figures": dict.fromkeys(names, figures)})
    details = [attributes for tag, attributes in found.tags if tag == "details"]
    assert ["open" in attributes for attributes in details] == [True] * 3 + [False] * 2
    assert "regression of target 0, target 1, target 2 and 2 more" in found.text
    assert len(found.ids()) == len(set(found.ids()))


def test_what_is_left_out_is_said(regression_fields):
    many = range(250)
    wide = regression_fields | {
        "columns": [{"name": f"c{k}", "kind": "number"} for k in many],
        "importance": [{"name": f"c{k}", "mean": 1.0, "sd": 0.0} for k in many],
        "layers": [{"name": f"l{k}", "kind": "x", "shape": "y", "parameters": 1} for k in many],
        "warnings": ["careful"] * 60,
        "history": [{"epoch": k, "train_loss": 1.0, "valid_loss": 1.0} for k in range(1, 1001)],
    }
    text = page(wide).text
    for said in (
        "50 more columns are left out here.",
        "230 more columns are left out here.",
        "50 more layers are left out here.",
        "10 more warnings are left out here.",
        "of 1,000 epochs.",
        "60 warnings to look at",
    ):
        assert said in text


def test_a_report_of_almost_nothing():
    bare = {
        "title": "bare",
        "task": "regression",
        "target": ["y"],
        "created": "?",
        "seconds": None,
        "metrics": {},
        "metrics_rows": "no rows",
        "rows": {"train": 1, "valid": 0, "test": 0},
    }
    found = page(bare)
    for said in (
        "No metric was computed on no rows.",
        "No loss was recorded.",
        "No figures were computed.",
        "It was not computed.",
        "The columns were not described.",
        "The layers were not listed.",
        "None.",
    ):
        assert said in found.text
    assert [name for name in SECTIONS if name in found.ids()] == SECTIONS


ODD = {
    "one row": regression_figures(np.array([3.0]), np.array([2.0])),
    "constant": regression_figures(np.arange(100.0), np.full(100, 7.0)),
    "all equal": regression_figures(np.full(100, 7.0), np.full(100, 7.0)),
    "huge": regression_figures(np.arange(100.0) * 1e200, np.arange(100.0) * 1e200),
    "tiny": regression_figures(np.arange(100.0) * 1e-200, np.zeros(100)),
    "not finite": regression_figures(np.arange(3.0), np.array([0, np.nan, np.inf])),
    "one class": classification_figures(np.zeros(3, int), np.ones((3, 1)), ["only"]),
    "one row of two classes": classification_figures(np.array([1]), np.eye(2)[:1], ["a", "b"]),
    "a class without rows": classification_figures(np.zeros(9, int), np.eye(3)[[0] * 9], [*"abc"]),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_figures_are_drawn(case, regression_fields):
    odd = ODD[case]
    found = page(regression_fields | {"task": odd["kind"], "figures": {"y": odd}})
    assert "Predictions" in found.text
    assert ("are not shown: there are too few rows" in found.text) == (
        len(odd.get("bands", "abc")) < 3
    )
    assert ("2 of 3 rows have no finite" in found.text) == (case == "not finite")


def test_a_constant_prediction_has_no_bands_and_says_so(regression_fields):
    text = page(regression_fields | {"figures": {"y": ODD["constant"]}}).text
    assert "Residuals against predicted" not in text


def test_a_metric_that_is_not_a_number_is_a_dash(regression_fields):
    regression_fields["metrics"] = {"rmse": float("nan"), "r2": 0.5}
    text = page(regression_fields).text
    assert "RMSE could not be computed on 500 held-out rows" in text
    assert "this model \N{EN DASH}" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize(
    "load", [load_diabetes, load_breast_cancer], ids=lambda load: load.__name__
)
def test_a_page_from_real_predictions(load, regression_fields):
    data = load(as_frame=True)
    X, X_test, y, y_test = train_test_split(data.data, data.target.to_numpy(), random_state=0)
    regression = load is load_diabetes
    model = make_pipeline(
        StandardScaler(), LinearRegression() if regression else LogisticRegression()
    ).fit(X, y)
    if regression:
        figures = regression_figures(y_test, model.predict(X_test))
        metrics = {"rmse": root_mean_squared_error(y_test, model.predict(X_test))}
    else:
        names = [str(name) for name in data.target_names]
        figures = classification_figures(y_test, model.predict_proba(X_test), names)
        metrics = {"accuracy": accuracy_score(y_test, model.predict(X_test))}

    def loss(name, permutation):
        shuffled = X_test.copy()
        if name is not None:
            shuffled[name] = X_test[name].to_numpy()[permutation]
        return float(np.mean((model.predict(shuffled) - y_test) ** 2))

    report = Report(
        **regression_fields
        | {
            "task": "regression" if regression else "classification",
            "figures": {"y": figures},
            "metrics": metrics,
            "importance": permutation_importance(list(X), loss, len(X_test), repeats=2),
        }
    )
    content = render_html(Report.from_json(report.to_json()))
    assert len(content) < 120_000
    assert report.importance[0]["name"] in Page(content).text


def test_importing_reports_loads_neither_matplotlib_nor_jinja():
    code = (
        "import sys, pointwise.reports\n"
        "print({'matplotlib', 'jinja2', 'pandas', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
