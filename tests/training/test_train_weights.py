"""A row's weight counts as that many copies of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from training_cases import ROWS, SETTINGS, VALID, fit, make_network, weights

from pointwise.training import CrossEntropy, Rows, Settings, train


def double(rows: Rows) -> Rows:
    y = rows.y.double() if rows.y.is_floating_point() else rows.y
    return Rows(rows.x.double(), y)


def weighted(rows: Rows, counts: Tensor) -> Rows:
    counts = counts.to(rows.x.dtype)
    return Rows(rows.x, rows.y, counts / counts.mean())


def repeated(rows: Rows, counts: Tensor) -> Rows:
    return Rows(rows.x.repeat_interleave(counts, 0), rows.y.repeat_interleave(counts, 0))


COUNTS = torch.tensor([1, 2, 3, 1, 2] * 12)
FULL_BATCH = Settings(batch_size=1000, learning_rate=1e-2, max_epochs=15, patience=50)


@pytest.mark.parametrize("counts", [torch.tensor([2] + [1] * 59), COUNTS], ids=["one row", "many"])
def test_weight_two_is_the_row_twice(counts):
    with_weights, with_copies, without = (make_network().double() for _ in range(3))
    rows, valid = double(ROWS), double(VALID)
    first = fit(with_weights, FULL_BATCH, rows=weighted(rows, counts), valid=valid)
    second = fit(with_copies, FULL_BATCH, rows=repeated(rows, counts), valid=valid)
    fit(without, FULL_BATCH, rows=rows, valid=valid)
    for name, value in weights(with_copies).items():
        torch.testing.assert_close(weights(with_weights)[name], value, rtol=0, atol=1e-12)
    for a, b in zip(first, second, strict=True):
        assert a.valid_loss == pytest.approx(b.valid_loss, rel=1e-12)
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-6)
        assert a.best == b.best
    apart = (without[0].weight - with_copies[0].weight).abs().max()
    assert apart > 1e-4  # the weights matter


def test_weight_two_is_the_row_twice_in_classes():
    rows, valid = (Rows(r.x.double(), (r.y[:, 0] > 0).long()) for r in (ROWS, VALID))
    states = []
    for learn in (weighted(rows, COUNTS), repeated(rows, COUNTS)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)).double()
        list(train(network, CrossEntropy(2), learn, valid, FULL_BATCH))
        states.append(weights(network))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-12)


def test_weight_zero_is_no_row_in_full_batches():
    counts = torch.tensor([0, 1] * 30)
    rows, valid = double(ROWS), double(VALID)
    states = []
    for learn in (weighted(rows, counts), repeated(rows, counts)):
        network = make_network().double()
        fit(network, FULL_BATCH, rows=learn, valid=valid)
        states.append(weights(network))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-12)


def test_validation_weights_decide_the_best_epoch_alike():
    network, again = make_network().double(), make_network().double()
    valid, counts = double(VALID), torch.tensor([1, 3] * 20)
    first = fit(network, SETTINGS, rows=double(ROWS), valid=weighted(valid, counts))
    second = fit(again, SETTINGS, rows=double(ROWS), valid=repeated(valid, counts))
    for a, b in zip(first, second, strict=True):
        assert a.valid_loss == pytest.approx(b.valid_loss, rel=1e-12)


def test_equal_weights_are_none():
    network, again = make_network(), make_network()
    settings = replace(SETTINGS, max_epochs=3)
    fit(network, settings)
    fit(again, settings, rows=Rows(ROWS.x, ROWS.y, torch.ones(60)))
    for name, value in weights(network).items():
        torch.testing.assert_close(value, weights(again)[name])
