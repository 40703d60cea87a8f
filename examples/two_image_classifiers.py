"""A 1x1 convolution with dense layers behind it, and a Network in Network, on images of digits.

Shows that what a network costs is not what it knows: the first has 12.8 million parameters, nearly
all in one dense layer that takes each position apart. The second mixes channels by 1x1s behind each
convolution and ends in the mean of one map per class: a fortieth of the parameters, more
arithmetic, fewer errors. The images are scikit-learn's digits, enlarged to 28x28; give the path of
MNIST's train-images-idx3-ubyte.gz, or a folder with a folder per class, to take those.

Run: python examples/two_image_classifiers.py
"""

import sys
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from pointwise.data.images import read_images
from pointwise.estimators import ImageClassifier
from pointwise.inspection import cost
from pointwise.nn import PointwiseConv


def dense_classifier(classes: int, *, channels: int) -> nn.Module:
    """A 1x1 to 64 channels, then 256 hidden units and the classes, on 28x28 images."""
    return nn.Sequential(
        PointwiseConv(channels, 64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 28 * 28, 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )


def read(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Images of 28x28 bytes and their classes."""
    if path:
        found = read_images(path, size=(28, 28))
        return found.images, found.labels
    digits = load_digits()
    small = torch.from_numpy(digits.images / 16 * 255).float()[:, None]
    large = nn.functional.interpolate(small, size=(28, 28), mode="bilinear")
    return large.round().byte().numpy(), digits.target


def main(path: str | None = None) -> dict[str, float]:
    """Train both, print what they cost and how often they err, and return the shares of errors."""
    images, labels = read(path)
    learn, test, y, y_test = train_test_split(images, labels, test_size=0.3, random_state=0)
    errors = {}
    print(f"{'network':<22}{'parameters':>12}{'M MACs':>9}{'seconds':>9}{'errors':>9}")
    for name, backbone, rate in (
        ("1x1 and dense layers", dense_classifier, 1e-3),
        ("Network in Network", "nin_mnist", 4e-3),
    ):
        model = ImageClassifier(
            backbone, augment=None, learning_rate=rate, max_epochs=6, batch_size=32, random_state=0
        )
        began = time.monotonic()
        model.fit(learn, y)
        seconds = time.monotonic() - began
        total = cost(model.network_, torch.zeros(1, *learn.shape[1:])).total
        errors[name] = float(np.mean(model.predict(test) != y_test))
        print(
            f"{name:<22}{total.params:>12,}{total.macs / 1e6:>9.1f}{seconds:>9.1f}"
            f"{errors[name]:>9.2%}"
        )
    return errors


if __name__ == "__main__":
    main(*sys.argv[1:2])
