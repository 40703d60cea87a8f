"""A run that was broken off and resumed ends with the same bits as the unbroken one."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
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
    weights,
)

from pointwise.training import Checkpoint, Epoch, Rows, SquaredError, train
from pointwise.training import checkpoint as checkpoint_module
from pointwise.training import run as run_module


def timeless(history: list[Epoch]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in history]


def broken_off(path, epochs: int, name: str, settings=SETTINGS, **kwargs) -> list[Epoch]:
    """Train for some epochs and go, as a process that is killed would."""
    rows, valid = kwargs.pop("rows", ROWS), kwargs.pop("valid", VALID)
    checkpoint = Checkpoint(path, every_s=kwargs.pop("every_s", 0))
    running = train(
        make_network(name), SquaredError(1), rows, valid, settings, checkpoint=checkpoint, **kwargs
    )
    history = [next(running) for _ in range(epochs)]
    running.close()
    return history


def resumed(path, name: str, settings=SETTINGS, **kwargs) -> tuple[nn.Module, list[Epoch]]:
    """Everything anew from the seed, but for the file."""
    network = make_network(name)
    return network, fit(network, settings, checkpoint=Checkpoint(path, every_s=0), **kwargs)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("epochs", [1, 3, 5])
def test_resumed_is_unbroken(tmp_path, name, epochs):
    settings = replace(SETTINGS, patience=10)
    unbroken = make_network(name)
    whole = fit(unbroken, settings)
    assert len(whole) == settings.max_epochs
    before = broken_off(tmp_path / "run.ckpt", epochs, name, settings)
    network, history = resumed(tmp_path / "run.ckpt", name, settings)
    assert history[:epochs] == before  # the earlier history first, seconds included
    assert timeless(history) == timeless(whole)
    assert_same_bits(weights(network), weights(unbroken))
    assert not network.training


def test_broken_off_after_every_epoch(tmp_path):
    """Ten processes that do an epoch each are one that does ten."""
    settings = replace(SETTINGS, max_epochs=10, patience=10)
    unbroken = make_network("dropout")
    whole = fit(unbroken, settings)
    for epochs in range(1, 11):
        before = broken_off(tmp_path / "run.ckpt", epochs, "dropout", settings)
        assert timeless(before) == timeless(whole[:epochs])
    network, history = resumed(tmp_path / "run.ckpt", "dropout", settings)
    assert history == before
    assert_same_bits(weights(network), weights(unbroken))


@pytest.mark.parametrize("name", ["dropout", "batch norm"])
def test_early_stopping_before_or_after_the_break(tmp_path, name):
    """Validation rows without a pattern: the best epoch comes early, and training stops."""
    generator = torch.Generator().manual_seed(0)
    valid = Rows(VALID.x, torch.randn(40, 1, generator=generator))
    settings = replace(SETTINGS, max_epochs=100, patience=4)
    unbroken = make_network(name)
    whole = fit(unbroken, settings, valid=valid)
    best = max(epoch.epoch for epoch in whole if epoch.best)
    assert len(whole) == best + 4 < 100
    for epochs in range(1, len(whole) + 1):  # the last one had stopped when it was broken off
        path = tmp_path / f"{epochs}.ckpt"
        broken_off(path, epochs, name, settings, valid=valid)
        network, history = resumed(path, name, settings, valid=valid)
        assert timeless(history) == timeless(whole)
        assert_same_bits(weights(network), weights(unbroken))


def test_a_finished_run_is_told_again(tmp_path):
    network, history = resumed(tmp_path / "run.ckpt", "plain")
    again, told = resumed(tmp_path / "run.ckpt", "plain")
    assert told == history
    assert_same_bits(weights(again), weights(network))


def test_a_run_goes_on_from_the_last_state_that_was_due(tmp_path, monkeypatch):
    """Epochs since the last write are done again, to the same bits."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(checkpoint_module, "time", clock)
    unbroken = make_network("dropout")
    whole = fit(unbroken, SETTINGS)
    path = tmp_path / "run.ckpt"
    checkpoint, written = Checkpoint(path, every_s=10.0), []
    running = train(
        make_network("dropout"), SquaredError(1), ROWS, VALID, SETTINGS, checkpoint=checkpoint
    )
    for epoch in running:
        clock.now += 4.0
        written.append(path.exists())
        if epoch.epoch == 5:
            break
    running.close()
    assert written == [False, False, False, True, True]
    network = make_network("dropout")
    history = fit(network, SETTINGS, checkpoint=Checkpoint(path))
    assert timeless(history) == timeless(whole)
    assert_same_bits(weights(network), weights(unbroken))


def test_the_end_is_always_written(tmp_path):
    path = tmp_path / "run.ckpt"
    fit(make_network(), SETTINGS, checkpoint=Checkpoint(path, every_s=1e9))
    assert path.exists()


def test_seconds_go_on_and_the_time_limit_counts_them_all(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(run_module, "time", clock)
    path, settings = tmp_path / "run.ckpt", replace(SETTINGS, time_limit_s=50.0)

    def ten_seconds_each(most: int) -> list[float]:
        def slowly(output: Tensor, target: Tensor) -> Tensor:
            clock.now += 2.5  # of four steps an epoch
            return SquaredError(1).loss(output, target)

        seconds = []
        running = train(
            make_network(),
            WithLoss(slowly),
            ROWS,
            VALID,
            settings,
            checkpoint=Checkpoint(path, every_s=0),
        )
        for epoch in running:
            seconds.append(epoch.seconds)
            if epoch.epoch == most:
                break
        running.close()
        return seconds

    assert ten_seconds_each(2) == [10.0, 20.0]
    clock.now += 1e6  # the night between
    assert ten_seconds_each(100) == [10.0, 20.0, 30.0, 40.0, 50.0]


def test_the_average_and_the_optimiser_are_in_the_state(tmp_path):
    """Resuming from the weights alone would end elsewhere: the tests above can tell."""
    broken_off(tmp_path / "run.ckpt", 2, "plain")
    network, _ = resumed(tmp_path / "run.ckpt", "plain")
    for lost in ("average.", "optimizer."):
        path = tmp_path / f"{lost}ckpt"
        broken_off(path, 2, "plain")
        forget(path, lost)
        other, _ = resumed(path, "plain")
        assert not torch.equal(other[0].weight, network[0].weight), lost


def forget(path, prefix: str) -> None:
    """Rewrite a checkpoint with a part of its tensors at zero."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if name.startswith(prefix) and not name.endswith(".step"):
            tensor.zero_()
    Checkpoint(path).write(header["run"], tensors, json.loads(header["state"]))
