"""Confusion counts and intersection over union, against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from pointwise.functional.overlap import confusion, intersection_over_union, mean_iou


@pytest.mark.parametrize("shape", [(3, 50), (2, 6, 7), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_against_scikit_learn(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    target = torch.randint(4, shape, dtype=dtype)
    predicted = torch.randint(4, shape, dtype=dtype)
    counts = confusion(target, predicted, 4)
    assert counts.shape == (shape[0], 4, 4)
    for i in range(shape[0]):
        true, found = target[i].flatten().numpy(), predicted[i].flatten().numpy()
        np.testing.assert_array_equal(counts[i], confusion_matrix(true, found, labels=range(4)))
    true, found = target.flatten().numpy(), predicted.flatten().numpy()
    expected = jaccard_score(true, found, labels=range(4), average=None)
    np.testing.assert_allclose(intersection_over_union(counts.sum(0)), expected)
    assert mean_iou(counts.sum(0)).item() == pytest.approx(expected.mean())


def test_unknown_pixels_do_not_count() -> None:
    target = torch.tensor([[0, 1, 255, 2]], dtype=torch.uint8)
    predicted = torch.tensor([[0, 0, 0, 0]], dtype=torch.uint8)
    assert confusion(target, predicted, 2).tolist() == [[[1, 0], [1, 0]]]
    assert confusion(torch.tensor([[-1, 0]]), torch.tensor([[0, 0]]), 2).sum() == 1


def test_classes_that_are_nowhere_do_not_count() -> None:
    counts = torch.tensor([[2, 0, 0], [0, 3, 0], [0, 0, 0]])
    assert intersection_over_union(counts).isnan().tolist() == [False, False, True]
    assert mean_iou(counts).item() == 1
    predicted_only = torch.tensor([[2, 0, 1], [0, 3, 0], [0, 0, 0]])
    assert mean_iou(predicted_only).item() == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert mean_iou(torch.zeros(3, 3)).isnan()


def test_refuses_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match="one shape") as caught:
        confusion(torch.zeros(1, 4), torch.zeros(1, 5), 2)
    assert str(caught.value) == "target and predicted must have one shape, got (1, 4) and (1, 5)"
