"""Many rows and images are predicted through the fused runtime, with the same results."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from torch import nn

from pointwise.errors import DifferenceError
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, base, fused
from pointwise.runtime import Compiled, CompiledChain
from pointwise.runtime import compile as compile_network


@pytest.fixture
def runs(monkeypatch) -> list[CompiledChain]:
    """Every prediction is of many rows; the chains that predict are listed here."""
    made: list[CompiledChain] = []

    def listed(chain):
        made.append(CompiledChain(chain))
        return made[-1]

    monkeypatch.setattr(base, "EXACT_ROWS", 0)
    monkeypatch.setattr("pointwise.runtime.compiled.FEW_MACS", 0)
    monkeypatch.setattr(fused, "CompiledChain", listed)
    return made


def numbers_and_categories() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(80, 20, 700),
            "rooms": rng.integers(1, 6, 700).astype(float),
            "town": rng.choice(["Bern", "Biel", "Thun"], 700),
            "street": [f"street {i}" for i in rng.integers(0, 60, 700)],
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "town"] = None
    return frame, frame["rooms"].to_numpy() * 3 + (frame["town"] == "Bern") * 5


def small(kind, **options):
    return kind(members=3, hidden=(16, 16), max_epochs=3, random_state=0, **options)


def as_in_pytorch(monkeypatch, predict, x):
    with monkeypatch.context() as changed:
        changed.setattr("pointwise.runtime.compiled.FEW_MACS", np.inf)
        return predict(x)


@pytest.mark.parametrize("data", [numbers_and_categories, lambda: load_diabetes(return_X_y=True)])
def test_a_regressor_predicts_the_same(runs, monkeypatch, data):
    x, y = data()
    model = small(PointwiseRegressor).fit(x, y)
    expected = as_in_pytorch(monkeypatch, model.predict, x)
    assert not runs
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5 * np.std(y))
    assert len(runs) == 1


def test_a_classifier_predicts_the_same(runs, monkeypatch):
    x, y = load_iris(return_X_y=True)
    model = small(PointwiseClassifier).fit(x, y)
    expected = as_in_pytorch(monkeypatch, model.predict_proba, x)
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)
    assert runs


def test_new_weights_are_seen(runs):
    x, y = load_diabetes(return_X_y=True)
    model = small(PointwiseRegressor).fit(x, y)
    before = model.predict(x)
    with torch.no_grad():
        for parameter in model.network_.mlp.parameters():
            parameter.zero_()
    assert not np.allclose(model.predict(x), before)
    assert np.ptp(model.predict(x)) == 0


def test_float64_and_few_rows_stay_in_pytorch(runs, monkeypatch):
    x, y = load_diabetes(return_X_y=True)
    small(PointwiseRegressor, precision="float64").fit(x, y).predict(x)
    monkeypatch.setattr("pointwise.runtime.compiled.FEW_MACS", 1e9)
    small(PointwiseRegressor).fit(x, y).predict(x)
    assert not runs


def test_a_chain_that_is_wrong_is_not_used(runs, monkeypatch):
    x, y = load_diabetes(return_X_y=True)
    model = small(PointwiseRegressor).fit(x, y)
    expected = as_in_pytorch(monkeypatch, model.predict, x)
    monkeypatch.setattr(
        fused, "CompiledChain", lambda chain: lambda rows: torch.zeros(len(rows), 3)
    )
    np.testing.assert_array_equal(model.predict(x), expected)


def test_without_halide_the_results_are_the_same_and_nothing_is_said(runs, monkeypatch):
    x, y = load_diabetes(return_X_y=True)
    model = small(PointwiseRegressor).fit(x, y)
    expected = as_in_pytorch(monkeypatch, model.predict, x)
    monkeypatch.setattr(fused, "CompiledChain", lambda chain: CompiledChain(chain, engine="chunks"))
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5)


@pytest.fixture
def compiled(monkeypatch) -> list[Compiled]:
    """What predictions of images compile; nothing is timed."""
    made: list[Compiled] = []

    def listed(network, *, example):
        made.append(compile_network(network, example=example, engine="chunks"))
        return made[-1]

    monkeypatch.setattr(fused, "compile_network", listed)
    return made


def images() -> tuple[nn.Module, list[torch.Tensor]]:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)
    return nn.Sequential(*layers).eval(), [torch.rand(5, 3, 12, 12) for _ in range(3)]


@torch.no_grad()
def test_many_images_go_through_the_runtime(compiled, monkeypatch):
    network, batches = images()
    monkeypatch.setattr(fused, "PATIENCE_S", 0.0)
    got = list(fused.image_outputs(network, batches))
    assert torch.equal(got[0], network(batches[0]))
    torch.testing.assert_close(torch.cat(got), network(torch.cat(batches)), rtol=1e-5, atol=1e-5)
    assert [part.engine for part in compiled[0].parts] == ["PyTorch", "chunks"]
    assert len(compiled) == 1


@torch.no_grad()
def test_few_images_stay_in_pytorch(compiled):
    network, batches = images()
    for made, batch in zip(fused.image_outputs(network, batches), batches, strict=True):
        assert torch.equal(made, network(batch))
    assert not compiled


@torch.no_grad()
def test_a_network_that_cannot_be_compiled_predicts_as_it_is(monkeypatch):
    network, batches = images()

    def refused(network, *, example):
        raise DifferenceError("outputs differ")

    monkeypatch.setattr(fused, "PATIENCE_S", 0.0)
    monkeypatch.setattr(fused, "compile_network", refused)
    for made, batch in zip(fused.image_outputs(network, batches), batches, strict=True):
        assert torch.equal(made, network(batch))
