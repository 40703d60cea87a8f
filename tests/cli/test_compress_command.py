"""``pointwise compress``: what is written is smaller, keeps to the budget, and loads again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from compress_inputs import built, save_image_models, write_inputs
from image_folders import stripes, write_images
from numpy.testing import assert_allclose
from safetensors.torch import save_file
from torch import nn

from pointwise.compression.budget import count_costs
from pointwise.compression.plans.files import load
from pointwise.compression.plans.plan import Plan
from pointwise.compression.reports.report import CompressionReport
from pointwise.data.files import read_table
from pointwise.data.images import read_images
from pointwise.estimators import load as load_model

FILES = {"plan.json", "model.safetensors", "report.json", "report.html"}
MODEL_FILES = {"config.json", "model.safetensors", "README.md", "compression.json", "report.html"}


@pytest.fixture(scope="module")
def image_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image_models")
    save_image_models(folder)
    return folder


@pytest.fixture(autouse=True)
def source(home: Path, image_models: Path) -> None:
    write_inputs(image_models)


def check_folder_fits(folder: str, network: nn.Module, example: torch.Tensor, share: float) -> None:
    """The folder is whole, and gives a network of at most this share of the multiply-adds."""
    found = {file.name for file in Path(folder).iterdir()}
    if "config.json" in found:
        assert found == MODEL_FILES
        small, figures = load_model(folder).network_, "compression.json"
    else:
        assert found == FILES
        small, figures = load(folder, network), "report.json"
    before, after = count_costs(network, example).macs, count_costs(small, example).macs
    assert after <= share * before
    report = CompressionReport.from_json((Path(folder) / figures).read_text())
    assert (report.before.macs, report.after.macs) == (before, after)
    assert report.met
    assert small(example).shape == network(example).shape
    page = (Path(folder) / "report.html").read_text(encoding="utf-8")
    assert "Predicted error over budgets" in page


WIDE = "backbone.encoder.3,backbone.encoder.4,backbone.decoder.stages.3"
"""Layers of the U-Net whose statistics take long."""


# --- What is written ---


@pytest.mark.parametrize("data", ["houses.csv", None], ids=["rows", "weights alone"])
@pytest.mark.parametrize("name", ["price", "sold"])
def test_a_model_for_tables_is_compressed(name, data, pointwise):
    given = f"--data {data}" if data else ""
    ran = pointwise(f"compress {name}-model --macs 0.8 {given} --out small")
    assert ran.code == 0, ran.err
    model = load_model(f"{name}-model")
    inputs = model.network_.numbers.c_in + model.network_.categories.c_in
    check_folder_fits("small", model.network_, torch.zeros(1, inputs), 0.8)
    assert "Asked for 80.0 % of the MACs: met" in ran.out
    said = "No data were given" if data is None else "Errors are"
    assert said in ran.out


def test_few_rows_are_told_of(pointwise):
    read_table("houses.csv").frame.head(3).to_csv("few.csv", index=False)
    ran = pointwise("compress price-model --macs 0.8 --data few.csv --out small")
    assert ran.code == 0, ran.err
    assert "Only 3 samples of data" in ran.out
    assert "Errors are shares of the variance of the predicted values" in ran.out


def test_a_compressed_table_model_predicts_in_place_of_the_given_one(pointwise):
    assert pointwise("compress iris-model --macs 0.5 --data iris --out small").code == 0
    model = load_model("iris-model")
    x = read_table("iris").frame.drop(columns="target")
    before = model.predict_proba(x)
    after = load_model("small").predict_proba(x)
    assert abs(after - before).max() < 0.1
    assert abs(after - before).max() > 0
    assert pointwise("predict small iris --out predicted.csv").code == 0
    told = pd.read_csv("predicted.csv")["target"]
    assert (told == model.classes_[after.argmax(1)]).all()
    ran = pointwise("evaluate small iris --json")
    accuracy = (told == read_table("iris").frame["target"]).mean()
    assert_allclose(json.loads(ran.out)["metrics"]["accuracy"], accuracy)


def test_a_compressed_model_is_compressed_once_more(pointwise):
    assert pointwise("compress iris-model --macs 0.7 --data iris --out small").code == 0
    assert pointwise("compress small --macs 0.7 --data iris --out smaller").code == 0
    model, small = load_model("small"), load_model("smaller")
    check_folder_fits("smaller", model.network_, torch.zeros(1, 4), 0.7)
    assert [len(one.compressed_) for one in (model, small)] == [1, 2]
    assert "Its network was made smaller twice" in Path("smaller/README.md").read_text()
    ran = pointwise("evaluate smaller iris --json")
    assert json.loads(ran.out)["metrics"]["accuracy"] > 0.9


# --- Learning on ---


@pytest.mark.parametrize(
    ("model", "data", "teacher"),
    [
        ("iris", "iris", "labels"),
        ("price", "houses.csv", "labels"),
        ("price", "unsold.csv", "the given model"),
        ("sold", "unsold.csv", "the given model"),
        ("stripes", "numbered", "labels"),
        ("stripes", "stripes", "the given model"),
        ("squares", "squares", "labels"),
        ("squares", "squares/images", "the given model"),
    ],
)
def test_labels_are_learnt_from_where_there_are_any(model, data, teacher, pointwise):
    pd.read_csv("houses.csv").drop(columns=["price", "sold"]).to_csv("unsold.csv", index=False)
    write_images(Path("numbered"), names=("0", "1"))  # as the model calls the classes
    options = f"--exclude {WIDE}" if model == "squares" else ""
    ran = pointwise(
        f"compress {model}-model --macs 0.8 --data {data} --recover 2 --out small {options} --json"
    )
    assert ran.code == 0, ran.err
    note = json.loads(ran.out)["notes"][-1]
    assert note.startswith(f"Learnt from {teacher}: 2 epochs of ")
    if teacher != "labels":
        assert "to learn from, but the given network's answers" in ran.err
    names = {"unsold.csv": "houses.csv", "stripes": "numbered", "squares/images": "squares"}
    ran = pointwise(f"evaluate small {names.get(data, data)} --json")
    assert ran.code == 0, ran.err


def test_learning_on_helps_a_table_model(pointwise):
    accuracies = []
    for options in ("", "--recover 20"):
        line = f"compress iris-model --macs 0.043 --data iris {options} --out small --json"
        ran = pointwise(line)
        assert ran.code == 0, ran.err
        ran = pointwise("evaluate small iris --json")
        accuracies.append(json.loads(ran.out)["metrics"]["log_loss"])
    assert accuracies[1] < accuracies[0]


def test_a_users_network_learns_from_its_own_answers(pointwise):
    np.save("inputs.npy", np.random.default_rng(0).normal(size=(64, 3, 12, 12)))
    ran = pointwise(
        "compress compress_net:build --input 3,12,12 --macs 0.6 --data inputs.npy --recover 1 "
        "--out small --json"
    )
    assert ran.code == 0, ran.err
    assert "Learnt from the given model: 1 epoch of 58 samples" in json.loads(ran.out)["notes"][-1]
    check_folder_fits("small", built(), torch.zeros(1, 3, 12, 12), 0.6)


def test_candidates_are_tried(pointwise):
    np.save("inputs.npy", np.random.default_rng(0).normal(size=(64, 3, 12, 12)))
    ran = pointwise(
        "compress compress_net:build --input 3,12,12 --data inputs.npy --macs 0.6 --try "
        "--out small --json"
    )
    assert ran.code == 0, ran.err
    assert "Predicted errors are corrected" in " ".join(json.loads(ran.out)["notes"])


def test_a_share_of_the_time_is_measured(pointwise):
    ran = pointwise(
        "compress compress_net:build --input 3,12,12 --latency 0.9 --batch 8 --out small --json"
    )
    assert ran.code == 0, ran.err
    (target,) = json.loads(ran.out)["targets"]
    assert target["name"] == "latency"
    assert target["reached"] <= 1
    report = CompressionReport.from_json(Path("small/report.json").read_text())
    assert report.before.latency.median_s > 0
    assert report.before.macs == 8 * count_costs(built(), torch.zeros(1, 3, 12, 12)).macs


@pytest.mark.parametrize(
    ("name", "share", "options"),
    [("stripes", 0.5, ""), ("squares", 0.8, f"--exclude {WIDE}")],
    ids=["classes", "masks"],
)
def test_a_model_for_images_is_compressed_by_unlabelled_images(name, share, options, pointwise):
    data = name
    line = f"compress {name}-model --macs {share} --data {data} --out small {options}"
    ran = pointwise(line)
    assert ran.code == 0, ran.err
    model = load_model(f"{name}-model")
    pixels = model.pixels_
    example = torch.zeros(1, pixels.channels, pixels.height, pixels.width)
    check_folder_fits("small", model.network_, example, share)
    count = 40 if name == "stripes" else 20
    assert f"{count} of {count} images are looked at" in ran.err
    assert "nats of the loss of class scores" in ran.out
    images = read_images(
        data if name == "stripes" else f"{data}/images", labels=False, colour="auto"
    ).images
    small = load_model("small")
    assert np.mean(small.predict(images) == model.predict(images)) > 0.8
    out = "predicted.csv" if name == "stripes" else "predicted"
    ran = pointwise(f"predict small {data if name == 'stripes' else f'{data}/images'} --out {out}")
    assert ran.code == 0, ran.err
    write_images(Path("numbered"), names=("0", "1"))  # as the model calls the classes
    ran = pointwise(f"evaluate small {'numbered' if name == 'stripes' else data} --json")
    assert json.loads(ran.out)["rows"] == count


def test_idx_files_are_data_for_images(pointwise):
    images, _ = stripes(30)
    head = bytes([0, 0, 8, 3]) + np.array(images[:, 0].shape, ">i4").tobytes()
    Path("some-images-idx3-ubyte").write_bytes(head + images.tobytes())
    ran = pointwise("compress stripes-model --macs 0.5 --data some-images-idx3-ubyte --out small")
    assert (ran.code, ran.err) == (0, "")


def test_a_network_of_a_users_code_is_compressed_with_its_weights(pointwise):
    model = built()
    with torch.no_grad():
        model[0].weight.mul_(3)
    save_file(model.state_dict(), "trained.safetensors")
    np.save("inputs.npy", np.random.default_rng(0).normal(size=(64, 3, 12, 12)))
    ran = pointwise(
        "compress compress_net:build --weights trained.safetensors --input 3,12,12 --macs 0.6 "
        "--params 0.8 --bytes 0.9 --data inputs.npy --exclude 7 --out small --json"
    )
    assert ran.code == 0, ran.err
    assert "a word" in ran.err  # what a user's code prints is no result
    told = json.loads(ran.out)
    check_folder_fits("small", model, torch.zeros(1, 3, 12, 12), 0.6)
    assert (told["model"], told["class"]) == ("compress_net:build", "Sequential")
    assert (told["input"], told["out"]) == ([3, 12, 12], "small")
    assert [target["name"] for target in told["targets"]] == ["macs", "params", "bytes"]
    assert all(target["met"] for target in told["targets"])
    assert {row["path"]: row["reason"] for row in told["rows"]}["7"] == "it is excluded"
    assert all(row["measured_error"] >= 0 for row in told["rows"] if row["form"])


def test_images_go_in_as_the_network_takes_them(pointwise):
    """Pixels from 0 to 1 and scaled ones give the same, where the weights undo the scale."""
    write_images(Path("colour"), channels=3)
    line = "compress compress_net:build --input 3,12,12 --macs 0.6 --data colour"
    plain = pointwise(f"{line} --out plain --json")
    assert "pixels go in from 0 to 1; give --mean and --std" in plain.err
    scaled = pointwise(f"{line} --mean 0,0,0 --std 1,1,1 --out scaled --json")
    assert "pixels go in" not in scaled.err
    first, second = (json.loads(ran.out)["rows"] for ran in (plain, scaled))
    assert first == second
    other = pointwise(f"{line} --mean 0.4,0.4,0.4 --std 0.2,0.2,0.2 --out other --json")
    assert json.loads(other.out)["rows"] != first


def test_a_published_network_is_compressed(pointwise):
    from pointwise.networks import build

    save_file(build("squeezenet1_1").state_dict(), "squeeze.safetensors")
    ran = pointwise(
        "compress squeezenet1_1 --weights squeeze.safetensors --input 3,64,64 --macs 0.9 "
        "--out small --json"
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["targets"][0]["met"]


def test_the_same_seed_gives_the_same_folder(pointwise):
    for out in ("one", "two"):
        line = f"compress iris-model --macs 0.5 --data iris --seed 3 --out {out}"
        assert pointwise(line).code == 0
    for name in MODEL_FILES:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_a_folder_of_ours_is_replaced(pointwise):
    assert pointwise("compress price-model --macs 0.9 --out small").code == 0
    before = load_model("small").compressed_
    assert pointwise("compress price-model --macs 0.7 --out small").code == 0
    assert load_model("small").compressed_ != before
    line = "compress compress_net:build --input 3,12,12 --out plain"
    assert pointwise(f"{line} --macs 0.9").code == 0
    plan = Plan.from_json(Path("plain/plan.json").read_text())
    assert pointwise(f"{line} --macs 0.6").code == 0
    assert Plan.from_json(Path("plain/plan.json").read_text()) != plan
