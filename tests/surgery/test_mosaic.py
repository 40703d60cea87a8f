"""A classifier of digits finds them in a mosaic, and how far padding puts it from crops."""

from typing import cast

import pytest
import torch
from sklearn.datasets import load_digits
from sliding import exactly
from torch import nn

from pointwise.estimators import ImageClassifier
from pointwise.nn import GlobalAveragePool, PointwiseConv
from pointwise.surgery.convolutionalize import convolutionalize, densify
from pointwise.surgery.dense.classifier import DenseClassifier, Grid
from pointwise.surgery.dense.crops import crop_difference


def unpadded(classes: int, *, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 24, 3),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 32),
        nn.ReLU(),
        nn.Linear(32, classes),
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[ImageClassifier, torch.Tensor, torch.Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels * 15).astype("uint8").reshape(-1, 8, 8)
    model = ImageClassifier(unpadded, augment=None, max_epochs=8, random_state=0)
    model.fit(images[:1200], labels[:1200])
    return model, torch.from_numpy(images[1200:]), torch.from_numpy(labels[1200:])


def test_digits_in_a_mosaic(fitted: tuple[ImageClassifier, torch.Tensor, torch.Tensor]) -> None:
    model, images, labels = fitted
    network = model.network_.eval()
    tiles = images[: 6 * 9].reshape(6, 9, 8, 8)
    mosaic = tiles.permute(0, 2, 1, 3).reshape(1, 1, 48, 72)
    dense, swaps = convolutionalize(network, images[:1, None])
    assert [swap.path for swap in swaps] == ["backbone.5", "backbone.7"]
    with torch.no_grad():
        found = dense(mosaic)
    assert dense.grid == Grid((8, 8), (2, 2))
    assert found.shape == (1, 10, *dense.grid.windows(48, 72)) == (1, 10, 21, 33)
    on_tiles = torch.from_numpy(model.classes_)[found[0, :, ::4, ::4].argmax(0)]
    alone = torch.from_numpy(model.predict(tiles.reshape(-1, 8, 8).numpy())).reshape(6, 9)
    torch.testing.assert_close(on_tiles, alone)
    share = (on_tiles == labels[:54].reshape(6, 9)).double().mean()
    assert share > 0.9

    every, _ = densify(network, images[:1, None], method="dilation")
    difference = crop_difference(network, every, mosaic, batch=512)
    assert difference.crops.shape == (1, 10, 41, 65)
    assert difference.largest < 1e-5 * difference.scale
    assert difference.agreement == 1


def test_the_text_of_a_difference() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1)
    dense, _ = convolutionalize(network, torch.ones(1, 1, 2, 2))
    # A crop of ones sums 4 ones at each of its 4 cells; inside the image each sums 9.
    found = crop_difference(network, dense, torch.ones(1, 1, 4, 4), batch=2)
    assert found.dense[0, 0, 1, 1] == 4 * 9 + 1
    assert (found.largest, found.scale) == (4 * 9 - 4 * 4, 4 * 4 + 1)
    corner, edge, middle = 4 + 6 + 6 + 9 - 16, 6 + 6 + 9 + 9 - 16, 4 * 9 - 16
    assert found.mean == pytest.approx((4 * corner + 4 * edge + middle) / 9)
    assert str(found) == (
        "9 windows: largest difference 20, mean 12.4, of values up to 17; same class in 100.0%"
    )


def test_crop_difference_refuses() -> None:
    dense = DenseClassifier(nn.Conv2d(1, 2, 4), Grid((4, 4), (1, 1)))
    with pytest.raises(ValueError, match=exactly("batch must be at least 1, got 0")):
        crop_difference(nn.Flatten(), dense, torch.ones(1, 1, 8, 8), batch=0)
    with pytest.raises(
        ValueError,
        match=exactly(
            "x must have shape (N, C, H, W) with at least 4 x 4 pixels, got (1, 1, 3, 8)"
        ),
    ):
        crop_difference(nn.Flatten(), dense, torch.ones(1, 1, 3, 8))


def test_network_in_network_and_the_dense_example() -> None:
    """The example network with a 1x1 and two linear layers: 28x28 to any larger image."""
    network = nn.Sequential(
        PointwiseConv(1, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 28 * 28, 16), nn.ReLU(),
        nn.Linear(16, 10),
    ).eval()  # fmt: skip
    dense, swaps = convolutionalize(network, torch.rand(1, 1, 28, 28))
    assert [swap.after for swap in swaps] == ["Conv2d(8, 16, 28x28)", "Conv2d(16, 10, 1x1)"]
    difference = crop_difference(network, dense, torch.rand(1, 1, 40, 33), batch=100)
    assert difference.crops.shape == (1, 10, 13, 6)
    assert difference.largest < 1e-5 * difference.scale
    pooled = nn.Sequential(PointwiseConv(1, 8), nn.ReLU(), GlobalAveragePool()).eval()
    _, swaps = convolutionalize(pooled, torch.rand(1, 1, 28, 28))
    assert [cast(str, swap.after) for swap in swaps] == ["AvgPool2d(28x28, stride 1)"]
