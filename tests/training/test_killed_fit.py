"""A fit killed with SIGKILL at any moment and resumed ends like the unbroken one."""

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
    command = [sys.executable, str(Path(__file__).with_name("killed_fit.py")), str(home)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_ten_kills_end_in_the_same_predictions(results):
    fits = results["fits"]
    assert len(fits) >= 10
    for name, fit in fits.items():
        assert fit["ended by"] == signal.SIGKILL, name
        assert fit["same"], f"killed at {name}: other predictions"
        assert fit["files"] == ["fit.ckpt", "predictions.npy", "trained"], name


def test_resumed_fits_go_on_where_the_last_state_was(results):
    began = {name: fit["went on from"] for name, fit in results["fits"].items()}
    assert began == {
        "epoch 1, first step": 1,
        "epoch 2, first step": 2,
        "epoch 3, third step": 3,
        "epoch 5, first step": 5,
        "epoch 6, last step": 6,
        "epoch 8, second step": 8,
        "epoch 10, fifth step": 10,
        "epoch 12, last step": 12,
        "write 1, half of its bytes": 1,
        "write 4, half of its bytes": 4,
        "write 7, before it is synced": 7,
        "write 9, before it is moved": 9,
        "write 11, after it is moved": 12,
        "the last write, half of its bytes": 13,
        "before the predictions": 13,
    }
    for name, fit in results["fits"].items():
        assert fit["checkpoint"] == (began[name] > 1), name


def test_the_kills_in_a_write_left_its_temporary_file(results):
    left = {name: fit["temporary files"] for name, fit in results["fits"].items()}
    assert [name for name, files in left.items() if files] == [
        "write 1, half of its bytes",
        "write 4, half of its bytes",
        "write 7, before it is synced",
        "write 9, before it is moved",
        "the last write, half of its bytes",
    ]


def test_one_fit_killed_ten_times(results):
    again = results["again"]
    assert again["ended by"] == [signal.SIGKILL] * 10
    assert again["went on from"] > 6
    assert again["same"]
    assert again["files"] == ["fit.ckpt", "predictions.npy", "trained"]


def test_the_command_line_resumes(results):
    for name, fit in results["commands"].items():
        assert fit["ended by"] == signal.SIGKILL, name
        assert "model.checkpoint" in fit["left"], name
        assert "model" not in fit["left"], name
        assert fit["same"], f"killed at {name}: other weights"
        assert fit["files"] == ["model", "result.json", "table.csv"], name
