"""``pointwise convert``: what is written computes the same."""

import json
import re
from pathlib import Path

import pytest
import torch
from builders import OUT, SMALL, SOURCE, write_builders
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from pointwise.estimators import load
from pointwise.networks import build
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.convolutionalize import convolutionalize
from pointwise.surgery.fold import fold


@pytest.fixture(autouse=True)
def source(home: Path) -> None:
    """A module of the user's in the working folder, imported anew for every test."""
    write_builders()


@pytest.fixture
def model() -> nn.Module:
    names: dict[str, object] = {}
    exec(SOURCE, names)
    return names["build"]().eval()


X = torch.linspace(-1, 1, 4 * 3 * 16 * 16).reshape(4, 3, 16, 16)


# --- What is written ---


@pytest.mark.parametrize("to", ["conv", "linear", "pointwise", "dense", "fold"])
def test_weights_are_those_of_the_converted_network(to, pointwise, model):
    ran = pointwise(f"{SMALL} --to {to} --out new.safetensors")
    assert (ran.code, ran.err) == (0, "")
    ways = {
        "conv": lambda: to_conv(model),
        "linear": lambda: to_linear(model),
        "pointwise": lambda: to_pointwise(model),
        "dense": lambda: convolutionalize(model, X),
        "fold": lambda: fold(model, X),
    }
    expected, swaps = ways[to]()
    assert load_file("new.safetensors").keys() == expected.state_dict().keys()
    torch.testing.assert_close(
        load_file("new.safetensors"), dict(expected.state_dict()), rtol=0, atol=0
    )
    with safe_open("new.safetensors", "pt") as file:
        told = json.loads(file.metadata()["pointwise"])
    assert (told["to"], told["input"]) == (to, [3, 16, 16])
    assert len(told["swaps"]) == len(swaps)
    assert f"convert_net:build to {to}" in ran.out
    assert f"{told['converted']} layer" in ran.out


@pytest.mark.parametrize("to", ["conv", "linear", "pointwise", "torch", "fold"])
def test_an_exported_program_computes_the_same_for_any_batch(to, pointwise, model):
    ran = pointwise(f"{SMALL} --to {to} --out new.pt2")
    assert (ran.code, ran.err) == (0, "")
    program = torch.export.load("new.pt2").module()
    torch.testing.assert_close(program(X), model(X))
    torch.testing.assert_close(program(X[:3]), model(X[:3]))


def test_a_dense_program_takes_larger_images(pointwise, model):
    ran = pointwise(f"{SMALL} --to dense --out new.pt2 --json")
    assert (ran.code, ran.err) == (0, "")
    program = torch.export.load("new.pt2").module()
    torch.testing.assert_close(program(X).flatten(1), model(X))
    large = torch.linspace(-1, 1, 2 * 3 * 40 * 32).reshape(2, 3, 40, 32)
    dense, _ = convolutionalize(model, X)
    torch.testing.assert_close(program(large), dense(large))
    assert program(large).shape == (2, 5, 7, 5)


def test_a_dense_classifier_tells_its_windows(pointwise):
    ran = pointwise(f"{SMALL} --to dense --out new.safetensors --json")
    told = json.loads(ran.out)
    assert (told["window"], told["stride"]) == ([16, 16], [4, 4])
    ran = pointwise(f"{SMALL} --to dense --out new.safetensors")
    assert (
        "each position stands for a window of 16 x 16 pixels, 4 x 4 from one to the next" in ran.out
    )


def test_statistics_of_the_whole_image_are_allowed_where_asked_for(pointwise):
    ran = pointwise(
        "convert convert_net:squeezed --input 3,8,8 --to dense --whole-image "
        "--out new.safetensors --json"
    )
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["window"] == [8, 8]


def test_a_transformer_runs_channels_first(pointwise):
    line = "convert convert_net:tokens --input 5,8 --to channels-first --json"
    ran = pointwise(f"{line} --out new.safetensors")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    by_path = {swap["path"]: swap for swap in told["swaps"]}
    assert by_path["up"]["after"] == "Conv2d(8, 16, 1x1)"
    assert load_file("new.safetensors")["up.weight"].shape == (16, 8, 1, 1)
    ran = pointwise(f"{line} --out new.pt2")
    assert (ran.code, ran.err) == (0, "")
    names: dict[str, object] = {}
    exec(SOURCE, names)
    program, x = torch.export.load("new.pt2").module(), torch.randn(3, 5, 8)
    torch.testing.assert_close(program(x), names["tokens"]().eval()(x))


def test_an_exported_program_has_the_maps_of_attention(pointwise):
    ran = pointwise("convert convert_net:attention --input 5,8 --to conv --out new.pt2")
    assert (ran.code, ran.err) == (0, "")
    names: dict[str, object] = {}
    exec(SOURCE, names)
    program, x = torch.export.load("new.pt2").module(), torch.randn(3, 5, 8)
    torch.testing.assert_close(program(x), names["attention"]().eval()(x))


def test_permutes_count_as_no_layers(pointwise):
    ran = pointwise(
        "convert convert_net:attention --input 5,8 --to channels-first --out new.safetensors --json"
    )
    told = json.loads(ran.out)
    assert told["swaps"][-1]["before"].endswith(" permutes")
    # the attention itself, and its four maps
    assert told["converted"] == 5


def test_norms_are_folded(pointwise):
    ran = pointwise(
        "convert convert_net:normed --input 3,8,8 --to fold --out new.safetensors --json"
    )
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    by_path = {swap["path"]: swap for swap in told["swaps"]}
    assert by_path["1"]["reason"] == "folded into '0'"
    assert load_file("new.safetensors").keys() == {"0.weight", "0.bias"}


def test_the_rounding_of_the_network_itself_is_no_difference(pointwise):
    ran = pointwise("convert convert_net:cancels --input 4 --to fold --out new.safetensors --json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["max_relative"] > 1e-5  # more than equal networks may differ by
    assert "of the result in float64 the given model is" in told["swaps"][-1]["reason"]


def test_nothing_to_fold_is_told(pointwise):
    ran = pointwise("convert convert_net:looks --input 4 --to fold --out new.safetensors")
    assert ran.code == 0
    assert ran.out.startswith("no layer to convert; equal to 0 (0 of the largest output)")


def test_json_tells_what_was_done_and_how_equal_it_is(pointwise):
    ran = pointwise(f"{SMALL} --to conv --out new.safetensors --json")
    told = json.loads(ran.out)
    assert told["out"] == "new.safetensors"
    assert told["bytes"] == Path("new.safetensors").stat().st_size
    assert (told["converted"], told["left"]) == (2, 2)
    assert 0 <= told["max_relative"] < 1e-5
    by_path = {swap["path"]: swap for swap in told["swaps"]}
    assert by_path["6"]["before"] == "Linear(128, 10)"
    assert by_path["6"]["after"].startswith("Conv2d(128, 10, 1x1)")
    assert by_path["4"]["after"] is None
    assert by_path["4"]["reason"] == "stride (2, 2) drops positions"


def test_people_get_a_table_of_what_changed_and_why_not(pointwise):
    ran = pointwise(f"{SMALL} --to linear --out new.safetensors")
    words = " ".join(re.sub(r"[│┃]", " ", ran.out).split())
    assert "2 Conv2d(8, 16, 1x1) Linear(8, 16) in place of conv2d" in words
    assert "4 Conv2d(16, 8, 1x1, stride 2) left alone stride (2, 2) drops positions" in words
    assert "1 layer converted, 2 left alone; equal to 0 (0 of the largest output)" in words
    assert f"{Path('new.safetensors').stat().st_size:,} bytes: new.safetensors" in words


def test_a_fitted_model_is_converted_on_one_row(pointwise):
    ran = pointwise("convert price-model --to conv --out new.pt2 --json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["input"] == [7]
    assert told["converted"] >= 2
    program, network = torch.export.load("new.pt2").module(), load("price-model").network_
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(program(rows), network(rows))


def test_the_row_of_the_whole_model_counts_as_no_layer(pointwise):
    ran = pointwise("convert price-model --to torch --out new.safetensors --json")
    told = json.loads(ran.out)
    layers = [swap for swap in told["swaps"] if swap["path"]]
    assert [swap["path"] for swap in told["swaps"] if swap not in layers] == [""]
    assert told["converted"] == sum(swap["after"] is not None for swap in layers) >= 2


def test_a_published_network_is_converted_with_weights(pointwise):
    torch.manual_seed(0)
    network = build("nin_mnist").eval()
    save_file(network.state_dict(), "nin.safetensors")
    ran = pointwise(
        "convert nin_mnist --weights nin.safetensors --input 1,28,28 --to linear "
        "--out new.safetensors --json"
    )
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["converted"] >= 4


def test_what_the_builder_prints_is_no_result(pointwise):
    ran = pointwise("convert convert_net:talks --input 3,16,16 --to conv --out new.pt2 --json")
    assert (ran.code, ran.err) == (0, "hello\n")
    assert json.loads(ran.out)["converted"] == 2


# --- Weights ---


def changed_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value + 1 for key, value in model.state_dict().items()}


CHECKPOINTS = {
    "safetensors": ("w.safetensors", save_file),
    "state_dict": ("w.pt", torch.save),
    "entry": ("w.ckpt", lambda w, path: torch.save({"epoch": 3, "state_dict": w}, path)),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_weights_are_loaded_first(case, pointwise, model):
    name, save = CHECKPOINTS[case]
    save(changed_weights(model), name)
    ran = pointwise(f"{SMALL} --weights {name} --to torch --out new.safetensors")
    assert (ran.code, ran.err) == (0, "")
    torch.testing.assert_close(load_file("new.safetensors"), changed_weights(model), rtol=0, atol=0)


def test_the_current_directory_is_on_the_path_while_the_builder_runs(pointwise):
    ran = pointwise(f"convert convert_net:late --input 3,16,16 {OUT}")
    assert (ran.code, ran.err) == (0, "")
    ran = pointwise(f"convert convert_net:Holder.make --input 3,16,16 {OUT}")
    assert (ran.code, ran.err) == (0, "")


def test_an_older_file_is_replaced_as_one_step(pointwise, monkeypatch):
    Path("new.safetensors").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pointwise._atomic.os.fsync", full)
        ran = pointwise(f"{SMALL} {OUT}")
    assert ran.err == "error: cannot write new.safetensors: No space left on device\n"
    assert Path("new.safetensors").read_bytes() == b"old"
    assert pointwise(f"{SMALL} {OUT}").code == 0
    assert load_file("new.safetensors")
