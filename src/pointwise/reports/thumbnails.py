"""The images that a classifier got most wrong, small enough to stand in a report."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_IMAGES = 24
MOST_PIXELS = 48
"""Rows and columns of a small image, at most."""

MOST_COLOURS = 64
"""Colours of a small image: with a palette each takes 3 kB at most, and 24 fit into a report."""


def worst_mistakes(
    images: NDArray[np.uint8],
    names: Sequence[str],
    actual: NDArray[Any],
    proba: NDArray[np.float64],
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """Pick the wrongly classified images with the largest loss, and make them small.

    Args:
        images: Bytes ``(N, C, H, W)``, C = 1 or 3.
        names: The file of each.
        actual: Index of the actual class of each.
        proba: Class probabilities ``(N, K)``.
        classes: Names of the ``K`` classes.

    Returns:
        At most 24, the worst first: the file's ``name``, the ``actual`` and the ``predicted``
        class, the ``probability`` that was given to the predicted one, and ``png``, the image of
        at most 48 x 48 pixels as a PNG in base64.

    Example:
        >>> images = np.zeros((2, 1, 4, 4), np.uint8)
        >>> proba = np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> (found,) = worst_mistakes(images, ["a", "b"], np.array([0, 1]), proba, ["cat", "dog"])
        >>> found["name"], found["actual"], found["predicted"], found["probability"]
        ('b', 'dog', 'cat', 0.8)
    """
    predicted = proba.argmax(1)
    chance = proba[np.arange(len(proba)), actual]
    wrong = np.flatnonzero(predicted != actual)
    worst = wrong[np.argsort(chance[wrong], kind="stable")][:MOST_IMAGES]
    return [
        {
            "name": str(names[i]),
            "actual": str(classes[actual[i]]),
            "predicted": str(classes[predicted[i]]),
            "probability": float(proba[i, predicted[i]]),
            "png": _small_png(images[i]),
        }
        for i in worst.tolist()
    ]


def _small_png(image: NDArray[np.uint8]) -> str:
    """Shrink an image ``(C, H, W)``, never enlarge it, and write it as PNG in base64."""
    from PIL import Image

    grey = len(image) == 1
    small = Image.fromarray(image[0] if grey else np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    small.thumbnail((MOST_PIXELS, MOST_PIXELS))
    if not grey:
        small = small.quantize(MOST_COLOURS)
    file = io.BytesIO()
    small.save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
