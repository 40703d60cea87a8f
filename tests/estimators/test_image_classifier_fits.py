"""The image classifier: reproducible, resumable, and by the conventions of scikit-learn."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from tiny_images import classifier, stripes

from pointwise.errors import CheckpointError, DataError
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.training import Checkpoint, Rows
from pointwise.training.augment import RandomShift
from pointwise.training.run import Run

X, Y = stripes()
COLOUR, _ = stripes(channels=3)


def weights(model: ImageClassifier) -> list[torch.Tensor]:
    return list(model.network_.state_dict().values())


def assert_same_weights(a: ImageClassifier, b: ImageClassifier) -> None:
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


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
