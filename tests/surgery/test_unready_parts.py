"""Parts compiled by TorchScript, and lazy ones: what is beside them is converted all the same."""

from typing import Any

import pytest
import torch
from torch import nn

from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import check_equivalent
from pointwise.surgery.layouts import channels_first
from pointwise.surgery.respell import respell

ignore_old = pytest.mark.filterwarnings("ignore")


@ignore_old
@pytest.mark.parametrize("target", [to_pointwise, to_conv, to_linear])
@pytest.mark.parametrize("compiled", ["scripted", "traced"])
def test_what_is_beside_a_compiled_part_is_converted(compiled: str, target: Any) -> None:
    layer, x = nn.Linear(4, 4), torch.randn(2, 3, 4)
    part = torch.jit.script(layer) if compiled == "scripted" else torch.jit.trace(layer, x)
    model = nn.Sequential(nn.Linear(4, 4), part, nn.Conv1d(3, 2, 1))
    new, swaps = target(model, example=x)
    left = {swap.path: swap.reason for swap in swaps if swap.after is None}
    assert left == {"1": "is compiled by TorchScript: convert the network before"}
    check_equivalent(model, new, x, layers=True)


@ignore_old
def test_a_compiled_whole() -> None:
    compiled = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    reason = "is compiled by TorchScript: convert the network before"
    _, swaps = to_conv(compiled, example=torch.ones(2, 4))
    assert [swap.reason for swap in swaps] == [reason]
    kind = type(compiled).__name__
    with pytest.raises(ValueError, match=f"^model must be a network, got {kind}: {reason}$"):
        channels_first(compiled, torch.ones(2, 4))
    message = f"^model must be made of layers, got {kind}: it {reason}$"
    with pytest.raises(ValueError, match=message):
        respell(compiled, torch.ones(2, 4))


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("part", [nn.LazyLinear, nn.LazyBatchNorm1d])
def test_lazy_parts(part: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), part(4) if part is nn.LazyLinear else part()).eval()
    new, swaps = to_conv(model)
    assert swaps[0].after == "Conv2d(4, 4, 1x1) in place of linear"
    assert type(new[1]) is part
    assert new[1].has_uninitialized_params()
    message = (
        rf"^model must know its sizes: its part '1' \({part.__name__}\) is lazy: run it once "
        "first, so that its sizes are known$"
    )
    for surgery in (channels_first, respell):
        with pytest.raises(ValueError, match=message):
            surgery(model, torch.ones(2, 4))
    assert model[1].has_uninitialized_params()


def test_lazy_norms_get_their_sizes_in_a_comparison() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyBatchNorm1d())
    check_equivalent(model, model, torch.randn(3, 4))
    assert model[1].running_mean.shape == (4,)
