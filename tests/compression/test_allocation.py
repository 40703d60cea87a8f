"""The choice of candidates against all choices, one by one."""

import random
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointwise.compression.allocation.allocation import Limits, allocate
from pointwise.compression.allocation.candidates import Candidate, LayerCandidates
from pointwise.compression.forms.stages import Stage
from pointwise.compression.layers import FoundLayer


def layer_of(name: str, steps: list[tuple[int, int, float]]) -> LayerCandidates:
    found = FoundLayer(name, Stage("linear", 8, 8), False, ((1, 8),), 2)
    candidates = [
        Candidate(name, "output" if i else None, (i,) if i else (), macs, params, error)
        for i, (macs, params, error) in enumerate(steps)
    ]
    return LayerCandidates(found, tuple(candidates))


def instance(seed: int, layers: int = 4) -> list[LayerCandidates]:
    draw = random.Random(seed)
    result = []
    for number in range(layers):
        macs, params = draw.randint(50, 400), draw.randint(50, 400)
        steps = [(macs, params, 0.0)]
        for _ in range(draw.randint(0, 5)):
            macs, params = int(macs * draw.uniform(0.4, 0.95)), int(params * draw.uniform(0.4, 1))
            steps.append((macs, params, steps[-1][2] + draw.expovariate(1)))
        result.append(layer_of(str(number), steps))
    return result


def costs(choice: tuple[Candidate, ...]) -> dict[str, int]:
    macs, params = sum(c.macs for c in choice), sum(c.params for c in choice)
    return {"macs": macs, "params": params, "bytes": 2 * params}


def best_of_all(layers: list[LayerCandidates], limits: Limits) -> float | None:
    errors = [
        sum(c.error for c in choice)
        for choice in product(*(layer.candidates for layer in layers))
        if all(costs(choice)[name] <= limit for name, limit in limits.given().items())
    ]
    return min(errors, default=None)


def largest_step(layers: list[LayerCandidates]) -> float:
    """The relaxation misses the optimum by at most one step of one layer."""
    return max(
        max(b.error - a.error for a in one.candidates for b in one.candidates) for one in layers
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 1.1), st.sampled_from(["macs", "params", "bytes"]))
def test_one_limit(seed: int, share: float, name: str) -> None:
    layers = instance(seed)
    whole = costs(tuple(layer.candidates[0] for layer in layers))
    limits = Limits(**{name: share * whole[name]})
    found, best = allocate(layers, limits), best_of_all(layers, limits)
    assert found.met == (best is not None)
    assert found.costs[name] == costs(found.chosen)[name]
    if best is not None:
        assert found.costs[name] <= limits.given()[name]
        assert best - 1e-9 <= found.error <= best + largest_step(layers)
    else:
        assert found.costs[name] == sum(
            min(costs((c,))[name] for c in layer.candidates) for layer in layers
        )


def test_most_choices_are_the_best() -> None:
    """The relaxation leaves little to be found."""
    apart = []
    for seed in range(60):
        layers = instance(seed, layers=5)
        limits = Limits(macs=0.6 * costs(tuple(one.candidates[0] for one in layers))["macs"])
        best = best_of_all(layers, limits)
        if best:
            apart.append(allocate(layers, limits).error / best - 1)
    assert len(apart) > 30
    assert sorted(apart)[len(apart) // 2] < 0.05
    assert sum(apart) / len(apart) < 0.3


@pytest.mark.parametrize("seed", range(12))
def test_several_limits(seed: int) -> None:
    layers = instance(seed)
    whole = costs(tuple(layer.candidates[0] for layer in layers))
    limits = Limits(macs=0.7 * whole["macs"], bytes=0.8 * whole["bytes"])
    found, best = allocate(layers, limits), best_of_all(layers, limits)
    if found.met:
        assert all(found.costs[name] <= limit for name, limit in limits.given().items())
        assert best is not None
        assert best - 1e-9 <= found.error <= best + 2 * largest_step(layers)


def test_nothing_changes_where_all_fits() -> None:
    layers = instance(1)
    found = allocate(layers, Limits(macs=10_000))
    assert [one.form for one in found.chosen] == [None] * 4
    assert found.error == 0


def test_what_is_left_is_spent() -> None:
    """A candidate above the hull fits, where those on it do not."""
    one = layer_of("0", [(100, 100, 0.0), (90, 90, 0.9), (50, 50, 1.0)])
    assert allocate([one], Limits(macs=95)).chosen[0].macs == 90


def test_a_free_saving_is_not_refused() -> None:
    one = layer_of("0", [(100, 100, 0.0), (60, 60, 0.0)])
    assert allocate([one], Limits(macs=100)).error == 0
    assert allocate([one], Limits(macs=70)).chosen[0].macs == 60


def test_no_layers() -> None:
    with pytest.raises(ValueError, match="limits must hold at least one number"):
        allocate([], Limits())
    assert allocate([], Limits(macs=5)).chosen == ()


@pytest.mark.parametrize("limits", [Limits(macs=-1), Limits(params=float("nan"))], ids=str)
def test_bad_limits(limits: Limits) -> None:
    message = f"limits must hold at least one number, none of them negative: {limits.given()}"
    with pytest.raises(ValueError, match=re.escape(message)):
        allocate(instance(0), limits)
