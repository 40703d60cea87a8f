"""Kills fits of images with SIGKILL and resumes them; run by ``test_killed_image_fit.py``.

The command line fits a classifier to a folder of images, and a segmenter to images and masks. It
is killed at moments drawn at random, and resumed until it ends.
"""

import contextlib
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from killed_fit import Call, Step, Write, in_child
from PIL import Image

from pointwise.cli.app import app
from pointwise.studies import images, masks
from pointwise.training import Checkpoint
from pointwise.training.run import Run

EPOCHS = 6
STEPS = 2
KILLS = 5


@dataclass(frozen=True)
class Job:
    """Options of ``fit``, what ``predict`` writes, and what comes after training."""

    options: tuple[str, ...]
    out: str
    after: Call


JOBS = {
    "classifier": Job(("photos",), "classes.csv", Call(images, "_plain_models")),
    "segmenter": Job(
        ("scenes", "--widths", "4,8", "--groups", "[^_]+"),
        "found",
        Call(masks, "plain_mask_models"),
    ),
}


def write_data() -> None:
    """Stripes that lie or stand in ``photos``; bright squares and where they are in ``scenes``."""
    rng = np.random.default_rng(0)
    wave = np.where(np.arange(12) % 4 < 2, 60, 190)
    for number in range(40):
        pattern = np.broadcast_to(wave[:, None], (12, 12))
        stripes = (pattern if number % 2 else pattern.T) + rng.integers(-50, 51, (12, 12))
        save(stripes, Path("photos", "ab"[number % 2], f"{number}.png"))
        mask = np.zeros((16, 16))
        row, column = rng.integers(0, 10, 2)
        mask[row : row + 6, column : column + 6] = 1
        name = f"{number // 4}_{number}.png"
        save(120 * mask + rng.integers(0, 90, mask.shape), Path("scenes", "images", name))
        save(mask, Path("scenes", "masks", name))


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def pointwise(*arguments: str) -> None:
    """Run a command with a checkpoint after every epoch."""
    with (
        mock.patch.object(Checkpoint, "due", True),
        Path("printed").open("w") as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        app(list(arguments), standalone_mode=False)
    Path("printed").unlink()


def fit(folder: Path, job: Job, *more: str) -> None:
    """Fit, predict with what was fitted, and say how many epochs were trained here."""
    os.chdir(folder)
    trained, epoch = count(), Run.epoch

    def counted(run: Run) -> object:
        next(trained)
        return epoch(run)

    data = str(folder.parent / job.options[0])
    options = [*job.options[1:], "--epochs", str(EPOCHS), "--out", "model", "--json", *more]
    with mock.patch.object(Run, "epoch", counted):
        pointwise("fit", data, *options)
    Path("trained").write_text(str(next(trained)))
    given = Path(data, "images")
    pointwise("predict", "model", str(given if given.exists() else data), "--out", job.out)


def end_of(folder: Path, job: Job) -> str:
    """Digest of the weights, of the scores and of what was predicted."""
    config = json.loads((folder / "model" / "config.json").read_bytes())
    history = config["training"]["history"]
    scores = json.dumps([config["metrics"], history["train_loss"], history["valid_loss"]])
    out = folder / job.out
    predicted = sorted(out.rglob("*.png")) if out.is_dir() else [out]
    parts = [(folder / "model" / "model.safetensors").read_bytes(), scores.encode()]
    parts += [path.read_bytes() for path in predicted]
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


def random_moments(seed: int) -> dict[str, Step | Write]:
    """Steps and writes drawn at random."""
    rng = random.Random(seed)
    steps = rng.sample([(e, s) for e in range(1, EPOCHS + 1) for s in range(1, STEPS + 1)], 3)
    parts = ["bytes", "sync", "move", "folder"]
    writes = [(rng.randint(1, EPOCHS), part) for part in rng.sample(parts, KILLS - 3)]
    moments: dict[str, Step | Write] = {f"epoch {e}, step {s}": Step(e, s) for e, s in steps}
    return moments | {f"write {n}, {part}": Write(n, part) for n, part in writes}


def epoch_of(moment: Step | Write | Call) -> int:
    """The epoch that a fit killed at this moment goes on from."""
    if isinstance(moment, Call):
        return EPOCHS + 1
    if isinstance(moment, Step):
        return moment.epoch
    return moment.number + (moment.part == "folder")


def killed(folder: Path, job: Job, moments: Sequence[Step | Write | Call]) -> list[int]:
    """Kill one fit at each of the moments in turn, and resume it to its end."""
    folder.mkdir()
    ended = []
    for place, moment in enumerate(moments):
        resume = ("--resume",) if place else ()
        ended.append(in_child(lambda moment=moment, r=resume: (moment.arm(), fit(folder, job, *r))))
    assert in_child(lambda: fit(folder, job, "--resume")) == 0
    return ended


def results(home: Path, job: Job, seed: int) -> dict[str, Any]:
    """What becomes of killed fits, beside one that nobody kills."""
    unbroken = home / "unbroken"
    unbroken.mkdir()
    assert in_child(lambda: fit(unbroken, job)) == 0
    moments: dict[str, Any] = {**random_moments(seed), "before the plain models": job.after}
    cases = {name: [moment] for name, moment in moments.items()}
    cases["three times"] = [Step(2, 2), Write(2, "bytes"), Step(2, 1)]
    found = {}
    for name, kills in cases.items():
        ended_by = killed(home / name, job, kills)
        found[name] = {
            "ended by": ended_by,
            "went on from": EPOCHS + 1 - int((home / name / "trained").read_text()),
            "state of": 4 if len(kills) > 1 else epoch_of(kills[0]),
            "same": end_of(home / name, job) == end_of(unbroken, job),
            "files": sorted(path.name for path in (home / name).iterdir()),
        }
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork copies no threads, and torch would wait for them
    home = Path(sys.argv[1])
    found = {}
    with mock.patch("os.fsync"):  # slow, and only a power cut could tell
        for seed, (name, job) in enumerate(JOBS.items()):
            here = home / name
            here.mkdir()
            os.chdir(here)
            write_data()
            (here / "first").mkdir()
            fit(here / "first", job)  # what is imported on first use is now there
            found[name] = results(here, job, seed)
    sys.stdout.write(json.dumps(found))
