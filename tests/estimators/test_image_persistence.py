"""Image models to model folders and back: the same bits, and nothing run on the way."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.exceptions import NotFittedError
from tiny_images import classifier, segmenter, squares, stripes

from pointwise.errors import ModelFileError
from pointwise.estimators.backbones import CLASSIFIERS, blank_image_network, build_backbone
from pointwise.estimators.persistence import load, save
from pointwise.networks.registry import NETWORKS
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.training.augment import Augmentations, RandomCrop, RandomFlip, RandomShift

X, Y = stripes(20, 3)
PICTURES, MASKS = squares(12)


def small(**changes: Any):
    return classifier(**{"backbone": "nin_mnist", "max_epochs": 1, **changes})


FITS = {
    "texts": lambda: small().fit(X, Y),
    "whole numbers": lambda: small().fit(X, np.arange(20) % 2 * 3),
    "truth values": lambda: small().fit(X, np.arange(20) % 2 == 0),
    "own unit": lambda: small(batch_size=8).fit(X * 0.5 - 7, Y),
    "auto": lambda: small(backbone="auto").fit(X[:, 0], Y),
    "augmented": lambda: small(
        augment=Augmentations(RandomFlip(), Augmentations(RandomShift(2)))
    ).fit(X, Y),
    "augmented once": lambda: small(augment=RandomCrop(8, 9)).fit(X, Y),
    "not augmented": lambda: small(augment=None).fit(X, Y),
    "random state": lambda: small(random_state=np.random.RandomState(0)).fit(X, Y),
    "masks": lambda: segmenter(max_epochs=1).fit(PICTURES, MASKS),
    "named masks": lambda: segmenter(
        max_epochs=1, classes=("ground", "square"), class_weight=(1.0, 2.0), ignore=9
    ).fit(PICTURES, MASKS),
    "NumPy's numbers": lambda: segmenter(max_epochs=np.int64(1), ignore=np.uint8(9)).fit(
        PICTURES, MASKS
    ),
    "attention": lambda: segmenter(max_epochs=1, attention=True, widths=(4, 4, 8)).fit(
        PICTURES, MASKS * 7
    ),
}


@pytest.mark.parametrize("kind", FITS)
def test_a_model_comes_back_to_the_same_bits(kind, tmp_path):
    model = FITS[kind]()
    save(model, tmp_path / "model", metrics={"accuracy": 0.5})
    again = load(tmp_path / "model")
    x = {"own unit": X * 0.5 - 7, "auto": X[:, 0]}.get(kind, X)
    x = PICTURES if hasattr(model, "class_names_") else x
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    assert type(again) is type(model)
    changed = {"auto": {"backbone": "nin_mnist"}, "random state": {"random_state": None}}
    assert again.get_params() == {**model.get_params(), **changed.get(kind, {})}
    assert again.classes_.tolist() == model.classes_.tolist()
    for name in ("pixels_", "architecture_", "rows_", "best_epoch_"):
        assert getattr(again, name) == getattr(model, name), name
    assert again.history_[0] == pytest.approx(model.history_[0], rel=1e-6)
    if hasattr(model, "class_names_"):
        assert again.class_names_ == model.class_names_
    else:
        np.testing.assert_array_equal(again.class_maps(x), model.class_maps(x))


def test_a_loaded_model_fits_anew(tmp_path):
    model = small(max_epochs=2).fit(X, Y)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model").fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_network_comes_back_from_its_sizes_and_its_values(name):
    config = {"backbone": name, "classes": 3, "channels": 2}
    network = ImageNetwork(ImageScale([1.0, 2.0], [3.0, 4.0]), build_backbone(config)).eval()
    blank = blank_image_network(config)
    assert all(p.is_meta for p in blank.parameters())
    blank.load_state_dict(network.state_dict(), assign=True)
    assert not any(t.is_meta for t in (*blank.parameters(), *blank.buffers()))
    x = torch.randint(256, (1, 2, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(blank.eval()(x), network(x))


def test_the_networks_that_a_folder_may_name():
    assert {*CLASSIFIERS, "unet", "attention_unet"} == set(NETWORKS)


def test_an_augmentation_of_your_own_is_not_kept(tmp_path):
    save(small(augment=lambda x, y: (x, y)).fit(X, Y), tmp_path / "model")
    assert load(tmp_path / "model").augment is None
    mixed = Augmentations(RandomFlip(), lambda x, y: (x, y))
    save(small(augment=mixed).fit(X, Y), tmp_path / "model")
    assert load(tmp_path / "model").augment is None


@pytest.mark.parametrize("make", [classifier, segmenter], ids=["classifier", "segmenter"])
def test_a_network_of_your_own_cannot_be_saved(make, tmp_path):
    def network(classes, *, channels):
        convolution = torch.nn.Conv2d(channels, classes, 1)
        pooled = torch.nn.Sequential(convolution, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        return pooled if make is classifier else convolution

    model = make(backbone=network, max_epochs=1)
    model.fit(PICTURES, np.arange(12) % 2 if make is classifier else MASKS)
    with pytest.raises(ModelFileError, match="cannot be saved") as caught:
        save(model, tmp_path / "model")
    assert str(caught.value) == (
        "a model whose backbone is a callable cannot be saved, since a model folder holds no code: "
        "give backbone a name, or keep model.network_.state_dict() with your code"
    )
    assert not (tmp_path / "model").exists()


def test_refuses_to_save(tmp_path):
    with pytest.raises(NotFittedError):
        save(small(), tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"^targets must have one name per target \(1\)"):
        save(FITS["texts"](), tmp_path / "model", targets=["a", "b"])


# --- Folders that were edited, with their digests made right again ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    save(FITS["augmented"](), path)
    return path


def edited(folder: Path, path: Path, change) -> Path:
    """A copy of the folder with another config."""
    path.mkdir()
    for name in ("model.safetensors", "README.md"):
        (path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (path / "config.json").write_text(json.dumps(config))
    return path


EDITS = {
    "another network": lambda c: c["network"].update(backbone="nin_cifar"),
    "a network that segments": lambda c: c["network"].update(backbone="unet", widths=[4, 8]),
    "no such network": lambda c: c["network"].update(backbone="os.system"),
    "no name": lambda c: c["network"].update(backbone=["nin_mnist"]),
    "more classes": lambda c: c["network"].update(classes=10**12),
    "fewer labels": lambda c: c.update(classes=["a"]),
    "other channels": lambda c: c["images"].update(channels=1),
    "another key": lambda c: c["images"].update(run="os.system"),
    "no images": lambda c: c.pop("images"),
    "no such step": lambda c: c["parameters"].update(augment=[["os.system", {"command": "true"}]]),
    "a step's values": lambda c: c["parameters"].update(augment=[["RandomShift", {"pixels": -1}]]),
    "another parameter": lambda c: c["parameters"].update(wings=2),
    "another estimator": lambda c: c.update(estimator="Segmenter"),
    "a table's estimator": lambda c: c.update(estimator="PointwiseClassifier"),
    "no such estimator": lambda c: c.update(estimator="os.system"),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_folder_is_refused(folder, tmp_path, change):
    path = edited(folder, tmp_path / "edited", change)
    with pytest.raises(ModelFileError, match=r"^model .* does not fit together \("):
        load(path)


def test_edits_that_keep_it_whole_are_read(folder, tmp_path):
    again = load(edited(folder, tmp_path / "edited", lambda c: c.update(note="of mine")))
    assert again.predict(X).shape == (20,)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    path = edited(folder, tmp_path / "edited", lambda c: None)
    save(small(backbone="nin_mnist").fit(X[:, :2], Y), tmp_path / "other")
    data = (tmp_path / "other" / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data)
    config = json.loads((path / "config.json").read_text())
    config["files"]["model.safetensors"] = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="its weights are not those of nin_mnist"):
        load(path)


# --- Model cards ---


def card(model, path: Path) -> tuple[dict[str, Any], str]:
    save(model, path, metrics={"accuracy": 0.75})
    _, front, text = (path / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_card_of_a_classifier(tmp_path):
    front, text = card(FITS["texts"](), tmp_path / "model")
    assert front == {
        "library_name": "pointwise",
        "pipeline_tag": "image-classification",
        "tags": ["pointwise", "image-classification", "1x1-convolution"],
        "metrics": ["accuracy"],
    }
    for part in (
        "# ImageClassifier: `class`\n",
        "This model predicts `class` (classification) of an image.\n",
        "Its classes are `horizontal`, `vertical`.\n",
        "Its network is `nin_mnist`, behind\n",
        "Images: 18 train, 2 valid. The figures are for the 2 valid images.\n",
        "predictions = model.predict(images)  # an array (N, C, H, W), see below",
        "- 3 channels of 12 x 12 pixels in training; other sizes are taken too.\n"
        "- Bytes, or floats from 0 to 1.\n",
        "An image of none of the classes is given one of them all the same.",
    ):
        assert part in text


def test_the_card_of_a_segmenter(tmp_path):
    front, text = card(FITS["named masks"](), tmp_path / "model")
    assert front["pipeline_tag"] == "image-segmentation"
    assert "This model predicts `class` (segmentation) of each pixel of an image.\n" in text
    assert "Its classes are `ground`, `square`.\n" in text
    assert "- 1 channel of 16 x 16 pixels in training" in text


def test_the_card_names_the_unit(tmp_path):
    _, text = card(FITS["own unit"](), tmp_path / "model")
    assert "- Floats, -2 to 113 in training: give the same unit.\n" in text
