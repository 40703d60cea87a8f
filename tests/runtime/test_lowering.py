"""Modules to chains: what a chain means is what the module gives, and why others are refused."""

import re
from collections.abc import Callable

import pytest
import torch
from runtime_chains import ACTIVATIONS, as_rows
from torch import nn
from torch.nn.utils import parametrizations

from pointwise.functional import Affine
from pointwise.nn import (
    MLP,
    BatchNorm,
    CategoryEncoder,
    ChannelScale,
    FrozenBatchNorm,
    LayerNorm,
    NumberEncoder,
    PointwiseConv,
    Projection,
)
from pointwise.nn.dropout import Dropout
from pointwise.runtime.chain import (
    Activation,
    Argmax,
    Chain,
    Concat,
    Normalize,
    Pick,
    Residual,
    Scale,
    Softmax,
    Spread,
)
from pointwise.runtime.lowering import read_chain
from pointwise.runtime.reference import evaluate
from pointwise.runtime.simplify import simplify


def settled(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """With statistics and scales that differ from their first values."""
    net = net.double().train()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    for _ in range(3):
        net(x)
    return net.eval()


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (20, 5)),
    "linear_no_bias": (lambda: nn.Linear(5, 3, bias=False), (20, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 1, groups=2), (2, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 1), (2, 4, 7, 3)),
    "conv2d_same": (lambda: nn.Conv2d(4, 6, 1, padding="same"), (2, 4, 7, 3)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 1, bias=False), (2, 4, 7, 3, 2)),
    "pointwise": (lambda: PointwiseConv(4, 6, groups=2), (2, 4, 7)),
    "batch_norm_rows": (lambda: nn.BatchNorm1d(5), (20, 5)),
    "batch_norm_plain": (lambda: nn.BatchNorm2d(5, affine=False), (4, 5, 3, 3)),
    "batch_norm_3d": (lambda: nn.BatchNorm3d(5), (4, 5, 3, 3, 2)),
    "own_batch_norm": (lambda: BatchNorm(5), (4, 5, 6)),
    "frozen_norm": (lambda: FrozenBatchNorm(5), (4, 5, 6)),
    "layer_norm": (lambda: nn.LayerNorm(5), (20, 5)),
    "layer_norm_no_bias": (lambda: nn.LayerNorm(5, bias=False), (20, 5)),
    "layer_norm_plain": (lambda: nn.LayerNorm(5, elementwise_affine=False), (20, 5)),
    "own_layer_norm": (lambda: LayerNorm(6, groups=2), (4, 6, 5)),
    "channel_scale": (lambda: ChannelScale([2.0, 3.0], [1.0, -1.0]), (4, 2, 5)),
    "sequence": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 1),
            nn.BatchNorm2d(8),
            nn.GELU(),
            nn.Dropout2d(0.5),
            nn.Sequential(nn.Conv2d(8, 4, 1), nn.Identity(), nn.Softmax(1)),
        ),
        (2, 3, 5, 4),
    ),
    "softmax_last": (lambda: nn.Sequential(nn.Linear(5, 3), nn.Softmax(-1)), (20, 5)),
    "mlp": (lambda: MLP([3, 8, 8, 8, 2], residual=True, dropout=0.3), (2, 3, 6)),
    "mlp_norm": (lambda: MLP([3, 8, 4, 2], norm=BatchNorm, activation=nn.SiLU), (4, 3, 6)),
    "mlp_members": (
        lambda: MLP([3, 8, 8, 8, 2], members=3, norm=LayerNorm, residual=True),
        (4, 3, 6),
    ),
    "projection": (lambda: Projection(3, 6, groups=3), (4, 3, 6)),
    "dropouts": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.AlphaDropout(0.5), Dropout(0.5)),
        (20, 5),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_chain_means_what_the_module_gives(name: str) -> None:
    make, shape = MODULES[name]
    x = torch.randn(*shape, dtype=torch.float64)
    net = settled(make(), x)
    chain = read_chain(net)
    assert isinstance(chain, Chain)
    axis = chain.axes[x.ndim]
    with torch.no_grad():
        expected = as_rows(net(x), axis)
    rows = as_rows(x, axis)
    torch.testing.assert_close(evaluate(chain, rows), expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(evaluate(simplify(chain), rows), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name: str) -> None:
    net = nn.Sequential(nn.Linear(3, 4), ACTIVATIONS[name]()).double().eval()
    x = 5 * torch.randn(50, 3, dtype=torch.float64)
    chain = read_chain(net)
    assert isinstance(chain, Chain)
    with torch.no_grad():
        torch.testing.assert_close(evaluate(chain, x), net(x), atol=1e-13, rtol=1e-13)


def test_encoders() -> None:
    nan = float("nan")
    numbers = NumberEncoder([0.0, 1.0], [1.0, 2.0], [True, False], [[0.0, 1.0, 3.0], []])
    x = torch.tensor([[2.0, nan], [nan, 1e12], [-5.0, 0.5]])
    chain = read_chain(numbers)
    assert isinstance(chain, Chain)
    torch.testing.assert_close(evaluate(chain, x).float(), numbers(x), atol=1e-6, rtol=1e-6)
    categories = CategoryEncoder([[0.75, 0.25, 0.0], [0.01] * 100])
    codes = torch.tensor([[1.0, nan], [nan, -1.0], [-1.0, 98.0]])
    chain = read_chain(categories)
    assert isinstance(chain, Chain)
    expected = categories(codes).detach()
    torch.testing.assert_close(evaluate(chain, codes).float(), expected, atol=1e-6, rtol=1e-6)


def test_a_chain_shares_no_memory() -> None:
    layer = nn.Linear(3, 2)
    chain = read_chain(layer)
    assert isinstance(chain, Chain)
    before = evaluate(chain, torch.ones(1, 3))
    nn.init.zeros_(layer.weight)
    torch.testing.assert_close(evaluate(chain, torch.ones(1, 3)), before)


def hooked() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def patched() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


class Subclass(nn.Linear):
    """May compute anything."""


REFUSALS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "kernel": (lambda: nn.Conv2d(3, 8, 3), "Conv2d has kernel size (3, 3), not 1"),
    "stride": (
        lambda: nn.Conv1d(3, 8, 1, stride=2),
        "Conv1d has stride (2,): it drops positions",
    ),
    "padding": (
        lambda: nn.Conv2d(3, 8, 1, padding=1),
        "Conv2d has padding (1, 1): it adds positions",
    ),
    "projection": (
        lambda: Projection(3, 4, stride=2),
        "Projection has stride 2: it drops positions",
    ),
    "subclass": (lambda: Subclass(3, 2), "Subclass is not known as a pointwise map"),
    "pool": (
        lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(2)),
        "MaxPool2d is not known as a pointwise map",
    ),
    "hook": (hooked, "Linear has forward hooks"),
    "patched": (patched, "Linear has a forward of its own on the instance"),
    "parametrized": (
        lambda: parametrizations.weight_norm(nn.Linear(3, 2)),
        "ParametrizedLinear has parametrizations",
    ),
    "half": (lambda: nn.Linear(3, 2).bfloat16(), "Linear holds bfloat16"),
    "device": (lambda: nn.Linear(3, 2, device="meta"), "Linear is on meta, not on the CPU"),
    "batch_norm": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2).train()),
        "BatchNorm1d takes its statistics from the batch: call eval()",
    ),
    "batch_norm_without_statistics": (
        lambda: nn.BatchNorm1d(2, track_running_stats=False).eval(),
        "BatchNorm1d takes its statistics from the batch: call eval()",
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)),
        "Dropout is in training mode: call eval()",
    ),
    "layer_norm": (
        lambda: nn.LayerNorm((3, 4)),
        "LayerNorm covers 2 axes, not the channels alone",
    ),
    "softmax": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(None)),
        "Softmax names no dimension",
    ),
    "no_channels": (nn.ReLU, "ReLU fixes no number of channels"),
    "axes": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 2, 1)),
        "its modules find their channels along different axes",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_chain_is_refused_with_the_reason(name: str) -> None:
    make, reason = REFUSALS[name]
    assert read_chain(make()) == reason


# --- Chains by hand ---


def test_a_chain_says_what_it_is() -> None:
    chain = Chain(
        3,
        [
            Concat(((Pick((0,)),), (Pick((1, 2)), Activation("relu")))),
            Affine(torch.ones(4, 3)),
            Residual((Affine(torch.ones(4, 2), groups=2), Activation("silu"))),
            Softmax(2),
            Spread(2),
        ],
    )
    assert chain.describe() == (
        "3 [pick | pick relu] -> 4 (+ -> 4 in 2 groups silu) softmax "
        "mean and deviation of 2 members"
    )
    assert chain.macs == 12 + 8
    assert chain.c_out == 4


BAD_CHAINS: dict[str, tuple[Callable[[], object], str]] = {
    "no_channels": (lambda: Chain(0, []), "c_in must be at least 1, got 0"),
    "matrix": (lambda: Chain(3, [Affine(torch.ones(2, 4))]), "Affine takes 4 channels, got 3"),
    "scale": (
        lambda: Chain(3, [Scale(torch.ones(2), torch.ones(2), torch.ones(2))]),
        "Scale has 2 channels, got 3",
    ),
    "pick": (lambda: Chain(3, [Pick((0, 3))]), "Pick picks channels [0, 3], got 3"),
    "residual": (
        lambda: Chain(3, [Residual((Affine(torch.ones(2, 3)),))]),
        "Residual has a body that puts out 2 channels, got 3",
    ),
    "softmax": (lambda: Chain(3, [Softmax(2)]), "Softmax needs a multiple of 2 channels, got 3"),
    "argmax": (lambda: Chain(3, [Argmax(), Normalize()]), "Argmax must be the last step"),
    "rows": (
        lambda: evaluate(Chain(3, []), torch.ones(2, 4)),
        "x must have shape (P, 3), got (2, 4)",
    ),
}


@pytest.mark.parametrize("name", BAD_CHAINS)
def test_steps_that_do_not_fit_are_refused(name: str) -> None:
    make, text = BAD_CHAINS[name]
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()


def test_simplifying_folds_back_but_not_ahead() -> None:
    scale = Scale(torch.tensor([1e6]), torch.tensor([1e-3]), torch.tensor([0.5]))
    chain = Chain(1, [scale, Affine(torch.ones(1, 1)), scale, Affine(torch.full((1, 1), 3.0))])
    simple = simplify(chain)
    assert [type(step).__name__ for step in simple.steps] == ["Scale", "Affine"]
    x = torch.randn(10, 1) + 1e6
    torch.testing.assert_close(evaluate(simple, x), evaluate(chain, x))


def test_matrices_merge_only_where_that_saves() -> None:
    narrow = Chain(8, [Affine(torch.ones(2, 8)), Affine(torch.ones(8, 2))])
    assert len(simplify(narrow).steps) == 2
    wide = Chain(2, [Affine(torch.ones(8, 2)), Affine(torch.ones(2, 8))])
    assert len(simplify(wide).steps) == 1
