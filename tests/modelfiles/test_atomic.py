import os
from pathlib import Path

import pytest

from pointwise._atomic import (
    READY,
    read_current,
    replace_folder,
    settle,
    write_bytes,
    write_text,
)

DEAD_PROCESS = 2**22 + 1  # above the largest process number that Linux gives


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fill(folder: Path, **files: str) -> None:
    with replace_folder(folder) as work:
        for name, text in files.items():
            (work / name).write_text(text)


def fill_and_fail(folder: Path) -> None:
    with replace_folder(folder) as work:
        (work / "a").write_text("2")
        raise KeyboardInterrupt


def fill_and_nest(folder: Path) -> None:
    with replace_folder(folder) as work:
        (work / "a").write_text("2")
        (work / "sub").mkdir()


def test_a_file_is_made_then_replaced_and_nothing_stays_beside_it(tmp_path):
    for data in (b"first", b"second, longer", b""):
        write_bytes(tmp_path / "state.bin", data)
        assert (tmp_path / "state.bin").read_bytes() == data
    assert names(tmp_path) == {"state.bin"}


def test_the_old_file_stays_when_the_move_fails(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    write_bytes(tmp_path / "state.bin", b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_bytes(tmp_path / "state.bin", b"new")
    assert (tmp_path / "state.bin").read_bytes() == b"old"
    assert names(tmp_path) == {"state.bin"}


def test_a_file_in_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "state.bin", b"")


@pytest.mark.skipif(os.name == "nt", reason="links and modes are POSIX's here")
def test_a_link_is_followed_and_the_usual_permissions_are_given(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.bin").symlink_to(tmp_path / "real" / "state.bin")
    write_bytes(tmp_path / "link.bin", b"data")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real" / "state.bin").read_bytes() == b"data"
    (tmp_path / "plain.bin").write_bytes(b"")
    fill(tmp_path / "made", a="1")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "link.bin").stat().st_mode == (tmp_path / "plain.bin").stat().st_mode
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param("a\nb\r\n", b"a\nb\r\n", id="line ends as they are"),
        pytest.param("\N{LATIN SMALL LETTER E WITH ACUTE}", b"\xc3\xa9", id="utf-8"),
        pytest.param("\udc80", b"\\udc80", id="half a surrogate pair"),
    ],
)
def test_text(tmp_path, text, data):
    write_text(tmp_path / "note.txt", text)
    assert (tmp_path / "note.txt").read_bytes() == data


@pytest.mark.skipif(os.name == "nt", reason="whether a process runs is not asked there")
def test_what_a_killed_writer_left_is_removed_and_a_running_one_is_left_alone(tmp_path):
    fill(tmp_path / "model", a="1")
    dead = [tmp_path / f".state.bin.{DEAD_PROCESS}-00.tmp", tmp_path / f".new.{DEAD_PROCESS}-0.tmp"]
    dead += [tmp_path / "model" / f".{READY}.{DEAD_PROCESS}-00.tmp"]
    alive = [tmp_path / f".state.bin.{os.getpid()}-00.tmp", tmp_path / ".state.bin.draft.tmp"]
    dead[0].touch()
    for path in dead[1:]:
        path.mkdir()
        (path / "half").touch()
    for path in alive:
        path.touch()
    write_bytes(tmp_path / "state.bin", b"")
    fill(tmp_path / "new", a="1")
    fill(tmp_path / "model", a="2")
    assert names(tmp_path) == {"state.bin", "new", "model", *(path.name for path in alive)}
    assert names(tmp_path / "model") == {"a"}


@pytest.mark.skipif(os.name == "nt", reason="whether a process runs is not asked there")
@pytest.mark.parametrize(
    ("answer", "stays"), [(PermissionError, True), (ProcessLookupError, False)], ids=str
)
def test_a_writer_of_another_user_is_left_alone(tmp_path, monkeypatch, answer, stays):
    def kill(process, signal):
        assert (process, signal) == (4711, 0)
        raise answer

    (tmp_path / ".state.bin.4711-00.tmp").touch()
    monkeypatch.setattr(os, "kill", kill)
    write_bytes(tmp_path / "state.bin", b"")
    assert (".state.bin.4711-00.tmp" in names(tmp_path)) == stays


def test_a_folder_is_made_with_its_parents_then_renewed_and_other_files_stay(tmp_path):
    folder = tmp_path / "some" / "where" / "model"
    fill(folder, a="1", b="1")
    (folder / "notes.txt").write_text("mine")
    fill(folder, a="2", c="2")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a": "2",
        "b": "1",
        "c": "2",
        "notes.txt": "mine",
    }


@pytest.mark.parametrize("exists", [True, False])
def test_a_block_that_raises_changes_nothing(tmp_path, exists):
    if exists:
        fill(tmp_path / "model", a="1")
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(tmp_path / "model")
    assert names(tmp_path) == ({"model"} if exists else set())
    if exists:
        assert names(tmp_path / "model") == {"a"}
        assert read_current(tmp_path / "model", "a") == b"1"


def test_subfolders_are_refused_before_anything_is_replaced(tmp_path):
    fill(tmp_path / "model", a="1")
    with pytest.raises(OSError, match="sub"):
        fill_and_nest(tmp_path / "model")
    assert names(tmp_path / "model") == {"a"}
    assert read_current(tmp_path / "model", "a") == b"1"


def test_files_on_their_way_into_place_count_until_they_are_moved(tmp_path):
    fill(tmp_path, a="1", b="1")
    (tmp_path / READY).mkdir()
    (tmp_path / READY / "a").write_text("2")
    assert (read_current(tmp_path, "a"), read_current(tmp_path, "b")) == (b"2", b"1")
    settle(tmp_path)
    assert names(tmp_path) == {"a", "b"}
    assert (read_current(tmp_path, "a"), read_current(tmp_path, "b")) == (b"2", b"1")


def test_the_next_writer_first_moves_what_a_killed_one_left(tmp_path):
    fill(tmp_path, a="1", b="1")
    (tmp_path / READY).mkdir()
    (tmp_path / READY / "b").write_text("2")
    fill(tmp_path, a="3")
    assert names(tmp_path) == {"a", "b"}
    assert (read_current(tmp_path, "a"), read_current(tmp_path, "b")) == (b"3", b"2")


def test_files_that_cannot_be_moved_yet_count_all_the_same(tmp_path, monkeypatch):
    fill(tmp_path, a="1")
    move = os.replace

    def held_open(source, target):
        if Path(target).name == "a":
            raise PermissionError(13, "another program has it open")
        move(source, target)

    monkeypatch.setattr(os, "replace", held_open)
    fill(tmp_path, a="2")
    assert read_current(tmp_path, "a") == b"2"
    monkeypatch.undo()
    settle(tmp_path)
    assert (tmp_path / "a").read_text() == "2"


def test_settling_a_folder_that_is_not_there_does_nothing(tmp_path):
    settle(tmp_path / "nowhere")
    assert names(tmp_path) == set()
