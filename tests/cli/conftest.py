"""The command line in this process, and models fitted once that tests copy."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from houses import houses
from threadpoolctl import threadpool_limits

from pointwise.cli.app import main
from pointwise.data.bundled import load_bundled
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, save
from pointwise.studies import Options, study_table


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks run on one thread: several would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit is compared with nothing, where the test is not about that."""
    monkeypatch.setattr("pointwise.studies.tables.fit_baselines", lambda *_, **__: iter(()))


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models: ``price`` and ``sold`` of ``houses()``, ``iris`` with a report."""
    folder = tmp_path_factory.mktemp("fitted")
    table = houses()
    x = table.drop(columns=["price", "sold"])
    x = x.assign(built=pd.to_datetime(x["built"]))
    size = {"members": 1, "hidden": (8,), "max_epochs": 5, "random_state": 0}
    save(PointwiseRegressor(**size).fit(x, table["price"]), folder / "price", targets=["price"])
    save(PointwiseClassifier(**size).fit(x, table["sold"]), folder / "sold", targets=["sold"])
    quick = Options(members=1)
    with threadpool_limits(1):
        study = study_table(load_bundled("iris"), ["target"], "classification", quick)
    report = json.loads(study.report.to_json())
    save(study.model, folder / "iris", targets=["target"], metrics=study.metrics, report=report)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted: Path) -> Path:
    """A working folder with ``houses.csv`` and ``price-model``, ``sold-model``, ``iris-model``."""
    monkeypatch.chdir(tmp_path)
    houses().to_csv("houses.csv", index=False)
    for name in ("price", "sold", "iris"):
        shutil.copytree(fitted / name, f"{name}-model")
    return tmp_path


@pytest.fixture
def pointwise(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Ran]:
    """Run a command line in ``home``: ``pointwise("fit iris --members 1")``."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(line: str) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["pointwise", *shlex.split(line)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        assert isinstance(code, int), code
        return Ran(code, printed.out, printed.err)

    return run
