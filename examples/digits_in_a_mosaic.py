"""A classifier of single digits reads a whole page of them in one pass.

Shows what ``convolutionalize`` makes of a classifier: its linear layers become convolutions of the
same values, so that it takes images of any larger size and gives the classes at every position.
Where nothing is padded, each position is the classifier on its own window, but for rounding: the
windows are cut out and classified too, to compare results and seconds.

Run: python examples/digits_in_a_mosaic.py
"""

import time

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from pointwise.estimators import ImageClassifier
from pointwise.surgery import convolutionalize, crop_difference

DOWN, ACROSS, PIXELS = 15, 36, 8


def backbone(classes: int, *, channels: int) -> nn.Module:
    """Two unpadded convolutions, and two linear layers on the 2x2 map that is left."""
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


def show(read: Tensor, written: Tensor) -> None:
    """Print the digits as they were read, with a mark under the wrong ones."""
    for row, truth in zip(read.tolist(), written.tolist(), strict=True):
        print(" ".join(map(str, row)))
        if row != truth:
            marks = ("^" if one != other else " " for one, other in zip(row, truth, strict=True))
            print(" ".join(marks).rstrip())


def main() -> None:
    """Fit on single digits, read a mosaic of others, and compare with its windows cut out."""
    digits = load_digits()
    images = (digits.images * 15).astype("uint8")
    learn, rest, y, labels = train_test_split(
        images, digits.target, test_size=DOWN * ACROSS, random_state=0
    )
    model = ImageClassifier(backbone, augment=None, max_epochs=8, random_state=0).fit(learn, y)
    tiles = torch.from_numpy(rest).reshape(DOWN, ACROSS, PIXELS, PIXELS)
    page = tiles.transpose(1, 2).reshape(1, 1, DOWN * PIXELS, ACROSS * PIXELS)

    network = model.network_.eval()
    dense, swaps = convolutionalize(network, page[..., :PIXELS, :PIXELS])
    print(*swaps, sep="\n")
    began = time.perf_counter()
    with torch.no_grad():
        maps = dense(page)
    seconds = time.perf_counter() - began
    every = PIXELS // dense.grid.stride[0]  # positions from one digit to the next
    read = torch.from_numpy(model.classes_)[maps[0, :, ::every, ::every].argmax(0)]
    written = torch.from_numpy(labels).reshape(DOWN, ACROSS)
    show(read, written)

    print(f"{(read == written).double().mean():.1%} of {read.numel()} digits are right")
    began = time.perf_counter()
    print(crop_difference(network, dense, page))
    print(f"one pass {seconds:.3f} s, window by window {time.perf_counter() - began:.3f} s")


if __name__ == "__main__":
    main()
