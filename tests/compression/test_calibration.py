"""Batches of any kind: the model's input is found in them by the form of the example."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from pointwise.compression.calibration import read_batches
from pointwise.errors import DataError

X = torch.arange(36.0).view(6, 2, 3)
LABELS = torch.arange(6)
EXAMPLE = torch.zeros(1, 2, 3)

KINDS: dict[str, Any] = {
    "tensor": X,
    "tensors": [X[:4], X[4:]],
    "tuples": [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])],
    "lists": [[X[:4], LABELS[:4]], [X[4:], LABELS[4:]]],
    "mappings": [{"y": LABELS[:4], "image": X[:4]}, {"y": LABELS[4:], "image": X[4:]}],
    "similar_entries": [{"edge": X[:, :, :1], "image": X}],
    "loader": DataLoader(TensorDataset(X, LABELS), batch_size=4),
    "iterator": iter([X[:4], X[4:]]),
    "empty_batches": [X[:0], X],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_batches(kind: str) -> None:
    batches = read_batches(KINDS[kind], EXAMPLE, samples=100)
    assert_close(torch.cat(batches), X)  # type: ignore[arg-type]


def test_no_more_is_read_than_taken() -> None:
    read = 0

    def endless() -> Iterator[torch.Tensor]:
        nonlocal read
        while True:
            read += 1
            yield X

    batches = read_batches(endless(), EXAMPLE, samples=14)
    assert [len(batch) for batch in batches] == [6, 6, 2]
    assert read == 3


def test_several_arguments() -> None:
    example = (torch.zeros(1, 2, 3), torch.zeros(1))
    data = [(X, LABELS, "more")]
    (batch,) = read_batches(data, example, samples=4)
    assert_close(batch, (X[:4], LABELS[:4]))


@pytest.mark.parametrize("labelled", [False, True], ids=["mapping", "mapping_and_label"])
def test_arguments_by_name(labelled: bool) -> None:
    entries = {"left": X, "right": X + 1, "id": LABELS}
    data = [(entries, LABELS)] if labelled else [entries]
    example = {"right": EXAMPLE, "left": EXAMPLE}
    (batch,) = read_batches(data, example, samples=4)
    assert_close(batch, {"right": X[:4] + 1, "left": X[:4]})


def failing() -> Iterator[torch.Tensor]:
    yield X
    raise OSError("disk gone\nand more")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data must hold at least one sample, got none"),
        ([X[:0]], "data must hold at least one sample, got none"),
        (X[:0], "data must hold at least one sample, got none"),
        (7, "data must be a tensor or an iterable of batches, got int"),
        ("photos", "data must be a tensor or an iterable of batches, got str"),
        ({"x": X}, "data must be a tensor or an iterable of batches, got dict"),
        (
            LABELS,
            "data in one tensor must be like the example, a float32 tensor of shape (1, 2, 3), "
            "got a int64 tensor of shape (6,)",
        ),
        (
            [(LABELS, X)],
            "data must hold one input like the example, a float32 tensor of shape (1, 2, 3); "
            "batch 0, a tuple, holds no tensor like it",
        ),
        (
            TensorDataset(X, LABELS),
            "data must be a tensor or an iterable of batches, got TensorDataset: give a DataLoader "
            "of it",
        ),
        (
            list(zip(X, LABELS, strict=True)),
            "data must hold one input like the example, a float32 tensor of shape (1, 2, 3); "
            "batch 0, a tuple, holds no tensor like it: single samples go through a DataLoader "
            "first",
        ),
        (
            [X, {"a": X, "b": X}],
            "data must hold one input like the example, a float32 tensor of shape (1, 2, 3); "
            "batch 1, a mapping of 'a', 'b', holds several tensors like it",
        ),
        (["photo.jpg"], "batch 0, a str, holds no tensor like it"),
        (failing(), "data must give batches, its iteration fails: disk gone"),
    ],
    ids=[
        "nothing",
        "empty_batch",
        "empty_tensor",
        "number",
        "text",
        "mapping",
        "labels",
        "labels_first",
        "dataset",
        "samples",
        "several",
        "texts",
        "failing",
    ],
)
def test_wrong_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_batches(data, EXAMPLE, samples=100)


def test_wrong_data_for_several_arguments() -> None:
    message = "data must hold the 2 arguments of the example, batch 0 is a float32 tensor of shape"
    with pytest.raises(DataError, match=re.escape(message)):
        read_batches([X], (EXAMPLE, EXAMPLE), samples=9)
    message = "data must hold the entries of the example, batch 1 lacks 'right'"
    with pytest.raises(DataError, match=re.escape(message)):
        read_batches(
            [{"left": X, "right": X}, {"left": X}], {"left": EXAMPLE, "right": EXAMPLE}, samples=9
        )
