"""Chains of 1x1s as C: every layout, count and distance in memory against the chain in float64."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pointwise.errors import DataError, DifferenceError
from pointwise.export import to_library
from pointwise.export.library import making, proving
from pointwise.export.library.calling import run_network
from pointwise.export.library.running import compiler, linked
from pointwise.functional import Affine
from pointwise.nn import MLP
from pointwise.runtime import read_chain
from pointwise.runtime.chain import Activation, Argmax, Chain, Softmax
from pointwise.runtime.reference import evaluate

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")

CHAINS = {
    "one": Chain(1, [Affine(torch.full((1, 1), 2.0))]),
    "narrow": read_chain(MLP([4, 16, 8, 1]).eval()),
    "copied": read_chain(MLP([30, 20, 40], activation=nn.GELU).eval()),
    "by blocks": read_chain(MLP([64, 256, 64]).eval()),
    "odd": read_chain(MLP([7, 33, 5, 17], activation=nn.Tanh).eval()),
    "members": read_chain(MLP([5, 8, 3], members=4).eval()),
    "classes": read_chain(MLP([6, 16, 4]).eval()).then(Softmax(), Argmax()),
    "nothing": Chain(3, []),
    "heap": read_chain(MLP([300, 700, 300]).eval()),
}


def built(chain: Chain, folder, dtype: str = "float32", target: str = "host"):
    made = making.of_chain(chain, "net", "a test", dtype, target)
    return linked(made.files, folder, compiler())


@needs_compiler
@pytest.mark.parametrize("name", CHAINS)
def test_every_layout_and_count(name, tmp_path):
    chain = CHAINS[name]
    library = built(chain, tmp_path)
    x = np.random.default_rng(0).standard_normal((700, chain.c_in)).astype(np.float32)
    expected = evaluate(chain, torch.from_numpy(x).double()).numpy()
    for count in (0, 1, 15, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 513, 700):
        for planar, gap in ((False, 0), (True, 0), (True, 5)):
            y = run_network(library, "net", chain, x[:count], planar=planar, gap=gap)
            if chain.dtype:
                assert np.sum(y != expected[:count]) <= 1  # where two classes are as likely
            else:
                np.testing.assert_allclose(y, expected[:count], atol=2e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float64", "uint8", "int8", "uint16", "int16", "int32"])
def test_types_of_inputs(dtype, tmp_path):
    chain = read_chain(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 2)))
    library = built(chain, tmp_path, dtype)
    rng = np.random.default_rng(0)
    x = (100 * rng.standard_normal((300, 5))).astype(dtype)
    expected = evaluate(chain, torch.from_numpy(x.astype(np.float64))).numpy()
    for planar in (False, True):
        y = run_network(library, "net", chain, x, planar=planar)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@needs_compiler
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish])
def test_a_missing_value_stays_missing(activation, tmp_path):
    chain = read_chain(MLP([3, 8, 2], activation=activation).eval())
    library = built(chain, tmp_path)
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    x[7, 1] = np.nan
    for planar in (False, True):
        y = run_network(library, "net", chain, x, planar=planar)
        assert np.flatnonzero(np.isnan(y).all(1)).tolist() == [7]
        assert np.isnan(y).sum() == 2


@needs_compiler
@pytest.mark.parametrize("name", ["narrow", "copied", "by blocks"])
def test_more_positions_than_one_call_takes(name, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "LONGEST", 1)  # one step of both kinds of memory
    chain = CHAINS[name]
    library = built(chain, tmp_path)
    x = np.random.default_rng(0).standard_normal((50_001, chain.c_in)).astype(np.float32)
    expected = evaluate(chain, torch.from_numpy(x)).numpy()
    for planar in (False, True):
        y = run_network(library, "net", chain, x, planar=planar)
        np.testing.assert_allclose(y, expected, atol=2e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.parametrize("name", ["narrow", "copied"])
def test_channels_too_far_apart_for_32_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "FARTHEST", making.LONGEST + 1)
    chain = CHAINS[name]
    library = built(chain, tmp_path)
    x = np.random.default_rng(0).standard_normal((1001, chain.c_in)).astype(np.float32)
    y = run_network(library, "net", chain, x, planar=True)
    np.testing.assert_allclose(y, evaluate(chain, torch.from_numpy(x)).numpy(), atol=2e-5)


CODE = ("height_code_few.o", "height_code_rows.o", "height_code_planar.o")

PROGRAM = """
#include <stdio.h>
#include "height.h"

int main(void)
{
    float x[100 * HEIGHT_INPUTS], out[100 * HEIGHT_OUTPUTS];
    for (int i = 0; i < 100 * HEIGHT_INPUTS; i++) x[i] = (float)(i % 7) - 3.0f;
    height_rows(x, out, 100);
    for (int i = 0; i < 100; i++) printf("%.9g\\n", out[i]);
    height_planar(x, 100, out, 100, 100);
    for (int i = 0; i < 100; i++) printf("%.9g\\n", out[i]);
    return 0;
}
"""


@needs_compiler
@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        (["gcc", "-std=c99"], "c"),
        (["gcc", "-std=c11", "-fsanitize=address,undefined"], "c"),
        (["g++"], "cpp"),
    ],
)
def test_a_program_that_uses_it(command, suffix, tmp_path):
    if shutil.which(command[0]) is None or sys.platform != "linux":
        pytest.skip("needs GNU's compilers")
    network = MLP([3, 16, 1])
    home = tmp_path / "height"
    done = to_library(network, home)
    assert done.files == ("height.h", "height.c", *CODE)
    assert done.largest_difference < 1e-6
    assert done.notes == ()
    assert "height_rows(const float *x, float *out, size_t positions);" in str(done)
    (home / f"main.{suffix}").write_text(PROGRAM)
    strict = ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    for compile_ in (
        ["gcc", *command[1:], *strict, "-c", "height.c"]
        if suffix == "c"
        else ["gcc", *strict, "-c", "height.c"],
        [*command, *strict, "-o", "run", f"main.{suffix}", "height.o", *CODE],
    ):
        subprocess.run(compile_, cwd=home, check=True)
    ran = subprocess.run([home / "run"], capture_output=True, check=True, text=True)
    check_program(ran.stdout, network)


def check_program(lines: str, network: MLP) -> None:
    found = np.array(lines.split(), dtype=np.float32).reshape(2, 100)
    x = torch.arange(300).remainder(7).float() - 3
    with torch.no_grad():
        by_rows = network(x.reshape(100, 3))[:, 0]
        planar = network(x.reshape(1, 3, 100))[0, 0]
    np.testing.assert_allclose(found, torch.stack([by_rows, planar]), atol=1e-6)


@pytest.mark.parametrize(
    ("target", "start", "suffix"),
    [
        ("arm-64-linux", b"\x7fELF", ".o"),
        ("arm-64-osx", b"\xcf\xfa\xed\xfe", ".o"),
        ("x86-64-linux-avx-avx2-f16c-fma-sse41", b"\x7fELF", ".o"),
        ("x86-64-windows", b"\x64\x86", ".obj"),
        ("wasm-32-wasmrt-wasm_simd128", b"\0asm", ".o"),
    ],
)
def test_code_for_other_machines(target, start, suffix, tmp_path):
    done = to_library(MLP([3, 8, 1]), tmp_path / "net", target=target)
    assert done.files[2:] == tuple(f"net_code_{kind}{suffix}" for kind in ("few", "rows", "planar"))
    for name in done.files[2:]:
        assert (tmp_path / "net" / name).read_bytes().startswith(start)
    assert f"for {target}" in str(done)
    header = (tmp_path / "net" / "net.h").read_text().replace("\n * ", "")
    assert target in header.replace(" ", "")


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="for x86")
@pytest.mark.parametrize("features", ["", "-sse41", "-avx-avx2-f16c-fma-sse41"])
@pytest.mark.parametrize("name", ["narrow", "copied", "members"])
def test_older_processors_of_this_kind(features, name, tmp_path):
    if "avx2" in features and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    chain = CHAINS[name]
    library = built(chain, tmp_path, target=f"x86-64-linux{features}")
    x = np.random.default_rng(0).standard_normal((333, chain.c_in)).astype(np.float32)
    expected = evaluate(chain, torch.from_numpy(x)).numpy()
    for planar in (False, True):
        y = run_network(library, "net", chain, x, planar=planar)
        np.testing.assert_allclose(y, expected, atol=2e-5, rtol=1e-5)


WASI = """
const { WASI } = require("wasi"), fs = require("fs");
const wasi = new WASI({ version: "preview1" });
WebAssembly.instantiate(fs.readFileSync("run"), wasi.getImportObject()).then((made) =>
  wasi.start(made.instance)
);
"""

ELSEWHERE = {
    "arm-64-linux": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64-static", "./run"]),
    "arm-64-linux-arm_dot_prod-arm_fp16": (
        ["aarch64-linux-gnu-gcc", "-static"],
        ["qemu-aarch64-static", "./run"],
    ),
    "x86-64-windows": (["x86_64-w64-mingw32-gcc"], ["wine", "run"]),
    "wasm-32-wasmrt-wasm_simd128": (
        ["clang", "--target=wasm32-wasi", "-mbulk-memory", "-msimd128"],
        ["node", "--no-warnings", "-e", WASI],
    ),
}
"""Other machines: what builds a program for them, and what runs it here."""


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_program_on_another_machine(target, tmp_path):
    build, run = ELSEWHERE[target]
    lacking = [name for name in (build[0], run[0]) if shutil.which(name) is None]
    if target.startswith("wasm") and not Path("/usr/include/wasm32-wasi").is_dir():
        lacking.append("wasi-libc")
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    network = MLP([3, 16, 1])
    home = tmp_path / "height"
    done = to_library(network, home, target=target)
    (home / "main.c").write_text(PROGRAM)
    parts = ["main.c", "height.c", *done.files[2:]]
    subprocess.run([*build, "-O2", "-o", "run", *parts], cwd=home, check=True)
    ran = subprocess.run(run, cwd=home, capture_output=True, check=True, text=True, timeout=120)
    check_program(ran.stdout, network)


def test_without_a_compiler_it_is_written_but_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    done = to_library(MLP([3, 8, 1]), tmp_path / "net")
    assert done.largest_difference is None
    assert "not run: there is no C compiler" in str(done)
    assert (tmp_path / "net" / "net_code_rows.o").exists()


def test_a_compiler_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "false")
    done = to_library(MLP([3, 8, 1]), tmp_path / "net")
    assert "not run: the C compiler false fails" in str(done)


def test_a_compiler_whose_output_cannot_be_loaded_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "true")  # which writes nothing
    done = to_library(MLP([3, 8, 1]), tmp_path / "net")
    assert "not run: what true built cannot be loaded" in str(done)
    monkeypatch.setenv("CC", "cc 'a")
    assert "there is no C compiler" in str(to_library(MLP([3, 8, 1]), tmp_path / "net"))


@needs_compiler
def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*too long"):
        to_library(MLP([3, 8, 1]), tmp_path / "net", name="x" * 300)


@needs_compiler
def test_what_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(proving, "evaluate", lambda chain, x: evaluate(chain, x) + 1)
    with pytest.raises(DifferenceError, match="computes something else"):
        to_library(MLP([3, 8, 1]), tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_network_that_is_no_chain_says_why(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(DataError, match=r"no chain of 1x1s.*: write ONNX instead"):
        to_library(network, tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"target": "amiga"}, DataError, "'amiga' is no target that Halide knows"),
        ({"target": ""}, DataError, "does not name processor"),
        ({"target": "x86-64-linux-cuda"}, DataError, "has CUDA, whose code needs more of Halide"),
        ({"target": "x86-64-linux-user_context"}, DataError, "has UserContext"),
        ({"target": "x86-64-linux-msan"}, DataError, "has MSAN"),
        ({"target": "riscv-64-linux"}, DataError, "no code for riscv-64-linux: .*vector_bits"),
        ({"dtype": "float16"}, DataError, "the type must be one of float32"),
        ({"dtype": "int64"}, DataError, "the type must be one of float32"),
        ({"dtype": np.dtype("uint8")}, DataError, r"got dtype\('uint8'\)"),
        ({"dtype": "UINT8"}, DataError, "got 'UINT8'"),
        ({"example": [["a", "b", "c"]]}, DataError, "example must hold real numbers"),
        ({"pixels": True}, DataError, "pixels=True is for estimators"),
        ({"example": np.ones((4, 2))}, DataError, r"rows \(P, 3\), got shape \(4, 2\)"),
        ({"model": "resnet18"}, TypeError, "got str"),
        ({"model": Chain(3, [Affine(torch.ones(20_000, 3))])}, DataError, "wider than"),
    ],
)
def test_what_cannot_be(changes, error, match, tmp_path):
    given = {"model": MLP([3, 8, 1]), "folder": tmp_path / "net", **changes}
    with pytest.raises(error, match=match):
        to_library(given.pop("model"), given.pop("folder"), **given)
    assert not (tmp_path / "net").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "net").write_text("mine")
    with pytest.raises(DataError, match="it is a file"):
        to_library(MLP([3, 8, 1]), tmp_path / "net")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-net", "my_net"),
        ("2d", "_2d"),
        ("int", "int_"),
        ("größe", "gr_e"),
        ("string", "string_"),  # whose string.h would be taken for that of C
        ("x" * 100, "x" * 100),
    ],
)
def test_names_that_c_takes(folder, name, tmp_path):
    done = to_library(MLP([3, 8, 1]), tmp_path / folder)
    assert "fails" not in str(done)
    assert done.files[0] == f"{name}.h"
    assert f"void {name}_rows(" in done.functions[0]


@needs_compiler
def test_two_libraries_in_one_program(tmp_path):
    chain = CHAINS["heap"]  # both define how memory is asked for
    parts = []
    for name in ("a", "b"):
        files = making.of_chain(chain, name, "a test", "float32", "host").files
        for file, data in files.items():
            (tmp_path / file).write_bytes(data)
        parts += [file for file in files if not file.endswith(".h")]
    run = [*compiler(), "-shared", "-fPIC", "-o", "both.so", *parts]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_compiler
def test_headers_of_libraries_that_differ_by_case(tmp_path):
    for name in ("net", "Net"):
        to_library(MLP([3, 8, 1]), tmp_path / f"of_{name}", name=name)
    lines = ['#include "of_net/net.h"', '#include "of_Net/Net.h"']
    calls = "void run(float *x) { net_rows(x, x, 0); Net_rows(x, x, 0); }"
    (tmp_path / "main.c").write_text("\n".join([*lines, calls, ""]))
    run = [*compiler(), "-Werror=implicit-function-declaration", "-c", "main.c"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_example_is_what_it_is_held_to(tmp_path):
    chain = Chain(2, [Affine(torch.ones(1, 2)), Activation("relu")])
    done = to_library(chain, tmp_path / "net", example=torch.tensor([[1.0, 2.0]]))
    assert done.largest_difference in (None, 0.0)
