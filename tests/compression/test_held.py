"""What a forward takes of memory, and what follows from it for batches."""

import pytest
import torch
from torch import Tensor, nn

from pointwise.compression.statistics import measure as measuring
from pointwise.compression.statistics.held import held_bytes, made_bytes
from pointwise.compression.statistics.measure import measure


def test_held_bytes_count_what_a_skip_holds() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return y + self.second(y * 2)

    x = torch.ones(16, 4)
    own, wide = 16 * 4 * 4, 16 * 8 * 4
    assert held_bytes(Skip(), ["first"], x) == own
    assert held_bytes(Skip(), ["first", "second"], x) == own + 2 * wide


def test_made_bytes_count_memory_once() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x).view(-1, 2, 4)
            return y.relu_().flatten(1)[:, 1:]

    x = torch.ones(16, 4)
    assert made_bytes(Views(), x) == 16 * 4 * 4 + 16 * 8 * 4  # the model gets a copy


def test_a_tensor_of_data_goes_in_batches_that_memory_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(100, 4)
    each = made_bytes(model, x[:1])
    assert [len(batch) for batch in measure(model, x[:1], data=x).batches] == [64, 36]
    monkeypatch.setattr(measuring, "MOST_BYTES", 30 * each)
    for example in (x[:1], x[:7]):
        lengths = [len(batch) for batch in measure(model, example, data=x).batches]
        assert lengths == [30, 30, 30, 10]
    assert [len(b) for b in measure(model, x[:1], data=x.split(50)).batches] == [50, 50]
    monkeypatch.setattr(measuring, "MOST_BYTES", 0)
    assert len(measure(model, x[:1], data=x).batches) == 100
