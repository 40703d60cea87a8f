"""How far predicted masks cover the true ones: confusion counts and intersection over union."""

import torch
from torch import Tensor


def confusion(target: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count, for each image, how often each class was taken for each.

    Args:
        target: Class numbers of shape ``(N, *S)``; those outside 0 to ``classes - 1`` are unknown
            and are not counted.
        predicted: Predicted class numbers of the same shape.
        classes: Number of classes ``K``.

    Returns:
        Counts ``(N, K, K)``: true classes along the rows, predicted ones along the columns.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> confusion(torch.tensor([[0, 1, 1, 255]]), torch.tensor([[0, 0, 1, 1]]), 2)
        tensor([[[1, 0],
                 [1, 1]]])
    """
    if target.shape != predicted.shape:
        raise ValueError(
            f"target and predicted must have one shape, got {tuple(target.shape)} and "
            f"{tuple(predicted.shape)}"
        )
    true, found = target.long().flatten(1), predicted.long().flatten(1)
    image = torch.arange(len(true), device=true.device)[:, None]
    cell = (image * classes + true) * classes + found
    known = (true >= 0) & (true < classes)
    counts = torch.bincount(cell[known], minlength=len(true) * classes**2)
    return counts.reshape(len(true), classes, classes)


def intersection_over_union(counts: Tensor) -> Tensor:
    """Intersection over union of every class (Jaccard index).

    Args:
        counts: Confusion counts of shape ``(*, K, K)``.

    Returns:
        ``(*, K)`` in float64; NaN where a class is neither there nor predicted.

    Example:
        >>> intersection_over_union(torch.tensor([[1, 0], [1, 1]]))
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    hit = counts.diagonal(dim1=-2, dim2=-1)
    return hit.double() / (counts.sum(-1) + counts.sum(-2) - hit)


def mean_iou(counts: Tensor) -> Tensor:
    """Mean intersection over union of the classes that are there or predicted.

    Args:
        counts: Confusion counts of shape ``(*, K, K)``.

    Returns:
        ``(*)`` in float64; NaN where nothing was counted.

    Example:
        >>> mean_iou(torch.tensor([[3, 0, 0], [0, 1, 1], [0, 0, 0]])).item()
        0.5
    """
    return intersection_over_union(counts).nanmean(-1)
