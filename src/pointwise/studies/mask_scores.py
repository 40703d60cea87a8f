"""How well predicted masks cover the true ones, and what plain models reach on them."""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointwise.functional.overlap import confusion, intersection_over_union, mean_iou
from pointwise.studies.threads import one_thread_if
from pointwise.training.objective import UNKNOWN

AT_ONCE = 16
"""Images that are predicted and compared at a time."""

PLAIN_PIXELS = 20_000
"""Pixels that logistic regression learns from, so that it stays quick."""

Indices = NDArray[np.uint8]
"""Class of every pixel, an index; ``UNKNOWN`` where not known."""


Predict = Callable[[NDArray[np.uint8]], Indices]
"""From images ``(N, C, H, W)`` to the class of each of their pixels."""


@dataclass(frozen=True)
class Masks:
    """Images and the class of each of their pixels.

    Attributes:
        images: Bytes ``(N, C, H, W)``.
        masks: Indices of classes ``(N, H, W)``.
    """

    images: NDArray[np.uint8]
    masks: Indices


def count_confusions(predict: Predict, test: Masks, classes: int) -> NDArray[np.int64]:
    """Count for every image how often each class was taken for each.

    Args:
        predict: From images to the class of each of their pixels.
        test: The images and the true classes.
        classes: Number of classes ``K``.

    Returns:
        Counts ``(N, K, K)``: true classes along the rows, predicted ones along the columns.

    Example:
        >>> test = Masks(np.zeros((1, 1, 1, 3), np.uint8), np.array([[[0, 1, 255]]], np.uint8))
        >>> count_confusions(lambda images: np.zeros((1, 1, 3), np.uint8), test, 2).tolist()
        [[[1, 0], [1, 0]]]
    """
    counts = np.empty((len(test.images), classes, classes), np.int64)
    for start in range(0, len(counts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        true, found = test.masks[part], predict(test.images[part])
        counts[part] = confusion(torch.from_numpy(true), torch.from_numpy(found), classes).numpy()
    return counts


def mask_metrics(counts: NDArray[np.int64]) -> dict[str, float]:
    """The field's usual figures of a segmentation, from all pixels of known class.

    Args:
        counts: Confusion counts ``(K, K)``.

    Returns:
        ``mean_iou``, the mean over the classes that are there or predicted of intersection over
        union; ``pixel_accuracy``, the share of pixels that are right; ``class_accuracy``, the mean
        over the classes that are there of each one's share that is right.

    Example:
        >>> mask_metrics(np.array([[3, 0], [1, 1]]))
        {'mean_iou': 0.625, 'pixel_accuracy': 0.8, 'class_accuracy': 0.75}
    """
    there = counts.sum(1) > 0
    right = counts.diagonal()[there] / counts.sum(1)[there]
    total = counts.sum()
    return {
        "mean_iou": float(mean_iou(torch.from_numpy(counts))),
        "pixel_accuracy": float(counts.trace() / total) if total else float("nan"),
        "class_accuracy": float(right.mean()) if there.any() else float("nan"),
    }


def image_overlaps(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean intersection over union of every image by itself.

    Args:
        counts: Confusion counts ``(N, K, K)``.

    Returns:
        ``(N,)``; NaN for an image without a pixel of known class.

    Example:
        >>> image_overlaps(np.array([[[1, 0], [1, 1]], [[0, 0], [0, 0]]])).tolist()
        [0.5, nan]
    """
    overlaps: NDArray[np.float64] = mean_iou(torch.from_numpy(counts)).numpy()
    return overlaps


def class_overlaps(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of every class.

    Args:
        counts: Confusion counts ``(K, K)``.

    Returns:
        ``(K,)``; NaN where a class is neither there nor predicted.

    Example:
        >>> class_overlaps(np.array([[1, 0], [1, 1]])).tolist()
        [0.5, 0.5]
    """
    overlaps: NDArray[np.float64] = intersection_over_union(torch.from_numpy(counts)).numpy()
    return overlaps


def plain_mask_models(
    learn: Masks, test: Masks, classes: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Score what needs no network: the class that is most frequent, anywhere or at each place.

    And logistic regression on a pixel's colour and place, which is one 1x1 convolution.

    Args:
        learn: Images to learn from.
        test: Images to score on.
        classes: Number of classes.
        seed: Seed of the pixels that logistic regression learns from.

    Yields:
        A model's ``key``, ``name``, ``metrics`` and ``seconds``.
    """
    models: dict[str, tuple[str, Callable[[], Predict]]] = {
        "majority": ("most frequent class", lambda: _majority(learn, classes)),
        "place": ("most frequent class at each place", lambda: _by_place(learn, classes)),
        "linear": (
            f"logistic regression on colour and place ({PLAIN_PIXELS:,} pixels)",
            lambda: _linear(learn, classes, seed),
        ),
    }
    for key, (name, fit) in models.items():
        began = time.perf_counter()
        metrics = mask_metrics(count_confusions(fit(), test, classes).sum(0))
        seconds = time.perf_counter() - began
        yield {"key": key, "name": name, "metrics": metrics, "seconds": seconds}


def _majority(learn: Masks, classes: int) -> Predict:
    often = int(np.bincount(learn.masks.reshape(-1), minlength=UNKNOWN + 1)[:classes].argmax())
    return lambda images: np.full((len(images), *images.shape[2:]), often, np.uint8)


def _by_place(learn: Masks, classes: int) -> Predict:
    """The most frequent class at every place; the masks have one size."""
    most = np.full(learn.masks.shape[1:], -1, np.int64)
    best = np.zeros(most.shape, np.uint8)
    for number in range(classes):
        count = (learn.masks == number).sum(0)
        best[count > most] = number
        most = np.maximum(most, count)
    return lambda images: np.broadcast_to(best, (len(images), *best.shape)).copy()


def _linear(learn: Masks, classes: int, seed: int) -> Predict:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.RandomState(seed)
    image = rng.randint(len(learn.images), size=PLAIN_PIXELS)
    row, column = (rng.randint(size, size=PLAIN_PIXELS) for size in learn.masks.shape[1:])
    known = learn.masks[image, row, column]
    keep = known != UNKNOWN
    if len(np.unique(known[keep])) < 2:
        return _majority(learn, classes)
    height, width = learn.masks.shape[1:]
    pixels = np.column_stack(
        [learn.images[image, :, row, column] / 255, row / height, column / width]
    )
    model = LogisticRegression(max_iter=100)
    with warnings.catch_warnings(), one_thread_if(short=True):
        warnings.simplefilter("ignore")  # that it did not converge is the baseline's own
        model.fit(pixels[keep], known[keep])
    return lambda images: _linear_classes(model, images)


def _linear_classes(model: Any, images: NDArray[np.uint8]) -> Indices:
    """The most probable class by a linear model of colour and place, as a 1x1 convolution."""
    count, _, height, width = images.shape
    rows = np.broadcast_to(np.arange(height)[:, None] / height, (count, 1, height, width))
    columns = np.broadcast_to(np.arange(width) / width, (count, 1, height, width))
    x = np.concatenate([images / 255, rows, columns], 1, dtype=np.float32)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes there is one logit
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    kernel = torch.from_numpy(weight.astype(np.float32))[..., None, None]
    logits = torch.nn.functional.conv2d(
        torch.from_numpy(x), kernel, torch.from_numpy(bias.astype(np.float32))
    )
    found: Indices = model.classes_[logits.argmax(1).numpy()].astype(np.uint8)
    return found
