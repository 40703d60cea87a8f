"""The running average against its closed formula."""

import math

import pytest
import torch
from torch import nn

from pointwise.training.average import MEMORY, WeightAverage


@pytest.mark.parametrize("steps", [1, 2, 30, 400])
def test_closed_formula(steps):
    """After T steps, the weights of step t count C(t + m - 2, m - 1) / C(T + m - 1, m)."""
    memory = int(MEMORY)
    assert memory == MEMORY
    torch.manual_seed(0)
    values = torch.randn(steps, 3, dtype=torch.float64)
    network = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    average = WeightAverage(network)
    for step, value in enumerate(values, 1):
        network.weight.data.copy_(value[None])
        average.update(step)
    whole = math.comb(steps + memory - 1, memory)
    share = [math.comb(t + memory - 2, memory - 1) / whole for t in range(1, steps + 1)]
    assert sum(share) == pytest.approx(1)
    expected = torch.tensor(share, dtype=torch.float64) @ values
    torch.testing.assert_close(average.network.weight[0], expected, rtol=1e-11, atol=1e-12)


def test_the_first_step_forgets_the_initial_weights():
    network = nn.Linear(2, 2)
    average = WeightAverage(network)
    network.weight.data.fill_(7.0)
    average.update(1)
    assert average.network.weight.eq(7.0).all()


def test_it_reaches_back_over_a_tenth_of_the_steps():
    network = nn.Linear(1, 1)
    average = WeightAverage(network)
    for step in range(1, 1001):
        network.weight.data.fill_(float(step))
        average.update(step)
    assert average.network.weight.item() == pytest.approx(1000 * (1 - 1 / (MEMORY + 1)), rel=1e-3)


def test_buffers_are_taken_as_they_are():
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network)
    for step in (1, 2, 3):
        network.running_mean.fill_(float(step))
        network.num_batches_tracked.fill_(step)
        network.weight.data.fill_(float(step))
        average.update(step)
    assert average.network.running_mean.tolist() == [3.0, 3.0]
    assert average.network.num_batches_tracked.item() == 3
    assert 2.0 < average.network.weight[0].item() < 3.0


def test_frozen_parameters_stay():
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    kept = network.bias.clone()
    average = WeightAverage(network)
    network.weight.data.fill_(3.0)
    average.update(1)
    assert torch.equal(average.network.bias, kept)
    assert average.network.weight.eq(3.0).all()


def test_the_average_is_a_network_of_its_own_in_evaluation():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    before = network[0].weight.clone()
    average = WeightAverage(network)
    assert not average.network.training
    assert network.training
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())
    average.network[0].weight.data.zero_()
    assert torch.equal(network[0].weight, before)


def test_tied_weights_are_averaged_once():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    network[1].weight = network[0].weight
    average = WeightAverage(network)
    for step, value in enumerate((0.0, 1.0), 1):
        network[0].weight.data.fill_(value)
        average.update(step)
    assert average.network[0].weight is average.network[1].weight
    assert average.network[0].weight.item() == pytest.approx(MEMORY / (MEMORY + 1))
