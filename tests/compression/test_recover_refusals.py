"""What a compressed model cannot learn on from, and what is said then."""

import math
import re
from typing import Any

import pytest
import torch
from compress_models import MODELS, made
from torch import Tensor, nn

from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress, compress_measured
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.statistics.measure import measure
from pointwise.errors import DataError


def classes(batches: list[Tensor], dtype: torch.dtype = torch.long, high: int = 5) -> Any:
    return [(batch, torch.arange(len(batch)).remainder(high).to(dtype)) for batch in batches]


def with_ragged_labels(batches: list[Tensor]) -> Any:
    return [(batches[0], torch.zeros(32, dtype=torch.long)), (batches[1],)]


def of_two_sizes(batches: list[Tensor]) -> Any:
    return [batches[0], batches[1][..., :8]]


REFUSED = {
    "half labelled": (
        with_ragged_labels,
        {},
        "data to recover on must have one label for each sample, or none at all: there are 32 "
        "labels for 64 samples",
    ),
    "two sizes": (
        of_two_sizes,
        {},
        "data to recover on must be of one shape, inputs are of (3, 10, 8) and (3, 10, 10)",
    ),
    "class out of range": (
        lambda batches: classes(batches, high=7),
        {},
        "labels must be class numbers from 0 to 4, got 0 to 6",
    ),
    "real labels": (
        lambda batches: classes(batches, torch.float32),
        {},
        "labels must be class numbers of shape ('N',), got float32 labels of shape ('N',); "
        "loss='distil' learns from the given model",
    ),
    "all unknown": (
        lambda batches: [(b, torch.full((len(b),), -100)) for b in batches],
        {},
        "labels must hold at least one class number, all are unknown",
    ),
    "labels asked for": (
        lambda batches: batches,
        {"loss": "labels"},
        "data to recover on must hold labels for this loss, there are none",
    ),
    "one sample": (
        lambda batches: batches[0][:1],
        {},
        "data to recover on must hold at least two samples, got one",
    ),
    "loss of another shape": (
        classes,
        {"loss": lambda output, labels: output},
        "loss must give one number for each sample (13) or one for all, got (13, 5)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_suit(name: str) -> None:
    make, options, message = REFUSED[name]
    model, example, batches = made(MODELS["residual"])
    how = Recovery(data=make(batches), **options)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        compress(model, Budget(macs=0.5), example, data=batches, recover=how)


def test_labels_that_are_no_outputs() -> None:
    model, example, batches = made(MODELS["named"])
    data = [{**batch, "y": torch.zeros(32, 2)} for batch in batches]
    message = (
        "labels must be the 1 numbers that a sample's outputs should be, where these are no class "
        "scores, got float32 labels of shape ('N', 2); logits= says which are class scores, "
        "loss='distil' learns from the given model"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        compress(model, Budget(macs=0.5), example, data=data, recover=Recovery(data=data))


class Gated(nn.Module):
    """It takes a number besides the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        made: Tensor = self.last((self.first(x) * scale).relu())
        return made


def test_arguments_that_change_with_the_batch_are_refused() -> None:
    batches = [(torch.randn(32, 16), torch.tensor(float(i))) for i in range(3)]
    message = "must hold one entry of argument 1 for each sample, or the same in all batches"
    options: dict[str, Any] = {"logits": False, "recover": Recovery()}
    with pytest.raises(DataError, match=message):
        compress(Gated(), Budget(macs=0.6), batches[1], data=batches, **options)
    alike = [(x, torch.tensor(2.0)) for x, _ in batches]
    done = compress(Gated(), Budget(macs=0.6), alike[0], data=alike, **options)
    assert done.report.notes[-1].startswith("Learnt from the given model")


def test_nothing_is_learnt_where_nothing_was_replaced() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(64, 8)
    done = compress(model, Budget(macs=1.0), x[:1], data=x, recover=Recovery())
    assert done.report.notes[-1] == "Nothing was learnt: no layer was replaced."


def test_nothing_to_learn_from_is_refused_at_once() -> None:
    model, example, _ = made(MODELS["residual"])
    message = "recover needs data: give compress data=, or Recovery(data=) its own"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        compress(model, Budget(macs=0.5), example, recover=Recovery())


def test_a_number_of_epochs_is_no_recovery() -> None:
    model, example, batches = made(MODELS["residual"])
    known = measure(model, example, data=batches)
    message = "recover must be a Recovery, such as Recovery(epochs=1), got 3"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        compress_measured(known, Budget(macs=0.5), recover=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number above 0, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number above 0, got 1.5"),
        ({"batch_size": True}, "batch_size must be a whole number above 0, got True"),
        ({"learning_rate": math.nan}, "learning_rate must be a number above 0, got nan"),
        ({"temperature": -1}, "temperature must be a number above 0, got -1"),
        ({"loss": "mse"}, "loss must be 'auto', 'labels', 'distil' or a function, got 'mse'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Recovery(**options)
