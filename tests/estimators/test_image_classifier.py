"""The image classifier: what it learns, takes and gives."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from tiny_images import classifier, stripes, tiny_network
from torch import nn

from pointwise.errors import DataError, DataWarning
from pointwise.estimators.devices import product_type
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.networks.network_in_network import NetworkInNetwork
from pointwise.training.augment import Augmentations, RandomFlip, RandomShift
from pointwise.training.run import Run

X, Y = stripes()
COLOUR, _ = stripes(channels=3)


# --- What it learns ---


def test_digits_with_the_defaults():
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8)
    model = ImageClassifier(max_epochs=4, batch_size=32, random_state=0).fit(x[:1300], y[:1300])
    assert model.score(x[1300:], y[1300:]) > 0.85  # after so few epochs
    assert model.architecture_ == {"backbone": "nin_mnist", "classes": 10, "channels": 1}
    assert model.class_maps(x[:2]).shape == (2, 10, 2, 2)


@pytest.mark.parametrize("x", [X, X[:, 0], COLOUR], ids=["one channel", "grey", "colour"])
def test_stripes(x):
    model = classifier(max_epochs=6, augment=None, learning_rate=2e-2).fit(x[:44], Y[:44])
    assert model.score(x[44:], Y[44:]) == 1
    assert model.classes_.tolist() == ["horizontal", "vertical"]
    proba = model.predict_proba(x)
    assert (proba.shape, proba.dtype) == ((60, 2), np.float64)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert (model.classes_[proba.argmax(1)] == model.predict(x)).all()


def test_what_a_fit_leaves():
    model = classifier().fit(X, Y)
    assert model.rows_ == {"train": 54, "valid": 6}
    assert [epoch["epoch"] for epoch in model.history_] == [1, 2, 3]
    assert model.history_[model.best_epoch_ - 1]["best"]
    assert not model.network_.training
    assert isinstance(model.network_.backbone, NetworkInNetwork)
    pixels = model.pixels_
    assert (pixels.channels, pixels.height, pixels.width, pixels.unit) == (1, 12, 12, "byte")
    scaled = model.network_.scale(torch.from_numpy(X))
    assert abs(float(scaled.mean())) < 0.05
    assert abs(float(scaled.std()) - 1) < 0.05


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([3, 7], "i"),
        ([0.5, 1.5], None),
        ([True, False], "b"),
        (["cat", "dog"], "U"),
        (pd.Categorical(["b", "a"]), "O"),
    ],
    ids=["whole numbers", "fractions", "truth values", "texts", "categories"],
)
def test_labels_of_any_kind(labels, kind):
    y = pd.Series(np.asarray(labels)[np.arange(60) % 2])
    if kind is None:
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            classifier(max_epochs=1).fit(X, y)
        return
    model = classifier(max_epochs=1).fit(X, y)
    assert model.classes_.tolist() == sorted(set(y))
    assert set(model.predict(X)) <= set(y)


# --- Images it takes ---


def test_bytes_and_fractions_are_the_same_images():
    model = classifier().fit(X, Y)
    fractions = X / 255
    np.testing.assert_allclose(model.predict_proba(fractions), model.predict_proba(X), rtol=1e-4)
    np.testing.assert_allclose(
        model.predict_proba(X.astype(np.int64)), model.predict_proba(X), rtol=1e-6
    )
    other = classifier().fit(fractions.astype(np.float32), Y)
    np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-3)
    assert other.pixels_.unit == "byte"


def test_floats_of_another_range_are_taken_as_they_are():
    own = X * 0.01 - 7
    model = classifier().fit(own, Y)
    assert model.pixels_.unit == "own"
    np.testing.assert_allclose(
        model.predict_proba(own), classifier().fit(X, Y).predict_proba(X), atol=1e-2
    )
    with pytest.warns(DataWarning, match=r"images go from 110 to 340, those in training from -6"):
        model.predict(X.astype(float) + 100)


def test_truth_values_are_black_and_white():
    model = classifier(max_epochs=1).fit(X > 128, Y)
    assert (model.pixels_.unit, model.pixels_.highest) == ("byte", 255.0)


@pytest.mark.parametrize("size", [(2, 2), (9, 14), (40, 24)], ids=str)
def test_predicts_images_of_another_size(size):
    model = classifier().fit(X, Y)
    x = np.resize(X[:3], (3, 1, *size))
    assert model.predict_proba(x).shape == (3, 2)
    assert model.class_maps(x).shape == (3, 2, size[0] // 2, size[1] // 2)


def test_images_in_many_parts_are_predicted_alike(monkeypatch):
    model = classifier().fit(X, Y)
    whole, maps = model.predict_proba(X), model.class_maps(X)
    monkeypatch.setattr("pointwise.estimators.pixels.EVALUATED_PIXELS", 7 * 144)
    np.testing.assert_allclose(model.predict_proba(X), whole, rtol=1e-4)
    np.testing.assert_allclose(model.class_maps(X), maps, rtol=1e-3, atol=1e-5)


def test_arrays_that_cannot_be_written_to(recwarn):
    x = X.copy()
    x.flags.writeable = False
    model = classifier(max_epochs=1).fit(x, Y, validation_data=(x, Y))
    assert model.predict(x).shape == (60,)
    assert model.rows_ == {"train": 60, "valid": 60}
    assert not recwarn.list


# --- Class maps ---


@pytest.mark.parametrize("backbone", ["nin_mnist", "mobilenet_v2", "squeezenet1_1", tiny_network])
def test_the_mean_of_a_class_map_is_the_logit(backbone):
    x = stripes(6, 3, 32)[0]
    model = classifier(backbone=backbone, max_epochs=1, batch_size=4).fit(x, Y[:6])
    maps = model.class_maps(x).astype(np.float64)
    logits = maps.mean((2, 3))
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(x), proba, rtol=1e-3)


def flat_network(classes, *, channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(144 * channels, classes))


def test_a_network_without_class_maps_says_so():
    model = classifier(backbone=flat_network, max_epochs=1).fit(X, Y)
    assert model.predict(X).shape == (60,)
    with pytest.raises(DataError, match="class maps need a network") as caught:
        model.class_maps(X)
    assert str(caught.value) == (
        "class maps need a network whose end is a global average pool of class maps, or of maps "
        "and a linear layer after it (pointwise.nn.GlobalAveragePool): this one has another"
    )


# --- Settings ---


@pytest.mark.parametrize(("size", "name"), [(30, "nin_mnist"), (31, "nin_cifar")])
def test_the_network_of_small_and_of_large_images(size, name):
    x, y = stripes(4, 3, size)
    model = ImageClassifier(max_epochs=1, batch_size=4, random_state=0).fit(x, y)
    assert model.architecture_ == {"backbone": name, "classes": 2, "channels": 3}
    norms = [m for m in model.network_.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 9


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), RandomShift(2)),
        ((1, 8, 8), None),
        ((3, 32, 40), Augmentations(RandomShift(3), RandomFlip())),
        ((3, 8, 8), Augmentations(RandomShift(0), RandomFlip())),
        ((4, 3, 3), None),
    ],
    ids=str,
)
def test_what_auto_augments(shape, expected, monkeypatch):
    seen = []

    def look(self, network, objective, rows, valid, settings, forward, augment):
        seen.append(augment)
        raise InterruptedError

    monkeypatch.setattr(Run, "__init__", look)
    x = np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)
    with pytest.raises(InterruptedError):
        classifier().fit(x, np.arange(8) % 2)
    assert seen == [expected]


def test_an_augmentation_of_your_own():
    shapes = []

    def augment(x, y):
        shapes.append((tuple(x.shape), x.dtype))
        return x, y

    classifier(max_epochs=1, augment=augment).fit(X, Y)
    assert shapes == [((14, 1, 12, 12), torch.uint8)] * 2 + [((13, 1, 12, 12), torch.uint8)] * 2


def test_validation_images_of_your_own():
    a = classifier().fit(X[:44], Y[:44], validation_data=(X[44:], Y[44:]))
    assert a.rows_ == {"train": 44, "valid": 16}
    large = np.pad(X[44:], ((0, 0), (0, 0), (3, 3), (3, 3)))
    assert classifier().fit(X[:44], Y[:44], validation_data=(large, Y[44:])).rows_["valid"] == 16


def test_a_time_limit_ends_the_cycle():
    model = classifier(max_epochs=1000, time_limit=1.0).fit(X, Y)
    assert len(model.history_) < 1000
    assert model.history_[-1]["seconds"] < 5


def test_bfloat16_products():
    model = classifier(precision="bfloat16", max_epochs=1).fit(X, Y)
    assert model.predict_proba(X).shape == (60, 2)
    assert model.network_.scale.mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("capability", "wanted"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), None)]
)
def test_auto_takes_bfloat16_on_a_gpu_with_units_for_it(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert product_type("auto", torch.device("cuda")) is wanted
    assert product_type("auto", torch.device("cpu")) is None
    assert product_type("bfloat16", torch.device("cuda")) is torch.bfloat16


def test_the_progress_bar_stays_off_standard_output(capsys):
    classifier(verbose=1, max_epochs=1).fit(X, Y)
    assert capsys.readouterr().out == ""
