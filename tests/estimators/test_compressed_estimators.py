"""Estimators whose network was compressed: they predict, are saved, and come back as they were."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from torch import nn

from pointwise.compression import Budget, Compressed, Recovery, compress
from pointwise.errors import DifferenceError, ModelFileError
from pointwise.estimators import (
    ImageClassifier,
    PointwiseClassifier,
    PointwiseRegressor,
    Segmenter,
    class_scores,
    compressed_estimator,
    load,
    save,
)
from pointwise.estimators.compressing import learning_rows

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(80, 5)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (24, 1, 12, 12), dtype=np.uint8)
MASKS = (IMAGES[:, 0] > 128).astype(np.uint8)
QUICK: dict[str, Any] = {"max_epochs": 1, "random_state": 0}


def fitted(name: str) -> tuple[Any, Any]:
    """A model, and what it predicts from."""
    if name == "classes":
        return PointwiseClassifier(members=2, hidden=(32, 32), **QUICK).fit(
            TABLE, np.where(TABLE[:, 0] > 0, "b", "a")
        ), TABLE
    if name == "numbers":
        return PointwiseRegressor(members=2, hidden=(32, 32), **QUICK).fit(
            TABLE, 100 + TABLE[:, :2]
        ), TABLE
    if name == "images":
        labels = np.arange(24) % 3
        return ImageClassifier(batch_size=8, **QUICK).fit(IMAGES, labels), IMAGES
    widths = (8, 16)
    return Segmenter(batch_size=8, widths=widths, **QUICK).fit(IMAGES, MASKS), IMAGES


def compressed(model: Any, x: Any, share: float = 0.7) -> Compressed:
    """Its network at a share of its multiply-adds, by its own inputs."""
    if hasattr(model, "coding_"):
        inputs = torch.from_numpy(x)
    else:
        inputs = torch.from_numpy(model.pixels_.read(x)).float()
    scores = class_scores(model)
    return compress(model.network_, Budget(macs=share), inputs[:1], data=inputs, logits=scores)


def predicted(model: Any, x: Any) -> Any:
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


each = pytest.mark.parametrize("name", ["classes", "numbers", "images", "masks"])


@each
def test_class_scores_are_those_that_the_model_predicts_by(name: str) -> None:
    model, x = fitted(name)
    scores = class_scores(model)
    if name == "numbers":
        assert scores is False
        return
    assert scores is not False
    inputs = x if name == "classes" else model.pixels_.read(x)
    with torch.no_grad():
        shares = scores(model.network_(torch.from_numpy(inputs).float())).softmax(1)
    np.testing.assert_allclose(shares, model.predict_proba(x), rtol=1e-4, atol=1e-5)


@each
def test_a_saved_model_predicts_the_same(name: str, tmp_path: Path) -> None:
    model, x = fitted(name)
    before = predicted(model, x)
    small = compressed_estimator(model, compressed(model, x))
    assert_array_equal(predicted(model, x), before)  # the given one is as it was
    assert not hasattr(model, "compressed_")
    after = predicted(small, x)
    assert abs(after - before).max() > 0
    count = sum(p.numel() for p in small.network_.parameters())
    assert count < sum(p.numel() for p in model.network_.parameters())
    save(small, tmp_path / "small")
    again = load(tmp_path / "small")
    assert type(again) is type(model)
    assert_array_equal(predicted(again, x), after)
    assert again.compressed_ == small.compressed_
    assert "compressed" in json.loads((tmp_path / "small/config.json").read_text())
    save(again, tmp_path / "copy")
    for file in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "copy" / file).read_bytes() == (tmp_path / "small" / file).read_bytes()
    assert (
        "Its network was made smaller after training" in (tmp_path / "copy/README.md").read_text()
    )


@each
def test_it_can_be_compressed_again(name: str, tmp_path: Path) -> None:
    model, x = fitted(name)
    small = compressed_estimator(model, compressed(model, x))
    smaller = compressed_estimator(small, compressed(small, x, 0.8))
    assert [len(one.compressed_) for one in (small, smaller)] == [1, 2]
    save(smaller, tmp_path / "smaller")
    assert_array_equal(predicted(load(tmp_path / "smaller"), x), predicted(smaller, x))


def test_fitting_anew_makes_a_new_network(tmp_path: Path) -> None:
    for name in ("classes", "images"):
        model, x = fitted(name)
        small = compressed_estimator(model, compressed(model, x))
        y = np.arange(len(x)) % 2
        small.fit(x, y)
        assert not hasattr(small, "compressed_")
        save(small, tmp_path / name)
        assert_array_equal(predicted(load(tmp_path / name), x), predicted(small, x))


def test_maps_are_made_with_the_compressed_network() -> None:
    model, x = fitted("classes")
    small = compressed_estimator(model, compressed(model, x))
    raster = TABLE.T.reshape(5, 8, 10)
    found = small.predict_map(raster, output="proba")
    wanted = small.predict_proba(TABLE).T.reshape(2, 8, 10)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("name", "buffer"), [("classes", "numbers"), ("images", "scale")])
def test_a_network_of_other_data_is_refused(name: str, buffer: str) -> None:
    """Of the same sizes: only what it knows of its data tells."""
    model, x = fitted(name)
    labels = np.arange(len(x)) % len(model.classes_)
    other = clone(model).fit(2 * x, model.classes_[labels])
    with pytest.raises(DifferenceError, match=f"of another network: '{buffer}.* other values"):
        compressed_estimator(model, compressed(other, x))


def test_another_network_is_refused() -> None:
    model, x = fitted("classes")
    other, _ = fitted("numbers")
    message = "compressed must be made of the network_ of this estimator, it is of another network"
    done = compressed(model, x)
    net = nn.Sequential(nn.Linear(8, 8))
    strange = Compressed(net, done.report, done.plan)
    with pytest.raises(DifferenceError, match=f"^{re.escape(message)}$"):
        compressed_estimator(model, strange)
    with pytest.raises(DifferenceError, match=f"^{re.escape(message)}: model must have a layer"):
        compressed_estimator(other, compress(net, Budget(macs=0.8), torch.zeros(1, 8)))


def test_a_plan_that_was_edited_is_refused(tmp_path: Path) -> None:
    model, x = fitted("classes")
    save(compressed_estimator(model, compressed(model, x)), tmp_path / "small")
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    config["compressed"][0]["layers"][0]["path"] = "mlp.nothing"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"small: model must have a layer 'mlp\.nothing' "):
        load(tmp_path / "small")
    config["compressed"] = [{"format": "pointwise compression plan", "version": 99}]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"small: config\.json: compressed has version 99, "):
        load(tmp_path / "small")


@each
def test_labels_are_as_the_loss_takes_them(name: str) -> None:
    model, x = fitted(name)
    y = {
        "classes": np.where(TABLE[:, 0] > 0, "b", "a"),
        "numbers": 100 + TABLE[:, :2],
        "images": np.arange(24) % 3,
        "masks": MASKS,
    }[name]
    inputs, labels = learning_rows(model, x, y)
    assert inputs.dtype == torch.float32
    known = compress(
        model.network_,
        Budget(macs=0.7),
        inputs[:1],
        data=inputs,
        logits=False if name == "numbers" else None if name == "images" else lambda y: y[:, :2],
        recover=Recovery(data=[(inputs, labels)], loss="distil" if name == "numbers" else "auto"),
    )
    assert f"{len(x) - round(len(x) / 10)} samples" in known.report.notes[-1]
    if name == "classes":
        assert labels.tolist() == (TABLE[:, 0] > 0).astype(int).tolist()
