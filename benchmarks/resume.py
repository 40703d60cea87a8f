"""What checkpoints cost: the share of a fit's time that goes into writing its state.

Fits of ``PointwiseRegressor()`` on California housing (on made-up rows where the data is not there)
take turns: without a checkpoint, with the default one, and with one that writes after each epoch.
The share is measured inside each fit, so that what else the machine does hardly matters to it.

Run: python benchmarks/resume.py [--epochs 12] [--rounds 3]
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointwise import PointwiseRegressor
from pointwise.training import Checkpoint
from shared_data import DATA, california

MODES: dict[str, float | None] = {"none": None, "every 10 s": 10.0, "every epoch": 0.0}


class TimedCheckpoint(Checkpoint):
    """A checkpoint that knows how long its writes took."""

    def __init__(self, path: Path, *, every_s: float) -> None:
        super().__init__(path, every_s=every_s)
        self.seconds: list[float] = []

    def write(self, run: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        began = time.perf_counter()
        super().write(run, tensors, state)
        self.seconds.append(time.perf_counter() - began)


def table() -> tuple[str, Any, np.ndarray]:
    if DATA.exists():
        X, y, (learn, _, _) = california()
        return "California housing", X.iloc[learn], y[learn]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(13209, 8))
    return "made-up rows", X, np.sin(X).sum(1) + 0.1 * rng.normal(size=len(X))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    name, X, y = table()
    fits: dict[str, list[float]] = {mode: [] for mode in MODES}
    writes: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for mode in random.Random(turn).sample(list(MODES), len(MODES)):
                path, every_s = Path(folder) / f"{turn} {mode}", MODES[mode]
                checkpoint = None if every_s is None else TimedCheckpoint(path, every_s=every_s)
                model = PointwiseRegressor(max_epochs=options.epochs, random_state=turn)
                began = time.perf_counter()
                model.fit(X, y, checkpoint=checkpoint)
                fits[mode].append(time.perf_counter() - began)
                writes[mode].append(checkpoint.seconds if checkpoint else [])
        size = max(file.stat().st_size for file in Path(folder).iterdir())
    print(f"{name}, {len(y):,} rows, {options.epochs} epochs, {torch.get_num_threads()} threads")
    print(f"a checkpoint has {size / 1e6:.1f} MB\n")
    print("| checkpoint | fit, median s | writes | ms a write, median | share of the fit |")
    print("| --- | --- | --- | --- | --- |")
    for mode in MODES:
        spent = [second for fit in writes[mode] for second in fit]
        share = sum(spent) / sum(fits[mode])
        each = f"{1e3 * statistics.median(spent):.1f}" if spent else ""
        count = f"{len(spent) / options.rounds:.0f}"
        cells = [mode, f"{statistics.median(fits[mode]):.1f}", count, each, f"{share:.2%}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
