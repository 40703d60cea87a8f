"""A writer killed at any moment leaves the old model or the new one, complete."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed writers are forked")
def test_a_kill_at_any_moment_leaves_the_old_model_or_the_new_one(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("kill_writer.py")), str(tmp_path), "40"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    # Each kind of outcome was met, so that the kills fell on both sides of the deciding step.
    assert min(results["every point"].values()) >= 5
    assert min(results["first write"].values()) >= 1
    assert sum(results["random"].values()) == 40
    assert results["shared"]["versions"] >= 2
