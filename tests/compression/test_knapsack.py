"""The exact choice under one limit, against trying all of them."""

import itertools
import random

import pytest

from pointwise.compression.allocation.knapsack import knapsack


@pytest.mark.parametrize("seed", range(20))
def test_against_all_choices(seed: int) -> None:
    draw = random.Random(seed)
    options = [
        [(draw.randint(1, 60) / 120, draw.random()) for _ in range(draw.randint(1, 6))]
        for _ in range(draw.randint(1, 5))
    ]
    errors = [
        sum(error for _, error in choice)
        for choice in itertools.product(*options)
        if sum(cost for cost, _ in choice) <= 1 + 1e-9
    ]
    picked = knapsack(options)
    if picked is None:
        assert not errors
        return
    chosen = [group[index] for group, index in zip(options, picked, strict=True)]
    assert sum(cost for cost, _ in chosen) <= 1 + 1e-9
    assert sum(error for _, error in chosen) == pytest.approx(min(errors))


def test_no_groups() -> None:
    assert knapsack([]) == []
