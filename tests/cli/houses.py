"""The table that the tests of the command line are about."""

import numpy as np
import pandas as pd

ROWS = 60


def houses() -> pd.DataFrame:
    """A small table with every kind of column: ``price`` and ``sold`` are to be predicted."""
    rng = np.random.default_rng(0)
    area = rng.integers(40, 200, ROWS)
    town = rng.choice(["Bergen", "Oslo", "Voss"], ROWS)
    return pd.DataFrame(
        {
            "area": area,
            "town": town,
            "built": pd.date_range("1990-01-01", periods=ROWS, freq="50D").strftime("%Y-%m-%d"),
            "garden": rng.random(ROWS) < 0.5,
            "price": area * 1000.5 + 20_000 * (town == "Oslo"),
            "sold": np.where(area + rng.normal(0, 20, ROWS) > 120, "slow", "fast"),
        }
    )
