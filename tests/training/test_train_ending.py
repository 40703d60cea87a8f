"""However training ends, the best epoch is in place, and nothing else of the process changed."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from training_cases import (
    ROWS,
    SETTINGS,
    VALID,
    assert_same_bits,
    fit,
    make_network,
    squares_but_at_step,
    weights,
)

from pointwise.training import Checkpoint, Rows, SquaredError, train


def begin(network, settings=SETTINGS, **kwargs):
    return train(network, SquaredError(1), ROWS, VALID, settings, **kwargs)


def best_of_first(epochs: int) -> dict[str, Tensor]:
    network = make_network()
    fit(network, replace(SETTINGS, max_epochs=epochs))
    return weights(network)


@pytest.mark.parametrize("epochs", [1, 3])
def test_closing_early_leaves_the_best_epoch(epochs):
    network = make_network()
    running = begin(network)
    for _ in range(epochs):
        next(running)
    assert network.training
    running.close()
    assert_same_bits(weights(network), best_of_first(epochs))
    assert not network.training


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_exception_thrown_in_leaves_the_best_epoch(error):
    network = make_network()
    running = begin(network)
    next(running), next(running)
    with pytest.raises(error):
        running.throw(error())
    assert_same_bits(weights(network), best_of_first(2))
    assert not network.training


def test_an_exception_within_an_epoch_leaves_the_best_epoch():
    def interrupt(values: Tensor) -> Tensor:
        raise KeyboardInterrupt

    network, state = make_network(), torch.get_rng_state()
    # of four steps an epoch: in the third
    running = train(network, squares_but_at_step(11, interrupt), ROWS, VALID, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        list(running)
    assert_same_bits(weights(network), best_of_first(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_exception_within_the_first_epoch_leaves_the_initial_weights():
    def interrupt(values: Tensor) -> Tensor:
        raise KeyboardInterrupt

    network = make_network()
    before = weights(network)
    with pytest.raises(KeyboardInterrupt):
        list(train(network, squares_but_at_step(3, interrupt), ROWS, VALID, SETTINGS))
    assert_same_bits(weights(network), before)


def test_gradients_are_not_kept():
    network = make_network()
    fit(network)
    assert all(p.grad is None for p in network.parameters())


def test_breaking_out_of_the_loop_leaves_the_best_epoch():
    network = make_network()
    for epoch in begin(network):
        if epoch.epoch == 2:
            break
    assert_same_bits(weights(network), best_of_first(2))


def test_a_generator_that_was_never_started_changes_nothing():
    network = make_network()
    before = weights(network)
    begin(network).close()
    assert_same_bits(weights(network), before)
    assert network.training


@pytest.mark.parametrize("yielded", [1, 3])
def test_closing_while_the_history_is_told_leaves_the_best_epoch(tmp_path, yielded):
    path = tmp_path / "run.ckpt"
    first = begin(make_network(), checkpoint=Checkpoint(path, every_s=0))
    for _ in range(4):
        next(first)
    network = make_network()
    resumed = begin(network, checkpoint=Checkpoint(path, every_s=0))
    for _ in range(yielded):
        next(resumed)
    resumed.close()
    assert_same_bits(weights(network), best_of_first(4))
    assert not network.training


def test_the_global_random_state_stays():
    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for _ in begin(make_network("dropout")):
        assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def test_generators_of_other_devices_are_not_seeded(monkeypatch):
    """``torch.manual_seed`` would, even those of a GPU that is first used later."""
    network, seeded = make_network("dropout"), []
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, seeded.append)
    fit(network)
    assert seeded == []


def test_random_numbers_drawn_between_epochs_change_nothing():
    quiet, noisy = make_network("dropout"), make_network("dropout")
    list(begin(quiet))
    for _ in begin(noisy):
        torch.rand(7)
    assert_same_bits(weights(noisy), weights(quiet))


def test_rows_and_the_number_of_threads_stay():
    rows = Rows(ROWS.x.clone(), ROWS.y.clone(), torch.ones(60))
    threads = torch.get_num_threads()
    fit(make_network("dropout"), rows=rows)
    assert torch.equal(rows.x, ROWS.x)
    assert torch.equal(rows.y, ROWS.y)
    assert torch.get_num_threads() == threads
