"""What a budget is, what a model costs, and what of that can be reached."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pointwise.compression.budget import Budget, count_costs, limits_of
from pointwise.compression.statistics.measure import measure


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "budget must set at least one of macs=, params=, bytes=, latency=, it sets none"),
        ({"macs": 0.0}, "macs must be a share above 0 and at most 1, got 0.0"),
        ({"params": 1.5}, "params must be a share above 0 and at most 1, got 1.5"),
        (
            {"macs": 0.5, "bytes": float("nan")},
            "bytes must be a share above 0 and at most 1, got nan",
        ),
        ({"macs": "half"}, "macs must be a share above 0 and at most 1, got 'half'"),
    ],
    ids=["none", "zero", "above_one", "nan", "text"],
)
def test_wrong_budgets(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Budget(**given)


class Named(nn.Module):
    """A model of two named inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3, bias=False)

    def forward(self, *, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": self.a(left) + self.b(right)}


def test_costs_of_inputs_by_name() -> None:
    costs = count_costs(Named(), {"left": torch.ones(2, 4), "right": torch.ones(2, 5)})
    assert (costs.macs, costs.params, costs.bytes) == (2 * 27, 30, 120)
    assert costs.layers["b"] == 30


def test_costs_are_those_of_torch() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    x = torch.randn(2, 5, 16)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        layer(x)
    assert count_costs(layer.eval(), x).macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["macs", "params", "bytes"])
def test_out_of_reach_says_what_is_in_reach(name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 8, bias=False))
    known = measure(model, torch.ones(1, 8), exclude=["0"])
    # 64 stay, and a layer of rank 1 has 16
    message = (
        f"budget must be within reach: {name}=0.4 is not, the smallest share of the {name} is 0.625"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        limits_of(Budget(**{name: 0.4}), known.whole, known.layers)
    assert limits_of(Budget(**{name: 0.625}), known.whole, known.layers).given()[name] > 0
