"""What a 1x1 saves: counts as arithmetic, and what is said of them."""

import re
from fractions import Fraction
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from pointwise.inspection.alternatives import bottleneck, break_even, plain, reduced, separable
from pointwise.inspection.spec import Spec, parse_spec
from pointwise.inspection.whatif import whatif

EXAMPLE = "7x7:512->64@28x28"


# --- The form ---

FORMS = {
    "2-d": (EXAMPLE, Spec((7, 7), 1, 512, 64, (28, 28))),
    "1-d": ("3:64->128@196", Spec((3,), 1, 64, 128, (196,))),
    "3-d": ("3x3x3:8->16@16x16x4", Spec((3, 3, 3), 1, 8, 16, (16, 16, 4))),
    "stride": ("3x3/2:64->128@56x56", Spec((3, 3), 2, 64, 128, (56, 56))),
    "one long axis": ("1x7:8->8@17x17", Spec((1, 7), 1, 8, 8, (17, 17))),
    "minus": ("7x7:512-64@28x28", Spec((7, 7), 1, 512, 64, (28, 28))),
    "to": ("7x7:512to64@28x28", Spec((7, 7), 1, 512, 64, (28, 28))),
    "greater": ("7x7:512>64@28x28", Spec((7, 7), 1, 512, 64, (28, 28))),
    "arrow": ("7×7:512→64@28×28", Spec((7, 7), 1, 512, 64, (28, 28))),  # noqa: RUF001
    "blanks": (" 7X7: 512 to 64 @ 28x28 ", Spec((7, 7), 1, 512, 64, (28, 28))),
}


@pytest.mark.parametrize(("text", "spec"), FORMS.values(), ids=FORMS.keys())
def test_a_spec_is_read_and_written(text, spec):
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


WRONG = {
    "empty": ("", "lacks ':' between kernel and channels"),
    "no colon": ("7x7 512->64@28x28", "lacks ':' between kernel and channels"),
    "no size": ("7x7:512->64", "lacks '@' and the size of the input"),
    "taken by a shell": (
        "7x7:512-",
        "ends before the output's channels; write 512-64 or 512to64 where a shell would take the "
        "> for itself",
    ),
    "no kernel": (":512->64@28x28", "has no kernel in '': write it like 7x7"),
    "kernel": ("7*7:512->64@28x28", "has no kernel in '7*7': write it like 7x7"),
    "stride": ("7x7/:512->64@28x28", "has no stride in '': write it like 2"),
    "strides": (
        "7x7/2x1:512->64@28x28",
        "has the stride 2x1: it is one number, the same along every axis",
    ),
    "no stride at all": (
        "7x7/0:512->64@28x28",
        "has stride 0: every number must be from 1 to 1,000,000",
    ),
    "channels": (
        "7x7:512@28x28",
        "has no channels in '512': write 512->64, or 512-64 or 512to64 where a shell would take "
        "the > for itself",
    ),
    "no channel": (
        "7x7:0->64@28x28",
        "has channels 0: every number must be from 1 to 1,000,000",
    ),
    "size": ("7x7:512->64@28,28", "has no size in '28,28': write it like 28x28"),
    "no positions": (
        "7x7:512->64@28x0",
        "has size 28x0: every number must be from 1 to 1,000,000",
    ),
    "huge": (
        f"7x7:512->{'9' * 5000}@28x28",
        "has channels " + "9" * 5000 + ": every number must be from 1 to 1,000,000",
    ),
    "axes": ("7:512->64@28x28", "has a kernel of 1 axis and a size of 2"),
    "four axes": ("3x3x3x3:1->1@2x2x2x2", "has 4 axes: 1, 2 or 3 can be counted"),
    "even": ("4x4:512->64@28x28", "has an even kernel: only odd ones keep the size"),
    "1x1": ("1x1:512->64@28x28", "has a kernel of one position, which is a 1x1 already"),
}


@pytest.mark.parametrize(("text", "what"), WRONG.values(), ids=WRONG.keys())
def test_a_bad_spec_is_refused_with_the_form_and_what_is_wrong(text, what):
    with pytest.raises(ValueError) as error:  # noqa: PT011  (all of the text is asserted)
        whatif(text)
    assert str(error.value) == (
        "a convolution is written KERNEL[/STRIDE]:C_IN->C_OUT@SIZE, such as "
        f"'7x7:512->64@28x28': {text!r} {what}"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduce": 0}, "reduced widths must be from 1 to 1,000,000, got 0"),
        ({"reduce": 10**12}, "reduced widths must be from 1 to 1,000,000, got 1,000,000,000,000"),
        ({"widths": [8, -2]}, "reduced widths must be from 1 to 1,000,000, got -2"),
    ],
    ids=["none", "huge", "negative"],
)
def test_bad_widths_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        whatif(EXAMPLE, **options)


def test_what_torch_cannot_count_is_refused():
    text = "3x3:100000->100000@100000x100000"
    with pytest.raises(ValueError, match=f"^{text} takes too many multiplications to count$"):
        whatif(text)


# --- The counts ---


def macs(kernel, c_in, c_out, positions):
    return kernel * c_in * c_out * positions


def params(kernel, c_in, c_out):
    return kernel * c_in * c_out + c_out


def test_the_published_example_is_exact():
    spec = parse_spec(EXAMPLE)
    alone, narrow = plain(spec), reduced(spec, 64)
    assert alone.macs == 49 * 512 * 64 * 784 == 1_258_815_488
    assert alone.params == 49 * 512 * 64 + 64
    assert alone.activations == 64 * 784
    assert alone.share == 1
    assert narrow.macs == (512 * 64 + 49 * 64 * 64) * 784 == 183_042_048
    assert narrow.pointwise_macs == 512 * 64 * 784
    assert narrow.params == (512 * 64 + 64) + (49 * 64 * 64 + 64)
    assert narrow.activations == 2 * 64 * 784
    assert narrow.share == 183_042_048 / 1_258_815_488


SIZES = {
    "1-d": ("5:6->10@9", 5, 9, 9),
    "2-d": ("3x5:6->10@8x7", 15, 56, 56),
    "3-d": ("3x3x3:6->10@4x5x6", 27, 120, 120),
    "1-d, stride": ("5/2:6->10@9", 5, 9, 5),
    "2-d, stride": ("3x3/2:6->10@8x7", 9, 56, 16),
    "3-d, stride": ("3x3x3/3:6->10@4x5x6", 27, 120, 8),
    "as narrow as can be": ("3x3:1->1@1x1", 9, 1, 1),
}
each_size = pytest.mark.parametrize(
    ("text", "kernel", "before", "after"), SIZES.values(), ids=SIZES.keys()
)


@each_size
def test_every_alternative_costs_what_its_arithmetic_says(text, kernel, before, after):
    spec = parse_spec(text)
    c_in, c_out = spec.c_in, spec.c_out
    mid = 2
    found = {
        "plain": plain(spec),
        "basic": plain(spec, times=2),
        "reduce": reduced(spec, mid),
        "bottleneck": bottleneck(spec, mid),
        "separable": separable(spec),
    }
    first = macs(kernel, c_in, c_out, after)
    one = macs(1, c_in, mid, before)
    expected = {
        "plain": (first, 0),
        "basic": (first + macs(kernel, c_out, c_out, after), 0),
        "reduce": (one + macs(kernel, mid, c_out, after), one),
        "bottleneck": (
            one + macs(kernel, mid, mid, after) + macs(1, mid, c_out, after),
            one + macs(1, mid, c_out, after),
        ),
        "separable": (
            macs(kernel, 1, c_in, after) + macs(1, c_in, c_out, after),
            macs(1, c_in, c_out, after),
        ),
    }
    assert {key: (row.macs, row.pointwise_macs) for key, row in found.items()} == expected
    assert {key: row.params for key, row in found.items()} == {
        "plain": params(kernel, c_in, c_out),
        "basic": params(kernel, c_in, c_out) + params(kernel, c_out, c_out),
        "reduce": params(1, c_in, mid) + params(kernel, mid, c_out),
        "bottleneck": params(1, c_in, mid) + params(kernel, mid, mid) + params(1, mid, c_out),
        "separable": params(kernel, 1, c_in) + params(1, c_in, c_out),
    }
    assert {key: row.activations for key, row in found.items()} == {
        "plain": c_out * after,
        "basic": 2 * c_out * after,
        "reduce": mid * before + c_out * after,
        "bottleneck": mid * before + (mid + c_out) * after,
        "separable": (c_in + c_out) * after,
    }
    inputs = {
        "plain": c_in * before,
        "basic": c_in * before + c_out * after,
        "reduce": (c_in + mid) * before,
        "bottleneck": (c_in + mid) * before + mid * after,
        "separable": c_in * before + c_in * after,
    }
    for key, row in found.items():
        assert row.share == row.macs / first
        assert row.bytes == 4 * (inputs[key] + row.params + row.activations)
        assert row.intensity == row.macs / row.bytes


@each_size
def test_separable_is_equation_5_of_mobilenets(text, kernel, before, after):
    spec = parse_spec(text)
    found, alone = separable(spec), plain(spec)
    assert Fraction(found.macs, alone.macs) == Fraction(1, spec.c_out) + Fraction(1, kernel)


def test_the_counts_are_those_of_torch():
    from torch.utils.flop_counter import FlopCounterMode

    conv = nn.Sequential(nn.Conv2d(6, 2, 1), nn.Conv2d(2, 10, 3, 2, 1))
    with FlopCounterMode(display=False) as counter:
        conv(torch.ones(1, 6, 8, 7))
    assert 2 * reduced(parse_spec("3x3/2:6->10@8x7"), 2).macs == counter.get_total_flops()


@each_size
def test_below_the_break_even_width_a_reduce_saves_and_above_it_costs(text, kernel, before, after):
    spec = parse_spec(text)
    even = break_even(spec)
    for width in range(1, 2 * spec.c_in):
        assert (reduced(spec, width).macs < plain(spec).macs) == (width < even)
        assert (reduced(spec, width).macs == plain(spec).macs) == (width == even)
    if spec.stride == 1:
        c_in, c_out = spec.c_in, spec.c_out
        assert even == Fraction(kernel * c_in * c_out, c_in + kernel * c_out)


def test_a_width_that_breaks_even_does_not_save():
    spec = parse_spec("3:6->4@10")  # 3 * 6 * 4 / (6 + 3 * 4) is 4
    assert break_even(spec) == 4
    assert reduced(spec, 4).share == 1
    assert whatif(spec).to_dict()["widest_saving"] == 3


# --- The result ---


def test_the_widths_are_powers_of_two_around_the_break_even_and_the_asked_one():
    found = whatif(EXAMPLE, reduce=100)
    widths = [row.width for row in found.rows if row.idea == "reduce"]
    assert widths == [16, 32, 64, 100, 128, 256, 512]  # 440.1 breaks even
    assert whatif(EXAMPLE).reduce == 64
    assert whatif("3x3:256->256@56x56").reduce == 64  # as in ResNet
    assert whatif("3:1->1@5").reduce == 1
    chosen = whatif(EXAMPLE, reduce=64, widths=[48, 32])
    assert [row.width for row in chosen.rows if row.idea == "reduce"] == [32, 48, 64]


def test_the_widths_go_no_further_than_what_may_be_asked_for():
    found = whatif("3x3:1000000->1000000@5x5")
    assert [row.width for row in found.rows if row.idea == "reduce"][-1] == 2**19
    assert "up to 899,999 channels" in found.sentences()[1]


def test_rows_are_the_alternatives_in_groups():
    rows = whatif(EXAMPLE, reduce=64, widths=[]).rows
    assert [(row.idea, row.name) for row in rows] == [
        ("plain", "7x7"),
        ("plain", "7x7, 7x7"),
        ("reduce", "1x1 to 64, 7x7"),
        ("bottleneck", "1x1 to 64, 7x7, 1x1"),
        ("separable", "depthwise 7x7, 1x1"),
    ]


TABLE = """\
7x7 convolution, 512 to 64 channels, on 28x28

convolutions           parameters       MACs  of plain  activations  MACs/byte
Plain
  7x7                   1,605,696  1,258.8 M   100.0 %       50,176      153.0
  7x7, 7x7              1,806,464  1,416.2 M   112.5 %      100,352      150.1
A 1x1 reduce in front
  1x1 to 32, 7x7          116,832     91.5 M     7.3 %       75,264       37.0
> 1x1 to 64, 7x7          233,600    183.0 M    14.5 %      100,352       58.3
Bottleneck
  1x1 to 64, 7x7, 1x1     237,760    186.3 M    14.8 %      150,528       52.3
Depthwise separable
  depthwise 7x7, 1x1       58,432     45.4 M     3.6 %      451,584        8.6

1,258.8 M MACs directly, 183.0 M through a 1x1 to 64 channels: 14.5 %.
A 1x1 reduce saves multiplications up to 440 channels (as many as before at 440.1).
Depthwise separable: 1/64 + 1/49 of the MACs, 3.6 %."""


def test_the_result_prints_itself():
    assert str(whatif(EXAMPLE, reduce=64, widths=[32])) == TABLE


def test_a_kernel_that_no_reduce_can_beat_is_said_so():
    sentences = whatif("3x3:1->64@8x8").sentences()
    assert sentences[1] == "A 1x1 reduce saves no multiplications here, however narrow."


def test_titles_name_rank_and_stride():
    assert parse_spec("3/2:64->1000@196").title == (
        "Convolution of kernel 3 with stride 2, 64 to 1,000 channels, on 196 positions"
    )


def test_with_one_axis_a_kernel_is_no_bare_number():
    names = [row.name for row in whatif("3:64->64@196", reduce=16, widths=[]).rows]
    assert names == [
        "kernel 3",
        "kernel 3, kernel 3",
        "1x1 to 16, kernel 3",
        "1x1 to 16, kernel 3, 1x1",
        "depthwise kernel 3, 1x1",
    ]


def test_dict_and_frame_hold_the_same_figures():
    found = whatif(EXAMPLE, reduce=64)
    plain_data, frame = found.to_dict(), found.to_dataframe()
    assert plain_data["spec"] == EXAMPLE
    assert plain_data["kernel"] == (7, 7)
    assert plain_data["break_even"] == float(Fraction(25088, 57))
    assert plain_data["widest_saving"] == 440
    assert len(frame) == len(found.rows) == len(plain_data["rows"])
    assert frame["macs"].tolist() == [row["macs"] for row in plain_data["rows"]]
    assert frame["width"].isna().sum() == 3
    assert str(frame["width"].dtype) == "Int64"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "use":
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing():
    page = whatif(EXAMPLE, reduce=64).to_html()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.seen.count("svg") == 1
    assert tags.seen.count("tr") == 1 + 4 + 10
    assert "183.0\N{NO-BREAK SPACE}M through a 1x1 to 64 channels: 14.5\N{NO-BREAK SPACE}%" in page
    assert not re.search(r"https?:|<script|@import", page)


def test_the_picture_has_a_bar_per_row_with_its_figures():
    found = whatif(EXAMPLE, reduce=64)
    root = ElementTree.fromstring(found.plot())
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    for row in found.rows:
        assert row.name in texts
    assert {"1,258.8 M", "183.0 M", "14.5 %", "1x1 convolutions", "cost of one 7x7"} <= set(texts)
    bold = [one.text for one in root.iter() if "700" in one.get("style", "")]
    assert bold == ["1x1 to 64, 7x7", "183.0 M", "14.5 %"]
