"""What this machine does in a second, and which layers that makes wait for memory."""

import time

import pytest
import torch
from torch import nn

from pointwise.inspection.cost import cost
from pointwise.inspection.machine import Machine, measure_machine


def test_measuring_takes_well_under_a_second_and_gives_sane_figures():
    measure_machine()  # loads what is loaded once
    start = time.thread_time()  # other programs may run too: their share does not count
    machine = measure_machine()
    assert time.thread_time() - start < 1.5  # about 0.4 s
    assert 1e8 < machine.macs_per_s < 1e15
    assert 1e8 < machine.bytes_per_s < 1e14
    assert machine.ridge == machine.macs_per_s / machine.bytes_per_s


def test_layers_below_the_ridge_wait_for_memory():
    model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 1))
    counted = cost(model, torch.ones(1, 64, 56, 56))
    conv, relu, narrow = counted.layers
    machine = Machine(macs_per_s=10e9, bytes_per_s=1e9)
    assert machine.ridge == 10
    assert relu.intensity == 0 < narrow.intensity < 10 < conv.intensity
    assert counted.memory_bound(machine) == [relu, narrow]
    assert counted.memory_bound(Machine(1.0, 1e9)) == [relu]  # it has no arithmetic to wait for


def test_intensity_is_multiply_adds_per_byte():
    (layer,) = cost(nn.Linear(3, 2), torch.ones(5, 3)).layers
    assert layer.bytes == 4 * (3 * 2 + 2 + 5 * 3 + 5 * 2)
    assert layer.intensity == pytest.approx(5 * 3 * 2 / layer.bytes)


def test_parameters_that_do_not_run_wait_for_nothing():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    counted = cost(Half(), torch.ones(1, 2))
    assert [one.name for one in counted.layers] == ["used", "spare"]
    assert [one.name for one in counted.memory_bound(Machine(1e9, 1.0))] == ["used"]
