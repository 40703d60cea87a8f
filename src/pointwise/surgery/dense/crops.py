"""How far a dense classifier is from the same classifier on crops."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from pointwise.surgery.dense.classifier import DenseClassifier, ShiftAndStitch


@dataclass(frozen=True)
class CropDifference:
    """What a dense classifier gives for the windows of images, against the classifier on crops.

    Attributes:
        crops: The classifier's values on the crops, ``(N, classes, H', W')``.
        dense: The dense classifier's, of the same shape.
        largest: Largest absolute difference.
        mean: Mean absolute difference.
        scale: Largest absolute value on the crops, to compare with.
        agreement: Share of the windows where both name the same class.
    """

    crops: Tensor
    dense: Tensor
    largest: float
    mean: float
    scale: float
    agreement: float

    def __str__(self) -> str:
        """One line to read."""
        count = self.crops.shape[0] * self.crops.shape[2] * self.crops.shape[3]
        return (
            f"{count} windows: largest difference {self.largest:.3g}, mean {self.mean:.3g}, "
            f"of values up to {self.scale:.3g}; same class in {self.agreement:.1%}"
        )


def crop_difference(
    classifier: nn.Module,
    dense: DenseClassifier | ShiftAndStitch,
    images: Tensor,
    *,
    batch: int = 16,
) -> CropDifference:
    """Compare a dense classifier with the classifier on every window, cut out and padded apart.

    They differ where the network pads: at the borders of a crop it sees zeros, where the whole
    image goes on. A network of unpadded convolutions gives the same.

    Args:
        classifier: The classifier, in evaluation mode.
        dense: What ``convolutionalize`` or ``densify`` made of it.
        images: Larger images, of shape ``(N, C, H, W)``.
        batch: Crops that go through the classifier together.

    Returns:
        Both results and how far apart they are.

    Raises:
        ValueError: If no window fits into the images, or ``batch`` is not positive.

    Example:
        >>> from pointwise.surgery.dense.classifier import Grid
        >>> conv = nn.Conv2d(1, 2, 4, stride=2)
        >>> classifier, dense = nn.Sequential(conv, nn.Flatten()), DenseClassifier
        >>> print(crop_difference(
        ...     classifier, dense(conv, Grid((4, 4), (2, 2))), torch.zeros(1, 1, 8, 8)
        ... ))
        9 windows: largest difference 0, mean 0, of values up to ...; same class in 100.0%
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    dense.grid.check(images)
    down, across = dense.grid.windows(images.shape[2], images.shape[3])
    with torch.no_grad():
        found = dense(images)[..., :down, :across]
        crops = torch.stack(
            [
                images[..., top:bottom, left:right]
                for top, bottom, left, right in (
                    dense.grid.window(i, j) for i, j in product(range(down), range(across))
                )
            ]
        ).flatten(0, 1)  # (windows * N, C, h, w)
        rows = torch.cat([classifier(part) for part in crops.split(batch)])
    alone = rows.reshape(down, across, len(images), -1).permute(2, 3, 0, 1)
    apart = (found - alone).abs()
    return CropDifference(
        alone,
        found,
        float(apart.max()),
        float(apart.mean()),
        float(alone.abs().max()),
        float((found.argmax(1) == alone.argmax(1)).double().mean()),
    )
