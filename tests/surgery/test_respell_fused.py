"""``respell`` with chains through the fused runtime: when they stay, and what that costs."""

import re

import pytest
import torch
from test_respell import LAST, Told, X
from torch import nn

from pointwise.runtime.parts import CompiledPart
from pointwise.surgery.respell import respell
from pointwise.surgery.spelling.fused_chains import fuse_chains


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Block(nn.Module):
    """A convolution of neighbours, then a chain, then another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.enter = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 1)
        self.act, self.leave = nn.ReLU(), nn.Conv2d(16, 8, 1)
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x + self.leave(self.act(self.enter(x)))
        return self.out(x.abs())


CHAIN = Told({"fused chains, F": 0.6, "fused chains": 0.5, LAST: 0.9})


def test_a_chain_stays_where_it_wins():
    model = Block().eval()
    new, swaps = respell(model, X, fused=True, timer=CHAIN)
    assert swaps[0].after == "fused chains"
    assert swaps[0].reason.startswith("2.00x (2.00 to 2.00) on ")
    assert [swap.path for swap in swaps[1:]] == ["enter", "leave", "out"]
    assert re.fullmatch(r"chain 8 -> 16 relu -> 8 \((fused|chunks)\)", swaps[1].after or "")
    assert (swaps[2].after, swaps[2].reason) == ("Identity", "it is in a chain")
    assert swaps[3].after is None
    assert isinstance(new.enter, CompiledPart)
    assert isinstance(new.leave, nn.Identity)
    assert isinstance(model.enter, nn.Conv2d)
    with torch.no_grad():
        torch.testing.assert_close(new(X), model(X))


def test_a_chain_goes_where_it_loses():
    new, swaps = respell(Block().eval(), X, fused=True, timer=Told({"fused chains": 1.5}))
    assert swaps[0].after is None
    assert not any(isinstance(part, CompiledPart) for part in new.modules())


def test_chains_are_no_choice_unless_asked_for():
    told = Told({"fused chains": 0.1})
    _, swaps = respell(Block().eval(), X, timer=told)
    assert swaps[0].after is None
    assert not any("fused" in name for heat in told.heats for name in heat)


def test_layers_beside_a_chain_are_respelled_too():
    timer = Told({"fused chains, F.linear on rows": 0.5, "fused chains": 0.8, "rows": 0.9})
    new, swaps = respell(Block().eval(), X, fused=True, timer=timer)
    assert swaps[0].after == "fused chains, F.linear on rows in 1"
    assert swaps[-1].after == "Conv2d(8, 4, 1x1) as F.linear on rows"
    assert isinstance(new.enter, CompiledPart)


def test_in_place_and_with_folding():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1),
    ).eval()
    with torch.no_grad():
        expected = model(X)
    timer = Told({"folded, fused chains": 0.5, "folded, channels-last": 0.9})
    new, swaps = respell(model, X, folding=True, fused=True, in_place=True, timer=timer)
    assert new is model
    assert swaps[0].after == "folded, fused chains"
    assert [swap.path for swap in swaps[-3:]] == ["1", "2", "5"]
    assert isinstance(model[1], CompiledPart)  # an activation may come first
    with torch.no_grad():
        torch.testing.assert_close(model(X), expected)


def test_a_network_may_be_one_chain():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    x = torch.randn(20, 4)
    new, swaps = respell(model, x, fused=True, timer=Told({"fused chains": 0.5}))
    assert isinstance(new, CompiledPart)
    assert [swap.path for swap in swaps] == ["", "", "0", "2"]
    with torch.no_grad():
        torch.testing.assert_close(new(x), model(x))


class Two(nn.Module):
    """Takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(4, 4, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.mix(x) + y


class Reads(Block):
    """Reads a parameter of a layer that a chain would take."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.leave.bias.sum()


WITHOUT = {
    "two arguments": (
        Two(),
        (torch.ones(2, 4, 5), torch.ones(2, 4, 5)),
        "chains run fused only in networks that take one tensor on the CPU",
    ),
    "no chain": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)),
        X,
        "it has no chain of pointwise layers that gains from it",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_why_there_are_none(case: str):
    model, example, reason = WITHOUT[case]
    _, swaps = respell(model.eval(), example, fused=True, timer=Told({}))
    assert f"fused chains: {reason}" in swaps[0].reason


def test_layers_whose_parameters_are_read_stay():
    model = Reads().eval()
    new, swaps = respell(model, X, fused=True, timer=CHAIN)
    with torch.no_grad():
        torch.testing.assert_close(new(X), model(X))
    assert "fused" not in (swaps[0].after or "")


def test_chains_need_evaluation_mode():
    message = (
        "model must be in evaluation mode, which is what fused chains compute, got training mode: "
        "call model.eval()"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        respell(Block(), X, fused=True, timer=Told({}))


def test_chains_keep_the_model_that_they_are_made_of():
    model = Block().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = fuse_chains(model, (X,), Told({}))
    assert isinstance(made, nn.Module)
    assert made is not model
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_real_timings_give_an_equal_network():
    model = Block().eval()
    new, swaps = respell(model, X, fused=True, seconds=0.2)
    assert swaps[0].path == ""
    with torch.no_grad():
        torch.testing.assert_close(new(X), model(X))
