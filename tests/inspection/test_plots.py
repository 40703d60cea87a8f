"""Pictures of costs: every figure is written, nothing rests on colour."""

import re
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from pointwise.inspection.cost import cost
from pointwise.inspection.plots import Bar, plot_bars, plot_cost, plot_shares

SVG = "{http://www.w3.org/2000/svg}"


def stage(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.Conv2d(c_out, c_out, 1))


def network():
    return nn.Sequential(*(stage(c, c + 1) for c in range(3, 8)), nn.AdaptiveAvgPool2d(1))


def counted(model=None):
    model = (model or network()).to("meta")
    return cost(model, torch.empty(1, 3, 6, 6, device="meta"))


def texts(svg):
    return [one.text for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("text")]


PICTURES = {
    "bars": lambda key: plot_bars(
        [Bar("$a_1$ & <b>", 3, 1, "3", "75 %"), Bar("b", 1, 0, "1", "25 %")],
        label="Costs",
        rest="others",
        mark=(4, "as it was"),
        key=key,
    ),
    "no length": lambda key: plot_bars(
        [Bar("a", 0, 0, "0", "0 %")], label="Costs", rest="others", key=key
    ),
    "cost": lambda key: plot_cost(counted(), key=key),
    "shares": lambda key: plot_shares(["a", "b"], [counted(), counted(stage(3, 9))], key=key),
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_picture_stands_alone(case):
    svg = PICTURES[case](None)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label")
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert svg.count("http") == 1  # the namespace


@pytest.mark.parametrize("case", PICTURES)
def test_a_picture_in_a_page_takes_its_colours_and_a_prefix(case):
    svg = PICTURES[case]("key")
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert not list(root.iter("style"))
    assert "http" not in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("key-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', svg)) == set(ids)
    assert not re.search(r"(?:fill|stroke): #[0-9a-f]", svg)


def test_names_are_text_and_no_formulas():
    assert "$a_1$ & <b>" in texts(PICTURES["bars"](None))


def test_the_part_in_1x1s_is_hatched():
    root = ElementTree.fromstring(PICTURES["bars"]("key"))
    (pattern,) = root.iter("pattern")
    styles = " ".join(one.get("style", "") for one in root.iter("path"))
    assert f"url(#{pattern.get('id')})" in styles


def test_a_network_is_cut_into_four_groups_or_more_in_its_order():
    written = texts(plot_cost(counted()))
    assert [one for one in written if one in "01234"] == list("01234")
    one_stage = nn.Sequential(nn.Sequential(network()))
    assert {"0.0.0", "0.0.4"} <= set(texts(plot_cost(counted(one_stage))))
    assert "0.0" in texts(plot_cost(counted(), depth=2))
    assert "0" in texts(plot_cost(counted(), depth=1))


def test_figures_stand_beside_the_bars_and_add_up():
    found = counted()
    shares = [float(one[:-2]) for one in texts(plot_cost(found)) if one.endswith(" %")]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    macs = 36 * (9 * 7 * 8 + 8 * 8)
    assert f"{macs / 1000:.1f} k" in texts(plot_cost(found))


def test_small_groups_are_one_bar():
    written = texts(plot_cost(counted(), most=2))
    assert "3 others" in written
    assert "4" in written
    assert "0" not in written


def test_operators_of_the_network_itself_have_a_name():
    assert "(itself)" in texts(plot_cost(counted(nn.Conv2d(3, 4, 1))))


def test_shares_are_sorted_by_macs_and_written_in_percent():
    plain = nn.Conv2d(3, 4, 3, padding=1)
    names = ["none", "a very long name of a network", "all", "some"]
    costs = [counted(plain), counted(stage(3, 9)), counted(nn.Conv2d(3, 4, 1)), counted()]
    written = texts(plot_shares(names, costs))
    order = [one for one in written if one and one[0] in "ans"]
    order = [one for one in order if one in ("all", "some", "none") or one.startswith("a very")]
    ends = sorted(costs, key=lambda one: -one.total.pointwise_macs_share)
    expected = {id(c): n for c, n in zip(costs, names, strict=True)}
    wanted = [expected[id(c)] for c in ends]
    assert order == [one if len(one) <= 26 else one[:25] + "…" for one in wanted]
    assert {"100.0", "0.0", "MACs", "parameters"} <= set(written)
    share = counted(stage(3, 9)).total.pointwise_params_share
    assert f"{100 * share:.1f}" in written
    assert share == (9 * 9 + 9) / (9 * 9 + 9 + 9 * 3 * 9 + 9)


def test_forty_networks_have_forty_lines():
    names = [f"network_{i:02}" for i in range(40)]
    root = ElementTree.fromstring(plot_shares(names, [counted()] * 40))
    assert set(names) <= {one.text for one in root.iter(f"{SVG}text")}
    assert float(root.get("viewBox").split()[3]) > 40 * 16


REFUSED = {
    "no bars": (
        lambda: plot_bars([], label="x", rest="y"),
        "a chart needs at least one bar, got none",
    ),
    "depth": (
        lambda: plot_cost(counted(), depth=0),
        "depth and most must be at least 1, got 0 and 16",
    ),
    "most": (
        lambda: plot_cost(counted(), most=0),
        "depth and most must be at least 1, got None and 0",
    ),
    "no macs": (
        lambda: plot_cost(counted(nn.ReLU())),
        "the network has no multiplications to draw",
    ),
    "names": (
        lambda: plot_shares(["a"], []),
        "there must be one name for each cost, got 1 and 0",
    ),
    "nothing": (
        lambda: plot_shares([], []),
        "there must be one name for each cost, got 0 and 0",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
