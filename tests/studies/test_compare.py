"""The comparison: equal but for what is compared, resumable, and careful with its words."""

import itertools
import json
import math
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import pointwise.studies.compare_plan as plan_module
from pointwise.errors import DataError
from pointwise.nn.mlpconv import MLPConv
from pointwise.studies.cells import CellCache
from pointwise.studies.compare import compare
from pointwise.studies.compare_data import split_images
from pointwise.studies.compare_plan import CompareOptions
from pointwise.studies.compare_plot import plot_errors
from pointwise.studies.compare_records import Cell, Entry
from pointwise.studies.comparison import Comparison
from pointwise.studies.contenders import KINDS, Job, build, count, name_of, stage_widths
from pointwise.studies.matching import match_count, match_time, step_seconds
from pointwise.studies.uncertainty import paired_difference
from pointwise.training import Rows, Settings
from pointwise.training.augment import RandomFlip

compare_module = import_module("pointwise.studies.compare")  # its name is the function's


CIFAR = Job((3, 32, 32), 10, 3, (120.0, 120.0, 120.0), (60.0, 60.0, 60.0))
PATCH = Job((4, 3, 3), 6, 3, (70.0,) * 4, (20.0,) * 4)
NARROW = CompareOptions(width=8, seeds=2, epochs=2, batch_size=16)


def bars(n=80, size=8):
    """Images of upright and level bars, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 2
    images = rng.integers(0, 60, (n, 1, size, size)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(size)
        image[(0, place) if label else (0, slice(None), place)] += 150
    return images, labels


@pytest.fixture
def data():
    return split_images("bars", *bars(), ("upright", "level"))


@pytest.fixture
def even_clock(monkeypatch):
    """Steps take as long as they have parameters, on every machine."""

    def seconds(networks, *_, **__):
        return [1e-6 * sum(p.numel() for p in net.parameters()) for net in networks]

    monkeypatch.setattr(plan_module, "step_seconds", seconds)


# --- The contenders ---


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((1, 28, 28), (8, 16, 32, 32)),
        ((3, 32, 32), (8, 16, 32, 32)),
        ((1, 8, 8), (8, 16)),
        ((4, 3, 3), (8,)),
        ((1, 1, 1), (8,)),
        ((3, 224, 224), (8, 16, 32, 32, 32)),
        ((3, 224, 10), (8, 16)),
    ],
)
def test_stages_fit_the_image(shape, widths):
    assert stage_widths(shape, 8) == widths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 3, 3), (2, 1, 1), (3, 9, 5)], ids=str)
@pytest.mark.parametrize("kernel", [3, 5])
def test_every_contender_takes_images_of_every_size(kind, shape, kernel):
    job = Job(shape, 7, kernel, (100.0,) * shape[0], (50.0,) * shape[0])
    network = build(kind, stage_widths(shape, 4), job)
    assert network(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, 7)


def test_contenders_differ_in_their_stages_alone():
    widths = stage_widths(CIFAR.shape, 8)
    plain, ours, double = (dict(build(kind, widths, CIFAR).named_children()) for kind in KINDS)
    assert list(plain) == list(ours) == list(double)
    for name in plain:
        if not name.startswith("stage"):
            assert repr(plain[name]) == repr(ours[name]) == repr(double[name])
        else:
            assert isinstance(ours[name], MLPConv)
            assert repr(plain[name]) == repr(ours[name].conv)
    assert [name_of(kind, 5) for kind in KINDS] == ["5x5", "5x5 + 1x1", "5x5 + 5x5"]


def test_the_count_is_that_of_the_layers():
    w, v = 8, 16
    job = Job((1, 8, 8), 10, 3, (0.0,), (1.0,))
    norms = {"plain": 2 * (w + v), "mlpconv": 4 * (w + v), "double": 4 * (w + v)}
    more = {"plain": (0, 0), "mlpconv": (w * w, v * v), "double": (9 * w * w, 9 * v * v)}
    for kind in KINDS:
        first, second = 9 * w + more[kind][0], 9 * w * v + more[kind][1]
        total = count(kind, (w, v), job)
        assert total.params == first + second + norms[kind] + v * 10 + 10
        assert total.macs == 64 * first + 16 * second + v * 10
        made = build(kind, (w, v), job)
        assert total.params == sum(p.numel() for p in made.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_as_small_as_the_kernel_is_read_whole(kind):
    network = build(kind, (5,), PATCH)
    x = torch.randint(0, 255, (2, 4, 3, 3), dtype=torch.uint8)
    stage = network.stage1(network.scale(x))
    assert stage.shape == (2, 5, 1, 1)
    unpadded = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.padding == (0, 0)]
    assert len(unpadded) == 1


@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_a_kernel_that_is_even_or_a_1x1_is_refused(kernel):
    with pytest.raises(ValueError, match=f"^kernel must be odd and at least 3, got {kernel}$"):
        replace(CIFAR, kernel=kernel)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"^there must be two classes at least, got 1$"):
        replace(CIFAR, classes=1)


# --- Matching ---


@pytest.mark.parametrize("field", ["params", "macs"])
@pytest.mark.parametrize("kind", ["plain", "double"])
@pytest.mark.parametrize(
    ("job", "width"), [(CIFAR, 16), (CIFAR, 32), (PATCH, 256)], ids=["cifar16", "cifar32", "patch"]
)
def test_counts_are_matched_within_two_percent(job, width, kind, field):
    base = stage_widths(job.shape, width)
    target = getattr(count("mlpconv", base, job), field)

    def ratio(widths):
        return getattr(count(kind, widths, job), field) / target

    found = match_count(base, ratio)
    assert abs(ratio(found) - 1) <= 0.02
    factors = [w / b for w, b in zip(found, base, strict=True)]
    assert max(factors) / min(factors) < 1.15


def test_stages_stay_in_proportion_where_rounding_allows():
    assert match_count((32, 64, 128), lambda widths: sum(w * w for w in widths) / 5376) == (
        16,
        32,
        64,
    )


def test_widths_end_at_one_where_nothing_is_narrow_enough():
    assert match_count((8,), lambda widths: 2.0 + widths[0]) == (1,)
    assert match_time((8,), lambda widths, _: 2.0 + widths[0])[0] == (1,)


def test_widths_end_somewhere_where_nothing_is_wide_enough():
    (width,) = match_count((8,), lambda widths: 0.5)
    assert width >= 1


@pytest.mark.parametrize("share", [0.3, 0.9, 2.7])
def test_time_is_matched_through_noise(share):
    noise = np.random.default_rng(0)

    def ratio(widths, seconds):
        return widths[0] / (64 * share) * (1 + 0.005 * noise.standard_normal())

    (width,), reached = match_time((64,), ratio)
    assert abs(width / (64 * share) - 1) <= 0.03
    assert abs(reached - 1) <= 0.03


def test_steps_are_timed_in_turns():
    rows = Rows(torch.randn(20, 3), torch.zeros(20, dtype=torch.long))

    class Slow(nn.Linear):
        def forward(self, x):
            time.sleep(0.01)
            return super().forward(x)

    quick, slow = step_seconds(
        [nn.Linear(3, 2), Slow(3, 2)], rows, Settings(16, schedule="one_cycle"), seconds=0.01
    )
    assert 0 < quick < 0.01 < slow


# --- The data ---


def test_images_are_split_alike_for_every_class():
    images, labels = bars(100)
    data = split_images("bars", images, labels, ("upright", "level"))
    assert [len(rows) for rows in (data.learn, data.valid, data.test)] == [68, 12, 20]
    for rows in (data.learn, data.valid, data.test):
        assert int(rows.y.sum()) * 2 == len(rows)
        assert rows.x.dtype == torch.uint8
    seen = torch.cat([data.learn.x, data.valid.x, data.test.x]).flatten(1)
    assert len(torch.unique(seen, dim=0)) == 100
    again = split_images("bars", images, labels, ("upright", "level"))
    assert torch.equal(again.test.x, data.test.x)


def test_the_scale_is_that_of_the_learnt_images(data):
    job = data.job(3)
    x = data.learn.x.double()
    torch.testing.assert_close(job.mean, (float(x.mean()),))
    torch.testing.assert_close(job.std, (float(x.std(correction=0)),))
    floats = replace(data, learn=Rows(data.learn.x.float(), data.learn.y))
    torch.testing.assert_close(floats.job(3).std, job.std)


def test_images_of_one_grey_have_a_scale_too():
    images, labels = bars()
    flat = split_images("flat", np.full_like(images, 7), labels, ("a", "b"))
    assert flat.job(3).std == (1.0,)


BAD_IMAGES = {
    "no_labels": (
        (None, ("a", "b")),
        "x has no labels: a comparison needs the class of every image",
    ),
    "one_class": (
        (np.zeros(20, np.int64), ("a",)),
        "x has 1 class: a comparison needs two at least",
    ),
    "too_few_of_one": (
        (np.array([0] * 16 + [1] * 4), ("a", "b")),
        "class 'b' has 4 images: a comparison needs 5 of every class at least, so that some are in "
        "every part",
    ),
    "none_of_one": (
        (np.array([0] * 10 + [1] * 10), ("a", "b", "c")),
        "class 'c' has 0 images: a comparison needs 5 of every class at least, so that some are in "
        "every part",
    ),
}


@pytest.mark.parametrize(("case", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_images_that_cannot_be_compared_on_are_refused(case, message):
    labels, classes = case
    with pytest.raises(DataError) as error:
        split_images("x", np.zeros((20, 1, 4, 4), np.uint8), labels, classes)
    assert str(error.value) == message


def test_parts_of_different_shapes_are_refused(data):
    with pytest.raises(
        ValueError,
        match=r"^test must have images of one shape \(N, C, H, W\), got \(16, 1, 8, 7\) "
        r"where learn has \(54, 1, 8, 8\)$",
    ):
        replace(data, test=Rows(data.test.x[..., 1:], data.test.y))


# --- The comparison ---


def test_everything_is_trained_once_per_seed_and_found_again(data, even_clock, tmp_path):
    told, watched = [], []
    cache = CellCache(tmp_path, say=told.append)
    found = compare(
        data, NARROW, cache=cache, say=told.append, progress=lambda *now: watched.append(now)
    )
    networks = {(cell.kind, cell.widths) for cell in found.cells}
    assert len(found.cells) == 2 * len(networks) == len(told)
    assert watched[-1] == ("done", len(told), len(told))
    assert [row.kind for row in found.rows] == [*KINDS] * 3
    ours = [row for row in found.rows if row.kind == "mlpconv"]
    assert len({row.errors for row in ours}) == 1
    files = sorted(path.name for path in tmp_path.iterdir())
    assert sum("seed" in name for name in files) == len(told)
    assert [name for name in files if not name.endswith(".json")] == []

    told.clear()
    again = compare(data, NARROW, cache=CellCache(tmp_path, say=told.append), say=told.append)
    assert (again, told) == (found, [])


def test_a_stopped_comparison_goes_on(data, even_clock, tmp_path):
    whole = compare(data, NARROW)

    def stop(_, done, __):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(data, NARROW, cache=CellCache(tmp_path), progress=stop)
    kept = sorted(path for path in tmp_path.iterdir() if "seed" in path.name)
    assert len(kept) == 3
    kept[0].write_text("{")
    told = []
    found = compare(data, NARROW, cache=CellCache(tmp_path, say=told.append), say=told.append)
    assert f"{kept[0]} is no finished cell of this study: done anew" in told
    assert len(told) == len(whole.cells) - 2 + 1
    assert [row.errors for row in found.rows] == [row.errors for row in whole.rows]


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(
    data, even_clock, tmp_path, monkeypatch
):
    options = replace(NARROW, matchings=("macs",), seeds=1, epochs=3)
    whole = compare(data, options)
    monkeypatch.setattr(compare_module, "CHECKPOINT_S", 0.0)
    scored = compare_module._score

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_module, "_score", killed)
    with pytest.raises(KeyboardInterrupt):
        compare(data, options, cache=CellCache(tmp_path))
    (left,) = tmp_path.glob("*.ckpt")
    monkeypatch.setattr(compare_module, "_score", scored)
    found = compare(data, options, cache=CellCache(tmp_path))
    assert [row.errors for row in found.rows] == [row.errors for row in whole.rows]
    assert not left.exists()


def test_a_damaged_checkpoint_is_told_of_and_the_training_starts_afresh(
    data, even_clock, tmp_path, monkeypatch
):
    options = replace(NARROW, matchings=("macs",), seeds=1)
    monkeypatch.setattr(compare_module, "CHECKPOINT_S", 0.0)
    made = CellCache.path

    def path(self, label, key, suffix=".json"):
        found = made(self, label, key, suffix)
        if suffix == ".ckpt":
            found.write_bytes(b"damage")
        return found

    monkeypatch.setattr(CellCache, "path", path)
    told = []
    found = compare(data, options, cache=CellCache(tmp_path), say=told.append)
    assert sum("the training starts afresh" in sentence for sentence in told) == len(found.cells)
    assert list(tmp_path.glob("*.ckpt")) == []


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 1e-3}, {"augment": RandomFlip()}, {"kernel": 5}, {"epochs": 2}],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_a_training_decides_its_cell(change, data, even_clock, tmp_path):
    options = replace(NARROW, matchings=("macs",), seeds=1, epochs=1)
    told = []
    compare(data, options, cache=CellCache(tmp_path))
    compare(data, replace(options, **change), cache=CellCache(tmp_path), say=told.append)
    assert len(told) == 3


def test_other_images_are_other_cells(data, even_clock, tmp_path):
    options = replace(NARROW, matchings=("macs",), seeds=1, epochs=1)
    compare(data, options, cache=CellCache(tmp_path))
    other = Rows(data.test.x.clone(), data.test.y)
    other.x[0, 0, 0, 0] ^= 1
    told = []
    changed = replace(data, test=other)
    compare(changed, options, cache=CellCache(tmp_path), say=told.append)
    assert len(told) == 3


def test_more_seeds_train_only_what_is_new(data, even_clock, tmp_path):
    fewer = replace(NARROW, epochs=1)
    first = compare(data, fewer, cache=CellCache(tmp_path))
    told = []
    more = compare(data, replace(fewer, seeds=3), cache=CellCache(tmp_path), say=told.append)
    assert all("seed2" in sentence for sentence in told)
    assert [row.errors[:2] for row in more.rows] == [row.errors for row in first.rows]


def test_the_time_limit_is_shared_as_epochs(data, even_clock, monkeypatch):
    generous = compare(data, replace(NARROW, time_limit_s=600.0, seeds=1, epochs=2))
    assert generous.epochs == 2
    steps = math.ceil(len(data.learn) / NARROW.batch_size)
    each = sum({(e.kind, e.widths): 1e-6 * e.params for e in generous.entries}.values()) * steps
    short = replace(NARROW, time_limit_s=each * 3.5 / 0.8, seeds=1, epochs=9)
    planner = plan_module.Planner(data, short, CellCache(), lambda *_: None)
    monkeypatch.setattr(planner, "left", lambda: short.time_limit_s)  # matching took no time
    assert planner._epochs(generous.entries) == 3


def test_a_time_limit_that_does_not_suffice_is_refused(data, even_clock):
    with pytest.raises(
        DataError,
        match=r"^the time limit of 0.001 s does not suffice: matching took \d+ s, and one epoch of "
        r"each of the \d+ trainings takes about \d+ s$",
    ):
        compare(data, replace(NARROW, time_limit_s=0.001))


def test_a_short_time_makes_the_networks_narrower(data, monkeypatch):
    def seconds(networks, *_, **__):
        return [1e-4 * sum(p.numel() for p in net.parameters()) for net in networks]

    monkeypatch.setattr(plan_module, "step_seconds", seconds)
    for limit, width in ((None, 32), (1e9, 32), (1.0, 8)):
        options = replace(NARROW, width=None, time_limit_s=limit)
        planner = plan_module.Planner(data, options, CellCache(), lambda *_: None)
        assert planner._width() == width


@pytest.mark.parametrize("first_overrun", [3, 11])
def test_seeds_that_the_time_limit_cut_off_do_not_count(
    first_overrun, data, even_clock, monkeypatch
):
    options = replace(NARROW, matchings=("macs",), seeds=3, epochs=2, time_limit_s=1000.0)
    asked = itertools.count(1)
    left = plan_module.Planner.left

    def running_out(self):
        return -1.0 if self.trained and next(asked) >= first_overrun else left(self)

    monkeypatch.setattr(plan_module.Planner, "left", running_out)
    monkeypatch.setattr(plan_module.Planner, "trained", False, raising=False)
    plan = plan_module.Planner.plan

    def then_train(self):
        made = plan(self)
        self.trained = True
        return made

    monkeypatch.setattr(plan_module.Planner, "plan", then_train)
    told = []
    if first_overrun == 3:
        with pytest.raises(
            DataError, match=r"^the time limit ran out before every network was tra"
        ):
            compare(data, options)
        return
    found = compare(data, options, say=told.append)
    assert found.seeds == 1
    assert told[-1] == "the time limit left 1 of 3 seeds: the others do not count"


BAD_OPTIONS = {
    "seeds": ({"seeds": 0}, "seeds must be at least 1, got 0"),
    "epochs": ({"epochs": -1}, "epochs must be at least 1, got -1"),
    "width": ({"width": 0}, "width must be at least 1, got 0"),
    "batch_size": ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    "no_matching": (
        {"matchings": ()},
        "matchings must be some of ('parameters', 'macs', 'time'), got ()",
    ),
    "matching": (
        {"matchings": ("flops",)},
        "matchings must be some of ('parameters', 'macs', 'time'), got ('flops',)",
    ),
}


@pytest.mark.parametrize(("given", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_options_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match="must be") as error:
        CompareOptions(**given)
    assert str(error.value) == message


def test_bfloat16_trains_too(data, even_clock):
    options = replace(NARROW, matchings=("macs",), seeds=1, epochs=1, bfloat16=True)
    assert math.isfinite(compare(data, options).cells[0].loss)


# --- What the figures say ---


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
