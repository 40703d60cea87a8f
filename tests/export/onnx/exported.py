"""Exported files run by ONNX Runtime, as a program without this package would."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 300


def run(path: Path, feeds: dict[str, Any]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def mixed_table() -> pd.DataFrame:
    """Every kind of column: far numbers, text, dates, truth values, many levels, gaps."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2019-12-30 22:00")
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, ROWS),
            "billions": 4e9 + rng.normal(0, 3, ROWS),
            "job": rng.choice(["smith", "Bäcker", ""], ROWS),
            "label": rng.choice([f"v{i}" for i in range(80)], ROWS),
            "born": day + pd.to_timedelta(rng.integers(0, 10**8, ROWS), "s"),
            "ok": pd.Series(rng.random(ROWS) < 0.5, dtype="boolean"),
            "constant": 3.0,
        }
    )
    frame.loc[3, "age"] = np.nan
    frame.loc[4, "born"] = pd.NaT
    frame.loc[5, "ok"] = pd.NA
    frame.loc[6, "label"] = None
    return frame
