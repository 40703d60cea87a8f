"""``pointwise whatif``: a convolution in one word to a table, JSON and a page."""

import json

import pytest

from pointwise.inspection.whatif import whatif

EXAMPLE = "7x7:512->64@28x28"


def test_a_table_is_printed(pointwise):
    ran = pointwise(f"whatif '{EXAMPLE}' --reduce 64")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == str(whatif(EXAMPLE, reduce=64)) + "\n"
    assert "1,258.8 M MACs directly, 183.0 M through a 1x1 to 64 channels: 14.5 %." in ran.out


@pytest.mark.parametrize("spec", ["7x7:512-64@28x28", "7x7:512to64@28x28"])
def test_forms_that_no_shell_touches_say_the_same(spec, pointwise):
    assert pointwise(f"whatif {spec}") == pointwise(f"whatif '{EXAMPLE}'")


def test_json_is_one_object(pointwise):
    ran = pointwise(f"whatif '{EXAMPLE}' --reduce 100 --json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found == json.loads(json.dumps(whatif(EXAMPLE, reduce=100).to_dict()))
    assert found["spec"] == EXAMPLE
    assert found["rows"][0]["macs"] == 49 * 512 * 64 * 784
    assert [row["width"] for row in found["rows"]].count(100) == 2  # the reduce, the bottleneck


@pytest.mark.parametrize("options", ["", " --json"])
def test_a_page_is_written_beside(options, pointwise, home):
    ran = pointwise(f"whatif '{EXAMPLE}' --html saved.html{options}")
    assert (ran.code, ran.err) == (0, "page: saved.html\n")
    assert (home / "saved.html").read_text("utf-8") == whatif(EXAMPLE).to_html()
    assert ran.out == pointwise(f"whatif '{EXAMPLE}'{options}").out


def test_a_page_that_cannot_be_written_is_an_error(pointwise):
    ran = pointwise(f"whatif '{EXAMPLE}' --html none/saved.html")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: cannot write the page none/saved.html: No such file or directory\n"


def test_a_spec_that_cannot_be_read_was_wrong_use(pointwise):
    ran = pointwise("whatif 7x7:512-")
    assert (ran.code, ran.out) == (2, "")
    words = " ".join(ran.err.replace("│", " ").split())
    assert "KERNEL[/STRIDE]:C_IN->C_OUT@SIZE, such as '7x7:512->64@28x28'" in words
    assert "'7x7:512-' ends before the output's channels; write 512-64 or 512to64" in words


def test_a_width_below_one_was_wrong_use(pointwise):
    ran = pointwise(f"whatif '{EXAMPLE}' --reduce 0")
    assert (ran.code, ran.out) == (2, "")
    assert "--reduce" in ran.err
