"""Linear layers that follow one another, blocks of parallel branches, and dropout."""

import copy
import random

import pytest
import torch
from calibrated import check_folded, kinds, randomised, reasons
from torch import Tensor, nn

from pointwise.nn.conv import ConvNormActivation
from pointwise.nn.dropout import Dropout
from pointwise.nn.norm import FrozenBatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.fold import fold
from pointwise.surgery.swap import describe

ROWS, TOKENS = torch.randn(5, 4), torch.randn(3, 4, 7)
IMAGE = torch.randn(2, 4, 8, 8)

MERGED = {
    "linear": ([nn.Linear(4, 9), nn.Linear(9, 4)], ROWS, "Linear(4, 4)"),
    "three": (
        [nn.Linear(4, 9), nn.Linear(9, 8, bias=False), nn.Linear(8, 4)],
        ROWS,
        "Linear(4, 4)",
    ),
    "1x1 and 1x1": ([nn.Conv1d(4, 9, 1), nn.Conv1d(9, 4, 1)], TOKENS, "Conv1d(4, 4, 1)"),
    "pointwise": ([PointwiseConv(4, 9), PointwiseConv(9, 4)], IMAGE, "PointwiseConv(4, 4)"),
    "KxK and 1x1": (
        [nn.Conv2d(4, 9, 3, stride=2, padding=1), nn.Conv2d(9, 3, 1)],
        IMAGE,
        "Conv2d(4, 3, 3x3, stride 2, padding 1)",
    ),
    "1x1 and KxK": (
        [nn.Conv2d(4, 20, 1), nn.Conv2d(20, 3, (3, 2))],
        IMAGE,
        "Conv2d(4, 3, 3x2)",
    ),
    "1x1 without bias and padding": (
        [nn.Conv2d(4, 20, 1, bias=False), nn.Conv2d(20, 3, 3, padding=1)],
        IMAGE,
        "Conv2d(4, 3, 3x3, padding 1)",
    ),
    "1x1 and reflection": (
        [nn.Conv2d(4, 20, 1), nn.Conv2d(20, 3, 3, padding=1, padding_mode="reflect")],
        IMAGE,
        "Conv2d(4, 3, 3x3, padding 1)",
    ),
    "groups": (
        [nn.Conv2d(4, 16, 1, groups=4), nn.Conv2d(16, 4, 3, groups=2)],
        IMAGE,
        "Conv2d(4, 4, 3x3, groups 2)",
    ),
    "transposed and 1x1": (
        [nn.ConvTranspose2d(4, 12, 3, stride=2, groups=2), nn.Conv2d(12, 3, 1)],
        IMAGE,
        "ConvTranspose2d(4, 3, 3x3, stride 2)",
    ),
    "1x1 and transposed": (
        [nn.Conv2d(4, 30, 1, bias=False), nn.ConvTranspose2d(30, 2, 3, stride=2)],
        IMAGE,
        "ConvTranspose2d(4, 2, 3x3, stride 2)",
    ),
}

KEPT = {
    "bottleneck": (
        [nn.Linear(64, 2), nn.Linear(2, 64)],
        "not merged with '1': one layer would take 40,960 multiply-adds and 4,160 parameters, "
        "the two take 2,560 and 322",
    ),
    "zero padding": (
        [nn.Conv2d(4, 20, 1), nn.Conv2d(20, 3, 3, padding=1)],
        "not merged with '1': the second is padded with zeros, which the offset is not added to",
    ),
    "transposed": (
        [nn.Conv2d(4, 20, 1), nn.ConvTranspose2d(20, 3, 3)],
        "not merged with '1': the second is a transposed convolution, whose outputs at the border "
        "see fewer taps",
    ),
    "two kernels": (
        [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)],
        "not merged with '1': neither is pointwise",
    ),
    "stride": (
        [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2)],
        "not merged with '1': neither is pointwise",
    ),
    "axes cut": (
        [nn.Conv2d(4, 9, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(9, 4, 1)],
        "not merged with '2': axes are moved or cut between them",
    ),
    "depthwise and 1x1": (
        [nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.Conv2d(4, 8, 1, bias=False)],
        "not merged with '1': one layer would take 20,736 multiply-adds and 288 parameters, "
        "the two take 4,896 and 68",
    ),
    "size checked by a block": (
        [nn.Conv2d(4, 9, 1, bias=False), ConvNormActivation(9, 2, 3, norm=None)],
        "without it the run without values failed in layer '1' (ConvNormActivation): "
        "x must have shape (N, 9, H, W), got (2, 4, 8, 8)",
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", MERGED)
def test_chains_become_one(case: str, dtype: torch.dtype):
    layers, x, result = MERGED[case]
    folded, _ = check_folded(nn.Sequential(*copy.deepcopy(layers)).eval(), x, dtype=dtype)
    left = [describe(layer) for layer in folded if not isinstance(layer, nn.Identity)]
    assert left == [result]


@pytest.mark.parametrize("case", KEPT)
def test_chains_that_stay_say_why(case: str):
    layers, reason = KEPT[case]
    x = torch.randn(10, 64) if case == "bottleneck" else IMAGE
    net = nn.Sequential(*layers).eval()
    folded, swaps = fold(net, x)
    assert reasons(swaps)["0"] == reason
    torch.testing.assert_close(folded.state_dict(), net.state_dict(), rtol=0, atol=0)


class Sum(nn.Module):
    """Branches of one input, added up, and an activation."""

    def __init__(self, *branches: nn.Module, skip: bool = False) -> None:
        super().__init__()
        self.branches, self.skip = nn.ModuleList(branches), skip
        self.drop, self.act = nn.Dropout(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = 0
        for branch in self.branches:
            out = out + branch(x)
        out = self.drop(out)
        if self.skip:
            out += x
        return self.act(out)


def normed(conv: nn.Module) -> nn.Module:
    """A convolution with its norm."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))


BRANCHES = {
    "RepVGG": Sum(
        normed(nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        normed(nn.Conv2d(4, 4, 1, bias=False)),
        nn.BatchNorm2d(4),
    ),
    "RepVGG with stride": Sum(
        normed(nn.Conv2d(4, 6, 3, stride=2, padding=1)), normed(nn.Conv2d(4, 6, 1, stride=2))
    ),
    "MobileOne": Sum(
        normed(nn.Conv2d(4, 4, 1, groups=4)),
        *(normed(nn.Conv2d(4, 4, 3, padding=1, groups=4)) for _ in range(3)),
        nn.BatchNorm2d(4),
    ),
    "groups": Sum(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4), skip=True),
    "input added": Sum(nn.Conv2d(4, 4, 3, padding=1), skip=True),
    "input added to a 1x1": Sum(PointwiseConv(4, 4), nn.Conv2d(4, 4, 1), skip=True),
    "asymmetric kernels": Sum(
        nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(4, 5, (1, 3), padding=(0, 1))
    ),
    "dilated": Sum(nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 4, 1)),
}

SEPARATE = {
    "padding modes": (
        Sum(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        "its branches are not merged: '0.branches.1' has another stride, centre, dilation or "
        "padding mode than another branch",
    ),
    "groups": (
        Sum(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1)),
        "its branches are not merged: '0.branches.1' has 1 groups, another branch 4",
    ),
    "kernels that cross": (
        Sum(nn.Conv2d(4, 4, (1, 5), padding=(0, 2)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0))),
        "its branches are not merged: '0.branches.1' has a kernel (3, 1) that does not fit into "
        "another's (1, 5)",
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", BRANCHES)
def test_parallel_branches_become_one(case: str, dtype: torch.dtype):
    net = nn.Sequential(randomised(copy.deepcopy(BRANCHES[case])))
    folded, _ = check_folded(net.eval(), IMAGE, dtype=dtype)
    assert kinds(folded[0])[1:] == ["ReLU"]
    assert sum(isinstance(module, nn.Conv2d | PointwiseConv) for module in folded[0]) == 1


@pytest.mark.parametrize("case", SEPARATE)
def test_branches_that_stay_say_why(case: str):
    block, reason = SEPARATE[case]
    _, swaps = fold(nn.Sequential(block).eval(), IMAGE)
    assert reasons(swaps)["0"] == reason


def test_an_activation_in_a_branch_is_no_sum_of_convolutions():
    block = Sum(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), nn.Conv2d(4, 4, 1)).eval()
    folded, swaps = fold(block, IMAGE)
    assert type(folded) is Sum
    assert not reasons(swaps)


def test_a_block_that_returns_a_tuple_stays():
    class Boxed(Sum):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (super().forward(x),)

    class Unboxing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Boxed(nn.Conv2d(4, 4, 3, padding=1), skip=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x)[0]

    folded, _ = check_folded(Unboxing().eval(), IMAGE, dtype=torch.float64)
    assert type(folded.block) is Boxed


def test_hooks_within_a_block_are_kept():
    block = randomised(BRANCHES["RepVGG"])
    block.act.register_forward_hook(lambda module, args, out: out)
    block.branches[2].register_forward_hook(lambda module, args, out: out)
    folded, _ = check_folded(block, IMAGE, dtype=torch.float64)
    assert type(folded) is Sum


@pytest.mark.parametrize(
    "dropout",
    [nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), Dropout(0.3)],
    ids=lambda module: type(module).__module__ + type(module).__name__,
)
def test_dropout_goes(dropout: nn.Module):
    net = nn.Sequential(nn.ReLU(), dropout).eval()
    folded, swaps = check_folded(net, IMAGE, dtype=torch.float64)
    assert kinds(folded) == ["ReLU", "Identity"]
    assert swaps[0].reason == "does nothing in evaluation"


def test_dropout_whose_share_is_read_stays():
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Dropout(0.1), nn.Dropout(0.1)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x)) * (1 + self.one.p)

    folded, swaps = check_folded(Reading().eval(), IMAGE, dtype=torch.float64)
    assert kinds(folded) == ["Dropout", "Identity"]
    assert reasons(swaps) == {
        "one": "without it the run without values failed in the model (Reading): 'Identity' object "
        "has no attribute 'p'"
    }


def random_network(seed: int) -> nn.Module:
    """Convolutions, norms, activations and sums in any order."""
    draw = random.Random(seed)
    layers: list[nn.Module] = []
    for _ in range(draw.randint(2, 7)):
        kernel, groups = draw.choice([1, 1, 3]), draw.choice([1, 2])
        conv = nn.Conv2d(
            4,
            4,
            kernel,
            padding=draw.choice([0, kernel // 2]),
            padding_mode=draw.choice(["zeros", "reflect"]),
            groups=groups,
            bias=draw.random() < 0.5,
        )
        skip = Sum(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), skip=draw.random() < 0.5)
        norms = [nn.BatchNorm2d(4), FrozenBatchNorm(4), nn.GroupNorm(2, 4)]
        layers.append(draw.choice([conv, conv, *norms, nn.ReLU(), nn.Dropout(), skip]))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(25))
def test_folded_networks_compute_the_same(seed: int):
    net = randomised(random_network(seed), seed)
    folded, swaps = check_folded(net, torch.randn(2, 4, 16, 16), dtype=torch.float64)
    assert all(swap.after is not None or swap.reason for swap in swaps)
    parameters = [sum(p.numel() for p in one.parameters()) for one in (folded, net)]
    assert parameters[0] <= parameters[1] + 4 * len(net)  # an offset where there was none
