"""Dropout by random bytes: the share, the scale, the strides and the seed."""

import pytest
import torch

from pointwise.nn import Dropout


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_the_mean_is_kept_and_the_share_is_near(p: float) -> None:
    y = Dropout(p)(torch.ones(400_000))
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - p) < 1 / 256 + 0.003
    assert len(y.unique()) == 2
    spread = (y.double().std() / 400_000**0.5).item()
    assert abs(y.double().mean().item() - 1) < 6 * spread


def test_values_are_dropped_apart() -> None:
    dropped = (Dropout(0.5)(torch.ones(100_000, 8)) == 0).double()
    torch.testing.assert_close(torch.corrcoef(dropped.T), torch.eye(8).double(), atol=0.02, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_type_strides_and_gradient(dtype: torch.dtype) -> None:
    x = torch.ones(5, 3, 7, dtype=dtype).transpose(0, 1).requires_grad_()
    y = Dropout(0.25)(x)
    y.sum().backward()
    assert (y.dtype, y.stride()) == (dtype, x.stride())
    torch.testing.assert_close(x.grad, y.detach())


def test_nothing_is_dropped_in_evaluation_or_without_a_share() -> None:
    x = torch.ones(9)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0)(x) is x


def test_the_seed_decides() -> None:
    torch.manual_seed(1)
    first = Dropout(0.5)(torch.ones(100))
    torch.manual_seed(1)
    assert torch.equal(Dropout(0.5)(torch.ones(100)), first)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_share_beyond_its_range_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"p must be a share from 0 to below 1, got {p}"):
        Dropout(p)
