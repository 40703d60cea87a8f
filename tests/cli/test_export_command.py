"""``pointwise export``: folders and networks to ONNX and to C, and what is refused."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from builders import write_builders
from houses import houses
from safetensors.torch import save_file
from sklearn.datasets import load_iris

from pointwise.estimators import load
from pointwise.export import onnx_inputs


def test_a_folder_predicts_the_same(home, pointwise):
    ran = pointwise("export iris-model --out iris.onnx --json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["bytes"] == Path("iris.onnx").stat().st_size
    assert [port["name"] for port in told["outputs"]] == ["label", "probabilities"]
    X = load_iris(as_frame=True).data
    model = load("iris-model")
    found = onnxruntime.InferenceSession("iris.onnx").run(["label"], onnx_inputs(model, X))
    np.testing.assert_array_equal(found[0], model.predict(X))


def test_it_is_held_to_rows_of_a_file(home, pointwise):
    ran = pointwise("export price-model --out price.onnx --data houses.csv")
    assert ran.code == 0, ran.err
    assert f"on {len(houses()):,} rows" in ran.out
    assert "prediction: float64 (N,)" in ran.out


def test_intervals(home, pointwise):
    pointwise("fit houses.csv --target price --drop sold --test 0.5 --out small --seed 0")
    ran = pointwise("export small --out price.onnx --interval 0.5")
    assert (ran.code, ran.err) == (0, "")
    for name in ("prediction", "low", "high"):
        assert f"{name}: float64 (N,)" in ran.out
    ran = pointwise("export small --library --out price --interval 0.5")
    assert (ran.code, ran.err) == (0, "")
    assert "extern const double price_half_width[1];" in Path("price/price.h").read_text()


def test_pixels(home, pointwise):
    ran = pointwise("export iris-model --out iris.onnx --pixels")
    assert (ran.code, ran.err) == (0, "")
    assert "bands: float32 (N, 4, H, W)" in ran.out


def test_published_network_with_weights(home, pointwise):
    from pointwise.networks import build

    save_file(build("nin_mnist", channels=1).state_dict(), "w.safetensors")
    line = "nin_mnist --weights w.safetensors --input 1,28,28 --out nin.onnx"
    ran = pointwise(f"export {line}")
    assert (ran.code, ran.err) == (0, "")
    assert "input: float32 (N, 1, H, W)" in ran.out


def test_code_of_the_users(home, pointwise):
    write_builders()
    ran = pointwise("export convert_net:build --input 3,16,16 --out net.onnx")
    assert (ran.code, ran.err) == (0, "")
    found = onnxruntime.InferenceSession("net.onnx").run(
        None, {"input": torch.zeros(5, 3, 16, 16).numpy()}
    )
    assert len(found[0]) == 5


def test_a_folder_as_a_library(home, pointwise):
    ran = pointwise("export iris-model --library --out iris --json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["files"] == ["iris.h", "iris.c", "iris_code.o"]
    assert told["bytes"] == sum(Path("iris", name).stat().st_size for name in told["files"])
    assert "void iris_predict(const iris_row *rows" in told["functions"][0]


def test_pixels_as_a_library_for_another_machine(home, pointwise):
    line = "iris-model --library --pixels --type uint16 --target arm-64-android --out iris"
    ran = pointwise(f"export {line}")
    assert (ran.code, ran.err) == (0, "")
    assert "void iris_map(const uint16_t *bands" in ran.out
    assert "the files are for arm-64-android" in ran.out


def test_a_network_as_a_library(home, pointwise):
    write_builders()
    Path("chain.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(3, 4), nn.ReLU())\n"
    )
    save_file({"0.weight": torch.eye(4, 3), "0.bias": torch.zeros(4)}, "w.safetensors")
    ran = pointwise("export chain:build --weights w.safetensors --library --out net")
    assert (ran.code, ran.err) == (0, "")
    assert "void net_rows(const float *x, float *out, size_t positions);" in ran.out
    ran = pointwise("export convert_net:build --library --out other")
    assert ran.code == 1
    assert "is no chain of 1x1s, and only those become a library" in ran.err
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("iris-model --out iris.pb", "must end in .onnx"),
        ("iris-model --out none/iris.onnx", "there is no folder none"),
        ("iris-model --out iris-model/iris.onnx", "would replace a file of the model"),
        ("iris-model --out iris.onnx --input 4", "--input: a model folder has its own"),
        ("iris-model --out iris.onnx --columns a", "--columns: of the rows of --data"),
        ("iris-model --out iris.onnx --pixels --data rows.csv", "--data: rows to check with"),
        ("resnet50 --out net.onnx", "has no weights of its own"),
        ("resnet50 --out net.onnx --data rows.csv", "--data: for model folders only"),
        ("nobody --out net.onnx", "MODEL must be a model folder"),
        ("iris-model --out iris.onnx --opset 3", "'--opset'"),
        ("iris-model --out iris", "for a C library give --library"),
        ("iris-model --out iris.onnx --interval 0.9", "this one classifies"),
        ("iris-model --out iris.onnx --interval 2", "a share above 0 and below 1"),
        ("resnet50 --out net.onnx --interval 0.9", "--interval: for model folders only"),
        ("iris-model --out iris.onnx --target arm-64-android", "--target: of a library"),
        ("iris-model --out iris.onnx --library", "is called like an ONNX file"),
        ("iris-model --out iris-model --library", "would replace a file of the model"),
        ("iris-model --out iris --library --opset 18", "--opset: of ONNX files"),
        ("iris-model --out iris --library --target amiga", "'amiga' is no target"),
        ("iris-model --out iris --library --type uint8", "rows hold numbers in double"),
        ("resnet50 --out net --library --input 3,8,8", "--input: of ONNX files"),
    ],
)
def test_what_is_refused(line, message, home, pointwise):
    Path("iris-model/iris.onnx").write_bytes(b"")
    ran = pointwise(f"export {line}")
    assert ran.code in (1, 2)
    assert message in " ".join(ran.err.replace("│", "").split())
    assert not Path("iris.onnx").exists()
    assert not Path("iris").exists()
