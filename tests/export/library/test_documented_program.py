"""The program of the page on export, built and run as a reader would."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointwise.estimators import PointwiseRegressor
from pointwise.export import to_library
from pointwise.export.library.running import compiler

PAGE = Path(__file__).parents[3] / "docs" / "export.md"


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_the_program_predicts_what_the_model_does(tmp_path):
    houses = pd.DataFrame(
        {
            "area": [54.0, 88.5, 120.0, None] * 30,
            "town": ["Bern", "Basel", "Bern", "Zug"] * 30,
            "sold": pd.date_range("2024-11-01", periods=120, freq="D"),
        }
    )
    houses.loc[5, "sold"] = pd.NaT
    prices = houses["area"].fillna(90) * 9_000
    model = PointwiseRegressor(members=2, max_epochs=5, random_state=0).fit(houses, prices)
    home = tmp_path / "houses"
    to_library(model, home)
    page = PAGE.read_text("utf-8")
    program = re.search(r"```c\n(.*?)```", page, re.DOTALL)[1]
    (home / "main.c").write_text(program)
    command = re.search(r"\$ cc (.*) && ./a.out", page)[1].split()
    subprocess.run([*compiler(), *command], cwd=home, check=True)
    ran = subprocess.run(["./a.out"], cwd=home, capture_output=True, check=True, text=True)
    rows = pd.DataFrame(
        {
            "area": [54.0, np.nan],
            "town": ["Bern", "Zug"],
            "sold": pd.to_datetime(["2025-01-01", None]),
        }
    )
    np.testing.assert_allclose([float(v) for v in ran.stdout.split()], model.predict(rows), atol=1)
