"""What the tests of the comparison share: a task as small as can be, and jobs of other shapes."""

import numpy as np

from pointwise.studies.compare_plan import CompareOptions
from pointwise.studies.contenders import Job

CIFAR = Job((3, 32, 32), 10, 3, (120.0, 120.0, 120.0), (60.0, 60.0, 60.0))
PATCH = Job((4, 3, 3), 6, 3, (70.0,) * 4, (20.0,) * 4)
NARROW = CompareOptions(width=8, seeds=2, epochs=2, batch_size=16)


def bars(n=80, size=8):
    """Images of upright and level bars, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 2
    images = rng.integers(0, 60, (n, 1, size, size)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(size)
        image[(0, place) if label else (0, slice(None), place)] += 150
    return images, labels
