"""What the figures of a comparison say, in words and pictures, and what they keep quiet about."""

import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats

from pointwise.studies.compare_plot import plot_errors
from pointwise.studies.compare_records import Cell, Entry
from pointwise.studies.comparison import Comparison
from pointwise.studies.contenders import KINDS
from pointwise.studies.uncertainty import paired_difference


def test_a_difference_counts_seeds_and_images():
    rng = np.random.default_rng(0)
    n, seeds = 500, 4
    ours, theirs = rng.random((seeds, n)) < 0.1, rng.random((seeds, n)) < 0.2
    found = paired_difference(
        [row.nonzero()[0].tolist() for row in ours],
        [row.nonzero()[0].tolist() for row in theirs],
        n,
    )
    both = theirs.astype(float) - ours
    assert found.value == pytest.approx(both.mean())
    by_seed = stats.ttest_1samp(both.mean(1), 0).confidence_interval(0.95)
    half_seed = (by_seed.high - by_seed.low) / 2
    half_image = stats.norm.ppf(0.975) * both.mean(0).std() / math.sqrt(n)
    assert found.uncertainty == pytest.approx(math.hypot(half_seed, half_image))
    assert str(found) == f"{100 * found.value:+.2f} ± {100 * found.uncertainty:.2f}"


def test_one_seed_is_never_sure():
    found = paired_difference([[]], [list(range(50))], 100)
    assert (found.value, found.uncertainty, str(found)) == (0.5, math.inf, "+50.00")


def test_seeds_must_pair_up():
    with pytest.raises(ValueError, match=r"^there must be as many seeds of both, got 2 and 1$"):
        paired_difference([[], []], [[]], 10)


def comparison(errors, ratio=1.0, best_epoch=1):
    """Networks that classify the first so many of 1,000 images wrongly, per kind and seed."""
    entries = tuple(
        Entry(matching, kind, (8 + place,), 900, 10_000, ratio if kind == "plain" else 1.0)
        for matching in ("parameters", "macs", "time")
        for place, kind in enumerate(KINDS)
    )
    cells = tuple(
        Cell(kind, (8 + place,), seed, tuple(range(wrong)), 0.1, 1000, 5.0, best_epoch)
        for place, kind in enumerate(KINDS)
        for seed, wrong in enumerate(errors[kind])
    )
    return Comparison("bars", 3, 7, entries, cells, (68, 12, 1000))


CLEAR = {"plain": (200, 210, 205), "mlpconv": (100, 110, 105), "double": (50, 60, 55)}
UNCLEAR = {"plain": (100, 140, 90), "mlpconv": (100, 110, 105), "double": (99, 111, 104)}


def test_the_answer_follows_a_clear_difference():
    found = comparison(CLEAR)
    assert found.answer() == (
        "On bars, does an mlpconv (3x3 + 1x1) pay? "
        "Against 3x3: it pays at equal parameters, MACs and training time. "
        "Against 3x3 + 3x3: it does worse at equal parameters, MACs and training time."
    )
    first, second = found.sentences()[:2]
    assert first.startswith("At equal parameters, 3x3 + 1x1 makes 10.00 ± ")
    assert first.endswith(" points fewer errors than 3x3.")
    assert second.endswith(" points more errors than 3x3 + 3x3.")


def test_the_answer_keeps_quiet_about_an_unclear_difference():
    found = comparison(UNCLEAR)
    assert found.answer() == (
        "On bars, does an mlpconv (3x3 + 1x1) pay? "
        "Against 3x3: no difference is shown at equal parameters, MACs and training time. "
        "Against 3x3 + 3x3: no difference is shown at equal parameters, MACs and training time."
    )
    assert found.sentences()[0].startswith(
        "At equal parameters, no difference shown between 3x3 + 1x1 and 3x3 (+0.50 ± "
    )


def test_one_seed_shows_nothing():
    found = comparison({kind: errors[:1] for kind, errors in CLEAR.items()})
    assert {one.outcome for one in found.verdicts} == {"no difference shown"}
    assert "One seed alone shows no difference: train three at least." in found.sentences()
    assert math.isnan(found.rows[0].deviation)
    assert "20.00 %" in str(found)


def test_a_width_that_misses_is_told_of_and_one_far_off_is_not_compared():
    near, far = comparison(CLEAR, ratio=1.05), comparison(CLEAR, ratio=1.5)
    assert (
        "At equal MACs, 3x3 has 1.050 times the reference's: no width was found within 2 %."
        in near.sentences()
    )
    assert "it pays at equal parameters" in near.answer()
    assert "Against 3x3: it cannot be told at equal parameters, MACs and" in far.answer()
    assert "At equal MACs, 3x3 is too far from it for a comparison." in far.sentences()


def test_trainings_that_diverged_are_told_of():
    said = comparison(CLEAR, best_epoch=0).sentences()
    assert "9 of 9 trainings diverged in their first epoch." in said


def test_every_form_has_the_same_figures():
    found = comparison(CLEAR)
    figures = json.loads(json.dumps(found.to_dict()))
    assert [row["error"] for row in figures["rows"][:3]] == pytest.approx([0.205, 0.105, 0.055])
    assert figures["images"] == {"learn": 68, "valid": 12, "test": 1000}
    assert [one["outcome"] for one in figures["differences"][:2]] == ["pays", "costs"]
    assert figures["answer"] in str(found)
    assert list(found.to_dataframe()["name"][:3]) == ["3x3", "3x3 + 1x1", "3x3 + 3x3"]
    for text in (str(found), found.to_markdown(), found.to_html()):
        assert "20.50 ± 0.50 %" in text
    assert len(found.to_markdown().splitlines()) == 2 + 9


def test_page_and_picture_load_nothing():
    found = comparison(CLEAR)
    html, svg = found.to_html(), found.plot()
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<script" not in html
    assert found.answer() in html
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "Test errors on bars"


def test_a_chart_without_errors_is_refused():
    with pytest.raises(ValueError, match=r"^a chart needs at least one line, and errors on each$"):
        plot_errors([("equal MACs", [("3x3", [], False)])], label="x")


BAD_KEPT = {
    "kind": {"kind": "transformer"},
    "image_twice": {"wrong": [1, 1]},
    "image_not_there": {"wrong": [9]},
}


@pytest.mark.parametrize("changed", BAD_KEPT.values(), ids=BAD_KEPT.keys())
def test_a_kept_training_that_cannot_be_is_refused(changed):
    kept = {"kind": "plain", "widths": [4], "seed": 0, "wrong": [1], "loss": 0.1, "images": 9}
    kept |= {"seconds": 1.0, "best_epoch": 1}
    assert Cell.from_dict(kept).error == 1 / 9
    with pytest.raises(ValueError, match=r"^an "):
        Cell.from_dict({**kept, **changed})


def test_a_kept_entry_of_an_unknown_matching_is_refused():
    kept = {"matching": "flops", "kind": "plain", "widths": [4], "params": 1, "macs": 1, "ratio": 1}
    with pytest.raises(ValueError, match=r"^an unknown matching or contender$"):
        Entry.from_dict(kept)
