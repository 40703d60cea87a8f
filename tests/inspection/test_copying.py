import pytest
import torch
from torch import nn

from pointwise.inspection.copying import copy_model


def test_computed_tensors_are_copied_detached() -> None:
    model = nn.Linear(2, 2)
    model.doubled = model.weight * 2
    copied = copy_model(model)
    assert copied.doubled.grad_fn is None
    assert torch.equal(copied.doubled, model.doubled)


def test_a_buffer_that_something_computed_is_copied_too() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("scaled", model.weight * 2)
    copied = copy_model(model)
    assert copied.scaled.is_leaf
    torch.testing.assert_close(copied.scaled, model.scaled.detach())


def test_old_weight_norm() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        model = nn.utils.weight_norm(nn.Conv1d(2, 3, 1))
    x = torch.randn(4, 2, 5)
    torch.testing.assert_close(copy_model(model)(x), model(x))


def test_marks_on_parameters_are_kept() -> None:
    model = nn.Linear(2, 2)
    model.weight.decay = False
    assert copy_model(model).weight.decay is False


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_norms() -> None:
    model = nn.LazyBatchNorm1d(dtype=torch.float64)
    copied = copy_model(model)
    assert copied.has_uninitialized_params()
    assert copied.running_mean is not model.running_mean
    copied(torch.randn(3, 4, dtype=torch.float64))
    assert copied.running_mean.shape == (4,)
    assert copied.running_mean.dtype == torch.float64
    assert model.has_uninitialized_params()
