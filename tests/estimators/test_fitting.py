"""How a fit goes: seeds, stopping, going on, being interrupted, and what it says meanwhile."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from tiny import ROWS, classifier, regressor, table

from pointwise.errors import DataError, DataWarning
from pointwise.estimators import PointwiseRegressor
from pointwise.training.run import Run

EPOCH = {"epoch", "train_loss", "valid_loss", "learning_rate", "seconds", "best"}


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_model():
    x, y, labels = table()
    for make, target in ((regressor, y), (classifier, labels)):
        outputs = [make(random_state=seed).fit(x, target)._outputs(x).numpy() for seed in (0, 0, 1)]
        np.testing.assert_array_equal(outputs[0], outputs[1])
        assert np.abs(outputs[0] - outputs[2]).max() > 1e-3
    assert np.array_equal(
        regressor(random_state=np.random.RandomState(5)).fit(x, y).predict(x),
        regressor(random_state=np.random.RandomState(5)).fit(x, y).predict(x),
    )


def test_a_fit_leaves_the_random_numbers_of_others_alone():
    x, y, _ = table()
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    regressor().fit(x, y).predict(x)
    assert (torch.rand(1).item(), np.random.rand()) == expected


def test_prediction_does_not_depend_on_the_rows_beside():
    x, y, _ = table()
    model = regressor().fit(x, y)
    np.testing.assert_allclose(model.predict(x[5:6]), model.predict(x)[5:6], rtol=1e-12)
    many = np.tile(x, (200, 1))  # so many that they go through the network in float32
    np.testing.assert_allclose(model.predict(many)[:ROWS], model.predict(x), rtol=1e-5, atol=1e-5)


def test_the_prediction_is_the_mean_of_the_members():
    x, y, _ = table()
    model = regressor(members=5).fit(x, y)
    frame = model.coding_.encode(model._read(x, reset=False), np.float64)
    members = model.network_.double()(torch.from_numpy(frame))
    assert members.shape == (ROWS, 5)
    assert members.std(1).min() > 0
    np.testing.assert_allclose(model.predict(x), members.mean(1).detach(), rtol=1e-12)


def test_more_members_are_better_on_real_rows():
    x, y = load_diabetes(return_X_y=True)
    few, many = (
        PointwiseRegressor(members=m, hidden=(32,), max_epochs=40, random_state=0)
        .fit(x[:300], y[:300])
        .score(x[300:], y[300:])
        for m in (1, 16)
    )
    assert many > few
    assert many > 0.3


def test_the_history_has_a_record_per_epoch_and_the_best_one_is_kept():
    x, y, _ = table()
    model = regressor(max_epochs=6).fit(x, y)
    assert [epoch["epoch"] for epoch in model.history_] == [1, 2, 3, 4, 5, 6]
    assert all(set(epoch) == EPOCH for epoch in model.history_)
    losses = [epoch["valid_loss"] for epoch in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    assert np.all(np.diff([epoch["seconds"] for epoch in model.history_]) >= 0)


def test_training_stops_without_progress_or_time():
    x, y, _ = table()
    noise = np.random.default_rng(0).normal(size=ROWS)
    stopped = regressor(max_epochs=500, patience=3).fit(x, noise)
    assert len(stopped.history_) == stopped.best_epoch_ + 3
    assert len(regressor(time_limit=1e-9, max_epochs=500).fit(x, y).history_) == 1


def test_a_training_that_diverges_says_so():
    x, y, _ = table()
    with pytest.raises(
        DataError, match=r"training diverged .*: lower learning_rate \(now 1e\+30\)"
    ):
        regressor(learning_rate=1e30).fit(x, y)


def test_warm_start_goes_on_from_the_last_weights():
    x, y, _ = table()
    model = regressor(warm_start=True, max_epochs=3).fit(x, y)
    losses = [model.history_[-1]["valid_loss"]]
    network = model.network_
    for _ in range(3):
        model.fit(x, y)
        losses.append(model.history_[-1]["valid_loss"])
    assert model.network_ is network
    assert np.all(np.diff(losses) < 0)
    cold = regressor(max_epochs=3).fit(x, y).fit(x, y)
    assert cold.history_[-1]["valid_loss"] == losses[0]


def test_warm_start_takes_no_other_columns():
    x, y, _ = table()
    model = regressor(warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match="X has 2 features, but PointwiseRegressor is expecting 3"):
        model.fit(x[:, :2], y)


PARAMETERS = {
    "members": (0, "The 'members' parameter of PointwiseRegressor must be an int in the range"),
    "hidden": (8, "The 'hidden' parameter of PointwiseRegressor must be an instance of 'tuple'"),
    "no channels": ((8, 0), r"hidden must hold positive whole numbers, got \(8, 0\)"),
    "text channels": (("8",), r"hidden must hold positive whole numbers, got \('8',\)"),
    "dropout": (1.0, r"The 'dropout' parameter .* must be a float in the range \[0.0, 1.0\)"),
    "learning_rate": (0.0, "The 'learning_rate' parameter"),
    "batch_size": (0, "The 'batch_size' parameter"),
    "max_epochs": (0, "The 'max_epochs' parameter"),
    "patience": (0, "The 'patience' parameter"),
    "validation_fraction": (1.0, "The 'validation_fraction' parameter"),
    "time_limit": (0, "The 'time_limit' parameter"),
    "precision": ("half", "The 'precision' parameter"),
    "random_state": ("x", "The 'random_state' parameter"),
    "device": ("toaster", "device must be 'auto' or one that is here, .* got 'toaster'"),
}
UNDER = {"no channels": "hidden", "text channels": "hidden"}


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_parameter_that_cannot_be_is_refused(case):
    value, message = PARAMETERS[case]
    x, y, _ = table()
    with pytest.raises(ValueError, match=message):
        regressor(**{UNDER.get(case, case): value}).fit(x, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused():
    x, y, _ = table()
    with pytest.raises(ValueError, match=r"device must be 'auto' or one that is here, .* 'cuda'"):
        regressor(device="cuda").fit(x, y)


def test_the_processor_is_a_device():
    x, y, _ = table()
    model = regressor(device="cpu").fit(x, y)
    assert model.network_.weight.device.type == "cpu"
    assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize("hidden", [(), [8], (8, 4), (np.int64(8),)], ids=str)
def test_hidden_layers_may_be_none_or_many(hidden):
    x, y, _ = table()
    model = regressor(hidden=hidden, max_epochs=60, patience=60).fit(x, y)
    assert list(model.network_.mlp.channels[1:-1]) == list(hidden)
    assert model.score(x, y) > 0.5


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [("float64", torch.float64, 1e-4), ("bfloat16", torch.float32, 0.05)],
)
def test_precisions_agree(precision, dtype, tolerance):
    x, y, _ = table()
    model = regressor(precision=precision, dropout=0.0).fit(x, y)
    assert model.network_.weight.dtype == dtype
    plain = regressor(dropout=0.0).fit(x, y).predict(x)
    assert np.abs(model.predict(x) - plain).max() < tolerance


def test_pickles_and_copies_predict_the_same(tmp_path):
    x, y, labels = table()
    for model in (regressor().fit(x, y), classifier(class_weight={"up": 2}).fit(x, labels)):
        joblib.dump(model, tmp_path / "model.joblib")
        again = pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")
        assert all(np.array_equal(one.predict(x), model.predict(x)) for one in again)
        assert clone(model).get_params() == model.get_params()


def threads_and_score(model, x, y):
    return {"threads": torch.get_num_threads(), "r2": model.score(x, y)}


def test_a_parallel_search_gives_every_worker_its_share_of_the_threads():
    x, y = np.clip(table()[0], -1, 1), table()[1]
    search = GridSearchCV(
        regressor(),
        {"hidden": [(4,), (8,)], "max_epochs": [2]},
        cv=2,
        n_jobs=2,
        scoring=threads_and_score,
        refit="r2",
    ).fit(x, y)
    share = max(1, joblib.cpu_count() // 2)
    assert (search.cv_results_["mean_test_threads"] <= share).all()
    alone = cross_val_score(regressor(**search.best_params_), x, y, cv=2)
    assert search.best_score_ == pytest.approx(alone.mean(), abs=1e-6)


def test_nothing_is_said_unless_asked(capfd):
    x, y, _ = table()
    regressor(verbose=0).fit(x, y).predict(x)
    assert capfd.readouterr() == ("", "")
    regressor(verbose=1).fit(x, y)  # no terminal: no bar
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo terminal")
def test_a_bar_is_shown_on_a_terminal():
    script = (
        "import numpy as np; from pointwise import PointwiseRegressor as R\n"
        "x = np.random.default_rng(0).normal(size=(50, 2))\n"
        "R(members=1, hidden=(4,), max_epochs=3, verbose=1).fit(x, x[:, 0])"
    )
    ours, theirs = os.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = _read_terminal(ours)
    os.close(ours)
    assert run.communicate(timeout=300) == (b"", None)
    assert run.returncode == 0
    assert "epoch" in shown
    assert "3/3" in shown
    assert "scaled squared error" in shown


def _read_terminal(ours):
    """Everything that is written until the other side closes; a terminal holds little at a time."""
    parts = []
    with contextlib.suppress(OSError):  # how Linux says that the other side has closed
        while part := os.read(ours, 4096):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


def _interrupt_at(epoch, monkeypatch):
    validate, calls = Run._validate, []

    def validate_or_stop(run):
        calls.append(1)
        if len(calls) == epoch:
            signal.raise_signal(signal.SIGINT)
        return validate(run)

    monkeypatch.setattr(Run, "_validate", validate_or_stop)


@pytest.mark.parametrize("verbose", [0, 1])
def test_an_interrupt_keeps_the_best_epoch_so_far(verbose, monkeypatch):
    x, y, _ = table()
    three = regressor(max_epochs=3).fit(x, y)
    _interrupt_at(4, monkeypatch)
    with pytest.warns(UserWarning, match="interrupted after 3 epochs: the best one so far is kept"):
        stopped = regressor(max_epochs=50, verbose=verbose).fit(x, y)
    assert len(stopped.history_) == 3
    np.testing.assert_array_equal(stopped.predict(x), three.predict(x))


def test_an_interrupt_before_the_first_epoch_is_passed_on(monkeypatch):
    x, y, _ = table()
    _interrupt_at(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        regressor().fit(x, y)


def test_a_checkpoint_is_resumed_and_ends_the_same(tmp_path, monkeypatch):
    x, y, _ = table()
    whole = regressor(max_epochs=6).fit(x, y)
    _interrupt_at(4, monkeypatch)
    monkeypatch.setattr("pointwise.training.checkpoint.Checkpoint.due", True)
    path = tmp_path / "runs" / "fit.ckpt"
    with pytest.warns(UserWarning, match="interrupted after 3 epochs"):
        regressor(max_epochs=6).fit(x, y, checkpoint=path)
    monkeypatch.undo()
    resumed = regressor(max_epochs=6).fit(x, y, checkpoint=path)
    np.testing.assert_array_equal(resumed.predict(x), whole.predict(x))
    assert [e["valid_loss"] for e in resumed.history_] == [e["valid_loss"] for e in whole.history_]
    with pytest.raises(ValueError, match="belongs to another run"):
        regressor(max_epochs=6, learning_rate=0.1).fit(x, y, checkpoint=path)


def test_rows_far_outside_are_counted_and_named():
    x, y, _ = table()
    days = pd.Series(pd.date_range("2020-01-01", periods=ROWS))
    frame = pd.DataFrame({"a": x[:, 0], "day": days, "word": ["x", "y"] * 60})
    model = regressor().fit(frame, y)
    new = frame[:10].copy()
    new.loc[:2, "a"] = 1e6
    new.loc[:6, "day"] = pd.Timestamp("2026-11-21")
    with pytest.warns(DataWarning, match="far outside") as caught:
        model.predict(new)
    low, high = frame["a"].iloc[_trained(model)].agg(["min", "max"])
    assert [str(one.message) for one in caught] == [
        "3 of 10 rows lie far outside the training range of column 'a' "
        f"({low:g} to {high:g}): their predictions are guesses",
        "7 of 10 rows lie far outside the training range of column 'day' "
        "(2020-01-01 to 2020-04-29): their predictions are guesses",
    ]


def test_words_that_training_did_not_have_are_counted_and_named():
    x, y, _ = table()
    frame = pd.DataFrame({"a": x[:, 0], "word": ["x", "y"] * 60})
    model = regressor().fit(frame, y)
    with pytest.warns(DataWarning) as caught:
        model.predict(frame[:4].assign(word=["x", "X", "x", "Y"]))
    assert [str(one.message) for one in caught] == [
        "2 of 4 rows hold a value of column 'word' that training did not have, such as 'X': it "
        "counts as unknown there"
    ]


def _trained(model):
    from pointwise.estimators.splitting import split_rows

    rng = np.random.RandomState(0)
    rng.randint(2**31 - 1)
    return split_rows(ROWS, model.validation_fraction, rng)[0]


def test_features_as_positions_are_taken_as_channels_with_a_warning():
    x, y, _ = table()
    model = regressor().fit(x, y)
    with pytest.warns(
        DataWarning, match=r"one channel at 3 positions.* as if X had shape \(120, 3"
    ):
        other = regressor().fit(x[:, None, :], y)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    np.testing.assert_array_equal(regressor().fit(x[:, :, None], y).predict(x), model.predict(x))
    with pytest.raises(ValueError, match="dim 4"):
        regressor().fit(x[:, :, None, None], y)


def test_columns_of_any_size_and_offset_are_learnt():
    x, y, _ = table()
    plain = regressor(max_epochs=30).fit(x, y).predict(x)
    for scale, offset, tolerance in (
        (1.0, 1e9, 1e-3),
        (1e30, 0.0, 1e-5),
        (1e-30, 0.0, 1e-5),
        (1e-6, 1e3, 1e-3),
    ):
        moved = scale * x + offset
        predicted = regressor(max_epochs=30).fit(moved, y).predict(moved)
        np.testing.assert_allclose(predicted, plain, rtol=0, atol=tolerance)


def test_a_thousand_minutes_are_told_apart():
    start = pd.Timestamp("2026-03-01")
    frame = pd.DataFrame({"t": start + pd.to_timedelta(np.arange(1000), unit="min")})
    y = (np.arange(1000) % 2).astype(float)
    model = regressor(max_epochs=1).fit(frame, y)
    from pointwise.data.table import as_table

    coded = model.coding_.encode(as_table(frame), np.float32)
    assert len(np.unique(coded[:, 0])) == 1000
    minutes = pd.DataFrame({"t": start.timestamp() / 60 + np.arange(1000.0)})
    coded = regressor(max_epochs=1).fit(minutes, y).coding_.encode(as_table(minutes), np.float32)
    assert len(np.unique(coded)) == 1000
