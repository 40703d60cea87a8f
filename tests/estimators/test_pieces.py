"""Into how many pieces columns of numbers are cut."""

import numpy as np
import pytest

from pointwise import PointwiseRegressor
from pointwise.estimators.building import count_pieces

CASES = {
    "a row": (1, 1, 1),
    "few rows, few columns": (480, 8, 24),
    "many rows, few columns": (20_000, 8, 64),
    "few rows, many columns": (480, 204, 5),
    "more columns than channels": (480, 5000, 1),
    "many rows, many columns": (100_000, 204, 64),
    "no column of numbers": (1000, 0, 50),
}


@pytest.mark.parametrize(("rows", "columns", "pieces"), CASES.values(), ids=CASES)
def test_pieces(rows: int, columns: int, pieces: int) -> None:
    assert count_pieces(rows, columns) == pieces


def test_a_wide_table_gets_a_first_layer_of_its_own_size() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 300)).astype("float32")
    model = PointwiseRegressor(members=1, hidden=(8,), max_epochs=1, random_state=0)
    model.fit(x, x[:, 0])
    assert model.network_.mlp.channels[0] <= 300 + 1024  # each column itself, and the pieces of all
