"""Kills processes that make a map, and looks at what is there after each; run by its test.

This process makes no map itself: it would have threads then, and a fork of it might wait for locks
that they held. All that is made is made in children.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from map_rasters import map_to, pixels, write_raster

from pointwise.maps.files import windows

OLD = b"the map that was there before"
KILLS = 10


def make(folder: Path, pipe: int | None = None) -> None:
    """Make the map; a byte goes through the pipe for each piece, which then takes a while."""

    def slow(done: int, total: int) -> None:
        if pipe is not None:
            os.write(pipe, b".")
            time.sleep(0.01)

    map_to(folder / "map.tif", folder / "scene.tif", progress=slow, compress="deflate")


def in_child(call: Callable[[], None]) -> None:
    """Do something in a child, and wait for it."""
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        call()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def killed(folder: Path, pieces: int, moments: random.Random) -> bool:
    """Kill a child after some of its pieces and a moment more; whether it was still at work."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(100)  # no child outlives the test
        make(folder, writer)
        os._exit(0)
    os.close(writer)
    for _ in range(moments.randint(0, pieces)):
        if not os.read(reader, 1):
            break
    time.sleep(moments.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kills(folder: Path, whole: bytes, pieces: int, old: bytes | None, seed: int) -> dict[str, Any]:
    moments = random.Random(seed)
    seen: dict[str, Any] = {"killed": 0, "old": 0, "new": 0, "broken": 0, "left": 0, "same": 0}
    map_file = folder / "map.tif"
    for _ in range(KILLS):
        map_file.unlink(missing_ok=True)
        if old is not None:
            map_file.write_bytes(old)
        seen["killed"] += killed(folder, pieces, moments)
        there = map_file.read_bytes() if map_file.exists() else None
        seen["old" if there == old else "new" if there == whole else "broken"] += 1
        seen["left"] += len(left(folder)) > 1 + map_file.exists()
        in_child(lambda: make(folder))
        seen["same"] += map_file.read_bytes() == whole and left(folder) == ["map.tif", "scene.tif"]
    return seen


if __name__ == "__main__":
    torch.set_num_threads(1)
    windows.SHEET_PIXELS, windows.PIECE_PIXELS = 40_000, 20_000
    home = Path(sys.argv[1])
    in_child(lambda: write_raster(home / "scene.tif", pixels(700, 600)))
    in_child(lambda: make(home))
    whole = (home / "map.tif").read_bytes()
    pieces = 24
    results = {
        "no map before": kills(home, whole, pieces, None, 0),
        "a map before": kills(home, whole, pieces, OLD, 1),
    }
    sys.stdout.write(json.dumps(results))
