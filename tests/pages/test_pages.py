"""The page and the picture that every result is shown in."""

import re
from xml.etree import ElementTree

from pointwise._pages.page import page, palette, style
from pointwise._pages.svg import ACCENT, drawing, inline_svg, svg_file

SVG = "{http://www.w3.org/2000/svg}"


def test_a_page_is_whole_and_loads_nothing():
    written = page("a <b>", "<p>text</p>")
    assert written.startswith("<!doctype html>\n")
    assert "<title>a &lt;b&gt;</title>" in written
    assert "<p>text</p>" in written
    assert style() in written
    assert not re.search(r"https?:|<script|@import|url\(", written)


def test_every_colour_has_a_value_on_light_and_on_dark():
    light, dark = palette().split("@media")
    used = set(re.findall(r"var\((--[a-z-]+)", style()))
    known = set(re.findall(r"(--[a-z-]+):", light))
    assert used <= known | {"--share"}  # a cell's own
    assert set(re.findall(r"(--[a-z-]+):", dark)) == known


def test_a_picture_stands_alone_with_its_colours():
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=ACCENT)
        text = svg_file(figure, "A line")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert (root.get("width"), root.get("height")) == ("560", "392")
    assert root.get("viewBox") == "0 0 400 280"
    assert root.get("aria-label") == "A line"
    assert palette() in root.find(f"{SVG}style").text
    assert "var(--accent)" in text
    assert text.count("http") == 1  # the namespace


def test_a_hatch_refers_to_its_pattern():
    with drawing() as (figure, axes):
        axes.barh(0, 1, facecolor="none", edgecolor=ACCENT, hatch="//")
        svg = inline_svg(figure, "costs", "A bar")
    (pattern,) = [one.get("id") for one in ElementTree.fromstring(svg).iter("pattern")]
    assert pattern.startswith("costs-")
    assert f"url(#{pattern})" in svg
    assert set(re.findall(r"url\(#([^)]*)", svg)) <= set(re.findall(r'id="([^"]*)"', svg))
