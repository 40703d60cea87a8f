"""One clear error for each way in which a model folder can be damaged, foreign or too new."""

import json
import pickle
import re
import struct
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from pointwise.errors import ModelFileError
from pointwise.modelfiles import read_config, read_model, read_report

WEIGHTS, CONFIG, REPORT = "model.safetensors", "config.json", "report.json"
COPY = "copy the model folder again from its source, or fit again"


def like(pattern: str, text: str) -> bool:
    """Compare, with ``...`` for what another library says."""
    return re.fullmatch(re.escape(pattern).replace(r"\.\.\.", ".+"), text) is not None


def edit(folder: Path, **entries: object) -> None:
    """Change entries of the config; ``...`` removes one."""
    config = json.loads((folder / CONFIG).read_text()) | entries
    config = {key: value for key, value in config.items() if value is not ...}
    (folder / CONFIG).write_text(json.dumps(config))


def forge(folder: Path, name: str, data: bytes) -> None:
    """Put a file into the folder together with its right digest."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / CONFIG).read_text())["files"]
    entry = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
    edit(folder, files=files | {name: entry})


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip_last_bit(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def replace_by_pickle(path: Path) -> None:
    torch.save({"w": torch.ones(100, 100)}, path)


def archive(header: dict[str, object], data: bytes = b"") -> bytes:
    """Spell a safetensors file with any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


CONFIG_DAMAGE = {
    "removed": (
        lambda f: (f / CONFIG).unlink(),
        "{f} has no config.json, so it is no model folder (it holds 'README.md', "
        "'model.safetensors', 'report.json'); give a folder that pointwise wrote",
    ),
    "empty": (lambda f: cut(f / CONFIG, 0), "{f}/config.json is empty: " + COPY),
    "cut short": (
        lambda f: cut(f / CONFIG, 300),
        "{f}/config.json is not JSON, it was cut short or edited (...): " + COPY,
    ),
    "not text": (
        lambda f: (f / CONFIG).write_bytes(b"\xff\xfe\x00"),
        "{f}/config.json is not JSON, it was cut short or edited (...): " + COPY,
    ),
    "a list": (
        lambda f: (f / CONFIG).write_text("[1, 2]"),
        "{f}/config.json must hold a JSON object, got a list: " + COPY,
    ),
    "nested deeply": (
        lambda f: (f / CONFIG).write_text("[" * 200_000),
        "{f}/config.json is nested too deeply to be read: " + COPY,
    ),
    "of transformers": (
        lambda f: (f / CONFIG).write_text('{"model_type": "bert", "architectures": ["BertModel"]}'),
        '{f}/config.json must say "format": "pointwise", got a config of Hugging Face '
        "transformers; give a folder that pointwise wrote",
    ),
    "of another program": (
        lambda f: (f / CONFIG).write_text('{"layers": 3, "width": 8}'),
        "{f}/config.json must say \"format\": \"pointwise\", got no format but 'layers', 'width'; "
        "give a folder that pointwise wrote",
    ),
    "without any key": (
        lambda f: (f / CONFIG).write_text("{}"),
        '{f}/config.json must say "format": "pointwise", got no format but no key at all; '
        "give a folder that pointwise wrote",
    ),
    "of another format": (
        lambda f: edit(f, format="flax"),
        '{f}/config.json must say "format": "pointwise", got \'flax\'; '
        "give a folder that pointwise wrote",
    ),
    "too new": (
        lambda f: edit(f, schema_version=2, pointwise_version="9.1.0", columns=...),
        "{f}/config.json has schema_version 2, this pointwise reads up to 1: it was written by "
        "pointwise 9.1.0; upgrade with: pip install --upgrade pointwise",
    ),
    "too new, by an unknown version": (
        lambda f: edit(f, schema_version=2, pointwise_version=...),
        "{f}/config.json has schema_version 2, this pointwise reads up to 1: it was written by "
        "pointwise of a newer version; upgrade with: pip install --upgrade pointwise",
    ),
    "version zero": (
        lambda f: edit(f, schema_version=0),
        "{f}/config.json has schema_version 0, which pointwise cannot bring to 1; "
        "fit again and write the model anew",
    ),
    "version that is text": (
        lambda f: edit(f, schema_version="1"),
        "{f}/config.json: schema_version must be an integer, got a text; "
        "the file was edited: copy the model folder again from its source",
    ),
    "version with a fraction": (
        lambda f: edit(f, schema_version=1.0),
        "{f}/config.json: schema_version must be an integer, got a number with a fraction; "
        "the file was edited: copy the model folder again from its source",
    ),
    "version that is true": (
        lambda f: edit(f, schema_version=True),
        "{f}/config.json: schema_version must be an integer, got a boolean; "
        "the file was edited: copy the model folder again from its source",
    ),
    "no version": (
        lambda f: edit(f, schema_version=...),
        "{f}/config.json: schema_version must be an integer, got nothing; "
        "the file was edited: copy the model folder again from its source",
    ),
    "no columns": (
        lambda f: edit(f, columns=...),
        "{f}/config.json: the key 'columns' is missing; write the model again",
    ),
    "columns of the wrong type": (
        lambda f: edit(f, columns={"a": 1}),
        "{f}/config.json: columns must be a list, got an object; write the model again",
    ),
    "classes of the wrong type": (
        lambda f: edit(f, classes=2),
        "{f}/config.json: classes must be a list or null, got an integer; write the model again",
    ),
    "unknown task": (
        lambda f: edit(f, task="clustering"),
        "{f}/config.json: task must be one of regression, classification, segmentation, "
        "got 'clustering'; write the model again",
    ),
    "no weights listed": (
        lambda f: edit(f, files={}),
        "{f}/config.json: files must list 'model.safetensors'; write the model again",
    ),
    "files that are no objects": (
        lambda f: edit(f, files={WEIGHTS: "abc"}),
        '{f}/config.json: files: model.safetensors must be {{"sha256": a text, "bytes": an '
        "integer}}; write the model again",
    ),
    "a size that is text": (
        lambda f: edit(f, files={WEIGHTS: {"sha256": "abc", "bytes": "10"}}),
        '{f}/config.json: files: model.safetensors must be {{"sha256": a text, "bytes": an '
        "integer}}; write the model again",
    ),
}

WEIGHT_DAMAGE = {
    "removed": (
        lambda f: (f / WEIGHTS).unlink(),
        "{f}/model.safetensors is missing: " + COPY,
    ),
    "empty": (
        lambda f: cut(f / WEIGHTS, 0),
        "{f}/model.safetensors was cut short, it has 0 of {size} bytes: " + COPY,
    ),
    "cut short": (
        lambda f: cut(f / WEIGHTS, 100),
        "{f}/model.safetensors was cut short, it has 100 of {size} bytes: " + COPY,
    ),
    "edited": (
        lambda f: flip_last_bit(f / WEIGHTS),
        "{f}/model.safetensors was changed after it was written (its SHA-256 is not the one in "
        "config.json): " + COPY,
    ),
    "a pickle of torch.save": (
        lambda f: replace_by_pickle(f / WEIGHTS),
        "{f}/model.safetensors is not a safetensors file; others, such as pickles of torch.save, "
        "are never opened: " + COPY,
    ),
    "a Git LFS pointer": (
        lambda f: (f / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid ..."),
        "{f}/model.safetensors is a Git LFS pointer, not the file; run: git lfs pull",
    ),
    "forged: a pickle": (
        lambda f: forge(f, WEIGHTS, pickle.dumps({"w": 1})),
        "{f}/model.safetensors does not hold tensors as safetensors says (...): " + COPY,
    ),
    "forged: a header longer than the file": (
        lambda f: forge(f, WEIGHTS, struct.pack("<Q", 10**6) + b"{}"),
        "{f}/model.safetensors does not hold tensors as safetensors says (...): " + COPY,
    ),
    "forged: a tensor beyond the end": (
        lambda f: forge(
            f,
            WEIGHTS,
            archive({"w": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}, b"1234"),
        ),
        "{f}/model.safetensors does not hold tensors as safetensors says (...): " + COPY,
    ),
    "forged: a shape that is not the data's": (
        lambda f: forge(
            f,
            WEIGHTS,
            archive({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        ),
        "{f}/model.safetensors does not hold tensors as safetensors says (...): " + COPY,
    ),
    "forged: an unknown type": (
        lambda f: forge(
            f,
            WEIGHTS,
            archive({"w": {"dtype": "PYOBJECT", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        ),
        "{f}/model.safetensors does not hold tensors as safetensors says (...): " + COPY,
    ),
}

REPORT_DAMAGE = {
    "removed": (lambda f: (f / REPORT).unlink(), "{f}/report.json is missing: " + COPY),
    "cut short": (
        lambda f: cut(f / REPORT, 5),
        "{f}/report.json was cut short, it has 5 of {size} bytes: " + COPY,
    ),
    "edited": (
        lambda f: (f / REPORT).write_text('{"curve": [0.0, 0.0], "edited": true}'),
        "{f}/report.json was changed after it was written (its SHA-256 is not the one in "
        "config.json): " + COPY,
    ),
    "forged: a list": (
        lambda f: forge(f, REPORT, b"[]"),
        "{f}/report.json must hold a JSON object, got a list: " + COPY,
    ),
}


def error_of(read, path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", CONFIG_DAMAGE)
@pytest.mark.parametrize("read", [read_model, read_config, read_report])
def test_damaged_configs(folder, read, case):
    damage, message = CONFIG_DAMAGE[case]
    damage(folder)
    found = error_of(read, folder)
    assert like(message.format(f=folder), found), found


@pytest.mark.parametrize("case", WEIGHT_DAMAGE)
def test_damaged_weights(folder, case):
    damage, message = WEIGHT_DAMAGE[case]
    message = message.format(f=folder, size=(folder / WEIGHTS).stat().st_size)
    damage(folder)
    found = error_of(read_model, folder)
    assert like(message, found), found
    assert read_config(folder)["targets"] == ["sold"]


@pytest.mark.parametrize("case", REPORT_DAMAGE)
def test_a_damaged_report_is_an_error_only_for_who_reads_it(folder, case):
    damage, message = REPORT_DAMAGE[case]
    message = message.format(f=folder, size=(folder / REPORT).stat().st_size)
    damage(folder)
    assert error_of(read_report, folder) == message
    model = read_model(folder)
    assert model.report is None
    assert set(model.tensors) == {"0.weight", "0.bias"}


def test_what_may_change_or_be_missing(folder):
    (folder / "README.md").unlink()
    (folder / "notes.txt").write_text("mine")
    edit(
        folder,
        colour="blue",
        files=read_config(folder)["files"] | {"../x": {"sha256": "", "bytes": 0}},
    )
    config = (folder / CONFIG).read_bytes()
    (folder / CONFIG).write_bytes(b"\xef\xbb\xbf" + config)  # an editor's byte order mark
    model = read_model(folder)
    assert model.config["colour"] == "blue"
    assert set(model.tensors) == {"0.weight", "0.bias"}


def test_a_missing_folder_names_those_beside_it(folder, tmp_path):
    (tmp_path / "house").mkdir()
    (tmp_path / "hoses.csv").touch()
    assert error_of(read_model, tmp_path / "hose") == (
        f"there is no model folder {tmp_path / 'hose'}; did you mean 'house' or 'houses'?"
    )
    assert error_of(read_model, tmp_path / "zebra") == (
        f"there is no model folder {tmp_path / 'zebra'}; check the path"
    )
    for parent in (tmp_path / "zoo", folder / CONFIG):
        assert error_of(read_model, parent / "zebra") == (
            f"there is no model folder {parent / 'zebra'}; "
            f"nor is there a folder {parent}: check the path"
        )


def test_a_file_is_not_a_folder(folder, tmp_path):
    (tmp_path / "table.csv").touch()
    assert error_of(read_model, tmp_path / "table.csv") == (
        f"{tmp_path / 'table.csv'} is a file, a model is a folder; give the folder"
    )
    assert error_of(read_model, folder / WEIGHTS) == (
        f"{folder / WEIGHTS} is a file, a model is a folder; give the folder {folder}"
    )


def test_an_empty_folder_says_so(tmp_path):
    assert error_of(read_model, tmp_path) == (
        f"{tmp_path} has no config.json, so it is no model folder (it is empty); "
        "give a folder that pointwise wrote"
    )
