"""Finished cells are found again; whatever else lies in their place is told of and left alone."""

import json
import os

import pytest

from pointwise.errors import DataError
from pointwise.studies.cells import FORMAT, CellCache, fingerprint

KEY = {"data": "abc", "seed": 0, "widths": (4, 8)}
RESULT = {"error": 0.25, "wrong": [1, 2]}


def parse(result):
    return float(result["error"])


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(tmp_path, told):
    return CellCache(tmp_path / "cells", say=told.append)


def test_a_cell_comes_back(cache, told):
    assert cache.read("digits", KEY, parse) is None
    cache.write("digits", KEY, RESULT)
    assert cache.read("digits", KEY, parse) == 0.25
    assert CellCache(cache.folder).read("digits", KEY, dict) == RESULT
    assert told == []


@pytest.mark.parametrize("other", [{"seed": 1}, {"data": "abd"}, {"widths": (4, 9)}])
def test_anything_else_in_the_key_is_another_cell(other, cache):
    cache.write("digits", KEY, RESULT)
    assert cache.read("digits", {**KEY, **other}, parse) is None
    assert fingerprint(KEY) != fingerprint({**KEY, **other})


def test_without_a_folder_cells_live_in_memory():
    cache = CellCache()
    cache.make_folder()
    cache.write("digits", KEY, RESULT)
    assert cache.path("digits", KEY) is None
    assert cache.read("digits", KEY, parse) == 0.25
    assert CellCache().read("digits", KEY, parse) is None


def whole(**changed):
    plain = json.loads(json.dumps(KEY))
    return json.dumps({"format": FORMAT, "key": plain, "result": RESULT, **changed}).encode()


FOREIGN = {
    "empty": b"",
    "half_written": whole()[: len(whole()) // 2],
    "no_text": b"\xff\xfe\x00",
    "a_list": b"[1, 2]",
    "a_number": b"7",
    "no_cell": b'{"accuracy": 1}',
    "another_version": whole(format="pointwise study cell 0"),
    "another_key": whole(key={"data": "other"}),
    "a_result_of_another_kind": whole(result=[1]),
    "a_result_without_its_figure": whole(result={}),
    "a_figure_that_is_none": whole(result={"error": "small"}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_or_half_written_file_is_ignored_with_a_note(content, cache, told):
    path = cache.path("digits", KEY)
    cache.make_folder()
    path.write_bytes(content)
    assert cache.read("digits", KEY, parse) is None
    assert told == [f"{path} is no finished cell of this study: done anew"]
    cache.write("digits", KEY, RESULT)
    assert cache.read("digits", KEY, parse) == 0.25


def test_a_file_that_cannot_be_read_is_ignored_with_a_note(cache, told):
    path = cache.path("digits", KEY)
    path.mkdir(parents=True)
    assert cache.read("digits", KEY, parse) is None
    assert told == [f"{path} cannot be read ({os.strerror(21)}): done anew"]


def test_a_write_that_is_killed_leaves_no_file(cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pointwise._atomic.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.write("digits", KEY, RESULT)
    monkeypatch.undo()
    assert list(cache.folder.iterdir()) == []
    assert cache.read("digits", KEY, parse) is None


def test_a_cell_that_cannot_be_written_is_an_error(cache):
    cache.path("digits", KEY).mkdir(parents=True)
    with pytest.raises(DataError, match=r"^cannot write the cell .*digits-.*\.json: "):
        cache.write("digits", KEY, RESULT)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    cache = CellCache(tmp_path / "file")
    with pytest.raises(DataError, match=r"^cannot keep cells in .*file: .*; name another folder$"):
        cache.write("digits", KEY, RESULT)
