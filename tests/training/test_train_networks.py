"""Frozen and tied parameters, buffers, embeddings, lower precision: any ``nn.Module`` trains."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from training_cases import (
    NETWORKS,
    ROWS,
    SETTINGS,
    VALID,
    WithEmbedding,
    WithLoss,
    fit,
    make_network,
    weights,
)

from pointwise.training import SquaredError, train


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_learns(name):
    network = make_network(name)
    with torch.no_grad():
        before = (network.eval()(VALID.x) - VALID.y).square().mean().item()
    history = fit(network, replace(SETTINGS, max_epochs=20, patience=20))
    with torch.no_grad():
        after = (network(VALID.x) - VALID.y).square().mean().item()
    assert after == pytest.approx(min(e.valid_loss for e in history), rel=1e-5)
    assert after < 0.9 * before


def test_frozen_parameters_stay():
    network = make_network("frozen layer")
    before = weights(network)
    fit(network)
    after = weights(network)
    for name in ("0.weight", "0.bias"):
        assert torch.equal(after[name], before[name])
        assert not network.get_parameter(name).requires_grad
    assert not torch.equal(after["2.weight"], before["2.weight"])


def test_tied_weights_stay_tied():
    network = make_network("tied weights")
    fit(network)
    assert network[2].weight is network[0].weight


def test_statistics_of_a_norm_are_those_of_the_best_epoch():
    network, statistics, best = make_network("batch norm"), [], 0
    settings = replace(SETTINGS, max_epochs=30, learning_rate=0.1)
    for epoch in train(network, SquaredError(1), ROWS, VALID, settings):
        statistics.append(weights(network[1]))
        best = epoch.epoch if epoch.best else best
    assert best < len(statistics)  # the last epoch's statistics would be another answer
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(weights(network[1])[name], statistics[best - 1][name])
    assert network[1].num_batches_tracked.item() == 4 * best


def test_levels_without_rows_are_left_but_for_their_decay():
    network = make_network("embedding")
    assert isinstance(network, WithEmbedding)
    rows = replace(ROWS, x=torch.cat([torch.ones(60, 1), ROWS.x[:, 1:]], 1))
    before = network.levels.weight.detach().clone()
    fit(network, replace(SETTINGS, weight_decay=0.0), rows=rows)
    moved = (network.levels.weight.detach() - before).abs().amax(1)
    assert moved[1] > 1e-3
    assert moved[[0, 2, 3]].eq(0).all()


def test_autocast_multiplies_in_bfloat16_and_keeps_float32():
    class Watched(nn.Linear):
        seen: set[torch.dtype]

        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            self.__dict__.setdefault("seen", set()).add(out.dtype)
            return out

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(Watched(3, 16), nn.Tanh(), nn.Linear(16, 1))
    state, outputs = torch.is_autocast_enabled("cpu"), set()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        outputs.add(output.dtype)
        return SquaredError(1).loss(output, target)

    settings = replace(SETTINGS, max_epochs=20, autocast=torch.bfloat16)
    history = list(train(network, WithLoss(loss), ROWS, VALID, settings))
    assert network[0].seen == {torch.bfloat16}
    assert outputs == {torch.float32}  # the loss is not rounded
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert torch.is_autocast_enabled("cpu") == state
    exact = make_network()
    fit(exact, replace(SETTINGS, max_epochs=1))
    lowered = make_network()
    fit(lowered, replace(SETTINGS, max_epochs=1, autocast=torch.bfloat16))
    assert not torch.equal(exact[0].weight, lowered[0].weight)
    torch.testing.assert_close(exact[0].weight, lowered[0].weight, rtol=0.1, atol=0.02)


def test_matrices_decay_and_vectors_do_not():
    """Under a loss without gradient, decay is all that moves the weights."""
    network = make_network("batch norm")
    before = weights(network)
    settings = replace(SETTINGS, weight_decay=0.5, max_epochs=1, batch_size=60)
    list(train(network, WithLoss(lambda output, _: 0.0 * output.mean(1)), ROWS, VALID, settings))
    after = weights(network)
    shrunk = 1 - SETTINGS.learning_rate * 0.5
    for name in ("0.weight", "3.weight"):
        torch.testing.assert_close(after[name], shrunk * before[name])
    for name in ("0.bias", "1.weight", "1.bias", "3.bias"):
        assert torch.equal(after[name], before[name])


@pytest.mark.parametrize("tail", [(4,), (4, 5)], ids=["tokens", "images"])
def test_position_axes(tail):
    """A network over positions whose last layer takes their mean."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x.flatten(2).mean(2))
            return out

    x = torch.randn(60, 3, *tail, generator=torch.Generator().manual_seed(0))
    rows = replace(ROWS, x=x, y=x.flatten(2).mean(2).sum(1, keepdim=True))
    settings = replace(SETTINGS, max_epochs=30, learning_rate=0.05)
    history = fit(Pooled(), settings, rows=rows, valid=rows)
    assert history[-1].train_loss < 0.1 * history[0].train_loss
