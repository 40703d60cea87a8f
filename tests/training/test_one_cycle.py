"""One cycle of the step size, and augmentation: planned, reproducible and resumable."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from training_cases import (
    ROWS,
    SETTINGS,
    VALID,
    WithLoss,
    assert_same_bits,
    fit,
    make_network,
    weights,
)

from pointwise.errors import CheckpointError
from pointwise.training import Checkpoint, SquaredError, train
from pointwise.training import run as run_module

CYCLE = replace(SETTINGS, schedule="one_cycle", max_epochs=10, patience=10)


class Shift:
    """Adds a random number to every input and says which in its ``repr``."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + self.by * torch.randn(len(x), 1), y

    def __repr__(self) -> str:
        return f"Shift({self.by})"


def test_the_step_size_rises_for_a_fifth_and_falls_to_zero() -> None:
    rates = [epoch.learning_rate for epoch in fit(make_network(), CYCLE)]
    top = rates.index(max(rates))
    assert top in (1, 2)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0.9 * CYCLE.learning_rate < max(rates) <= CYCLE.learning_rate
    steps = 10 * 4
    last = 0.5 * (1 + math.cos(math.pi * ((steps - 0.5) / steps - 0.2) / 0.8))
    assert rates[-1] == pytest.approx(CYCLE.learning_rate * last)


def test_the_weights_of_a_cycle_are_not_averaged() -> None:
    network = make_network()
    history = fit(network, CYCLE)
    best = next(epoch for epoch in reversed(history) if epoch.best)
    with torch.no_grad():
        loss = (network(VALID.x) - VALID.y).square().mean()
    assert best.valid_loss == pytest.approx(loss.item(), rel=1e-5)


def test_a_time_limit_ends_the_cycle_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    history = fit(make_network(), replace(CYCLE, max_epochs=100, time_limit_s=120.0))
    assert 5 < len(history) < 25
    assert history[-1].seconds <= 120
    assert history[-1].learning_rate < 0.1 * CYCLE.learning_rate


def test_an_epoch_too_long_for_the_time_limit_is_a_cycle_of_the_steps_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(run_module, "time", clock)
    steps = []

    def slowly(output: Tensor, target: Tensor) -> Tensor:
        clock.now += 1.0
        steps.append(clock.now)
        return SquaredError(1).loss(output, target)

    settings = replace(CYCLE, batch_size=1, max_epochs=100, time_limit_s=20.0)
    [epoch] = train(make_network(), WithLoss(slowly), ROWS, VALID, settings)
    assert len(steps) == 20 < len(ROWS)
    assert epoch.seconds == 20
    assert epoch.learning_rate < 0.03 * CYCLE.learning_rate
    assert math.isfinite(epoch.train_loss)


def test_a_time_limit_that_does_not_bind_changes_nothing() -> None:
    free, limited = make_network(), make_network()
    fit(free, CYCLE)
    fit(limited, replace(CYCLE, time_limit_s=1e6))
    assert_same_bits(weights(limited), weights(free))


def test_a_resumed_cycle_is_unbroken(tmp_path) -> None:
    unbroken, network = make_network("batch norm"), make_network("batch norm")
    fit(unbroken, CYCLE, augment=Shift(0.1))
    checkpoint = Checkpoint(tmp_path / "run", every_s=0)
    running = train(
        make_network("batch norm"),
        SquaredError(1),
        ROWS,
        VALID,
        CYCLE,
        augment=Shift(0.1),
        checkpoint=checkpoint,
    )
    for _ in range(4):
        next(running)
    running.close()
    history = fit(network, CYCLE, augment=Shift(0.1), checkpoint=checkpoint)
    assert len(history) == CYCLE.max_epochs
    assert_same_bits(weights(network), weights(unbroken))


def test_augmentation_changes_what_is_learnt_and_belongs_to_the_run(tmp_path) -> None:
    plain, shifted, again = make_network(), make_network(), make_network()
    fit(plain, CYCLE)
    fit(shifted, CYCLE, augment=Shift(0.5))
    fit(again, CYCLE, augment=Shift(0.5))
    assert_same_bits(weights(again), weights(shifted))
    assert not torch.equal(plain[0].weight, shifted[0].weight)
    checkpoint = Checkpoint(tmp_path / "run", every_s=0)
    fit(make_network(), CYCLE, augment=Shift(0.5), checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        fit(make_network(), CYCLE, augment=Shift(0.4), checkpoint=checkpoint)
