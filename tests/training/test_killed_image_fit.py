"""A fit of images on the command line, killed with SIGKILL and resumed, ends like the unbroken."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed fits are forked"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(Path(__file__).with_name("killed_image_fit.py")), str(home)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    ("kind", "out"), [("classifier", "classes.csv"), ("segmenter", "found")], ids=str
)
def test_killed_image_fits_end_in_the_same_model(kind, out, results):
    fits = results[kind]
    assert len(fits) == 7
    for name, fit in fits.items():
        kills = 3 if name == "three times" else 1
        assert fit["ended by"] == [signal.SIGKILL] * kills, name
        assert fit["same"], f"{kind} killed at {name}: other weights, scores or predictions"
        assert fit["went on from"] == fit["state of"], name
        assert fit["files"] == sorted(["model", out, "trained"]), name
