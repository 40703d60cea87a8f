"""What every test shares; its folder is importable, so that tests can import ``cases``."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test draws the same numbers, whichever tests ran before it."""
    torch.manual_seed(0)
