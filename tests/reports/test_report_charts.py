import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from pointwise._pages.svg import ACCENT, drawing, inline_svg
from pointwise.reports import Report, charts, classification_figures, regression_figures
from pointwise.reports.ticks import tick_labels


def regression(rows=400, spread=0.3):
    rng = np.random.default_rng(0)
    actual = rng.normal(size=rows)
    return regression_figures(actual, actual + spread * rng.normal(size=rows))


def binary(rows=400):
    rng = np.random.default_rng(0)
    chance = rng.random(rows)
    actual = (rng.random(rows) < chance).astype(int)
    return classification_figures(actual, np.stack([1 - chance, chance], 1), ["no", "$yes$<b>"])


def history(epochs=5, top=2.0):
    return [
        {"epoch": e, "train_loss": top / e, "valid_loss": top / e + 0.01}
        for e in range(1, epochs + 1)
    ]


CHARTS = {
    "learning": lambda: charts.learning_curves(history(), 4, "key"),
    "learning, one epoch": lambda: charts.learning_curves(history(1), 1, "key"),
    "learning, log": lambda: charts.learning_curves(history(100), 4, "key"),
    "learning, no best": lambda: charts.learning_curves(history(), None, "key"),
    "density": lambda: charts.density(regression(), "key"),
    "density, one row": lambda: charts.density(regression(1), "key"),
    "residual histogram": lambda: charts.residual_histogram(regression(), "key"),
    "residuals all zero": lambda: charts.residual_histogram(regression(spread=0), "key"),
    "residual bands": lambda: charts.residual_bands(regression(), "key"),
    "calibration": lambda: charts.calibration(binary(), "key"),
    "roc": lambda: charts.roc(binary(), "key"),
}


@pytest.mark.parametrize("case", CHARTS)
def test_a_chart_is_a_small_svg_for_a_page(case):
    chart = CHARTS[case]()
    root = ElementTree.fromstring(chart.svg)
    assert root.tag == "svg"  # no namespace
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("viewBox").startswith("0 0 400 ")
    assert "http" not in chart.svg
    assert len(chart.svg) < 30_000
    assert not list(root.iter("style"))
    assert not list(root.iter("metadata"))
    assert chart.title
    assert chart.reading.startswith("How to read it: ")
    assert chart.reading.endswith(".")


@pytest.mark.parametrize("case", CHARTS)
def test_ids_are_prefixed_unique_and_all_that_is_referred_to_exists(case):
    svg = CHARTS[case]().svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    referred = re.findall(r'(?:href="|url\()#([^")]*)', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("key-") for name in ids)
    assert set(referred) == set(ids)


@pytest.mark.parametrize("case", CHARTS)
def test_colours_are_variables_and_text_is_text(case):
    root = ElementTree.fromstring(CHARTS[case]().svg)
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert not re.search(r"#[0-9a-f]{3,6}\b", styles)
    assert {"var(--muted)", "var(--rule)"} <= set(re.findall(r"var\([a-z-]+\)", styles))
    assert "font" not in styles
    texts = [element.text for element in root.iter("text")]
    assert any(re.search(r"\d", text) for text in texts)  # tick labels
    assert not any("mathdefault" in text for text in texts)


def test_the_same_figures_give_the_same_svg():
    assert charts.density(regression(), "k").svg == charts.density(regression(), "k").svg


def test_log_scale_where_the_range_is_large():
    assert "log scale" in charts.learning_curves(history(100), 4, "key").svg
    assert "log scale" not in charts.learning_curves(history(3), 2, "key").svg
    negative = [{"epoch": e, "train_loss": -e, "valid_loss": 50 - e} for e in range(1, 20)]
    assert "log scale" not in charts.learning_curves(negative, 4, "key").svg


def test_learning_curves_with_losses_missing():
    broken = [{"epoch": e, "train_loss": None, "valid_loss": None} for e in (1, 2)]
    assert charts.learning_curves(broken, 1, "key") is None
    assert charts.learning_curves([], None, "key") is None
    only_training = [{"epoch": e, "train_loss": 1 / e, "valid_loss": None} for e in (1, 2)]
    svg = charts.learning_curves(only_training, 1, "key").svg
    assert ">training<" in svg
    assert ">validation<" not in svg


def test_nothing_to_draw():
    assert charts.residual_bands(regression(12), "key") is None
    three = classification_figures(np.array([0, 1]), np.eye(3)[:2], ["a", "b", "c"])
    assert charts.roc(three, "key") is None
    three["calibration"]["rows"] = []
    assert charts.calibration(three, "key") is None


def test_readings_carry_the_numbers():
    figures = regression()
    figures["density"]["beyond"], figures["residuals"]["beyond"] = 1, 2345
    top = max(map(max, figures["density"]["counts"]))
    assert f"one row to {top}, logarithmic" in charts.density(figures, "k").reading
    assert charts.density(figures, "k").reading.endswith(
        " 1 row lies beyond the range, counted in the outermost cells."
    )
    assert charts.residual_histogram(figures, "k").reading.endswith(
        " 2,345 rows lie beyond the range, counted in the outermost bars."
    )
    assert "for “$yes$<b>”" in charts.calibration(binary(), "k").reading
    assert f"Area under it: {binary()['roc']['area']:.4g} " in charts.roc(binary(), "k").reading


def test_the_users_own_style_is_neither_used_nor_changed():
    plain = charts.density(regression(), "key").svg
    with mpl.rc_context({"font.size": 40, "svg.fonttype": "path", "axes.grid": False}):
        before = dict(mpl.rcParams)
        assert charts.density(regression(), "key").svg == plain
        assert dict(mpl.rcParams) == before


def test_label_is_escaped():
    with drawing() as (figure, axes):
        axes.plot([0, 1], color=ACCENT)
        svg = inline_svg(figure, "key", 'a "b" <c>')
    assert ElementTree.fromstring(svg).get("aria-label") == 'a "b" <c>'


TICKS = {
    "integers": ([0, 5, 10], ["0", "5", "10"]),
    "thousands": ([0, 20000], ["0", "20,000"]),
    "negative": ([-0.5, 0, 0.5], ["\N{MINUS SIGN}0.5", "0.0", "0.5"]),
    "narrow": ([1234.001, 1234.002], ["1,234.001", "1,234.002"]),
    "far from zero": ([1.7e9, 1.7e9 + 50], ["1,700,000,000", "1,700,000,050"]),
    "tiny": ([-1e-9, 1e-9], ["\N{MINUS SIGN}1e-09", "1e-09"]),
    "huge": ([0, 2e20], ["0", "2e+20"]),
    "one": ([5.0], ["5"]),
    "zero": ([0.0], ["0"]),
    "none": ([], []),
}


@pytest.mark.parametrize("case", TICKS)
def test_tick_labels(case):
    ticks, labels = TICKS[case]
    assert tick_labels(ticks) == labels


@pytest.mark.parametrize("top", [5, 560_000, 3e9], ids=str)
def test_tick_labels_fit_at_phone_width(top):
    actual = np.linspace(0, top, 500)
    root = ElementTree.fromstring(charts.density(regression_figures(actual, actual), "key").svg)
    numbers = [e.text for e in root.iter("text") if re.search(r"\d", e.text)]
    assert len(numbers) >= 4
    assert len("".join(numbers)) <= 2 * 32  # the same on both axes


@pytest.mark.parametrize("centre", [0.0, 1.7e9, -3e15, 1e-8], ids=str)
def test_ticks_of_a_drawn_axis_are_told_apart(centre, regression_fields):
    actual = centre + (abs(centre) * 1e-6 or 1.0) * np.linspace(-1, 1, 50)
    figures = {"price": regression_figures(actual, actual)}
    figures = Report(**regression_fields | {"figures": figures}).figures["price"]
    root = ElementTree.fromstring(charts.density(figures, "key").svg)
    numbers = [e.text for e in root.iter("text") if re.search(r"\d", e.text)]
    assert len(numbers) >= 4
    assert len(set(numbers)) == len(numbers) / 2  # the same ticks on both axes
