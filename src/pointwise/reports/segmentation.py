"""Predicted masks as figures: how each class is covered, and what it is taken for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointwise.errors import DataError
from pointwise.functional.overlap import intersection_over_union
from pointwise.reports.classification import MOST_CLASSES

MOST_LISTED = 100
"""Classes whose figures are listed."""


def segmentation_figures(
    counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    examples: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Sum up confusion counts of pixels: each class by itself, and each taken for each.

    Args:
        counts: Confusion counts of every image ``(N, K, K)``: true classes along the rows.
        classes: Names of the ``K`` classes.
        examples: What ``draw_overlays`` returned.

    Returns:
        ``kind``; ``rows``, the number of images, and ``pixels``, those of known class; ``classes``:
        of each its ``name``, its ``share`` of the pixels, its intersection over union ``iou``, the
        share of its pixels that is ``found`` and the share ``right`` of the pixels that were given
        to it, for 100 classes at most; ``more_classes`` not listed; ``confusion``, counts of pixels
        (beyond 30 classes the rarer ones are one, named "other"); the ``examples``.

    Raises:
        DataError: If the counts are not of these classes.

    Example:
        >>> figures = segmentation_figures(np.array([[[3, 0], [1, 1]]]), ["sky", "road"])
        >>> figures["pixels"], figures["classes"][1]["iou"], figures["classes"][1]["found"]
        (5, 0.5, 0.5)
    """
    counts = np.asarray(counts)
    if counts.ndim != 3 or counts.shape[1:] != 2 * (len(classes),):
        raise DataError(
            f"counts must have shape (N, {len(classes)}, {len(classes)}), as many as classes, got "
            f"{counts.shape}"
        )
    total = counts.sum(0)
    hit, true, given = total.diagonal(), total.sum(1), total.sum(0)
    overlap = intersection_over_union(torch.from_numpy(total)).numpy()
    pixels = int(total.sum())
    names = [str(name) for name in classes]
    listed = [
        {
            "name": name,
            "share": float(true[k] / pixels) if pixels else None,
            "iou": float(overlap[k]),
            "found": float(hit[k] / true[k]) if true[k] else None,
            "right": float(hit[k] / given[k]) if given[k] else None,
        }
        for k, name in enumerate(names[:MOST_LISTED])
    ]
    return {
        "kind": "segmentation",
        "rows": len(counts),
        "not_finite": 0,
        "pixels": pixels,
        "classes": listed,
        "more_classes": len(names) - len(listed),
        "confusion": _lumped(total, names),
        "examples": list(examples),
    }


def _lumped(total: NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    lumped = max(len(names) - MOST_CLASSES, 0)
    often = np.argsort(-total.sum(1), kind="stable")
    kept = np.sort(often[:MOST_CLASSES])
    place = np.full(len(names), len(kept))  # where a lumped class is counted
    place[kept] = np.arange(len(kept))
    labels = [names[k] for k in kept] + ([f"other ({lumped} classes)"] if lumped else [])
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (place[:, None], place[None, :]), total)
    return {"labels": labels, "counts": counts.tolist(), "lumped": lumped}
