"""Kills fits with SIGKILL and resumes them; run by ``test_killed_fit.py``.

A process of its own, since it forks: every child starts with PyTorch loaded, in no time. What the
kills need to hook into is wrapped here, in the child that will die of it.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from pointwise import _atomic
from pointwise.cli.app import app
from pointwise.estimators import PointwiseRegressor
from pointwise.studies import tables
from pointwise.training import Checkpoint, Rows
from pointwise.training.run import Run

EPOCHS = 12


def die() -> None:
    """As by ``kill -9``: no handler, no ``finally``, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


# --- Moments ---


@dataclass(frozen=True)
class Step:
    """Before a step of an epoch, both counted from 1 in the process that dies."""

    epoch: int
    step: int

    def arm(self) -> None:
        """Wrap ``Rows.batches``: the training rows are asked for batches once an epoch."""
        batches, epochs = Rows.batches, count(1)

        def dying(rows: Rows, size: int, generator: torch.Generator) -> Iterator[Rows]:
            epoch = next(epochs)
            for step, batch in enumerate(batches(rows, size, generator), 1):
                if (epoch, step) == (self.epoch, self.step):
                    die()
                yield batch

        Rows.batches = dying


@dataclass(frozen=True)
class Write:
    """Within a write of the checkpoint, counted from 1 in the process that dies.

    The parts of a write: ``bytes``, when half of them are in the temporary file; ``sync``, when all
    are; ``move``, before the file takes its place; ``folder``, when it has, before the end.
    """

    number: int
    part: str

    def arm(self) -> None:
        """Wrap what the write calls."""
        writes = count(1)
        write_bytes = _atomic.write_bytes

        def dying(path: Path, data: bytes) -> None:
            if next(writes) == self.number:
                self.arm_part()
            write_bytes(path, data)

        mock.patch("pointwise.training.checkpoint.write_bytes", dying).start()

    def arm_part(self) -> None:
        """Wrap the call at which to die."""
        if self.part == "bytes":
            Path.open = half_writing(Path.open)
        elif self.part == "move":
            Path.replace = lambda *_: die()
        else:
            syncs, fsync, last = count(1), os.fsync, 1 if self.part == "sync" else 2

            def dying_sync(descriptor: int) -> None:
                if next(syncs) == last:
                    die()
                fsync(descriptor)

            os.fsync = dying_sync


def half_writing(opening: Callable[..., Any]) -> Callable[..., Any]:
    """Open files so that a write stops half way, and the process with it."""

    def opened(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        stream = opening(path, mode, *rest, **options)
        if "x" not in mode:
            return stream
        dying = mock.MagicMock(wraps=stream)
        dying.__enter__.return_value = dying

        def write(data: bytes) -> None:
            stream.write(data[: len(data) // 2])
            stream.flush()
            die()

        dying.write = write
        return dying

    return opened


@dataclass(frozen=True)
class Call:
    """Before a function of a module is called for the first time."""

    module: Any
    name: str

    def arm(self) -> None:
        """Put the end in its place."""
        setattr(self.module, self.name, lambda *_, **__: die())


MOMENTS: dict[str, Step | Write | Call] = {
    "epoch 1, first step": Step(1, 1),
    "epoch 2, first step": Step(2, 1),
    "epoch 3, third step": Step(3, 3),
    "epoch 5, first step": Step(5, 1),
    "epoch 6, last step": Step(6, 8),
    "epoch 8, second step": Step(8, 2),
    "epoch 10, fifth step": Step(10, 5),
    "epoch 12, last step": Step(12, 8),
    "write 1, half of its bytes": Write(1, "bytes"),
    "write 4, half of its bytes": Write(4, "bytes"),
    "write 7, before it is synced": Write(7, "sync"),
    "write 9, before it is moved": Write(9, "move"),
    "write 11, after it is moved": Write(11, "folder"),
    "the last write, half of its bytes": Write(EPOCHS + 1, "bytes"),
    "before the predictions": Call(PointwiseRegressor, "predict"),
}


# --- Processes ---


def in_child(job: Callable[[], object]) -> int:
    """Run ``job`` in a child process; gives the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        signal.alarm(300)  # no child outlives the test
        torch.manual_seed(os.getpid())  # no fit may draw from the global state
        np.random.seed(os.getpid())
        try:
            job()
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in {0, signal.SIGKILL}:
        raise RuntimeError(f"a child failed with status {status}")
    return status


# --- Fits of the estimator ---


def table() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(280, 4))
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=280)


def fit(home: Path, *, keep: bool = True) -> None:
    """Fit, predict, and say how many epochs were trained here."""
    (X, y), trained, epoch = table(), count(), Run.epoch

    def counted(run: Run) -> object:
        next(trained)
        return epoch(run)

    with mock.patch.object(Run, "epoch", counted):
        model = PointwiseRegressor(
            members=2,
            hidden=(16,),
            dropout=0.2,
            batch_size=30,
            max_epochs=EPOCHS,
            patience=EPOCHS,
            precision="float32",
            random_state=3,
        )
        model.fit(X, y, checkpoint=Checkpoint(home / "fit.ckpt", every_s=0) if keep else None)
    np.save(home / "predictions.npy", model.predict(X))
    (home / "trained").write_text(str(next(trained)))


def end_of(home: Path) -> tuple[bytes, int]:
    """Predictions and number of epochs trained by the last fit that was not killed."""
    predictions: np.ndarray = np.load(home / "predictions.npy")
    assert predictions.shape == (280,)
    assert predictions.std() > 0.1
    return predictions.tobytes(), int((home / "trained").read_text())


def killed_fits(home: Path) -> dict[str, dict[str, object]]:
    """Kill a fit at every moment and resume it; at last kill one fit at all of them in turn."""
    unbroken = []
    for keep in (True, False):
        folder = home / f"unbroken{keep}"
        folder.mkdir()
        assert in_child(lambda folder=folder, keep=keep: fit(folder, keep=keep)) == 0
        unbroken.append(end_of(folder))
    assert unbroken[0] == unbroken[1]  # keeping the state changes nothing
    results = {}
    for name, moment in MOMENTS.items():
        folder = home / name
        folder.mkdir()
        ended_by = in_child(lambda folder=folder, moment=moment: (moment.arm(), fit(folder)))
        left = sorted(path.name for path in folder.iterdir())
        assert in_child(lambda folder=folder: fit(folder)) == 0
        predictions, trained = end_of(folder)
        results[name] = {
            "ended by": ended_by,
            "temporary files": sum(name.endswith(".tmp") for name in left),
            "checkpoint": "fit.ckpt" in left,
            "went on from": EPOCHS - trained + 1,
            "same": predictions == unbroken[0][0],
            "files": sorted(path.name for path in folder.iterdir()),
        }
    return results


def killed_again_and_again(home: Path) -> dict[str, object]:
    """One fit in eleven processes: ten die in their second epoch or write."""
    parts = [Step(2, 1), Write(2, "bytes"), Write(2, "move"), Step(2, 8), Write(2, "folder")]
    folder = home / "again"
    folder.mkdir()
    kills = [
        in_child(lambda moment=moment: (moment.arm(), fit(folder))) for moment in parts + parts
    ]
    assert in_child(lambda: fit(folder)) == 0
    predictions, trained = end_of(folder)
    return {
        "ended by": kills,
        "same": predictions == end_of(home / "unbrokenTrue")[0],
        "went on from": EPOCHS - trained + 1,
        "files": sorted(path.name for path in folder.iterdir()),
    }


# --- Fits of the command line ---


def command(folder: Path, *options: str) -> None:
    """``pointwise fit`` on a small table, with a checkpoint after every epoch."""
    os.chdir(folder)
    (X, y), names = table(), ["a", "b", "c", "d", "y"]
    if not Path("table.csv").exists():
        numbers = np.column_stack([X, y])[:120]
        np.savetxt("table.csv", numbers, delimiter=",", header=",".join(names), comments="")
    with mock.patch.object(Checkpoint, "due", True), Path("stdout").open("w") as out:
        arguments = ["fit", "table.csv", "--target", "y", "--members", "2", "--out", "model"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            app([*arguments, "--json", *options], standalone_mode=False)
    Path("stdout").rename("result.json")


def killed_commands(home: Path) -> dict[str, dict[str, object]]:
    """Kill ``pointwise fit`` in an epoch, in a write, between training and saving."""
    (home / "command").mkdir()
    assert in_child(lambda: command(home / "command")) == 0
    moments: dict[str, Step | Write | Call] = {
        "epoch 6": Step(6, 1),
        "write 4": Write(4, "bytes"),
        "before the baselines": Call(tables, "_baselines"),
    }
    results = {}
    for name, moment in moments.items():
        folder = home / f"command, {name}"
        folder.mkdir()
        killed = in_child(lambda folder=folder, moment=moment: (moment.arm(), command(folder)))
        left = sorted(path.name for path in folder.iterdir())
        assert in_child(lambda folder=folder: command(folder, "--resume")) == 0
        results[name] = {
            "ended by": killed,
            "left": left,
            "same": digest(folder) == digest(home / "command"),
            "files": sorted(path.name for path in folder.iterdir()),
        }
    return results


def digest(folder: Path) -> str:
    """Digest of the weights that the command line wrote."""
    return sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork copies no threads, and torch would wait for them
    home = Path(sys.argv[1])
    with mock.patch("os.fsync"):  # slow, and only a power cut could tell
        fit(home)  # what is imported on first use is now there, for every child
        results = {
            "fits": killed_fits(home),
            "again": killed_again_and_again(home),
            "commands": killed_commands(home),
        }
    sys.stdout.write(json.dumps(results))
