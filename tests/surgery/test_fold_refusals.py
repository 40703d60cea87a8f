"""Norms and scalings that stay where they are, and why; folding that goes wrong."""

import copy
import re

import pytest
import torch
from calibrated import randomised, reasons
from torch import Tensor, nn

from pointwise.errors import DifferenceError
from pointwise.surgery.fold import fold

IMAGE = torch.randn(2, 4, 8, 8)


class Fork(nn.Module):
    """The convolution's output goes two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y).relu() * y


class Twice(nn.Module):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.conv(self.one(self.conv(x)).relu())).relu()


class Writing(nn.Module):
    """What the norm read is written into afterwards, perhaps through a view of it."""

    def __init__(self, part: slice = slice(None)) -> None:
        super().__init__()
        self.norm, self.conv, self.part = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), part

    def forward(self, x: Tensor) -> Tensor:
        h = x * 2
        y = self.norm(h)
        h[:, self.part].add_(1)
        return self.conv(y) + h


class Broadcast(nn.Module):
    """A sum of four channels and one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Looking(Fork):
    """Its way depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) if y.sum() > 0 else y


class Odd(nn.BatchNorm2d):
    """Another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class OddLayerNorm(nn.LayerNorm):
    """Another forward."""


class OddConv(nn.Conv2d):
    """Another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, out: out * 2)
    return net


def parent_hooked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()))
    net[1].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    return net


def tied() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    net[3].weight = net[0].weight
    return net


FIRST = "before it: it reads an input of the model, not a linear layer alone"
RELU = "after it: 'relu' in '2' reads it"
REFUSED = {
    "zero padding": (
        nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)),
        f"0: {FIRST}; after it: '1' is padded with zeros, which the offset is not added to",
    ),
    "same padding": (
        nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding="same")),
        f"0: {FIRST}; after it: '1' is padded with zeros, which the offset is not added to",
    ),
    "transposed after": (
        nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3)),
        f"0: {FIRST}; after it: '1' is a transposed convolution, whose outputs at the border see "
        "fewer taps",
    ),
    "activation between": (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        "2: before it: it reads what '1' (ReLU) gives, not a linear layer alone; after it: it is "
        "an output of the model, or stored",
    ),
    "no statistics": (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        "1: normalises by the statistics of its input, as it keeps none",
    ),
    "subclass of the norm": (
        nn.Sequential(nn.Conv2d(4, 4, 1), Odd(4)),
        "1: Odd is a subclass of BatchNorm2d: its forward may differ",
    ),
    "subclass of a layer norm": (
        nn.Sequential(OddLayerNorm(8), nn.Linear(8, 2)),
        "0: OddLayerNorm is a subclass of torch's LayerNorm: its forward may differ",
    ),
    "subclass of the layer": (
        nn.Sequential(OddConv(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()),
        "1: before it: '0' OddConv is a subclass of Conv2d: its forward may differ; " + RELU,
    ),
    "hooks": (
        hooked(),
        "1: before it: it reads what a module's hooks leave, not a linear layer alone; " + RELU,
    ),
    "hook of a parent between": (
        parent_hooked(),
        "1.0: before it: it reads what a module's hooks leave, not a linear layer alone; "
        "after it: 'relu' in '1.1' reads it",
    ),
    "weight norm": (
        nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 1)),
            nn.BatchNorm2d(6),
            nn.ReLU(),
        ),
        "1: before it: '0' has parametrizations: call "
        "torch.nn.utils.parametrize.remove_parametrizations first; " + RELU,
    ),
    "tied": (
        tied(),
        "1: before it: '0' shares its weight with '3': the two would no longer be tied; " + RELU,
    ),
    "two readers": (
        Fork(),
        "norm: before it: what 'conv' gives goes elsewhere too: 'mul' in the model's forward reads "
        "it; after it: 'relu' in the model's forward reads it",
    ),
    "another axis": (
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm2d(4), nn.ReLU()),
        "1: before it: '0' has its channels on another axis; " + RELU,
    ),
    "two norms": (
        Twice(),
        "one: before it: 'conv' is called at other places too; "
        "after it: 'relu' in the model's forward reads it",
    ),
    "written into later": (
        Writing(),
        "norm: before it: it reads the result of 'mul', not a linear layer alone; after it: 'add' "
        "writes into its input afterwards",
    ),
    "a part written into later": (
        Writing(slice(2)),
        "norm: before it: it reads the result of 'mul', not a linear layer alone; after it: 'add' "
        "writes into its input afterwards",
    ),
    "broadcast branch": (
        nn.Sequential(Broadcast(), nn.Dropout()),
        "0: its branches are not merged: the input is added to another number of channels",
    ),
    "torch's encoder layer": (
        nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(64, 2, 16, batch_first=True)),
        "1.norm1: torch's fused operator of encoder layers reads its weights",
    ),
    "data-dependent": (
        Looking(),
        "norm: the flow of data is not known: the forward looks at values in the model (Looking) "
        "(aten._local_scalar_dense.default): its way depends on them",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_left_alone_says_why(case: str):
    model, message = REFUSED[case]
    model = randomised(copy.deepcopy(model))
    before = copy.deepcopy(model.state_dict())
    folded, swaps = fold(model, IMAGE)
    path, _, reason = message.partition(": ")
    assert reasons(swaps)[path] == reason
    torch.testing.assert_close(folded.state_dict(), before, rtol=0, atol=0)


def test_a_meta_model_is_left_alone():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()).eval()
    _, swaps = fold(net, torch.empty(2, 4, 8, 8, device="meta"))
    assert reasons(swaps) == {"1": "is on the meta device: there are no values to fold"}


def test_training_mode_is_refused():
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)).eval()
    net[1].train()
    message = (
        "model must be in evaluation mode, got training mode in '1' (BatchNorm2d): "
        "call model.eval() first"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fold(net, IMAGE)


def test_too_large_a_difference_is_an_error():
    net = randomised(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    with pytest.raises(DifferenceError):
        fold(net, IMAGE, rtol=-1.0)


def test_a_model_folded_in_place_with_too_large_a_difference_is_as_before():
    net = randomised(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(nn.BatchNorm2d(4))))
    before, parts = copy.deepcopy(net), list(net.modules())
    with pytest.raises(DifferenceError):
        fold(net, IMAGE, in_place=True, rtol=-1.0)
    assert all(one is other for one, other in zip(net.modules(), parts, strict=True))
    torch.testing.assert_close(net.state_dict(), before.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "Given groups=1, weight of size"),
        (nn.ModuleDict({"a": nn.BatchNorm2d(4)}), r"Module \[ModuleDict\] is missing the required"),
    ],
    ids=["other channels", "no forward"],
)
def test_an_example_that_the_model_does_not_take_is_refused(model, why) -> None:
    with pytest.raises(ValueError, match=f"input of the model, which fails on it: {why}"):
        fold(model.eval(), torch.randn(1, 5, 8, 8))
