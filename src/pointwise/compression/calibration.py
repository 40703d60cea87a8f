"""Calibration data: batches of any kind, of which the model's input is taken."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from pointwise.errors import DataError, first_line
from pointwise.surgery.equivalence import Example

BATCH = 64
"""So many samples of a tensor that is given as a whole go into a batch, at most."""

Data = Tensor | Iterable[Any]
"""Batches, or all samples in one tensor."""


def read_batches(data: Data, example: Example, *, samples: int, size: int = BATCH) -> list[Example]:
    """Read calibration data into memory, as the model takes them.

    All of them are gone through several times, in the same order: that of a shuffling loader would
    change. Of a batch that holds more than the input, such as labels, only the input is kept.

    Args:
        data: Batches: each a tensor, a tuple or list whose first entries are the input, or a
            mapping. Or all samples in one tensor.
        example: An input of the model, which says what the input in a batch looks like.
        samples: So many are taken, from the start.
        size: So many samples of a tensor go into a batch; those of a loader stay as they are.

    Returns:
        The batches, each of the form that the example has.

    Raises:
        DataError: If there are no samples, or there is no input of the example's form in a batch.

    Example:
        >>> import torch
        >>> labelled = [(torch.ones(4, 3), torch.zeros(4)), (torch.ones(4, 3), torch.zeros(4))]
        >>> [tuple(x.shape) for x in read_batches(labelled, torch.ones(1, 3), samples=6)]
        [(4, 3), (2, 3)]
    """
    if isinstance(data, Mapping | str) or not isinstance(data, Iterable):
        is_dataset = hasattr(data, "__getitem__") and not isinstance(data, Mapping | str)
        hint = ": give a DataLoader of it" if is_dataset else ""
        raise DataError(
            f"data must be a tensor or an iterable of batches, got {type(data).__name__}{hint}"
        )
    if isinstance(data, Tensor):
        _check_like(data, example)
        data = data.split(size) if data.ndim else []
    batches: list[Example] = []
    left = samples
    try:
        for number, given in enumerate(data):
            batch = _input(given, example, number)
            size = batch_size(batch)
            if size:
                batches.append(batch if size <= left else _first(batch, left, size))
                left -= size
            if left <= 0:
                break
    except DataError:
        raise
    except Exception as error:  # whatever a loader raises
        raise DataError(f"data must give batches, its iteration fails: {first_line(error)}") from (
            error
        )
    if not batches:
        raise DataError("data must hold at least one sample, got none")
    return batches


def batch_size(batch: Example) -> int:
    """The length of the first tensor in a batch.

    Args:
        batch: The batch.

    Returns:
        The length; 1 if it has no tensor with an axis.
    """
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.ndim else 1
    parts = list(batch.values()) if isinstance(batch, Mapping) else list(batch)
    found = next((part for part in parts if isinstance(part, Tensor) and part.ndim), None)
    return 1 if found is None else found.shape[0]


def _input(given: Any, example: Example, number: int) -> Example:
    """The input in a batch."""
    if isinstance(example, Tensor):
        return _tensor(given, example, number).detach().to(example.device)
    if isinstance(example, Mapping):
        entries = given
        if not isinstance(given, Mapping) and isinstance(given, Sequence) and given:
            entries = given[0]
        missing = [k for k in example if not isinstance(entries, Mapping) or k not in entries]
        if missing:
            raise DataError(
                f"data must hold the entries of the example, batch {number} lacks {missing[0]!r}"
            )
        return {name: _placed(entries[name], like) for name, like in example.items()}
    if not isinstance(given, Sequence) or len(given) < len(example):
        raise DataError(
            f"data must hold the {len(example)} arguments of the example, batch {number} is "
            f"{_words(given)}"
        )
    return tuple(_placed(part, like) for part, like in zip(given, example, strict=False))


def _tensor(given: Any, example: Tensor, number: int) -> Tensor:
    """The one tensor of a batch that looks like the example."""
    if isinstance(given, Tensor):
        parts: list[Any] = [given]
    elif isinstance(given, Mapping):
        parts = list(given.values())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        parts = list(given[:1])
    else:
        parts = [given]
    found = [part for part in parts if isinstance(part, Tensor) and _alike(part, example)]
    if isinstance(given, Mapping) and len(found) > 1:
        same = [part for part in found if part.shape[1:] == example.shape[1:]]
        found = same if len(same) == 1 else found
    if len(found) != 1:
        several = "several tensors" if found else "no tensor"
        raise DataError(
            f"data must hold one input like the example, {_words(example)}; batch {number}, "
            f"{_words(given)}, holds {several} like it{_hint(parts, example)}"
        )
    return found[0]


def _alike(part: Tensor, example: Tensor) -> bool:
    return part.ndim == example.ndim and part.is_floating_point() == example.is_floating_point()


def _hint(parts: list[Any], example: Tensor) -> str:
    if parts and all(type(part).__name__ == "ndarray" for part in parts):
        return ": torch.from_numpy makes tensors of arrays"
    if any(isinstance(part, Tensor) and part.ndim == example.ndim - 1 for part in parts):
        return ": single samples go through a DataLoader first"
    return ""


def _check_like(data: Tensor, example: Example) -> None:
    if not isinstance(example, Tensor) or not _alike(data, example):
        raise DataError(
            f"data in one tensor must be like the example, {_words(example)}, got {_words(data)}"
        )


def _placed(part: Any, like: Any) -> Any:
    if isinstance(part, Tensor) and isinstance(like, Tensor):
        return part.detach().to(like.device)
    return part


def _first(batch: Example, count: int, size: int) -> Example:
    """The first samples of a batch."""

    def cut(part: Any) -> Any:
        whole = isinstance(part, Tensor) and part.ndim and part.shape[0] == size
        return part[:count] if whole else part

    if isinstance(batch, Tensor):
        return batch[:count]
    if isinstance(batch, Mapping):
        return {name: cut(part) for name, part in batch.items()}
    return tuple(cut(part) for part in batch)


def _words(value: Any) -> str:
    """A batch in short."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a {kind} tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(repr, value))}"
    return f"a {type(value).__name__}"
