"""``pointwise compress``: what is written is smaller, keeps to the budget, and loads again."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import stripes, write_images
from mask_folders import write_masks
from safetensors.torch import save_file
from torch import nn

from pointwise.compression.budget import count_costs
from pointwise.compression.files import load
from pointwise.compression.plan import Plan
from pointwise.compression.report import CompressionReport
from pointwise.data.files import read_table
from pointwise.data.images import read_images
from pointwise.data.masks import read_masked_images
from pointwise.estimators import ImageClassifier, Segmenter, save
from pointwise.estimators import load as load_model

SOURCE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    print("a word")
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 5),
    )

def random():
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(x) + torch.rand(8)

    return Random()
"""
FILES = {"plan.json", "model.safetensors", "report.json", "report.html"}


@pytest.fixture(scope="module")
def image_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models for images that were hardly trained: ``stripes`` classifies, ``squares`` segments."""
    folder = tmp_path_factory.mktemp("image_models")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images, labels = stripes(40)
    quick = {"max_epochs": 1, "batch_size": 20, "random_state": 0}
    save(ImageClassifier(**quick).fit(images, labels), folder / "stripes-model")
    write_masks(folder / "squares")
    found = read_masked_images(folder / "squares", ignore=9)
    model = Segmenter(max_epochs=1, random_state=0, ignore=9).fit(found.images, found.masks)
    save(model, folder / "squares-model")
    shutil.rmtree(folder / "squares")
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(autouse=True)
def source(home: Path, image_models: Path) -> None:
    """A module of the user's, two models for images, and their images."""
    Path("compress_net.py").write_text(SOURCE, encoding="utf-8")
    for name in ("stripes-model", "squares-model"):
        shutil.copytree(image_models / name, name)
    write_images(Path("stripes"))
    write_masks(Path("squares"))


def built() -> nn.Module:
    names: dict[str, object] = {}
    exec(SOURCE, names)
    return names["build"]().eval()


def check_folder_fits(folder: str, network: nn.Module, example: torch.Tensor, share: float) -> None:
    """The folder is whole, and gives a network of at most this share of the multiply-adds."""
    assert {file.name for file in Path(folder).iterdir()} == FILES
    small = load(folder, network)
    before, after = count_costs(network, example).macs, count_costs(small, example).macs
    assert after <= share * before
    report = CompressionReport.from_json((Path(folder) / "report.json").read_text())
    assert (report.before.macs, report.after.macs) == (before, after)
    assert report.met
    assert small(example).shape == network(example).shape
    page = (Path(folder) / "report.html").read_text(encoding="utf-8")
    assert "Predicted error over budgets" in page


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


def test_a_compressed_table_model_predicts_in_place_of_the_given_one(pointwise):
    assert pointwise("compress iris-model --macs 0.5 --data iris --out small").code == 0
    model = load_model("iris-model")
    x = read_table("iris").frame.drop(columns="target")
    before = model.predict_proba(x)
    model.network_ = load("small", model.network_)
    after = model.predict_proba(x)
    assert abs(after - before).max() < 0.1
    assert abs(after - before).max() > 0


@pytest.mark.parametrize(
    ("name", "data", "share"), [("stripes", "stripes", 0.5), ("squares", "squares", 0.7)]
)
def test_a_model_for_images_is_compressed_by_unlabelled_images(name, data, share, pointwise):
    ran = pointwise(f"compress {name}-model --macs {share} --data {data} --out small")
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
    before = model.predict(images)
    model.network_ = load("small", model.network_)
    assert np.mean(model.predict(images) == before) > 0.8


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
        line = f"compress stripes-model --macs 0.5 --data stripes --seed 3 --out {out}"
        assert pointwise(line).code == 0
    for name in FILES:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_a_folder_of_ours_is_replaced(pointwise):
    assert pointwise("compress price-model --macs 0.9 --out small").code == 0
    before = Plan.from_json(Path("small/plan.json").read_text())
    assert pointwise("compress price-model --macs 0.7 --out small").code == 0
    assert Plan.from_json(Path("small/plan.json").read_text()) != before


# --- Refusals ---


def make_files() -> None:
    np.save("few.npy", np.zeros((4, 3, 9, 9)))
    np.save("words.npy", np.array([["a"]]))
    np.save("nan.npy", np.full((4, 3, 12, 12), np.nan, np.float32))
    np.save("none.npy", np.zeros((0, 3, 12, 12)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("cut.npy").write_bytes(b"123")
    Path("empty").mkdir()
    Path("no_rows.csv").write_text("a,b\n")
    Path("photo.jpg").write_bytes(b"no image")


NET = "compress compress_net:build --input 3,12,12 --out small"
REFUSALS = {
    "no_budget": (
        "compress price-model --out small",
        2,
        r"budget: give at least one of --macs, --params, --bytes",
    ),
    "share_above_1": (
        "compress price-model --macs 50 --out small",
        2,
        r"--macs: it must be a share above 0 up to 1, got 50",
    ),
    "share_nan": (
        "compress price-model --bytes nan --out small",
        2,
        r"--bytes: it must be a share above 0 up to 1, got nan",
    ),
    "share_0": (
        "compress price-model --params 0 --out small",
        2,
        r"--params: it must be a share above 0 up to 1, got 0",
    ),
    "out_of_reach": (
        "compress price-model --macs 0.001 --out small",
        1,
        r"^error: TableNetwork cannot be compressed: budget must be within reach: macs=0\.001 is "
        r"not, the smallest share of the macs is 0\.\d+ \(\d layers can be compressed\)$",
    ),
    "out_is_a_model": (
        "compress price-model --macs 0.9 --out price-model",
        1,
        r"^error: price-model holds other things than a compressed model, so it is left alone: "
        r"give another folder, or empty this one$",
    ),
    "out_is_a_file": (
        "compress price-model --macs 0.9 --out houses.csv",
        1,
        r"^error: houses\.csv is a file, a compressed model is a folder: give another name$",
    ),
    "no_module": (
        "compress nothing_here:build --macs 0.5 --out small",
        1,
        r"^error: there is no module 'nothing_here'",
    ),
    "no_weights": (
        "compress resnet50 --macs 0.5 --out small",
        1,
        r"^error: resnet50 has no weights of its own: give them with --weights$",
    ),
    "weights_of_a_folder": (
        "compress price-model --weights few.npy --macs 0.5 --out small",
        2,
        r"--weights: a model folder has its weights",
    ),
    "mean_of_a_folder": (
        "compress stripes-model --mean 0 --std 1 --macs 0.5 --out small",
        1,
        r"^error: --mean and --std are not for a model folder, which knows its pixels$",
    ),
    "mean_alone": (
        f"{NET} --mean 0,0,0 --macs 0.5",
        2,
        r"--std: give --mean and --std together",
    ),
    "std_of_0": (
        f"{NET} --mean 0,0,0 --std 0,1,1 --macs 0.5",
        2,
        r"they must be numbers with commas between them, those of --std above 0, got '0,0,0' and "
        r"'0,1,1'",
    ),
    "std_of_words": (f"{NET} --mean a --std 1 --macs 0.5", 2, r"they must be numbers with commas"),
    "mean_of_one": (
        f"{NET} --mean 0 --std 1 --data squares --macs 0.5",
        1,
        r"error: --mean must have one number per channel \(3\), got \(0\.0,\)$",
    ),
    "mean_of_an_array": (
        f"{NET} --mean 0,0,0 --std 1,1,1 --data few.npy --macs 0.5",
        1,
        r"error: --mean and --std are for images: an array goes in as it is$",
    ),
    "input": (f"{NET} --input 0 --macs 0.5", 2, r"--input: it must be channels, then sizes"),
    "images_for_a_table": (
        "compress price-model --macs 0.9 --data stripes --out small",
        1,
        r"^error: price-model is a model for tables: stripes is a folder or images, no table$",
    ),
    "table_for_images": (
        "compress stripes-model --macs 0.9 --data houses.csv --out small",
        1,
        r"^error: --data must be a folder of images or an idx file: houses\.csv is a table or "
        r"another file$",
    ),
    "data_missing": (
        "compress stripes-model --macs 0.9 --data nowhere --out small",
        1,
        r"^error: --data must be a folder of images or an idx file: nowhere is not there$",
    ),
    "data_empty": (
        "compress stripes-model --macs 0.9 --data empty --out small",
        1,
        r"^error: empty holds no images$",
    ),
    "other_columns": (
        "compress price-model --macs 0.9 --data iris --out small",
        1,
        r"error: iris lacks \d of the model's \d columns: ",
    ),
    "array_shape": (
        f"{NET} --data few.npy --macs 0.5",
        1,
        r"error: few\.npy must hold inputs of shape \(N, 3, 12, 12\), it holds \(4, 3, 9, 9\)$",
    ),
    "array_empty": (
        f"{NET} --data none.npy --macs 0.5",
        1,
        r"error: none\.npy must hold inputs of shape \(N, 3, 12, 12\), it holds \(0, 3, 12, 12\)$",
    ),
    "array_nan": (
        f"{NET} --data nan.npy --macs 0.5",
        1,
        r"error: Sequential cannot be compressed: ",
    ),
    "array_objects": (
        f"{NET} --data objects.npy --macs 0.5",
        1,
        r"error: objects\.npy cannot be read as an array: Array can't be memory-mapped: Python "
        r"objects in dtype\.$",
    ),
    "array_cut": (f"{NET} --data cut.npy --macs 0.5", 1, r"error: cut\.npy cannot be read as an "),
    "array_missing": (f"{NET} --data no.npy --macs 0.5", 1, r"error: there is no file no\.npy$"),
    "images_for_rows": (
        "compress compress_net:build --input 12 --data stripes --macs 0.5 --out small",
        1,
        r"error: --data takes images where --input is 1 or 3 channels, rows and columns, got 12: "
        r"give a \.npy file of inputs$",
    ),
    "wrong_input": (
        "compress compress_net:build --input 4,12,12 --macs 0.5 --out small",
        1,
        r"error: Sequential cannot be compressed: example must be an input of the model, which "
        r"fails on it: ",
    ),
    "input_too_large": (
        "compress compress_net:build --input 3,300000,300000 --macs 0.5 --out small",
        1,
        r"error: Sequential cannot be compressed: .*memory",
    ),
    "random_model": (
        "compress compress_net:random --input 8 --macs 0.5 --out small",
        1,
        r"^error: Random cannot be compressed: model must give the same every time",
    ),
    "exclude": (
        f"{NET} --exclude 99 --macs 0.5",
        1,
        r"error: Sequential cannot be compressed: exclude must hold paths of modules, the model "
        r"has no '99'$",
    ),
    "exclude_empty": (
        f"{NET} --exclude 1,,2 --macs 0.5",
        1,
        r"error: names must be separated by single commas, got '1,,2'$",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(case, pointwise):
    make_files()
    before = sorted(path.name for path in Path().iterdir())
    line, code, message = REFUSALS[case]
    ran = pointwise(line)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert "Traceback" not in ran.err
    said = " ".join(ran.err.replace("│", " ").split())
    assert re.search(message, said), said
    left = {path.name for path in Path().iterdir()} - {"__pycache__"}
    assert left == set(before)  # nothing written, nothing half done
