"""``pointwise convert``: wrong use is refused in words, and nothing is written or run."""

import re
from pathlib import Path

import pytest
import torch
from builders import OUT, SMALL, write_builders
from safetensors.torch import save_file


@pytest.fixture(autouse=True)
def source(home: Path) -> None:
    """A module of the user's in the working folder, imported anew for every test."""
    write_builders()


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
        r"^error: Sequential cannot take one tensor of random numbers of shape \(2, 4, 16, 16\): "
        r"Given groups=1, weight",
    ),
    "no_shape": (
        f"convert convert_net:build {OUT}",
        1,
        r"^error: Sequential cannot take one tensor of random numbers of shape "
        r"\(2, 3, 224, 224\): .*; give --input$",
    ),
    "no_values": (
        f"convert convert_net:empty --input 4 {OUT}",
        1,
        r"^error: Linear must hold values, to be verified: some of its tensors are on the meta "
        r"device$",
    ),
    "asks_for_the_class": (
        f"convert convert_net:asks --input 4 {OUT}",
        1,
        r"^error: Asks computes something else once it is converted, so nothing is written: output "
        r"must agree to .*, differs by ",
    ),
    "over_the_model": (
        "convert price-model --to conv --out price-model/model.safetensors",
        1,
        r"^error: --out would replace a file of the model, price-model/model\.safetensors: give "
        r"another$",
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
        r"^error: no/new\.pt2: there is no folder no: make it first$",
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
    "whole_image": (
        "convert convert_net:squeezed --input 3,8,8 --to dense --out new.pt2",
        1,
        r"^error: Squeezed cannot be converted: .* is not that of the image; give --whole-image "
        r"to take the image's$",
    ),
    "whole_image_of_others": (
        f"{SMALL} --to conv --whole-image --out new.pt2",
        2,
        r"--whole-image: it is for --to dense, not conv",
    ),
    "layer_channels_first": (
        "convert convert_net:layer --input 4 --to channels-first --out new.pt2",
        1,
        r"^error: Linear cannot be converted: model must be a network, got Linear: it is one "
        r"layer, which to_conv converts$",
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
