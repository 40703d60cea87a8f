"""What an epoch does, when training stops, and what its records say."""

import math
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_cases import (
    NETWORKS,
    ROWS,
    SETTINGS,
    VALID,
    WithLoss,
    assert_same_bits,
    fit,
    make_network,
    make_rows,
    same_bits,
    squares_but_at_step,
    weights,
)

from pointwise.training import Checkpoint, CrossEntropy, Rows, Settings, SquaredError, train
from pointwise.training import run as run_module
from pointwise.training.average import MEMORY


class Scripted:
    """An objective whose validation losses, or the training losses of its steps, are given."""

    def __init__(self, *, valid: list[float] | None = None, steps: list[float] | None = None):
        self.valid, self.steps = iter(valid or []), iter(steps or [])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(1) * next(self.steps, 1.0)

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.full((len(output),), next(self.valid, 1.0))


def scripted(objective: Scripted, **changes: object):
    """Train with scripted losses; gives the network and the history."""
    network = make_network()
    settings = replace(SETTINGS, **{"max_epochs": 50, **changes})
    return network, list(train(network, objective, ROWS, VALID, settings))


def test_full_batches_are_the_steps_of_adamw():
    """A loop written by hand: one step an epoch, averaged by the closed formula."""
    network = make_network().double()
    by_hand = make_network().double()
    rows, valid = (Rows(r.x.double(), r.y.double()) for r in (ROWS, VALID))
    settings = Settings(batch_size=60, learning_rate=1e-2, weight_decay=0.1, max_epochs=8)
    history = fit(network, settings, rows=rows, valid=valid)
    optimizer = torch.optim.AdamW(
        [
            {"params": [by_hand[0].weight, by_hand[2].weight], "weight_decay": 0.1},
            {"params": [by_hand[0].bias, by_hand[2].bias], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    mean = {name: value.detach().clone() for name, value in by_hand.named_parameters()}
    for step, epoch in enumerate(history, 1):
        loss = (by_hand(rows.x) - rows.y).square().mean()
        assert epoch.train_loss == pytest.approx(loss.item(), rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, value in by_hand.named_parameters():
            mean[name].lerp_(value.detach(), MEMORY / (step + MEMORY - 1))
        output = torch.func.functional_call(by_hand, mean, valid.x)
        scored = (output - valid.y).square().mean().item()
        assert epoch.valid_loss == pytest.approx(scored, rel=1e-10)
    assert history[-1].best  # so that the last average is what the network ends with
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), mean[name], rtol=1e-10, atol=1e-12)


def test_every_epoch_takes_all_rows_in_an_order_of_its_own():
    seen = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.extend(target[:, 0].tolist())
        return SquaredError(1).loss(output, target)

    list(train(make_network(), WithLoss(loss), ROWS, VALID, SETTINGS))
    orders = [tuple(seen[i : i + 60]) for i in range(0, len(seen), 60)]
    assert len(set(orders)) == len(orders) == SETTINGS.max_epochs
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(ROWS.y[:, 0].tolist()))}


def test_every_epoch_drops_out_other_channels():
    """Nothing learnt, one step an epoch: the outputs differ by what is dropped alone."""
    network, seen = make_network("dropout"), []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.append(output.detach().clone())
        return 0.0 * output.mean(1)

    settings = replace(SETTINGS, batch_size=60, weight_decay=0.0)
    list(train(network, WithLoss(loss), ROWS, VALID, replace(settings, patience=9)))
    assert len(seen) == SETTINGS.max_epochs
    for i, output in enumerate(seen):
        assert all(not torch.equal(output, other) for other in seen[:i])


def test_learning_lowers_the_loss():
    history = fit(make_network(), replace(SETTINGS, max_epochs=30, patience=30))
    assert [epoch.epoch for epoch in history] == list(range(1, len(history) + 1))
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert min(e.valid_loss for e in history) < 0.5 * history[0].valid_loss
    seconds = [epoch.seconds for epoch in history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_classes_are_learned():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    rows = Rows(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 6))
    settings = Settings(batch_size=32, learning_rate=2e-2, max_epochs=40)
    *_, last = train(network, CrossEntropy(2), rows, rows, settings)
    assert last.valid_loss < 0.15
    with torch.no_grad():
        proba = network(x).unflatten(1, (2, 3)).softmax(2).mean(1)
    assert (proba.argmax(1) == rows.y).double().mean() > 0.95


def test_moments_do_not_become_denormal(tmp_path):
    """Gradients of the first epoch alone: the moments then shrink with every step."""
    steps = count(1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return SquaredError(1).loss(output, target) * float(next(steps) <= 4)

    path = tmp_path / "run.ckpt"
    settings = replace(SETTINGS, max_epochs=250, patience=250, weight_decay=0.0)
    assert 0.9 ** (4 * settings.max_epochs) < torch.finfo(torch.float32).tiny
    running = train(
        make_network(), WithLoss(loss), ROWS, VALID, settings, checkpoint=Checkpoint(path)
    )
    assert len(list(running)) == settings.max_epochs
    moments = [v for k, v in load_file(path).items() if k.endswith((".exp_avg", ".exp_avg_sq"))]
    assert len(moments) == 8
    for moment in moments:
        assert moment[moment != 0].abs().ge(torch.finfo(torch.float32).tiny).all()


def test_the_rate_rises_over_the_first_epoch():
    """Under a constant gradient, AdamW moves a bias by the sum of the rates."""
    network = nn.Linear(3, 1)
    before = network.bias.item()
    settings = Settings(batch_size=15, learning_rate=1e-3, max_epochs=2)
    epochs = train(network, WithLoss(lambda output, _: output.mean(1)), ROWS, VALID, settings)
    assert next(epochs).learning_rate == pytest.approx(1e-3)
    rates = 1e-3 * (1 + 2 + 3 + 4) / 4
    assert before - network.bias.item() == pytest.approx(rates, rel=1e-3)
    assert next(epochs).learning_rate == pytest.approx(1e-3)
    assert before - network.bias.item() == pytest.approx(rates + 4e-3, rel=1e-3)


def test_the_recorded_rate_is_that_of_the_end_of_the_epoch():
    rates = [epoch.learning_rate for epoch in fit(make_network())]
    assert rates == [SETTINGS.learning_rate] * len(rates)


def test_the_best_epoch_is_restored():
    losses = [5.0, 3.0, 4.0, 2.0, 9.0, 8.0, 7.0]
    network, history = scripted(Scripted(valid=losses), patience=3)
    assert [epoch.valid_loss for epoch in history] == losses
    assert [epoch.best for epoch in history] == [True, True, False, True, False, False, False]
    assert not network.training
    to_the_best, _ = scripted(Scripted(valid=losses), patience=3, max_epochs=4)
    assert_same_bits(weights(network), weights(to_the_best))


def test_an_equal_loss_is_not_better():
    _, history = scripted(Scripted(valid=[1.0] * 10), patience=2)
    assert [epoch.best for epoch in history] == [True, False, False]


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_counts_from_the_best_epoch(patience):
    _, history = scripted(Scripted(valid=[3.0, 2.0, *[4.0] * 20]), patience=patience)
    assert len(history) == 2 + patience


@pytest.mark.parametrize("most", [1, 4])
def test_max_epochs(most):
    assert len(fit(make_network(), replace(SETTINGS, max_epochs=most))) == most


class Clock(SimpleNamespace):
    """A clock that moves when told."""

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("limit", "epochs"), [(0.001, 1), (10.0, 1), (25.0, 3), (None, 6)])
def test_time_limit(monkeypatch, limit, epochs):
    clock = Clock(now=1000.0)
    monkeypatch.setattr(run_module, "time", clock)
    count = 0
    settings = replace(SETTINGS, time_limit_s=limit, patience=50)
    for _ in train(make_network(), SquaredError(1), ROWS, VALID, settings):
        count += 1
        clock.now += 10.0
    assert count == epochs


def test_seconds_are_those_since_training_began(monkeypatch):
    clock = Clock(now=50.0)
    monkeypatch.setattr(run_module, "time", clock)
    seconds = []
    for epoch in train(make_network(), SquaredError(1), ROWS, VALID, SETTINGS):
        seconds.append(epoch.seconds)
        clock.now += 2.0
    assert seconds == [2.0 * i for i in range(len(seconds))]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training(bad):
    steps = [1.0] * 9 + [bad] + [1.0] * 100  # four steps an epoch: in the third
    _, history = scripted(Scripted(steps=steps, valid=[3.0, 2.0, 4.0]))
    assert [math.isfinite(epoch.train_loss) for epoch in history] == [True, True, False]
    assert not history[2].best


def test_divergence_keeps_the_best_epoch():
    """The weights stop being numbers in the third epoch; those of the second are in place."""
    network = make_network()
    objective = squares_but_at_step(10, lambda values: values * math.nan)
    history = list(train(network, objective, ROWS, VALID, SETTINGS))
    assert len(history) == 3
    assert not math.isfinite(history[2].train_loss)
    assert not math.isfinite(history[2].valid_loss)
    assert [epoch.best for epoch in history] == [True, True, False]
    two = make_network()
    fit(two, replace(SETTINGS, max_epochs=2))
    assert_same_bits(weights(network), weights(two))


def test_divergence_in_the_first_epoch_leaves_the_initial_weights():
    network = make_network()
    before = weights(network)
    history = fit(network, rows=Rows(ROWS.x, torch.full_like(ROWS.y, math.nan)))
    assert_same_bits(weights(network), before)
    assert len(history) == 1
    assert not math.isfinite(history[0].train_loss)
    assert not history[0].best


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_bits(name):
    first, second, other = (make_network(name) for _ in range(3))
    histories = [fit(first), fit(second), fit(other, replace(SETTINGS, seed=6))]
    assert_same_bits(weights(first), weights(second))
    assert [replace(e, seconds=0) for e in histories[0]] == [
        replace(e, seconds=0) for e in histories[1]
    ]
    assert not same_bits(weights(first), weights(other))


def test_validation_counts_weights_and_more_rows_than_go_through_at_once():
    valid = make_rows(50, seed=3)
    weight = torch.rand(50, generator=torch.Generator().manual_seed(0))
    valid = Rows(valid.x, valid.y, weight / weight.mean())
    network, again = make_network(), make_network()
    (whole,) = fit(network, replace(SETTINGS, max_epochs=1), valid=valid)
    (parts,) = fit(again, replace(SETTINGS, max_epochs=1, evaluation_rows=7), valid=valid)
    assert parts.valid_loss == pytest.approx(whole.valid_loss, rel=1e-6)
    with torch.no_grad():
        errors = (network(valid.x) - valid.y).square()[:, 0]
    expected = (errors * weight).sum() / weight.sum()
    assert whole.valid_loss == pytest.approx(expected.item(), rel=1e-5)


def test_forward_names_the_method_that_is_trained():
    class TwoFaced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def scaled(self, x: Tensor) -> Tensor:
            return self.linear(x)

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("the other method is trained")

    assert len(fit(TwoFaced(), forward="scaled")) == SETTINGS.max_epochs
