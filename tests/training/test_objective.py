"""Losses against formulas written out by hand, in NumPy."""

import math

import numpy as np
import pytest
import torch

from pointwise.training import CrossEntropy, SquaredError

DTYPES = [torch.float32, torch.float64]


def softmax(logits):
    grown = np.exp(logits - logits.max())
    return grown / grown.sum()


def exactness(dtype):
    return (
        {"rtol": 1e-12, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("members", "targets"), [(1, 1), (3, 1), (1, 4), (3, 4)])
def test_squared_error(members, targets, dtype):
    torch.manual_seed(0)
    output = torch.randn(5, members * targets, dtype=dtype)
    target = torch.randn(5, targets, dtype=dtype)
    losses, scores = [], []
    for row, wanted in zip(output.double().numpy(), target.double().numpy(), strict=True):
        predicted = row.reshape(members, targets)  # the channels of a member side by side
        losses.append(np.mean([np.mean((one - wanted) ** 2) for one in predicted]))
        scores.append(np.mean((np.mean(predicted, axis=0) - wanted) ** 2))
    for mine, written in (
        (SquaredError(members).loss(output, target), losses),
        (SquaredError(members).score(output, target), scores),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, torch.tensor(written, dtype=dtype), **exactness(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("members", "classes"), [(1, 2), (3, 2), (1, 5), (3, 5)])
def test_cross_entropy(members, classes, dtype):
    torch.manual_seed(0)
    output = 3 * torch.randn(6, members * classes, dtype=dtype)
    target = torch.arange(6) % classes
    losses, scores = [], []
    for row, wanted in zip(output.double().numpy(), target.tolist(), strict=True):
        proba = np.array([softmax(logits) for logits in row.reshape(members, classes)])
        losses.append(np.mean(-np.log(proba[:, wanted])))
        scores.append(-np.log(np.mean(proba[:, wanted])))
    for mine, written in (
        (CrossEntropy(members).loss(output, target), losses),
        (CrossEntropy(members).score(output, target), scores),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, torch.tensor(written, dtype=dtype), **exactness(dtype))


@pytest.mark.parametrize("size", [1e3, 1e4, 1e30])
def test_extreme_logits(size):
    objective = CrossEntropy(2)
    sure_and_right = torch.tensor([[size, 0.0, size, 0.0]])
    at_odds = torch.tensor([[size, 0.0, 0.0, size]])  # one member right, the other wrong
    target = torch.tensor([0])
    assert objective.loss(sure_and_right, target).item() == 0.0
    assert objective.score(sure_and_right, target).item() == 0.0
    assert objective.loss(at_odds, target).item() == pytest.approx(size / 2)
    assert objective.score(at_odds, target).item() == pytest.approx(math.log(2))
    assert objective.score(sure_and_right, 1 - target).item() == pytest.approx(size)


def test_gradients_of_extreme_logits_are_finite():
    output = torch.tensor([[1e30, -1e30, 0.0, 0.0, 1e4, -1e4]], requires_grad=True)
    for values in (
        CrossEntropy(3).loss(output, torch.tensor([1])),
        CrossEntropy(3).score(output, torch.tensor([1])),
    ):
        output.grad = None
        values.sum().backward()
        assert output.grad.isfinite().all()


def test_members_learn_on_their_own():
    """A member's gradient does not depend on what the others put out."""

    def gradient(other):
        output = torch.tensor([[2.0, other]], requires_grad=True)
        SquaredError(2).loss(output, torch.tensor([[0.5]])).sum().backward()
        return output.grad[0, 0].item()

    assert gradient(-1.0) == gradient(100.0) == pytest.approx(1.5)


def test_targets_of_another_shape_do_not_broadcast():
    message = r"^targets must have shape \(4, 1\), got \(4,\)$"
    for call in (SquaredError(2).loss, SquaredError(2).score):
        with pytest.raises(ValueError, match=message):
            call(torch.zeros(4, 2), torch.zeros(4))
    with pytest.raises(ValueError, match=r"^targets must have shape \(4, 1\), got \(4, 2\)$"):
        SquaredError(2).loss(torch.zeros(4, 2), torch.zeros(4, 2))
