"""Norms over channels against torch's own, at any rank."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cases import MEMORY, LayerCase, channels_last, each_rank
from pointwise.nn import BatchNorm, LayerNorm

BATCH_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
NORMS = {"batch": BatchNorm, "layer": LayerNorm}
each_norm = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())


def randomised(norm: nn.Module) -> nn.Module:
    for parameter in norm.parameters():
        parameter.data.uniform_(0.5, 1.5)
    return norm


@each_rank
def test_batch_norm_is_torchs(rank: int) -> None:
    ours = randomised(BatchNorm(6, groups=2, eps=0.1, momentum=0.3))
    theirs = BATCH_NORMS[rank](6, eps=0.1, momentum=0.3)
    theirs.load_state_dict(ours.state_dict())
    for training in (True, True, False):
        x = LayerCase(rank).x()
        assert_close(ours.train(training)(x), theirs.train(training)(x))
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)


@each_rank
@pytest.mark.parametrize("memory", ["contiguous", "channels_last", "some_channels_last"])
def test_layer_norm_is_torchs_on_rows(rank: int, memory: str) -> None:
    ours = randomised(LayerNorm(6, eps=0.1))
    theirs = nn.LayerNorm(6, eps=0.1)
    theirs.load_state_dict(ours.state_dict())
    x = MEMORY[memory](LayerCase(rank).x())
    assert_close(ours(x), theirs(x.movedim(1, -1)).movedim(-1, 1))


@each_rank
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_layer_norm_of_groups_is_of_each_alone(rank: int, groups: int) -> None:
    ours = randomised(LayerNorm(6, groups=groups)).double()
    x = LayerCase(rank, dtype=torch.float64).x()
    parts = []
    for i, part in enumerate(x.chunk(groups, 1)):
        alone = LayerNorm(6 // groups).double()
        alone.weight.data, alone.bias.data = (p.chunk(groups)[i] for p in ours.parameters())
        parts.append(alone(part))
    assert_close(ours(x), torch.cat(parts, 1))


@each_rank
@each_norm
@pytest.mark.parametrize("groups", [1, 2])
def test_norms_keep_the_memory_order(
    norm: Callable[..., nn.Module], rank: int, groups: int
) -> None:
    x = LayerCase(rank).x()
    assert norm(6, groups=groups)(x).is_contiguous()
    if norm is LayerNorm or rank > 1:  # torch's batch norm knows no channels-last tokens
        assert norm(6, groups=groups)(channels_last(x)).movedim(1, -1).is_contiguous()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 4), (2, 6, 2, 2)])
def test_layer_norm_gradients(shape: tuple[int, ...], groups: int) -> None:
    norm = randomised(LayerNorm(6, groups=groups)).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


@each_norm
def test_device_and_dtype_are_honoured(norm: Callable[..., nn.Module]) -> None:
    made = norm(6, groups=2, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in made.parameters()} == {("meta", torch.float64)}


@each_norm
@pytest.mark.parametrize(("channels", "groups"), [(6, 4), (0, 1), (6, 0)])
def test_sizes_must_fit(norm: Callable[..., nn.Module], channels: int, groups: int) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        norm(channels, groups=groups)
    assert str(error.value) == f"groups must divide channels: got {groups} and {channels}"


@each_norm
@pytest.mark.parametrize("shape", [(6,), (2, 5), (2, 5, 6)])
def test_inputs_must_fit(norm: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        norm(6)(torch.ones(shape))
    assert str(error.value) == f"x must have shape (N, 6, *S), got {shape}"


def test_one_value_per_channel_gives_torchs_error() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        BatchNorm(6)(torch.ones(1, 6))


def test_layer_norm_prints_its_sizes() -> None:
    assert repr(LayerNorm(6, groups=2)) == "LayerNorm(6, groups=2, eps=1e-05)"
