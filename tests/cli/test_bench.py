"""``pointwise bench``: what the table, the object and the errors say; never how fast."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pointwise.estimators import Segmenter, save

SOURCE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )

def plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())

def rows():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))

def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    return Pair()

def stubborn():
    class Stubborn(nn.Conv2d):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies of me")

    return nn.Sequential(Stubborn(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))

def talks():
    print("hello")
    return build()
"""
QUICK = "--seconds 0"
SMALL = f"bench bench_net:build --input 3,9,9 {QUICK}"


@pytest.fixture(autouse=True)
def source(home: Path) -> None:
    """A module of the user's in the working folder."""
    Path("bench_net.py").write_text(SOURCE, encoding="utf-8")


@pytest.fixture
def no_halide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)


def words(text: str) -> str:
    """Text without the frames of its tables."""
    return " ".join(re.sub(r"[─-╿]+", " ", text).split())


NUMBER = r"[\d.,e-]+"
TIMES = rf"{NUMBER}x \({NUMBER} to {NUMBER}\)"


# --- Results ---


def test_the_table_shows_every_engine_and_below_it_what_was_fused(pointwise):
    pytest.importorskip("halide")
    ran = pointwise(SMALL)
    assert (ran.code, ran.err) == (0, "")
    found = words(ran.out)
    assert found.startswith("bench_net:build on 1 thread input run by median ms positions/s")
    rows = rf"1x3x9x9 PyTorch {NUMBER} {NUMBER} chunks {NUMBER} {NUMBER} {TIMES} fused .* {TIMES}"
    assert re.search(rows, found)
    below = ran.out.splitlines()[-3:]
    assert below[0] == "0: Conv2d: PyTorch (Conv2d has kernel size (3, 3), not 1)"
    assert below[1] == "1: 8 relu -> 8 relu -> 2: fused"
    assert re.fullmatch(r"largest difference: \d\.\de[-+]\d\d", below[2])


def test_without_halide_one_line_says_how_to_install_it(pointwise, no_halide):
    ran = pointwise(SMALL)
    assert (ran.code, ran.err) == (0, "")
    assert "fused" not in words(ran.out).partition("nothing ran fused")[0]
    line = "nothing ran fused: halide is not installed: pip install 'pointwise[fast]'"
    assert ran.out.splitlines().count(line) == 1
    assert ran.out.count("halide") == 1


def test_a_network_without_chains_says_so(pointwise):
    ran = pointwise(f"bench bench_net:plain --input 3,9,9 {QUICK}")
    assert (ran.code, ran.err) == (0, "")
    assert "nothing ran fused: no chain of pointwise maps was found in it\n" in ran.out


def test_json_holds_the_figures(pointwise, no_halide):
    ran = pointwise(f"{SMALL} --threads 1 --json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert (told["model"], told["threads"]) == ("bench_net:build", 1)
    (one,) = told["inputs"]
    assert (one["shape"], one["positions"]) == ([1, 3, 9, 9], 81)
    assert [run["name"] for run in one["runs"]] == ["PyTorch", "chunks"]
    for run in one["runs"]:
        assert run["positions_per_s"] == pytest.approx(81 / run["seconds"])
    assert one["runs"][1]["speedup"]["rounds"] >= 15
    assert 0 <= told["largest_difference"]["chunks"] < 1e-4
    assert [part["path"] for part in told["parts"]] == ["0", "1"]


def test_a_fitted_table_is_timed_on_ever_more_rows(pointwise, no_halide):
    ran = pointwise(f"bench price-model {QUICK}")
    assert (ran.code, ran.err) == (0, "")
    found = words(ran.out)
    assert found.startswith("price-model on 1 thread")
    assert re.search(r" 1 row PyTorch .* 1,000 rows PyTorch ", found)
    line = (
        "at most 1,000 rows, not 1,000,000: that would take more than 0 s; a larger --seconds "
        "allows it"
    )
    assert line in ran.out.splitlines()
    assert ran.out.splitlines()[-2].startswith("network: 7 [")


def test_a_fitted_table_is_timed_on_a_map_of_its_columns(pointwise, no_halide):
    told = json.loads(pointwise(f"bench price-model --input 7,6,5 {QUICK} --json").out)
    assert [one["shape"] for one in told["inputs"]] == [[1, 7, 6, 5]]
    assert told["inputs"][0]["positions"] == 30


def test_channels_alone_are_rows(pointwise, no_halide):
    told = json.loads(pointwise(f"bench bench_net:rows --input 3 {QUICK} --json").out)
    assert [one["shape"] for one in told["inputs"]] == [[1, 3], [1000, 3]]
    assert told["cut"] == {"wanted": 1_000_000, "used": 1000, "limit": "time"}


def test_an_image_model_is_timed_on_one_of_its_images(pointwise, no_halide):
    pixels = (torch.rand(12, 3, 8, 8) * 255).byte().numpy()
    model = Segmenter(widths=(4, 8), max_epochs=1, batch_size=8, random_state=0)
    save(model.fit(pixels, pixels[:, 0] > 128), "masks-model")
    told = json.loads(pointwise(f"bench masks-model {QUICK} --json").out)
    assert [one["shape"] for one in told["inputs"]] == [[1, 3, 8, 8]]


def test_a_published_network_needs_no_weights(pointwise, no_halide):
    told = json.loads(pointwise(f"bench nin_mnist --input 1,28,28 {QUICK} --json").out)
    assert told["inputs"][0]["shape"] == [1, 1, 28, 28]
    assert any(part["engine"] == "chunks" for part in told["parts"])


def test_weights_are_loaded_and_what_the_builder_prints_is_no_result(pointwise, no_halide):
    names: dict[str, object] = {}
    exec(SOURCE, names)
    huge = {key: 1e3 * value for key, value in names["build"]().state_dict().items()}
    save_file(huge, "huge.safetensors")
    line = f"bench bench_net:talks --input 3,9,9 {QUICK} --json"
    ran = pointwise(f"{line} --weights huge.safetensors")
    assert (ran.code, ran.err) == (0, "hello\n")
    assert json.loads(ran.out)["largest_difference"]["chunks"] < 1e-4 * 1e9


# --- Refusals ---


def make_files() -> None:
    save_file({"0.weight": torch.ones(2)}, "few.safetensors")
    Path("some.pt2").write_bytes(b"123")
    Path("empty").mkdir()


REFUSALS = {
    "name": (
        "bench resnet5",
        1,
        r"^error: MODEL must be a model folder, module:function or one of attention_unet.*, "
        r"got 'resnet5'$",
    ),
    "file": (
        "bench few.safetensors",
        1,
        r"^error: MODEL must be .*; few\.safetensors is a file: weights go with --weights$",
    ),
    "program": ("bench some.pt2", 1, r"^error: MODEL cannot be some\.pt2: a \.pt2 file can run"),
    "empty_folder": ("bench empty", 1, r"^error: .*empty.*config\.json"),
    "module": ("bench bench_no:build", 1, r"^error: there is no module 'bench_no'"),
    "weights_of_a_folder": (
        "bench price-model --weights few.safetensors",
        2,
        r"--weights: a model folder has its weights",
    ),
    "weights_of_another": (
        "bench bench_net:build --weights few.safetensors",
        1,
        r"^error: few\.safetensors: state_dict must fit Sequential: it lacks 0\.bias",
    ),
    "shape": (
        "bench bench_net:build --input 4,9,9",
        1,
        r"^error: Sequential cannot take x of shape \(1, 4, 9, 9\): Given groups=1",
    ),
    "columns": (
        "bench price-model --input 3",
        1,
        r"^error: TableNetwork cannot take x of shape \(1000, 3\): x must have shape \(N, 7, "
        r"\*S\), got \(1000, 3\)$",
    ),
    "shape_text": ("bench bench_net:build --input 3x9", 2, r"--input: it must be channels.*'3x9'"),
    "outputs": (
        "bench bench_net:pair --input 3,9",
        1,
        r"^error: Pair must give one tensor, it gives a tuple$",
    ),
    "copy": (
        "bench bench_net:stubborn --input 3,9,9",
        1,
        r"^error: Sequential cannot be timed: model must be one .*: no copies of me$",
    ),
    "threads": (
        "bench bench_net:build --threads 100000",
        2,
        r"--threads: this machine has [\d,]+ processors?, got 100000",
    ),
    "seconds": ("bench bench_net:build --seconds -1", 2, r"Invalid value for '--seconds'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_of_bench_is_refused_in_one_sentence(case, pointwise):
    make_files()
    line, code, message = REFUSALS[case]
    ran = pointwise(line)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    said = " ".join(ran.err.replace("│", " ").split())
    assert re.search(message, said), said
    assert code == 2 or len(ran.err.strip().splitlines()) == 1


def test_a_network_that_the_compiled_one_differs_from_is_refused(pointwise, monkeypatch):
    def differs(*_: object, **__: object) -> nn.Module:
        from pointwise.errors import DifferenceError

        raise DifferenceError("the compiled network differs from the network by 1, more than 0")

    monkeypatch.setattr("pointwise.runtime.bench.compile_network", differs)
    ran = pointwise(SMALL)
    assert ran.code == 1
    assert ran.err == ("error: the compiled network differs from the network by 1, more than 0\n")
