"""The table of costs as text and as a part of a page."""

import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from pointwise.inspection.cost import Cost, LayerCost, cost
from pointwise.inspection.machine import Machine

MACHINE = Machine(macs_per_s=10e9, bytes_per_s=1e9)


@pytest.fixture(scope="module")
def small() -> Cost:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
        model.head = nn.Linear(4 * 6 * 6, 5)
        return cost(model, torch.ones(1, 3, 8, 8))


GOLDEN = """\
layer  kind       output   params   MACs   act.  bytes  MACs/B
--------------------------------------------------------------
0      conv       1x8x6x6     224  7,776    288  2,816     2.8
1      other      1x8x6x6       0      0    288  2,304     0.0
2      pointwise  1x4x6x6      36  1,152    144  1,872     0.6
head   linear     1x5         725    720      5  3,496     0.2
--------------------------------------------------------------
total                         985  9,648    725 10,488     0.9

1x1 convolutions hold 3.65 % of the parameters and 11.94 % of the MACs.
1x1 convolutions and linear layers together hold 77.26 % of the parameters and 19.40 % of the MACs.\
"""


def test_a_small_network_is_shown_exactly(small):
    assert [line.split() for line in str(small).splitlines() if "---" not in line] == [
        line.split() for line in GOLDEN.splitlines() if "---" not in line
    ]


def test_columns_are_aligned(small):
    lines = str(small).splitlines()
    heads, table = lines[0], [lines[0], *lines[2:6], lines[7]]
    for heading in ("params", "MACs", "act.", "bytes", "MACs/B"):
        end = heads.index(heading + (" " if heading == "MACs" else "")) + len(heading)
        assert all(line[end - 1].isdigit() for line in table[1:])
        assert all(line[end : end + 1] in ("", " ") for line in table)
    assert lines[1] == lines[6] == "-" * max(map(len, table))


def layer(name: str, macs: int, **others: object) -> LayerCost:
    settings = {
        "kind": "pointwise",
        "operators": ("addmm",),
        "input_shape": (1, 3, 8, 8),
        "output_shape": (1, 4, 8, 8),
        "params": 12,
        "activations": 256,
        "bytes": 1000,
        **others,
    }
    return LayerCost(name=name, macs=macs, **settings)


def test_large_figures_come_in_one_unit_for_a_column():
    text = str(Cost((layer("a", 4_089_184_256), layer("b", 40_000), layer("c", 0))))
    heads, _, *rows = text.splitlines()
    assert "M MACs" in heads
    assert "4,089.2" in rows[0]
    assert "<0.1" in rows[1]
    assert rows[2].split()[4] == "0"
    assert rows[4].split()[:3] == ["total", "36", "4,089.2"]


def test_the_largest_figures_come_in_billions():
    text = str(Cost((layer("a", 3 * 10**14, params=175 * 10**9, bytes=7 * 10**11),)))
    assert all(unit in text.splitlines()[0] for unit in ("G params", "G MACs", "GB"))
    assert text.splitlines()[2].split()[3:5] == ["175.0", "300,000.0"]


LONG = "encoder.layers.encoder_layer_11." * 4 + "self_attention"
WIDE = {
    "names": layer(LONG, 4_089_184_256, kind="attention"),
    "shapes": layer(LONG, 10**12, output_shape=(100_000,) * 5),
    "figures": layer(LONG, 10**18, params=999_999_999, bytes=10**14, activations=10**14),
    "all": layer(LONG, 10**18, params=10**16, bytes=10**16, output_shape=(10**6,) * 6),
}


@pytest.mark.parametrize("machine", [None, MACHINE], ids=["plain", "machine"])
@pytest.mark.parametrize("case", WIDE)
def test_no_line_is_longer_than_100_columns(case, machine):
    text = Cost((WIDE[case],), uncounted=("aten::_fft_r2c",) * 20).to_text(machine)
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"^….*attention ", text, re.MULTILINE)  # the end of a path tells it apart


def test_the_model_itself_and_parts_that_do_not_run_have_words():
    idle = layer("aux", 0, kind="other", operators=(), output_shape=(), bytes=0)
    rows = str(Cost((layer("", 5, output_shape=()), idle))).splitlines()
    assert rows[2].split()[:3] == ["(model)", "pointwise", "scalar"]
    assert rows[3].split()[:4] == ["aux", "other", "not", "run"]


def test_a_machine_marks_what_waits_for_memory(small):
    text = small.to_text(MACHINE)
    assert [line.endswith(" m") for line in text.splitlines()[2:6]] == [True] * 4
    assert (
        "m: waits for memory on this machine, with fewer than 10.0 MACs per byte: 4 of 4 layers,"
        in text
    )
    text = small.to_text(Machine(1.0, 1.0))
    assert [line.endswith(" m") for line in text.splitlines()[2:6]] == [False, True, True, True]
    assert "3 of 4 layers, with 19.40 % of the MACs." in " ".join(text.split())


# --- HTML ---


class Reader(HTMLParser):
    """Collects what a page holds, and that every element is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.rows, self.tags, self.attributes = [], [], [], []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append(dict(attributes))
        if tag not in ("wbr", "meta"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.text += text
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += text


def test_a_page_holds_what_the_text_holds(small):
    page = Reader(small.to_html())
    heads, *rows, total = page.rows
    table = str(small).splitlines()
    assert [" ".join(cells).split() for cells in [heads, *rows, total]] == [
        table[i].split() for i in (0, 2, 3, 4, 5, 7)
    ]
    for sentence in GOLDEN.splitlines()[-2:]:
        assert sentence in page.text
    assert "985 params, 9,648 MACs, 725 act., 10,488 bytes" in page.text
    assert small._repr_html_() == small.to_html()


def test_a_page_marks_what_waits_for_memory_in_words(small):
    page = Reader(small.to_html(Machine(1.0, 1.0)))
    assert [row[-1].endswith(" m") for row in page.rows[1:5]] == [False, True, True, True]
    assert "m: waits for memory on this machine" in page.text


def test_a_page_is_accessible_and_fetches_nothing(small):
    html = small.to_html()
    page = Reader(html)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in html
    assert "http" not in html
    assert page.tags.count("caption") == 1
    heads = [a for t, a in zip(page.tags, page.attributes, strict=True) if t == "th"]
    assert {a["scope"] for a in heads} == {"row", "col"}
    # A row becomes a list on a phone: roles say that it is a row all the same.
    roles = {"table", "row", "cell", "columnheader", "rowheader", "rowgroup"}
    assert {a["role"] for a in page.attributes if "role" in a} == roles
    cells = [a for t, a in zip(page.tags, page.attributes, strict=True) if t == "td"]
    assert all(cell["data-heading"] for cell in cells)
    for query in ("prefers-color-scheme: dark", "max-width: 44rem", "@media print"):
        assert query in html


def test_bars_tell_1x1s_apart_by_their_filling_and_end_at_the_largest(small):
    page = Reader(small.to_html())
    bars = [a for a in page.attributes if "bar" in (a.get("class") or "")]
    assert all(bar["aria-hidden"] == "true" for bar in bars)
    # params and MACs of the convolution, the 1x1 and the linear layer
    assert [bar["class"].split()[1] for bar in bars] == ["outlined"] * 2 + ["filled"] * 4
    widths = [float(bar["style"].removeprefix("width:").removesuffix("%")) for bar in bars]
    assert widths == [30.9, 100.0, 5.0, 14.8, 100.0, 9.3]


def test_strange_names_are_text():
    name = '<script>"x"</script>'
    page = Reader(Cost((layer(name, 5),), uncounted=("a::<b>",)).to_html())
    assert page.rows[1][0] == name
    assert "a::<b>" in page.text
    assert "script" not in page.tags
