"""Data of any kind on the whole way to a smaller model: what does not matter changes nothing."""

from collections import UserDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
import torch
from compress_models import MODELS, made
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress

SAMPLES = 96
BATCH = 32


class Sample(NamedTuple):
    """A picture with a label, as some data sets give it."""

    image: Tensor
    label: int


class Pictures(Dataset[Any]):
    """Samples in the form that a function gives them."""

    def __init__(self, x: Tensor, form: Callable[[Tensor, int], Any]) -> None:
        self.x, self.form = x, form

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.form(self.x[index], index % 5)


FORMS: dict[str, Callable[[Tensor, int], Any]] = {
    "pairs": lambda x, label: (x, label),
    "lists": lambda x, label: [x, label, "a.jpg"],
    "named_tuples": Sample,
    "mappings": lambda x, label: {"label": label, "pixel_values": x},
    "alone": lambda x, label: x,
}


class Encoding(UserDict[str, Tensor]):
    """A mapping that is no ``dict``, as tokenizers give it."""


@pytest.mark.parametrize("form", FORMS)
def test_loaders(form: str) -> None:
    network, example, batches = made(MODELS["cnn"])
    x = torch.cat(batches)[:SAMPLES]
    loader = DataLoader(Pictures(x, FORMS[form]), batch_size=BATCH)
    check_same(network, example, loader, x.split(BATCH))


def test_loaders_that_are_no_loaders() -> None:
    network, example, batches = made(MODELS["cnn"])
    x = torch.cat(batches)[:SAMPLES]
    wanted = list(x.split(BATCH))
    check_same(network, example, (batch for batch in wanted), wanted)
    check_same(network, example, [Encoding(image=batch) for batch in wanted], wanted)


@pytest.mark.parametrize("kind", ["mappings", "encodings", "mappings_and_labels"])
def test_inputs_by_name(kind: str) -> None:
    network, example, batches = made(MODELS["named"])
    wanted = [{name: value[:BATCH] for name, value in batch.items()} for batch in batches]
    given = {
        "mappings": [{**batch, "labels": torch.zeros(BATCH)} for batch in wanted],
        "encodings": [Encoding(batch) for batch in wanted],
        "mappings_and_labels": [(batch, torch.zeros(BATCH)) for batch in wanted],
    }[kind]
    check_same(network, example, given, wanted)


def check_same(network: nn.Module, example: Any, data: Iterable[Any], wanted: Any) -> None:
    """Data in another form make the same model as the plain inputs."""
    given, plain = (
        compress(network, Budget(macs=0.7), example, data=one, logits=None)
        for one in (data, wanted)
    )
    assert given.plan == plain.plan
    assert given.plan.layers
    assert_close(given.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


class Conv1D(nn.Module):
    """GPT-2's linear layer, as transformers has it: its weight has a row per input."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.shape[:-1], self.nf)


Conv1D.__module__, Conv1D.__qualname__ = "transformers.pytorch_utils", "Conv1D"


@pytest.mark.parametrize("with_data", [False, True], ids=["weights_alone", "data"])
def test_the_linear_layer_of_gpt_2(with_data: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Conv1D(48, 16), nn.GELU(), Conv1D(12, 48)).eval()
    x = torch.randn(96, 5, 16)
    done = compress(network, Budget(macs=0.9), x[:2], data=x if with_data else None)
    assert 0.85 <= done.report.targets[0].reached <= 0.9
    (row,) = done.report.changed
    assert all(isinstance(part, nn.Linear) for part in done.model.get_submodule(row.path))
    wanted, found = network(x), done.model(x)
    assert (wanted - found).square().mean() < 0.2 * wanted.var()
    again = done.plan.apply(network)
    again.load_state_dict(done.model.state_dict())
    assert_close(again(x), found)
