"""Kills writers of a model folder and reads it after each kill; run by ``test_kill.py``.

A process of its own, since it forks: every child starts with PyTorch loaded, in no time.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from unittest import mock

import torch

from pointwise.errors import ModelFileError
from pointwise.modelfiles import read_model, write_model

CONFIG = {
    "task": "regression",
    "estimator": "PointwiseRegressor",
    "columns": ["a"],
    "targets": ["y"],
    "classes": None,
    "network": {},
    "parameters": {},
    "training": {},
}
CHANGES = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove"}
FILES = {"model.safetensors", "config.json", "README.md"}


def write(folder: Path, version: int) -> None:
    """Every file says the version; only even versions have a report."""
    tensors = {"w": torch.full((300, 200), float(version)), "b": torch.full((200,), float(version))}
    report = {"version": version} if version % 2 == 0 else None
    config = CONFIG | {"metrics": {"version": version}}
    write_model(folder, tensors, config, card=f"# {version}\n", report=report)


def version_of(folder: Path) -> int:
    """Read the model and hold that all of it is of one version."""
    model = read_model(folder)
    version = model.config["metrics"]["version"]
    for name, tensor in model.tensors.items():
        assert tensor.eq(version).all(), f"{name} is not of version {version}"
    report = {"version": version} if version % 2 == 0 else None
    assert model.report == report, f"version {version} with the report {model.report}"
    return version


def version_after_kill(folder: Path) -> int:
    """Read once as from a read-only disk, then as usual: the files are then in place."""
    with mock.patch("pointwise.modelfiles._contents.settle", side_effect=OSError):
        version = version_of(folder)
    assert version_of(folder) == version
    assert (folder / "README.md").read_text() == f"# {version}\n"
    return version


def in_child(job: Callable[[], None]) -> int:
    """Start ``job`` in a child process."""
    child = os.fork()
    if child == 0:
        signal.alarm(100)  # no child outlives the test
        try:
            job()
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def killed_at(point: int, job: Callable[[], None]) -> bool:
    """Run ``job`` in a child that kills itself before its ``point``-th change of the disk."""

    def run() -> None:
        changes = count(1)

        def hook(event: str, _: object) -> None:
            if event in CHANGES and next(changes) == point:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        job()

    status = os.waitpid(in_child(run), 0)[1]
    assert status in {0, signal.SIGKILL}, f"the writer failed with status {status}"
    return status != 0


def every_point(folder: Path) -> dict[str, int]:
    """Kill a writer that replaces a model before each of its changes, in both report cases."""
    seen = {"old": 0, "new": 0}
    for old in (0, 1):
        for point in count(1):
            write(folder, old)
            left = {path.name for path in folder.iterdir()} - FILES
            assert left <= {"report.json"}, f"left behind: {left}"
            killed = killed_at(point, lambda version=old + 1: write(folder, version))
            version = version_after_kill(folder)
            if not killed:
                assert version == old + 1
                break
            seen["new" if version == old + 1 else "old"] += 1
            assert version in {old, old + 1}
    return seen


def every_point_of_the_first_write(home: Path) -> dict[str, int]:
    """Kill a writer that makes a new folder: it is complete or not there."""
    seen = {"absent": 0, "new": 0}
    for point in count(1):
        folder = home / f"first{point}"
        killed = killed_at(point, lambda folder=folder: write(folder, 2))
        if folder.exists():
            assert version_after_kill(folder) == 2
        if not killed:
            return seen
        seen["new" if folder.exists() else "absent"] += 1
        write(folder, 3)
        assert version_of(folder) == 3
        assert [path.name for path in home.glob(f".{folder.name}.*")] == []
    raise AssertionError


def random_moments(folder: Path, kills: int) -> dict[str, int]:
    """Kill a writer in a loop; a pipe tells how many writes it had begun."""
    moments, seen, version = random.Random(0), {"old": 0, "new": 0}, 0
    start = time.monotonic()
    write(folder, version)
    longest = 3 * (time.monotonic() - start)
    for _ in range(kills):
        reader, writer = os.pipe()

        def loop(start: int = version + 1, pipe: int = writer) -> None:
            for following in count(start):
                os.write(pipe, b".")
                write(folder, following)

        child = in_child(loop)
        os.close(writer)
        os.read(reader, 1)
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        begun = version + 1
        while more := os.read(reader, 4096):
            begun += len(more)
        os.close(reader)
        version = version_after_kill(folder)
        assert version in {begun - 1, begun}, f"{version} after the write of {begun} began"
        seen["new" if version == begun else "old"] += 1
    return seen


def read_while_written(folder: Path, seconds: float) -> dict[str, int]:
    """Read while two writers replace the model; a writer may lose a race, with an error."""

    def loop() -> None:
        for version in count():
            with contextlib.suppress(ModelFileError):
                write(folder, version)

    write(folder, 0)
    children = [in_child(loop) for _ in range(2)]
    versions, end, reads = set(), time.monotonic() + seconds, 0
    # On a busy machine the writers may not get to run in the time given.
    while (now := time.monotonic()) < end or (len(versions) < 2 and now < end + 30):
        versions.add(version_of(folder))
        reads += 1
    for child in children:
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "a writer ended on its own"
    version_after_kill(folder)
    return {"versions": len(versions), "reads": reads}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork copies no threads, and torch would wait for them
    home = Path(sys.argv[1])
    with mock.patch("os.fsync"):  # slow, and only a power cut could tell
        results = {
            "every point": every_point(home / "model"),
            "first write": every_point_of_the_first_write(home),
        }
    results |= {
        "random": random_moments(home / "random", kills=int(sys.argv[2])),
        "shared": read_while_written(home / "shared", seconds=1.0),
    }
    sys.stdout.write(json.dumps(results))
