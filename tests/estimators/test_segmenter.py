"""The segmenter: what it learns, takes, gives and keeps."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import jaccard_score
from sklearn.utils import estimator_checks
from tiny_images import segmenter, squares
from torch import nn

from pointwise.errors import DataError
from pointwise.estimators.segmenter import Segmenter
from pointwise.networks.unet import UNet
from pointwise.nn.gates import AttentionGate
from pointwise.training import Checkpoint
from pointwise.training.run import Run

X, MASKS = squares()
COLOUR, _ = squares(channels=3)


def weights(model: Segmenter) -> list[torch.Tensor]:
    return list(model.network_.state_dict().values())


def assert_same_weights(a: Segmenter, b: Segmenter) -> None:
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def three_classes() -> np.ndarray:
    """The squares, their left half and the ground as 9, 4 and 7; a row that is not known as 0."""
    masks = np.where(MASKS == 1, 9, 7)
    masks[:, :, :8] = np.where(MASKS[:, :, :8] == 1, 4, 7)
    masks[:, 0] = 0
    return masks


# --- What it learns ---


@pytest.mark.parametrize("x", [X, X[:, 0], COLOUR / 255], ids=["one channel", "grey", "fractions"])
def test_squares(x):
    model = segmenter(max_epochs=20, learning_rate=2e-2, augment=None).fit(x[:18], MASKS[:18])
    assert model.score(x[18:], MASKS[18:]) > 0.9
    proba = model.predict_proba(x)
    assert (proba.shape, proba.dtype) == ((24, 2, 16, 16), np.float32)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    predicted = model.predict(x)
    assert (predicted.shape, predicted.dtype) == ((24, 16, 16), np.int64)
    np.testing.assert_array_equal(predicted, proba.argmax(1))


def test_numbers_in_masks_are_classes_and_one_may_be_ignored():
    model = segmenter(ignore=0, max_epochs=2).fit(X, three_classes())
    assert model.classes_.tolist() == [4, 7, 9]
    assert model.class_names_ == ("4", "7", "9")
    assert model.architecture_["classes"] == 3
    assert set(np.unique(model.predict(X))) <= {4, 7, 9}


def test_names_of_classes_and_a_class_that_training_lacks():
    names = ["ground", "square", "circle"]
    model = segmenter(classes=names, max_epochs=1).fit(X, MASKS)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.class_names_ == ("ground", "square", "circle")
    assert model.predict_proba(X).shape[1] == 3
    two = segmenter(classes=names, ignore=1, max_epochs=1).fit(X, MASKS + (MASKS == 0) * 2)
    assert (two.classes_.tolist(), two.class_names_) == ([0, 2], ("ground", "circle"))


def test_what_a_fit_leaves():
    model = segmenter().fit(X, MASKS)
    assert model.rows_ == {"train": 21, "valid": 3}
    assert [epoch["epoch"] for epoch in model.history_] == [1, 2, 3]
    assert all(0 <= epoch["valid_loss"] <= 1 for epoch in model.history_)
    assert isinstance(model.network_.backbone, UNet)
    assert not model.network_.training
    assert not any(isinstance(m, AttentionGate) for m in model.network_.modules())


def test_attention_gates():
    model = segmenter(attention=True, widths=[4, 4, 8], max_epochs=1).fit(X, MASKS)
    assert any(isinstance(m, AttentionGate) for m in model.network_.modules())
    assert model.architecture_["widths"] == [4, 4, 8]


def one_layer(classes, *, channels):
    return nn.Conv2d(channels, classes, 3, padding=1)


def test_a_network_of_your_own():
    model = segmenter(backbone=one_layer, max_epochs=12, learning_rate=0.05).fit(X, MASKS)
    assert model.architecture_ is None
    assert model.score(X, MASKS) > 0.8


def test_truth_values_are_two_classes():
    assert segmenter(max_epochs=1).fit(X, MASKS == 1).classes_.tolist() == [0, 1]


# --- Sizes and scores ---


@pytest.mark.parametrize("size", [(2, 3), (9, 14), (40, 23)], ids=str)
def test_predicts_images_of_any_size(size):
    model = segmenter(max_epochs=1).fit(X, MASKS)
    x = np.resize(X[:3], (3, 1, *size))
    assert model.predict(x).shape == (3, *size)
    assert model.predict_proba(x).shape == (3, 2, *size)


def test_score_is_the_mean_overlap_of_all_known_pixels():
    masks = three_classes()
    model = segmenter(ignore=0, max_epochs=2).fit(X, masks)
    predicted, known = model.predict(X), masks != 0
    expected = jaccard_score(masks[known], predicted[known], average="macro")
    assert model.score(X, masks) == pytest.approx(expected)
    counts = model.confusion(X, masks)
    assert counts.sum() == known.sum()
    assert counts[0, 2] == ((masks == 4) & (predicted == 9)).sum()


def test_images_in_many_parts_are_predicted_alike(monkeypatch):
    model = segmenter().fit(X, MASKS)
    whole = model.predict_proba(X)
    monkeypatch.setattr("pointwise.estimators.pixels.EVALUATED_PIXELS", 5 * 256)
    np.testing.assert_allclose(model.predict_proba(X), whole, rtol=1e-4, atol=1e-6)
    assert 0 <= model.score(X, MASKS) <= 1


def test_validation_images_of_another_size():
    large = np.pad(X, ((0, 0), (0, 0), (3, 4), (5, 6)))
    masks = np.pad(MASKS, ((0, 0), (3, 4), (5, 6)))
    model = segmenter(max_epochs=1).fit(X, MASKS, validation_data=(large, masks))
    assert model.rows_ == {"train": 24, "valid": 24}


# --- Weights of classes ---


def objective_of(monkeypatch, masks, **changes):
    seen = []

    def look(self, network, objective, rows, valid, settings, forward, augment):
        seen.append((objective, rows.y))
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "__init__", look)
        with pytest.raises(InterruptedError):
            segmenter(**changes).fit(X, masks)
    return seen[0]


def test_balanced_weights_are_inverse_square_roots_with_mean_one(monkeypatch):
    masks = three_classes()
    objective, y = objective_of(monkeypatch, masks, ignore=0)
    counts = np.array([(y == number).sum().item() for number in range(3)])
    shares = counts / counts.sum()
    weight = np.array(objective.weight)
    np.testing.assert_allclose(weight * np.sqrt(shares), weight[0] * np.sqrt(shares[0]))
    assert (weight * shares).sum() == pytest.approx(1)
    assert weight.argmin() == counts.argmax()


def test_other_weights(monkeypatch):
    assert objective_of(monkeypatch, MASKS, class_weight=None)[0].weight is None
    assert objective_of(monkeypatch, MASKS, class_weight=[1, 3])[0].weight == (1.0, 3.0)
    named = objective_of(monkeypatch, MASKS, classes=["ground", "square", "circle"])[0]
    assert named.weight[2] == 1  # a class that no pixel has


def test_rare_classes_are_found_for_their_weight():
    masks = np.zeros_like(MASKS)
    masks[:, 7, 7] = 1
    seen = [
        segmenter(class_weight=weight, max_epochs=6, learning_rate=1e-2).fit(X, masks)
        for weight in (None, "balanced", [1, 1000])
    ]
    plain, balanced, heavy = (model.predict_proba(X)[:, 1].mean() for model in seen)
    assert plain < balanced < heavy


# --- Reproducible, resumable ---


def test_the_same_seed_gives_the_same_weights():
    assert_same_weights(segmenter().fit(COLOUR, MASKS), segmenter().fit(COLOUR, MASKS))


class KilledError(Exception):
    pass


def test_a_killed_fit_resumes_to_the_same_weights(tmp_path):
    unbroken = segmenter().fit(COLOUR, MASKS)
    checkpoint, run_epoch = Checkpoint(tmp_path / "fit.ckpt", every_s=0), Run.epoch

    def dying(run):
        if run.progress.next_epoch() == 3:
            raise KilledError
        return run_epoch(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "epoch", dying)
        with pytest.raises(KilledError):
            segmenter().fit(COLOUR, MASKS, checkpoint=checkpoint)
    resumed = segmenter().fit(COLOUR, MASKS, checkpoint=tmp_path / "fit.ckpt")
    assert len(resumed.history_) == 3
    assert_same_weights(resumed, unbroken)


def test_a_diverging_training_says_so():
    with pytest.raises(DataError, match="training diverged in its first epoch"):
        segmenter(learning_rate=1e38).fit(X, MASKS)


# --- scikit-learn's conventions ---


def test_parameters_are_scikit_learns():
    model = segmenter(classes=["a", "b"], class_weight=[1, 2])
    assert clone(model).get_params() == model.get_params()
    assert Segmenter().get_params() == {
        "backbone": "unet",
        "widths": (16, 32, 64, 128, 256),
        "attention": False,
        "classes": None,
        "ignore": None,
        "class_weight": "balanced",
        "augment": "auto",
        "learning_rate": 2e-3,
        "batch_size": 8,
        "max_epochs": 40,
        "validation_fraction": 0.15,
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
        estimator_checks.check_estimator_cloneable,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learn_check(check):
    # The checks assert by themselves.
    check("Segmenter", Segmenter())


def test_pickles():
    model = segmenter(max_epochs=1).fit(X, MASKS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_unfitted():
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        segmenter().predict(X)
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        segmenter().score(X, MASKS)
