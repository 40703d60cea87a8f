"""The file that keeps a training's state: whole or refused, in one clear sentence."""

import errno
import json
import math
import os
import pickle
import re
import struct
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save
from torch import nn
from training_cases import (
    NETWORKS,
    ROWS,
    SETTINGS,
    VALID,
    WithLoss,
    assert_same_bits,
    fit,
    make_network,
    make_rows,
    weights,
)

from pointwise.errors import CheckpointError, PointwiseError
from pointwise.nn import MLP
from pointwise.training import Checkpoint, Rows, SquaredError, train
from pointwise.training import checkpoint as checkpoint_module
from pointwise.training.checkpoint import fingerprint

TENSORS = {
    "matrix": torch.arange(6.0).reshape(2, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "scalar": torch.tensor(3.5),
    "none": torch.zeros(0, 4),
    "odd": torch.tensor([math.nan, -0.0, math.inf, 1e-45]),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "bfloat16": torch.tensor([1 / 3], dtype=torch.bfloat16),
    "long": torch.tensor([2**60 + 1]),
    "bool": torch.tensor([True, False]),
    "learnt": torch.ones(2, requires_grad=True),
}
STATE = {"step": 3, "history": [{"loss": 1 / 3}, {"loss": math.inf}], "name": "é"}


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "run.ckpt", every_s=0)


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


def test_what_is_written_is_read_to_the_bit(checkpoint):
    checkpoint.write("abc", TENSORS, STATE)
    tensors, state = checkpoint.read("abc")
    assert state == STATE
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].shape == tensor.shape, name
        assert tensors[name].dtype == tensor.dtype, name
        assert bits(tensors[name]) == bits(tensor), name


def test_tensors_that_share_memory_are_kept(checkpoint):
    whole = torch.arange(4.0)
    checkpoint.write("abc", {"whole": whole, "again": whole, "part": whole[1:3]}, {})
    tensors, _ = checkpoint.read("abc")
    assert tensors["again"].tolist() == [0, 1, 2, 3]
    assert tensors["part"].tolist() == [1, 2]


def test_what_was_read_is_apart_from_the_file(checkpoint):
    """A file that is still mapped could not be replaced everywhere."""
    checkpoint.write("abc", {"w": torch.ones(3)}, {})
    tensors, _ = checkpoint.read("abc")
    checkpoint.path.write_bytes(b"")
    assert tensors["w"].tolist() == [1, 1, 1]


def test_no_file_is_no_state(checkpoint):
    assert checkpoint.read("abc") is None


def test_the_folder_is_made_and_the_file_removed(tmp_path):
    checkpoint = Checkpoint(str(tmp_path / "new" / "deep" / "run.ckpt"))
    checkpoint.write("abc", TENSORS, STATE)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["run.ckpt"]
    checkpoint.remove()
    checkpoint.remove()
    assert list(checkpoint.path.parent.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_state(checkpoint, monkeypatch):
    checkpoint.write("abc", {"w": torch.ones(2)}, {"epoch": 1})

    def full_disk(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.write("abc", {"w": torch.zeros(2)}, {"epoch": 2})
    message = (
        "checkpoint PATH cannot be written ([Errno 28] No space left on device): see to the disk, "
        "and resume"
    )
    assert_message(caught.value, message, checkpoint.path)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["run.ckpt"]
    tensors, state = checkpoint.read("abc")
    assert state == {"epoch": 1}
    assert tensors["w"].tolist() == [1, 1]


def test_due(monkeypatch, tmp_path):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(checkpoint_module, "time", clock)
    checkpoint = Checkpoint(tmp_path / "run.ckpt")
    assert checkpoint.every_s == 10.0
    seen = []
    for _ in range(8):
        clock.now += 4.0
        seen.append(checkpoint.due)
        if checkpoint.due:
            checkpoint.write("abc", {}, {})
    assert seen == [False, False, True, False, False, True, False, False]
    assert Checkpoint(tmp_path / "other.ckpt", every_s=0).due


# --- Files that are not, or no longer, what was written ---


def cannot_be_read(reason: str) -> str:
    return (
        f"checkpoint PATH cannot be read ({reason}): if it is one, delete it to start afresh, "
        "else give another name"
    )


DAMAGED = "checkpoint PATH was changed after it was written: delete it to start afresh"
FOREIGN = "PATH is no checkpoint of a training: give another name"
DAMAGES = {
    "empty": (lambda data: b"", cannot_be_read("...")),
    "first bytes": (lambda data: data[:7], cannot_be_read("...")),
    "within the header": (lambda data: data[:100], cannot_be_read("...")),
    "half": (lambda data: data[: len(data) // 2], cannot_be_read("...")),
    "last byte missing": (lambda data: data[:-1], cannot_be_read("...")),
    "one byte more": (lambda data: data + b"\0", cannot_be_read("...")),
    "zeros": (lambda data: bytes(len(data)), cannot_be_read("...")),
    "a diary": (lambda data: b"Dear diary,\n" * 100, cannot_be_read("...")),
    "a pickle": (lambda data: pickle.dumps({"w": [1.0]}), cannot_be_read("...")),
    "last bit flipped": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DAMAGED),
    "state edited": (lambda data: data.replace(b'\\"step\\": 3', b'\\"step\\": 4'), DAMAGED),
    "run edited": (lambda data: data.replace(b'"abc"', b'"abd"'), DAMAGED),
    "weights": (lambda data: save({"w": torch.ones(3)}), FOREIGN),
    "weights with metadata": (lambda data: save({"w": torch.ones(3)}, {"format": "pt"}), FOREIGN),
    "state of another program": (lambda data: save({}, {"run": "abc", "state": "{"}), FOREIGN),
}


def assert_message(error: PointwiseError, message: str, path: object) -> None:
    """Compare, with ``...`` for what another library says."""
    pattern = re.escape(message.replace("PATH", str(path))).replace(r"\.\.\.", ".+")
    assert re.fullmatch(pattern, str(error)), str(error)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage(checkpoint, damage):
    change, message = DAMAGES[damage]
    checkpoint.write("abc", TENSORS, STATE)
    old = checkpoint.path.read_bytes()
    new = change(old)
    assert new != old
    checkpoint.path.write_bytes(new)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read("abc")
    assert_message(caught.value, message, checkpoint.path)
    assert checkpoint.path.read_bytes() == new  # whoever owns it, it is theirs to delete


def test_no_flipped_bit_goes_unnoticed(checkpoint):
    checkpoint.write("abc", {"w": torch.ones(3), "n": torch.arange(2)}, STATE)
    data = checkpoint.path.read_bytes()
    for position in range(len(data)):
        for bit in (1, 32):
            flipped = bytearray(data)
            flipped[position] ^= bit
            checkpoint.path.write_bytes(flipped)
            try:
                tensors, state = checkpoint.read("abc")
            except CheckpointError:
                continue
            # Padding of the header may change: what it says may not.
            assert state == STATE, position
            assert_same_bits(tensors, {"w": torch.ones(3), "n": torch.arange(2)})


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(tmp_path).read("abc")
    assert_message(caught.value, "checkpoint PATH is a folder: name a file", tmp_path)


def test_another_run(checkpoint):
    checkpoint.write("abc", TENSORS, STATE)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read("abcd")
    message = (
        "checkpoint PATH belongs to another run (other data, parameters or seed): resume with what "
        "it was started with, or delete it to start afresh"
    )
    assert_message(caught.value, message, checkpoint.path)


# --- What decides whether a run is another one ---


def other(rows: Rows, **changes: torch.Tensor) -> Rows:
    return replace(rows, **changes)


def moved(tensor: torch.Tensor) -> torch.Tensor:
    """The same but for the last bit of one number."""
    out = tensor.clone()
    out.view(-1)[7] = torch.nextafter(out.view(-1)[7], torch.tensor(9.0))
    return out


def begin(checkpoint, *, name="plain", drawn=0, rows=ROWS, valid=VALID, **settings):
    return train(
        make_network(name, drawn),
        SquaredError(1),
        rows,
        valid,
        replace(SETTINGS, **settings),
        checkpoint=checkpoint,
    )


CHANGES = {
    "initial weights": {"drawn": 1},
    "seed": {"seed": 6},
    "one bit of an input": {"rows": other(ROWS, x=moved(ROWS.x))},
    "one bit of a target": {"rows": other(ROWS, y=moved(ROWS.y))},
    "row weights": {"rows": other(ROWS, weight=torch.ones(60))},
    "validation inputs": {"valid": other(VALID, x=moved(VALID.x))},
    "validation targets": {"valid": other(VALID, y=moved(VALID.y))},
    "validation weights": {"valid": other(VALID, weight=torch.ones(40))},
    "rows for validation rows": {"rows": VALID, "valid": ROWS},
    "more rows": {"rows": make_rows(61)},
    "batch size": {"batch_size": 15},
    "learning rate": {"learning_rate": 0.011},
    "weight decay": {"weight_decay": 0.0},
    "most epochs": {"max_epochs": 7},
    "patience": {"patience": 4},
    "precision": {"autocast": torch.bfloat16},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_another_run(checkpoint, change):
    running = begin(checkpoint)
    next(running), running.close()
    changed = begin(checkpoint, **CHANGES[change])
    before = checkpoint.path.read_bytes()
    with pytest.raises(CheckpointError, match="belongs to another run"):
        next(changed)
    assert checkpoint.path.read_bytes() == before
    assert len(list(begin(checkpoint))) == SETTINGS.max_epochs  # it still resumes


def test_the_time_limit_may_change(checkpoint):
    running = begin(checkpoint, time_limit_s=1e-9)
    assert len(list(running)) == 1
    assert len(list(begin(checkpoint))) == SETTINGS.max_epochs


@pytest.mark.parametrize(
    ("network", "objective", "forward"),
    [
        (MLP([3, 8, 1], dropout=0.2), SquaredError(1), None),
        (MLP([3, 8, 1], dropout=0.1, activation=nn.Tanh), SquaredError(1), None),
        (MLP([3, 8, 1], dropout=0.1), WithLoss(SquaredError(1).loss), None),
        (MLP([3, 8, 1], dropout=0.1), SquaredError(1), "_stack"),
    ],
    ids=["dropout", "activation", "objective", "method"],
)
def test_what_the_weights_do_not_tell_makes_another_run(checkpoint, network, objective, forward):
    first = MLP([3, 8, 1], dropout=0.1)
    network.load_state_dict(first.state_dict())
    fit(first, replace(SETTINGS, max_epochs=2), checkpoint=checkpoint)
    changed = train(
        network,
        objective,
        ROWS,
        VALID,
        replace(SETTINGS, max_epochs=2),
        forward=forward,
        checkpoint=checkpoint,
    )
    with pytest.raises(CheckpointError, match="belongs to another run"):
        next(changed)


def test_fingerprint_tells_names_shapes_and_types_apart():
    ones = torch.ones(4)
    prints = {
        fingerprint({"x": ones}, 0),
        fingerprint({"y": ones}, 0),
        fingerprint({"x": ones.reshape(2, 2)}, 0),
        fingerprint({"x": ones.double()}, 0),
        fingerprint({"x": ones.view(torch.int32)}, 0),
        fingerprint({"x": ones}, 1),
        fingerprint({"x": ones[:2], "y": ones[:2]}, 0),
        fingerprint({}, 0),
    }
    assert len(prints) == 8
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in prints)
    both = {"a": ones, "b": torch.zeros(2)}
    assert fingerprint(both, 0) == fingerprint(dict(reversed(both.items())), 0)
    assert fingerprint({"x": torch.ones(4, 2)[:, 0]}, 0) == fingerprint({"x": ones}, 0)


# --- Reading executes nothing ---


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_is_numbers_behind_a_json_header(checkpoint, monkeypatch, name):
    running = begin(checkpoint, name=name)
    next(running), next(running), running.close()
    data = checkpoint.path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    described = header.pop("__metadata__")
    assert described.keys() == {"run", "state", "digest"}
    state = json.loads(described["state"])
    assert [record["epoch"] for record in state["history"]] == [1, 2]
    parts = {key.split(".")[0] for key in header}
    assert parts == {"network", "average", "best", "optimizer"}
    assert all(entry.keys() == {"dtype", "shape", "data_offsets"} for entry in header.values())
    assert len(data) - 8 - size == max(entry["data_offsets"][1] for entry in header.values())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint was unpickled")

    for target in (pickle, torch):
        monkeypatch.setattr(target, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    assert len(list(begin(checkpoint, name=name))) > 2


def test_a_refused_checkpoint_leaves_the_network_as_it_was(checkpoint):
    checkpoint.path.write_bytes(b"not ours")
    network = make_network()
    before = weights(network)
    with pytest.raises(CheckpointError):
        fit(network, checkpoint=checkpoint)
    assert_same_bits(weights(network), before)
