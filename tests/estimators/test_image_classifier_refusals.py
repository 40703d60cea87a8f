"""What the image classifier refuses, each in a clear message."""

import re

import numpy as np
import pytest
from tiny_images import classifier, stripes, tiny_network
from torch import nn

from pointwise.errors import DataError

X, Y = stripes()
COLOUR, _ = stripes(channels=3)


# --- Refusals ---

BROKEN = X.astype(float)
BROKEN[[4, 7], 0, 3, 3] = np.nan, np.inf
TEN = np.zeros((10, 1, 8, 8), np.uint8)

FIT_REFUSALS = {
    "rank": (
        np.zeros((9, 4)),
        Y[:9],
        "images must have shape (N, C, H, W), or (N, H, W) for grey ones, got (9, 4)",
    ),
    "channels last": (
        np.zeros((9, 32, 32, 3)),
        Y[:9],
        "images must have shape (N, C, H, W), got (9, 32, 32, 3): the channels seem to come last, "
        "bring them forward with X.transpose(0, 3, 1, 2)",
    ),
    "texts": (np.full((9, 8, 8), "a"), Y[:9], "images must be an array of real numbers, got <U1"),
    "complex": (
        np.zeros((9, 8, 8), complex),
        Y[:9],
        "images must be an array of real numbers, got complex128",
    ),
    "NaN": (BROKEN, Y, "images must be finite: 2 hold NaN or infinity, the first is image 4"),
    "no pixel": (
        np.zeros((9, 1, 0, 8)),
        Y[:9],
        "found no pixel in images of shape (9, 1, 0, 8): at least 1 is needed",
    ),
    "no image": (
        X[:0],
        Y[:0],
        "found no pixel in images of shape (0, 1, 12, 12): at least 1 is needed",
    ),
    "one image": (X[:1], Y[:1], "found 1 image(s): at least 2 are needed to fit"),
    "one class": (TEN, ["a"] * 10, "y must have at least 2 classes, got 1 class: all are 'a'"),
    "too few labels": (X, Y[:59], "y must have one entry per image: got 59 for 60 images"),
    "no labels": (X, None, "requires y to be passed, but the target y is None"),
    "missing label": (
        X,
        np.where(np.arange(60) == 5, None, Y),
        "y must have a class in every row: 1 rows hold NaN, infinity or nothing, the first is row "
        "5; remove those rows",
    ),
    "kinds of labels": (
        X,
        np.array([1, "a"] * 30, object),
        "y must hold labels of one kind, got 1 (int) and 'a' (str): write all of them as text",
    ),
    "too small": (
        X[:, :, :1],
        Y,
        "images must be at least 2 x 2 pixels for this network, got 1 x 12",
    ),
}


@pytest.mark.parametrize(("x", "y", "message"), FIT_REFUSALS.values(), ids=FIT_REFUSALS)
def test_refuses_to_fit(x, y, message):
    with pytest.raises(ValueError, match=r"^" + re.escape(message) + "$"):
        classifier(max_epochs=1).fit(x, y)


def test_refuses_images_of_several_sizes():
    with pytest.raises(DataError, match=r"^images must all have one size and form one array"):
        classifier().fit([np.zeros((8, 8)), np.zeros((8, 9))], [0, 1])


PARAMETER_REFUSALS = {
    "name": ({"backbone": "nin_minst"}, "no network is named 'nin_minst': did you mean nin_mnist?"),
    "pixels": (
        {"backbone": "unet"},
        "backbone must classify whole images, 'unet' classifies every pixel: give one of "
        "googlenet, mobilenet_v1, mobilenet_v2, nin_cifar, nin_mnist, resnet50, resnet101, "
        "squeezenet1_0, squeezenet1_1, or use Segmenter",
    ),
    "small": ({"backbone": "resnet50"}, "images must be at least"),
    "no module": (
        {"backbone": lambda k, *, channels: k},
        "backbone must make a module of torch, got 2",
    ),
    "outputs": (
        {"backbone": lambda k, *, channels: tiny_network(k + 1, channels=channels)},
        "backbone must put out shape (1, 2) for one image, got (1, 3)",
    ),
    "several outputs": (
        {"backbone": lambda k, *, channels: nn.ModuleList([nn.Identity()]) and Pair()},
        "backbone must put out shape (1, 2) for one image, got tuple",
    ),
    "device": (
        {"device": "tpu"},
        "device must be 'auto' or one that is here, like 'cpu' or 'cuda:0', got 'tpu'",
    ),
    "rate": ({"learning_rate": 0.0}, "The 'learning_rate' parameter of ImageClassifier must be"),
    "augment": ({"augment": "flip"}, "The 'augment' parameter of ImageClassifier must be"),
    "precision": ({"precision": "float64"}, "The 'precision' parameter of ImageClassifier must be"),
}


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("changes", "message"), PARAMETER_REFUSALS.values(), ids=PARAMETER_REFUSALS
)
def test_refuses_parameters(changes, message):
    with pytest.raises(ValueError, match=r"^" + re.escape(message)):
        classifier(**changes).fit(X, Y)


def test_refuses_validation_data_that_does_not_fit():
    with pytest.raises(DataError, match=r"^validation_data must be \(images, targets\)$"):
        classifier().fit(X, Y, validation_data=X)
    with pytest.raises(DataError, match=r"^y holds a class that training did not have: 'round'"):
        classifier().fit(X, Y, validation_data=(X[:1], ["round"]))
    with pytest.raises(DataError, match=r"^images must have 1 channel\(s\), as in training"):
        classifier().fit(X, Y, validation_data=(COLOUR, Y))


def test_refuses_a_batch_of_one_pixel():
    x = X[:3, :, :2, :2]
    with pytest.raises(DataError, match=r"^a batch of one small image") as caught:
        classifier(batch_size=2).fit(x, Y[:3])
    assert str(caught.value) == (
        "a batch of one small image has nothing to normalise over: take a larger batch_size "
        "(now 2) or larger images"
    )


@pytest.fixture(scope="module")
def colour_model():
    return classifier(max_epochs=1).fit(COLOUR, Y)


PREDICT_REFUSALS = {
    "grey": (X, "images must have 3 channel(s), as in training, got shape (60, 1, 12, 12)"),
    "one image": (
        COLOUR[0],
        "images must have 3 channel(s), as in training, got shape (3, 12, 12); "
        "give a single image as X[None]",
    ),
    "unit": (
        COLOUR.astype(float),
        "images must be bytes or go from 0 to 1, as those in training did, got values from 1",
    ),
    "centred": (
        COLOUR / 100 - 1,
        "images must be bytes or go from 0 to 1, as those in training did, got values from -0.",
    ),
    "too small": (
        COLOUR[:, :, :1],
        "images must be at least 2 x 2 pixels for this network, got 1 x 12",
    ),
    "NaN": (
        np.full((2, 3, 8, 8), np.nan),
        "images must be finite: 2 hold NaN or infinity, the first is image 0",
    ),
}


@pytest.mark.parametrize(("x", "message"), PREDICT_REFUSALS.values(), ids=PREDICT_REFUSALS)
def test_refuses_to_predict(x, message, colour_model):
    for call in ("predict", "predict_proba", "class_maps"):
        with pytest.raises(DataError, match=r"^" + re.escape(message)):
            getattr(colour_model, call)(x)


def test_labels_that_training_did_not_have(colour_model):
    with pytest.raises(ValueError, match="Found input variables with inconsistent numbers"):
        colour_model.score(COLOUR, Y[:5])
