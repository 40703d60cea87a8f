import json
import math
from hashlib import sha256
from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn

from pointwise.errors import ModelFileError
from pointwise.modelfiles import check_target, read_config, read_model, read_report, write_model


def test_what_is_written_is_read(folder, config, tensors):
    model = read_model(folder)
    assert {key: model.config[key] for key in config} == config
    assert model.config["format"] == "pointwise"
    assert model.config["schema_version"] == 1
    assert model.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(model.tensors[name], tensor, rtol=0, atol=0)
    assert model.report == {"curve": [1.0, 0.5]}
    assert read_report(folder) == model.report
    assert read_config(folder) == model.config
    assert (folder / "README.md").read_text() == "# Houses\n"


def test_the_folder_holds_these_files_and_their_digests(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "config.json", "README.md", "report.json"}
    for name in ("model.safetensors", "report.json"):
        data = (folder / name).read_bytes()
        entry = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
        assert read_config(folder)["files"][name] == entry


def test_what_was_read_can_be_written_again(folder, tmp_path):
    first = read_model(folder)
    write_model(tmp_path / "b", first.tensors, first.config, card="# Houses\n", report=first.report)
    for name in ("model.safetensors", "config.json", "README.md", "report.json"):
        assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()


def test_a_copied_folder_is_a_model_by_itself_under_a_relative_path(folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert read_model("moved").report == {"curve": [1.0, 0.5]}
    monkeypatch.chdir(tmp_path / "moved")
    assert read_config(".")["targets"] == ["sold"]


def test_a_model_without_a_report_voids_the_old_one(folder, config, tensors):
    write_model(folder, tensors, config, card="")
    assert read_model(folder).report is None
    assert (folder / "report.json").read_text() == "{}\n"
    with pytest.raises(ModelFileError) as caught:
        read_report(folder)
    expected = f"the model in {folder} was written without report.json: only `pointwise fit` "
    assert str(caught.value) == expected + "writes one"


TENSORS = {
    "strided": torch.arange(12.0).reshape(3, 4).T[::2],
    "expanded": torch.ones(1, 3).expand(4, 3),
    "no axes": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "float64": torch.full((2,), math.pi, dtype=torch.float64),
    "integers": torch.tensor([2**62, -1]),
    "booleans": torch.tensor([True, False]),
    "parameter": nn.Parameter(torch.ones(3)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_all_sorts(tmp_path, config, name):
    write_model(tmp_path / "m", {name: TENSORS[name]}, config, card="")
    read = read_model(tmp_path / "m").tensors[name]
    torch.testing.assert_close(read, TENSORS[name].detach(), rtol=0, atol=0)
    assert not read.requires_grad


def test_tied_weights_are_stored_for_each_name(tmp_path, config):
    layer = nn.Linear(3, 3)
    write_model(tmp_path / "m", {"a": layer.weight, "b": layer.weight, "c": layer.weight.T}, config,
                card="")  # fmt: skip
    read = read_model(tmp_path / "m").tensors
    torch.testing.assert_close(read["a"], layer.weight.detach(), rtol=0, atol=0)
    torch.testing.assert_close(read["b"], read["a"], rtol=0, atol=0)
    torch.testing.assert_close(read["c"], read["a"].T, rtol=0, atol=0)
    read["a"].zero_()  # what is read can be written to, and is no longer shared
    assert read["b"].abs().sum() > 0


def test_the_small_files_stay_small(tmp_path, config):
    wide = config | {"columns": [{"name": f"column {i}", "kind": "number"} for i in range(300)]}
    weights = {"w": torch.zeros(1000, 300)}
    write_model(tmp_path / "m", weights, wide, card="# Card\n")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "m").iterdir()}
    assert sizes["config.json"] + sizes["README.md"] <= 50_000
    assert sum(sizes.values()) <= 1.2 * weights["w"].nbytes + 50_000


def test_the_version_that_wrote_it(tmp_path, config, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    for find, version in ((lambda name: "7.8.9", "7.8.9"), (missing, "0+unknown")):
        monkeypatch.setattr(metadata, "version", find)
        write_model(tmp_path / "m", {}, config, card="")
        assert read_config(tmp_path / "m")["pointwise_version"] == version


def test_values_of_a_config_are_spelt_in_json_and_read_back(tmp_path, config):
    given = config | {
        "training": {"best": np.int64(3), "rate": np.float32(0.5), "stopped": np.bool_(True)},
        "columns": ("area", "K\N{LATIN SMALL LETTER O WITH DIAERESIS}ln", "half \udc80", 'a"\n'),
        "network": {},
        "mine": [[1, 2], None],
    }
    write_model(tmp_path / "m", {}, given, card="")
    read = read_config(tmp_path / "m")
    assert read["training"] == {"best": 3, "rate": 0.5, "stopped": True}
    assert read["columns"] == list(given["columns"])
    assert read["mine"] == [[1, 2], None]
    data = (tmp_path / "m" / "config.json").read_bytes()
    assert "K\N{LATIN SMALL LETTER O WITH DIAERESIS}ln".encode() in data
    assert json.loads(data.decode("utf-8")) == read


def without(config, key):
    return {name: value for name, value in config.items() if name != key}


REFUSED_CONFIGS = {
    "missing key": (
        lambda config: without(config, "targets"),
        "config.json: the key 'targets' is missing; write the model again",
    ),
    "wrong type": (
        lambda config: config | {"classes": "yes"},
        "config.json: classes must be a list or null, got a text; write the model again",
    ),
    "unknown task": (
        lambda config: config | {"task": "ranking"},
        "config.json: task must be one of regression, classification, segmentation, got 'ranking'; "
        "write the model again",
    ),
    "nan": (
        lambda config: config | {"metrics": {"r2": math.nan}},
        "config.json: metrics: r2 is nan, which JSON cannot hold; give None instead",
    ),
    "infinite NumPy number": (
        lambda config: config | {"columns": [{"bins": [0, np.float32(np.inf)]}]},
        "config.json: columns[0]: bins[1] is inf, which JSON cannot hold; give None instead",
    ),
    "key that is no text": (
        lambda config: config | {"parameters": {"class_weight": {0: 1.0}}},
        "config.json: parameters: class_weight: a key must be text, got 0; give str(0)",
    ),
    "object": (
        lambda config: config | {"parameters": {"random_state": np.random.default_rng(0)}},
        "config.json: parameters: random_state is of type Generator, which JSON cannot hold; "
        "give text, numbers, booleans, None, or lists and mappings of them",
    ),
}


@pytest.mark.parametrize("case", REFUSED_CONFIGS)
def test_configs_that_are_refused_leave_the_old_model(folder, config, case):
    change, message = REFUSED_CONFIGS[case]
    before = (folder / "config.json").read_bytes()
    with pytest.raises(ModelFileError) as caught:
        write_model(folder, {}, change(config), card="")
    assert str(caught.value) == message
    assert (folder / "config.json").read_bytes() == before


REFUSED_TENSORS = {
    "meta": (
        {"w": torch.ones(2, device="meta")},
        "the tensor 'w' cannot be stored (torch.strided on meta)",
    ),
    "sparse": (
        {"w": torch.ones(2, 2).to_sparse()},
        "the tensor 'w' cannot be stored (torch.sparse_coo on cpu)",
    ),
    "reserved name": (
        {"__metadata__": torch.ones(2)},
        "the tensor '__metadata__' cannot be stored (torch.strided on cpu)",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TENSORS)
def test_tensors_that_are_refused(tmp_path, config, case):
    tensors, message = REFUSED_TENSORS[case]
    with pytest.raises(ModelFileError) as caught:
        write_model(tmp_path / "m", tensors, config, card="")
    rule = "; give dense tensors with values, under another name than __metadata__"
    assert str(caught.value) == message + rule
    assert not (tmp_path / "m").exists()


def place_text(path):
    path.write_text("a file")
    return f"{path} is a file, a model is a folder; give another name"


def place_photos(path):
    path.mkdir()
    for number in range(7):
        (path / f"{number}.jpg").touch()
    return (
        f"{path} is not a model that pointwise wrote and is not empty, so it is left alone (it "
        "holds '0.jpg', '1.jpg', '2.jpg', '3.jpg', '4.jpg' and 2 more); give another folder, or "
        "empty this one"
    )


def place_config(text):
    def place(path):
        path.mkdir()
        (path / "config.json").write_text(text)
        return (
            f"{path} is not a model that pointwise wrote and is not empty, so it is left alone (it "
            "holds 'config.json'); give another folder, or empty this one"
        )

    return place


def place_folder_named_config(path):
    message = place_config("")(path)
    (path / "config.json").unlink()
    (path / "config.json").mkdir()
    return message


LEFT_ALONE = {
    "file": place_text,
    "folder of photos": place_photos,
    "transformers model": place_config('{"model_type": "bert"}'),
    "config that is no JSON": place_config("format: pointwise"),
    "config that is a list": place_config("[]"),
    "config that is a folder": place_folder_named_config,
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_folders_of_others_are_left_alone(tmp_path, config, tensors, case):
    path = tmp_path / "target"
    message = LEFT_ALONE[case](path)
    before = sorted(path.rglob("*"))
    with pytest.raises(ModelFileError) as caught:
        write_model(path, tensors, config, card="")
    assert str(caught.value) == message
    with pytest.raises(ModelFileError) as caught:
        check_target(path)
    assert str(caught.value) == message
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize("left", [(), (".git", ".gitattributes")], ids=["empty", "only hidden"])
def test_folders_with_nothing_to_lose_are_written(tmp_path, config, tensors, left):
    for name in left:
        (tmp_path / name).mkdir()
    check_target(tmp_path)
    write_model(tmp_path, tensors, config, card="")
    assert read_config(tmp_path)["targets"] == ["sold"]
    assert all((tmp_path / name).exists() for name in left)


def test_a_target_is_checked_without_being_made(tmp_path, folder, monkeypatch):
    check_target(folder)
    check_target(tmp_path / "some" / "where")
    monkeypatch.chdir(tmp_path)
    check_target("new")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_target_below_a_file_is_refused(tmp_path, config):
    (tmp_path / "table.csv").touch()
    path = tmp_path / "table.csv" / "model"
    remedy = "give a folder that can be written, with space on its disk"
    with pytest.raises(ModelFileError) as caught:
        check_target(path)
    assert str(caught.value) == (
        f"cannot write the model folder {path}: {path.parent} is no folder that can be written to; "
        f"{remedy}"
    )
    with pytest.raises(ModelFileError) as caught:
        write_model(path, {}, config, card="")
    assert str(caught.value) == f"cannot write the model folder {path}: File exists; {remedy}"


def test_a_target_that_cannot_be_looked_at(tmp_path, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", fail)
    with pytest.raises(ModelFileError) as caught:
        check_target(tmp_path)
    assert str(caught.value) == (
        f"cannot write the model folder {tmp_path}: Permission denied; "
        "give a folder that can be written, with space on its disk"
    )


def test_a_damaged_model_can_be_written_anew(folder, config, tensors):
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text('{"format": "pointwise", "files": 3}')
    (folder / "notes.txt").write_text("mine")
    write_model(folder, tensors, config, card="")
    assert read_model(folder).tensors.keys() == tensors.keys()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_full_disk_leaves_the_old_model(folder, config, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ModelFileError) as caught:
        write_model(folder, {}, config, card="")
    assert str(caught.value) == (
        f"cannot write the model folder {folder}: No space left on device; "
        "give a folder that can be written, with space on its disk"
    )
    assert set(read_model(folder).tensors) == {"0.weight", "0.bias"}
    assert len(list(folder.iterdir())) == 4
