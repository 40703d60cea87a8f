"""What the segmenter refuses, each in a clear message."""

import re

import numpy as np
import pytest
import torch
from tiny_images import segmenter, squares
from torch import nn

from pointwise.errors import DataError
from pointwise.estimators.segmenter import Segmenter

X, MASKS = squares()
COLOUR, _ = squares(channels=3)


def weights(model: Segmenter) -> list[torch.Tensor]:
    return list(model.network_.state_dict().values())


# --- Refusals ---

BROKEN = X.astype(float)
BROKEN[4, 0, 3, 3] = np.nan

FIT_REFUSALS = {
    "no masks": (X, None, {}, "requires masks to be passed, but the masks are None"),
    "another size": (
        X,
        MASKS[:, :15],
        {},
        "masks must have shape (24, 16, 16), one class per pixel of the images, got (24, 15, 16)",
    ),
    "too few": (
        X,
        MASKS[:23],
        {},
        "masks must have shape (24, 16, 16), one class per pixel of the images, got (23, 16, 16)",
    ),
    "labels": (
        X,
        np.arange(24) % 2,
        {},
        "masks must have shape (24, 16, 16), one class per pixel of the images, got (24,)",
    ),
    "fractions": (
        X,
        MASKS / 2,
        {},
        "masks must hold whole numbers, one class each, got float64",
    ),
    "beyond the names": (
        X,
        MASKS * 2,
        {"classes": ["a", "b"]},
        "masks hold class 2, known are 0, 1",
    ),
    "beyond the names, one ignored": (
        X,
        np.where(MASKS == 1, 255, 7),
        {"classes": ["a", "b"], "ignore": 255},
        "masks hold class 7, known are 0, 1 and 255 for pixels to ignore",
    ),
    "one class": (X, MASKS * 0, {}, "masks must have 2 to 255 classes, got 1 (0)"),
    "all ignored": (
        X,
        MASKS * 0,
        {"ignore": 0},
        "masks must have 2 to 255 classes, got 0 (every pixel is ignored)",
    ),
    "all ignored, named": (
        X,
        MASKS * 0 + 9,
        {"ignore": 9, "classes": ["a", "b"]},
        "masks must have a pixel of known class: every training pixel is ignored",
    ),
    "too many classes": (
        X,
        np.arange(X.size).reshape(MASKS.shape),
        {},
        "masks must have 2 to 255 classes, got 6144 (0, 1, 2, 3, 4)",
    ),
    "NaN": (
        BROKEN,
        MASKS,
        {},
        "images must be finite: 1 hold NaN or infinity, the first is image 4",
    ),
    "one image": (X[:1], MASKS[:1], {}, "found 1 image(s): at least 2 are needed to fit"),
    "too small": (
        X[:, :, :3],
        MASKS[:, :3],
        {"widths": (4, 4, 8)},
        "images must be at least 4 x 4 pixels for this network, got 3 x 16",
    ),
    "weights": (
        X,
        MASKS,
        {"class_weight": [1.0]},
        "class_weight must be 'balanced', None or 2 finite weights from 0 on, one per class, "
        "got [1.0]",
    ),
    "negative weights": (
        X,
        MASKS,
        {"class_weight": [1, -1]},
        "class_weight must be 'balanced', None or 2 finite weights from 0 on, one per class, "
        "got [1, -1]",
    ),
    "weights of nothing": (
        X,
        MASKS,
        {"class_weight": [0, 0]},
        "class_weight must leave a training pixel of positive weight, got [0, 0]",
    ),
    "weights' name": (
        X,
        MASKS,
        {"class_weight": "even"},
        "class_weight must be 'balanced', None or 2 finite weights from 0 on, one per class, "
        "got 'even'",
    ),
    "weights by class": (
        X,
        MASKS,
        {"class_weight": {0: 1.0, 1: 2.0}},
        "class_weight must be 'balanced', None or 2 finite weights from 0 on, one per class, "
        "got {0: 1.0, 1: 2.0}",
    ),
    "network's name": (
        X,
        MASKS,
        {"backbone": "nin_mnist"},
        "backbone must be 'unet' or a callable, got 'nin_mnist'",
    ),
    "network's output": (
        X,
        MASKS,
        {"backbone": lambda k, *, channels: nn.Conv2d(channels, k, 3)},
        "backbone must put out shape (1, 2, 16, 16) for one image, got (1, 2, 14, 14)",
    ),
    "widths": (X, MASKS, {"widths": (4,)}, "widths must name at least 2 sizes, got 1"),
}


@pytest.mark.parametrize(
    ("x", "masks", "changes", "message"), FIT_REFUSALS.values(), ids=FIT_REFUSALS
)
def test_refuses_to_fit(x, masks, changes, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        segmenter(**changes).fit(x, masks)


def test_refuses_to_choose_an_epoch_by_nothing():
    said = "^masks must have a pixel of known class: every validation pixel is ignored$"
    unknown = np.full_like(MASKS, 9)
    with pytest.raises(DataError, match=said):
        segmenter(ignore=9).fit(X, MASKS, validation_data=(X[:3], unknown[:3]))
    unknown[:, :2] = MASKS[:, :2]
    assert segmenter(ignore=9).fit(X, MASKS, validation_data=(X[:3], unknown[:3])).best_epoch_


def test_refuses_masks_of_several_sizes():
    with pytest.raises(DataError, match=r"^masks must all have one size and form one array"):
        segmenter().fit(X[:2], [np.zeros((16, 16)), np.zeros((8, 9))])


def test_refuses_to_score_what_it_does_not_know():
    model = segmenter(max_epochs=1).fit(X, MASKS)
    with pytest.raises(DataError, match=r"^masks hold class 5, known are 0, 1$"):
        model.score(X, MASKS * 5)
    with pytest.raises(DataError, match=r"^masks must have shape \(24, 16, 16\)"):
        model.score(X, MASKS[:, 1:])
    with pytest.raises(DataError, match=r"^images must have 1 channel\(s\), as in training"):
        model.predict(COLOUR)
