"""The comparison: every network trained once per seed, kept, found again and gone on with."""

import math
from dataclasses import replace
from importlib import import_module

import pytest
from comparing import NARROW

from pointwise.studies.cells import CellCache
from pointwise.studies.compare import compare
from pointwise.studies.contenders import KINDS
from pointwise.training import Rows
from pointwise.training.augment import RandomFlip

compare_module = import_module("pointwise.studies.compare")  # its name is the function's


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


def test_bfloat16_trains_too(data, even_clock):
    options = replace(NARROW, matchings=("macs",), seeds=1, epochs=1, bfloat16=True)
    assert math.isfinite(compare(data, options).cells[0].loss)
