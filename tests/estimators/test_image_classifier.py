"""The image classifier: what it learns, takes, gives, keeps and refuses."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from tiny_images import classifier, stripes, tiny_network
from torch import nn

from pointwise.errors import CheckpointError, DataError, DataWarning
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.networks.network_in_network import NetworkInNetwork
from pointwise.training import Checkpoint, Rows
from pointwise.training.augment import Augmentations, RandomFlip, RandomShift
from pointwise.training.run import Run

X, Y = stripes()
COLOUR, _ = stripes(channels=3)


def weights(model: ImageClassifier) -> list[torch.Tensor]:
    return list(model.network_.state_dict().values())


def assert_same_weights(a: ImageClassifier, b: ImageClassifier) -> None:
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


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


@pytest.mark.parametrize(
    "backbone", ["nin_mnist", "mobilenet_v2", "squeezenet1_1", tiny_network], ids=str
)
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


def test_the_progress_bar_stays_off_standard_output(capsys):
    classifier(verbose=1, max_epochs=1).fit(X, Y)
    assert capsys.readouterr().out == ""


# --- Reproducible, resumable, interruptible ---


def test_the_same_seed_gives_the_same_weights():
    model = classifier(augment="auto").fit(COLOUR, Y)
    torch.rand(3)
    np.random.rand(3)
    assert_same_weights(model, classifier(augment="auto").fit(COLOUR, Y))
    other = classifier(augment="auto", random_state=1).fit(COLOUR, Y)
    assert not torch.equal(weights(model)[2], weights(other)[2])


def test_a_fit_draws_nothing_from_the_global_numbers():
    torch.manual_seed(0)
    classifier(max_epochs=1).fit(X, Y)
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))


class KilledError(Exception):
    pass


def kill_in_epoch(monkeypatch, epoch: int) -> None:
    """Let the process of a training end before so many epochs have."""
    run_epoch = Run.epoch

    def dying(run):
        if run.progress.next_epoch() == epoch:
            raise KilledError
        return run_epoch(run)

    monkeypatch.setattr(Run, "epoch", dying)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_killed_fit_resumes_to_the_same_weights(tmp_path, epoch):
    make = lambda: classifier(max_epochs=4)  # noqa: E731
    unbroken = make().fit(COLOUR, Y)
    checkpoint = Checkpoint(tmp_path / "fit.ckpt", every_s=0)
    with pytest.MonkeyPatch.context() as patch:
        kill_in_epoch(patch, epoch)
        with pytest.raises(KilledError):
            make().fit(COLOUR, Y, checkpoint=checkpoint)
    assert checkpoint.path.exists() == (epoch > 1)
    resumed = make().fit(COLOUR, Y, checkpoint=tmp_path / "fit.ckpt")
    assert_same_weights(resumed, unbroken)
    np.testing.assert_array_equal(resumed.predict_proba(COLOUR), unbroken.predict_proba(COLOUR))
    with pytest.raises(CheckpointError, match="belongs to another run"):
        classifier(max_epochs=4, augment=None).fit(COLOUR, Y, checkpoint=tmp_path / "fit.ckpt")


def test_ctrl_c_keeps_the_best_epoch(monkeypatch):
    epoch = Run.epoch

    def interrupted(run):
        if run.progress.next_epoch() == 3:
            raise KeyboardInterrupt
        return epoch(run)

    monkeypatch.setattr(Run, "epoch", interrupted)
    with pytest.warns(UserWarning, match="interrupted after 2 epochs: the best one so far is kept"):
        model = classifier(max_epochs=9).fit(X, Y)
    assert len(model.history_) == 2
    assert model.predict(X).shape == (60,)


def test_a_diverging_training_says_so():
    with pytest.raises(DataError, match="training diverged in its first epoch") as caught:
        classifier(learning_rate=1e38).fit(X, Y)
    assert str(caught.value) == (
        "training diverged in its first epoch (the loss is not finite): "
        "lower learning_rate (now 1e+38)"
    )


# --- scikit-learn's conventions ---


@pytest.mark.parametrize(("images", "batch"), [(20, 16), (1500, 32), (4000, 64), (90_000, 128)])
def test_a_default_batch_makes_about_fifty_steps_an_epoch(images, batch):
    rows = Rows(torch.zeros(images, 1, 1, 1), torch.zeros(images))
    settings = ImageClassifier()._settings(rows, rows, 0, torch.device("cpu"))
    assert settings.batch_size == batch
    given = ImageClassifier(batch_size=7)._settings(rows, rows, 0, torch.device("cpu"))
    assert given.batch_size == 7


def test_parameters_are_scikit_learns():
    model = classifier(augment=RandomShift(1), learning_rate=0.1)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(max_epochs=7).max_epochs == 7
    assert ImageClassifier().get_params() == {
        "backbone": "auto",
        "augment": "auto",
        "learning_rate": 4e-3,
        "batch_size": None,
        "max_epochs": 20,
        "validation_fraction": 0.1,
        "time_limit": None,
        "device": "auto",
        "precision": "auto",
        "random_state": None,
        "verbose": 0,
    }


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learn_check(check):
    # The checks assert by themselves.
    check("ImageClassifier", ImageClassifier())


def test_pickles_and_refits():
    model = classifier().fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    again.fit(COLOUR, np.arange(60) % 3)
    assert again.predict_proba(COLOUR).shape == (60, 3)


def test_unfitted():
    for call in ("predict", "predict_proba", "class_maps"):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(classifier(), call)(X)


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
