"""Images with their true and their predicted masks, small enough to stand in a report."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise._pages.class_colours import class_palette

WORST, TYPICAL = 8, 4
"""Images that are shown: those of least overlap, and those in the middle."""

MOST_PIXELS = 192
"""Rows and columns of an image that is shown, at most."""

MOST_CHARACTERS = {"image": 7200, "mask": 2600}
"""Length in base64 at most, so that all of them fit into a report."""

UNKNOWN = 255
"""Index of a pixel whose class is not known; it stays clear."""


@dataclass(frozen=True)
class MaskExample:
    """An image, its true and its predicted mask.

    Attributes:
        name: Its file.
        kind: ``"worst"`` or ``"typical"``.
        image: Bytes ``(C, H, W)``, C = 1 or 3.
        actual: Indices of the true classes ``(H, W)``, 255 where not known.
        predicted: Indices of the predicted classes ``(H, W)``.
        counts: Its confusion counts ``(K, K)``, true classes along the rows.
    """

    name: str
    kind: str
    image: NDArray[np.uint8]
    actual: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    counts: NDArray[np.int64]


def choose_examples(overlaps: NDArray[np.float64]) -> list[tuple[int, str]]:
    """Choose images to look at: those of least overlap, then some around the median.

    Args:
        overlaps: Mean intersection over union of each image; NaN where nothing is known.

    Returns:
        Number and kind of each, no image twice.

    Example:
        >>> chosen = choose_examples(np.arange(30) / 30)
        >>> [number for number, kind in chosen if kind == "typical"]
        [17, 18, 19, 20]
    """
    order = np.argsort(overlaps, kind="stable")[: int(np.isfinite(overlaps).sum())].tolist()
    worst, rest = order[:WORST], order[WORST:]
    start = max((len(rest) - TYPICAL) // 2, 0)
    typical = rest[start : start + TYPICAL]
    return [(i, "worst") for i in worst] + [(i, "typical") for i in typical]


def draw_overlays(examples: Iterable[MaskExample], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Make examples small, and say what is wrong with each.

    Args:
        examples: The images, at most 12.
        classes: Names of the classes.

    Returns:
        Of each its ``name`` and ``kind``, mean intersection over union ``iou`` and share of pixels
        ``right``, the largest ``mistake`` in words if there is one, and in base64 the ``image`` as
        JPEG and the ``actual`` and the ``predicted`` mask as PNG, of at most 192 x 192 pixels.

    Example:
        >>> blank = np.zeros((4, 6), np.uint8)
        >>> counts = np.array([[20, 0], [4, 0]])
        >>> example = MaskExample("a.png", "worst", blank[None], blank, blank, counts)
        >>> draw_overlays([example], ["sky", "road"])[0]["mistake"]
        'road taken for sky'
    """
    palette = class_palette(range(len(classes)))
    return [
        {
            "name": one.name,
            "kind": one.kind,
            "iou": _mean_overlap(one.counts),
            "right": one.counts.trace() / total if (total := one.counts.sum()) else None,
            "mistake": _largest_mistake(one.counts, classes),
            "image": _small_jpeg(one.image),
            "actual": _small_mask(one.actual, palette),
            "predicted": _small_mask(one.predicted, palette),
        }
        for one in examples
    ]


def _mean_overlap(counts: NDArray[np.int64]) -> float | None:
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    there = union > 0
    return float((counts.diagonal()[there] / union[there]).mean()) if there.any() else None


def _largest_mistake(counts: NDArray[np.int64], classes: Sequence[str]) -> str | None:
    wrong = counts - np.diag(counts.diagonal())
    if not wrong.any():
        return None
    true, given = np.unravel_index(wrong.argmax(), wrong.shape)
    return f"{classes[int(true)]} taken for {classes[int(given)]}"


def _small_jpeg(image: NDArray[np.uint8]) -> str:
    """An image as JPEG in base64, coarser and smaller until it is short enough."""
    from PIL import Image

    grey = len(image) == 1
    whole = Image.fromarray(image[0] if grey else np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    for pixels in (MOST_PIXELS, 160, 128, 96, 64, 32):
        small = whole.copy()
        small.thumbnail((pixels, pixels))
        for quality in (75, 60, 45):
            file = io.BytesIO()
            small.save(file, format="JPEG", quality=quality, optimize=True)
            text = base64.b64encode(file.getvalue()).decode("ascii")
            if len(text) <= MOST_CHARACTERS["image"]:
                return text
    return text


def _small_mask(mask: NDArray[np.uint8], palette: list[int]) -> str:
    """A mask as PNG in base64, smaller until it is short enough; unknown pixels are clear."""
    from PIL import Image

    whole = Image.fromarray(mask)
    for pixels in (MOST_PIXELS, 160, 128, 96, 64, 48, 32):
        scale = min(pixels / max(whole.size), 1)
        width, height = (max(round(side * scale), 1) for side in whole.size)
        small = whole.resize((width, height), Image.Resampling.NEAREST)
        small.putpalette(palette)
        file = io.BytesIO()
        small.save(file, format="PNG", optimize=True, transparency=UNKNOWN)
        text = base64.b64encode(file.getvalue()).decode("ascii")
        if len(text) <= MOST_CHARACTERS["mask"]:
            return text
    return text
