"""The report of a compression: as text, table, JSON and page; and the curve over budgets."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress
from pointwise.compression.reports.report import (
    CompressionReport,
    Latency,
    LayerRow,
    Target,
    Totals,
)
from pointwise.compression.trade_off import TradeOff, TradeOffPoint, trade_off
from pointwise.errors import ModelFileError

CONV = "Conv2d(16, 16, 3x3, padding 1)"
MADE = "Conv2d(16, 4, 3x3, padding 1) and Conv2d(4, 16, 1x1)"
CHANGED = LayerRow(
    "block.conv", CONV, MADE, "output", (4,), 147456, 40960, 2320, 656, 0.00123, 0.00234
)
LEFT = LayerRow(
    "head<b>", "Linear(16, 3)", None, None, (), 48, 48, 51, 51, reason="output: <no> rank"
)
ALIKE = dataclasses.replace(LEFT, path="tail")


@pytest.fixture
def report() -> CompressionReport:
    return CompressionReport(
        model="Net<work>",
        rows=(CHANGED, LEFT, ALIKE),
        before=Totals(1_000_000, 5000, 20000, Latency(0.010, 0.009, 0.012)),
        after=Totals(490_000, 2500, 10000, Latency(0.006, 0.005, 0.007)),
        targets=(Target("macs", 0.5, 0.49, True),),
        unit="loss",
        score_before=0.91,
        score_after=0.905,
        notes=("Something & more.",),
    )


CURVE = TradeOff(
    "macs",
    "loss",
    tuple(
        TradeOffPoint(share, share, int(1e6 * share), 5000, 20000, math.exp(-9 * share), share)
        for share in (0.3, 0.5, 0.7)
    ),
    beyond=(0.1,),
    score=0.91,
)


# --- As text ---


def test_the_text_tells_costs_targets_errors_and_what_was_left(report):
    assert str(report) == (
        "Net<work>\n"
        "            before    after   share\n"
        "MACs         1.0 M  490.0 k  49.0 %\n"
        "parameters   5.0 k    2.5 k  50.0 %\n"
        "bytes       20.0 k   10.0 k  50.0 %\n"
        "\n"
        "Asked for 50.0 % of the MACs: met, with 49.0 %.\n"
        "Takes 6 ms (5 to 7) for the example, before 10 ms (9 to 12).\n"
        "Scores 0.9050, before 0.9100 (-0.0050).\n"
        "Something & more.\n"
        "\n"
        "layer         form    rank    MACs   before  params  before  predicted  measured\n"
        "--------------------------------------------------------------------------------\n"
        "block.conv    output     4  41.0 k  147.5 k     656   2.3 k    0.00123   0.00234\n"
        "--------------------------------------------------------------------------------\n"
        "Errors are the growth of the model's own loss, per sample.\n"
        "\n"
        "Left alone: 2 of 3 layers.\n"
        "  output: <no> rank: head<b>, tail"
    )


def test_a_bare_report_says_what_there_is():
    costs = Totals(0, 0, 0)
    bare = CompressionReport("Net", (), costs, costs, (Target("macs", 0.5, 1.0, False),), "energy")
    assert str(bare) == (
        "Net\n"
        "            before  after    share\n"
        "MACs             0      0  100.0 %\n"
        "parameters       0      0  100.0 %\n"
        "bytes            0      0  100.0 %\n"
        "\n"
        "Asked for 50.0 % of the MACs: not met, with 100.0 %."
    )
    assert not bare.met
    assert "The budget was not met." in bare.to_html()


def test_lines_stay_within_100_columns(report):
    path = ".".join(["a_long_name"] * 20)
    row = dataclasses.replace(CHANGED, path=path, rank=(1000, 2000), form="tucker")
    left = tuple(dataclasses.replace(LEFT, path=f"layer.{n}") for n in range(40))
    long = dataclasses.replace(report, rows=(row, *left), notes=("A word " * 40 + "too many.",))
    text = str(long)
    assert max(map(len, text.splitlines())) <= 100
    assert "\N{HORIZONTAL ELLIPSIS}" in text
    assert path[-10:] in text
    assert all(one.path in text for one in left)


def test_a_note_on_errors_stands_for_the_unit(report):
    said = dataclasses.replace(report, notes=("Errors are in nats.",))
    assert "Errors are in nats." in str(said)
    assert "growth" not in str(said)


def test_what_changed_and_what_was_left_are_told_apart(report):
    assert report.changed == (CHANGED,)
    assert report.left == (LEFT, ALIKE)
    assert report.met


# --- As data ---


def test_json_gives_the_report_back(report):
    assert CompressionReport.from_json(report.to_json()) == report


def test_json_has_no_numbers_that_are_not_finite(report):
    broken = dataclasses.replace(
        report,
        score_after=math.nan,
        rows=(dataclasses.replace(CHANGED, measured_error=math.inf),),
    )
    told = json.loads(broken.to_json(), parse_constant=pytest.fail)
    assert told["score_after"] is None
    assert told["rows"][0]["measured_error"] is None


def test_the_table_has_a_row_for_each_layer(report):
    frame = report.to_dataframe()
    assert list(frame["path"]) == ["block.conv", "head<b>", "tail"]
    assert list(frame["new_macs"]) == [40960, 48, 48]
    assert frame["rank"][0] == (4,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the report is not JSON: compress again"),
        (
            "[]",
            "the report must be of the format 'pointwise compression report', it is not",
        ),
        (
            '{"format": "pointwise compression report"}',
            "the report does not fit together (KeyError: 'rows'): compress again",
        ),
        (
            '{"format": "pointwise compression report", "rows": [{"rank": 3}]}',
            "the report does not fit together (TypeError: 'int' object is not iterable): "
            "compress again",
        ),
    ],
    ids=["cut", "list", "lacking", "rank"],
)
def test_a_damaged_report_is_refused(text, message):
    with pytest.raises(ModelFileError) as caught:
        CompressionReport.from_json(text)
    assert str(caught.value) == message


# --- As a page ---


class Page(HTMLParser):
    """The texts of a page, what it loads, and whether its elements are closed."""

    VOID = ("meta", "wbr", "br", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loads += [
            value or ""
            for name, value in given.items()
            if name in ("src", "href") and not (value or "").startswith("#")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("curve", [None, CURVE], ids=["alone", "with curve"])
def test_the_page_is_whole_and_loads_nothing(report, curve):
    html = report.to_html(curve)
    page = Page(html)
    assert page.open == []
    assert page.loads == []
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    charts = re.findall(r'aria-label="([^"]+ over [^"]+)"', html)
    assert charts == ["Measured over predicted error of the layers"] + (
        ["The score over the share of the MACs", "The predicted error over the share of the MACs"]
        if curve
        else []
    )
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_page_shows_names_as_text(report):
    html = report.to_html()
    assert "<work>" not in html
    assert "<no>" not in html
    texts = "".join(Page(html).texts)
    for shown in ("Net<work>", "head<b>", "output: <no> rank", "Something & more.", MADE, CONV):
        assert shown in texts


def test_a_layer_without_errors_has_no_dot(report):
    row = dataclasses.replace(CHANGED, measured_error=None)
    html = dataclasses.replace(report, rows=(row,)).to_html()
    assert "Measured against predicted" not in html


@pytest.mark.parametrize("error", [0.0, 1e-12, 1e9], ids=["none", "tiny", "huge"])
def test_errors_of_any_size_are_drawn(report, error):
    row = dataclasses.replace(CHANGED, predicted_error=error, measured_error=error)
    curve = dataclasses.replace(
        CURVE, points=(dataclasses.replace(CURVE.points[0], error=error, score=None),)
    )
    assert "</html>" in dataclasses.replace(report, rows=(row,)).to_html(curve)


def test_a_curve_without_points_is_left_out(report):
    html = report.to_html(dataclasses.replace(CURVE, points=()))
    assert "over the share" not in html


# --- The curve ---


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network that tells which of four blocks of numbers is the largest, and rows for it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
    model.append(nn.Linear(48, 4))
    x = torch.randn(512, 16)
    y = x.unflatten(1, (4, 4)).sum(2).argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval(), x, y


def test_errors_and_costs_fall_in_step_with_the_budget(trained):
    model, x, _ = trained
    curve = trade_off(model, x[:1], shares=(0.01, 0.3, 0.5, 0.7, 1.0), data=x)
    assert curve.beyond == (0.01,)
    assert [point.asked for point in curve.points] == [0.3, 0.5, 0.7, 1.0]
    assert all(point.share <= point.asked for point in curve.points)
    errors = [point.error for point in curve.points]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0
    assert [point.macs for point in curve.points] == sorted(point.macs for point in curve.points)
    assert curve.points[-1].macs == 16 * 48 + 48 * 48 + 48 * 4
    assert (curve.unit, curve.score) == ("loss", None)


@pytest.mark.parametrize("of", ["macs", "params", "bytes"])
def test_a_curve_tells_what_compression_gives(of, trained):
    model, x, y = trained

    def accuracy(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(x).argmax(1) == y).double().mean())

    curve = trade_off(model, x[:1], shares=(0.5, 0.8), of=of, data=x, evaluate=accuracy)
    done = compress(model, Budget(**{of: 0.5}), x[:1], data=x, evaluate=accuracy)
    after = done.report.after
    point = curve.points[0]
    assert (point.macs, point.params, point.bytes) == (after.macs, after.params, after.bytes)
    assert point.score == done.report.score_after
    assert curve.score == done.report.score_before == accuracy(model)
    assert curve.points[1].score >= point.score - 0.02
    html = done.report.to_html(curve)
    assert "Score over budgets" in html
    assert "this model" in html


def test_a_curve_prints_itself():
    assert str(CURVE) == (
        "      MACs  predicted error  score\n"
        "    30.0 %           0.0672  0.3000\n"
        "    50.0 %           0.0111  0.5000\n"
        "    70.0 %          0.00184  0.7000\n"
        "   100.0 %                0  0.9100\n"
        "Out of reach: 10.0 %."
    )
    assert list(CURVE.to_dataframe()["asked"]) == [0.3, 0.5, 0.7]


def test_a_share_out_of_range_is_refused(trained):
    model, x, _ = trained
    with pytest.raises(ValueError, match="macs must be a share above 0 and at most 1, got 2"):
        trade_off(model, x[:1], shares=(2,))
