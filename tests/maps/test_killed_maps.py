"""A map killed with SIGKILL at any moment is not there, or whole; the next run makes it whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed maps are forked"),
    pytest.mark.slow,
]


@pytest.mark.parametrize("before", ["no map before", "a map before"])
def test_ten_kills_leave_the_old_map_or_the_whole_one(killed_maps, before):
    seen = killed_maps[before]
    assert seen["killed"] >= 5  # the others were done before
    assert seen["old"] >= 5
    assert seen["broken"] == 0
    assert seen["old"] + seen["new"] == 10


@pytest.mark.parametrize("before", ["no map before", "a map before"])
def test_the_next_run_gives_the_bytes_of_an_unbroken_one_and_tidies_up(killed_maps, before):
    assert killed_maps[before]["left"] >= 3  # what the killed ones had begun
    assert killed_maps[before]["same"] == 10


@pytest.fixture(scope="module")
def killed_maps(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(Path(__file__).with_name("killed_map.py")), str(home)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
