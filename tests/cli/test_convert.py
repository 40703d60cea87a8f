"""``pointwise convert``: what is written computes the same, and wrong use is refused in words."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from pointwise.estimators import load
from pointwise.networks import build
from pointwise.surgery.conversion import to_conv, to_linear
from pointwise.surgery.convolutionalize import convolutionalize

SOURCE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.ReLU(),
        nn.Conv2d(16, 8, 1, stride=2), nn.Flatten(), nn.Linear(128, 10), nn.Dropout(), nn.ReLU(),
        nn.Linear(10, 5),
    )

class Holder:
    @staticmethod
    def make():
        return build()

def fails():
    raise KeyError("no such size")

def stops():
    raise SystemExit(3)

def number():
    return 3

def needs(width):
    return nn.Linear(width, width)

def late():
    import convert_sibling
    return convert_sibling.make()

def looks():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)

    return Looks()

TABLE = {}

def talks():
    print("hello")
    return build()
"""
SMALL = "convert convert_net:build --input 3,16,16"


@pytest.fixture(autouse=True)
def source(home: Path) -> None:
    """A module of the user's in the working folder, imported anew for every test."""
    Path("convert_net.py").write_text(SOURCE, encoding="utf-8")
    Path("convert_sibling.py").write_text("from convert_net import build as make\n", "utf-8")
    Path("convert_broken.py").write_text("import nothing_of_this_name\n", "utf-8")
    Path("convert_wrong.py").write_text("def build(:\n", "utf-8")


@pytest.fixture
def model() -> nn.Module:
    names: dict[str, object] = {}
    exec(SOURCE, names)
    return names["build"]().eval()


X = torch.linspace(-1, 1, 4 * 3 * 16 * 16).reshape(4, 3, 16, 16)


# --- What is written ---


@pytest.mark.parametrize("to", ["conv", "linear", "dense"])
def test_weights_are_those_of_the_converted_network(to, pointwise, model):
    ran = pointwise(f"{SMALL} --to {to} --out new.safetensors")
    assert (ran.code, ran.err) == (0, "")
    ways = {
        "conv": lambda: to_conv(model),
        "linear": lambda: to_linear(model),
        "dense": lambda: convolutionalize(model, X),
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


@pytest.mark.parametrize("to", ["conv", "linear", "torch"])
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


class Evil:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def make_files() -> None:
    torch.save(Evil(), "evil.pt")
    torch.save({"epoch": 3, "loss": [1.0]}, "none.pt")
    save_file({"0.weight": torch.ones(2), "other": torch.ones(3)}, "few.safetensors")
    Path("cut.safetensors").write_bytes(b"123")
    Path("some.pt2").write_bytes(b"123")
    Path("empty").mkdir()


OUT = "--to conv --out new.safetensors"
REFUSALS = {
    "module": (
        f"convert convert_no:build {OUT}",
        1,
        r"^error: there is no module 'convert_no', neither in the current directory nor installed; "
        r"give MODEL as module:function, without \.py$",
    ),
    "submodule": (
        f"convert convert_net.deep:build {OUT}",
        1,
        r"^error: there is no module 'convert_net\.deep'|importing convert_net\.deep failed",
    ),
    "broken_module": (
        f"convert convert_broken:build {OUT}",
        1,
        r"^error: importing convert_broken failed: ModuleNotFoundError: No module named "
        r"'nothing_of_this_name'$",
    ),
    "wrong_module": (
        f"convert convert_wrong:build {OUT}",
        1,
        r"^error: importing convert_wrong failed: SyntaxError: ",
    ),
    "function": (
        f"convert convert_net:bild {OUT}",
        1,
        r"^error: convert_net has no function 'bild'; it has build, Holder, fails, stops",
    ),
    "not_callable": (
        f"convert convert_net:TABLE {OUT}",
        1,
        r"^error: convert_net:TABLE must be a function that builds a network, it is a dict$",
    ),
    "fails": (
        f"convert convert_net:fails {OUT}",
        1,
        r"^error: convert_net:fails\(\) must build a network, it failed: KeyError: 'no such size'$",
    ),
    "stops": (
        f"convert convert_net:stops {OUT}",
        1,
        r"^error: convert_net:stops\(\) must build a network, it failed: SystemExit: 3$",
    ),
    "arguments": (
        f"convert convert_net:needs {OUT}",
        1,
        r"it failed: TypeError: needs\(\) missing 1 required positional argument: 'width'$",
    ),
    "no_network": (
        f"convert convert_net:number {OUT}",
        1,
        r"^error: convert_net:number\(\) must return a torch\.nn\.Module, it returned a int$",
    ),
    "shape": (
        f"convert convert_net:build --input 4,16,16 {OUT}",
        1,
        r"^error: Sequential cannot take x of shape \(2, 4, 16, 16\): Given groups=1, weight",
    ),
    "shape_text": (f"{SMALL} --input 3x16 {OUT}", 2, r"--input: it must be channels.*'3x16'"),
    "name": (
        f"convert resnet5 {OUT}",
        1,
        r"^error: MODEL must be a model folder, module:function or one of attention_unet.*, "
        r"got 'resnet5'$",
    ),
    "file": (
        f"convert few.safetensors {OUT}",
        1,
        r"^error: MODEL must be .*got 'few\.safetensors'; few\.safetensors is a file: weights go "
        r"with --weights$",
    ),
    "program": (
        f"convert some.pt2 {OUT}",
        1,
        r"^error: MODEL cannot be some\.pt2: a \.pt2 file can run code when it is read, so it is "
        r"written and never read; give module:function$",
    ),
    "empty_folder": (f"convert empty {OUT}", 1, r"^error: .*empty.*config\.json"),
    "published": (
        f"convert resnet50 {OUT}",
        1,
        r"^error: resnet50 has no weights of its own: give them with --weights$",
    ),
    "weights_of_a_folder": (
        f"convert price-model --weights few.safetensors {OUT}",
        2,
        r"--weights: a model folder has its weights",
    ),
    "weights_missing": (
        f"{SMALL} --weights no.safetensors {OUT}",
        1,
        r"^error: there is no file no\.safetensors; --weights takes a safetensors file$",
    ),
    "weights_program": (
        f"{SMALL} --weights some.pt2 {OUT}",
        1,
        r"^error: --weights cannot be some\.pt2: a \.pt2 file can run code",
    ),
    "weights_cut": (
        f"{SMALL} --weights cut.safetensors {OUT}",
        1,
        r"^error: cut\.safetensors does not hold tensors as safetensors says: ",
    ),
    "weights_evil": (
        f"{SMALL} --weights evil.pt {OUT}",
        1,
        r"^error: evil\.pt cannot be read as weights alone, which is all that is read of a "
        r"checkpoint \(UnpicklingError\); save its state_dict\(\) as safetensors$",
    ),
    "weights_none": (
        f"{SMALL} --weights none.pt {OUT}",
        1,
        r"^error: none\.pt must hold tensors by name, it holds a dict with 'epoch', 'loss'$",
    ),
    "weights_of_another": (
        f"{SMALL} --weights few.safetensors {OUT}",
        1,
        r"^error: few\.safetensors: state_dict must fit Sequential: it lacks 0\.bias, 2\.bias, "
        r"2\.weight and 6 more$",
    ),
    "to": (f"{SMALL} --to matrix --out new.safetensors", 2, r"'matrix' is not one of 'conv', "),
    "suffix": (
        f"{SMALL} --to conv --out new.pth",
        2,
        r"--out: the file must end in \.safetensors or \.pt2, got 'new\.pth'",
    ),
    "out_folder": (
        f"{SMALL} --to conv --out no/new.pt2",
        1,
        r"^error: cannot write no/new\.pt2: there is no folder no$",
    ),
    "out_is_weights": (
        f"{SMALL} --weights few.safetensors --to conv --out few.safetensors",
        1,
        r"^error: --out would replace the weights that are read, few\.safetensors: give another$",
    ),
    "dense": (
        "convert price-model --to dense --out new.pt2",
        1,
        r"^error: TableNetwork cannot be converted: example must be images of shape "
        r"\(N, C, H, W\), got \(2, 7\)$",
    ),
    "export": (
        "convert convert_net:looks --input 4 --to conv --out new.pt2",
        1,
        r"^error: Looks cannot be exported: .*; write \.safetensors instead$",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(case, pointwise):
    make_files()
    before = sorted(path.name for path in Path().iterdir())
    line, code, message = REFUSALS[case]
    ran = pointwise(line)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    said = " ".join(ran.err.replace("│", " ").split())
    assert re.search(message, said), said
    assert code == 2 or len(ran.err.strip().splitlines()) == 1
    left = {path.name for path in Path().iterdir()} - {"__pycache__"}
    assert left == set(before)  # nothing written, nothing run, nothing half done


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
