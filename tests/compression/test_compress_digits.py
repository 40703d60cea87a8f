"""A trained network on real images: what compression costs, and what the plain way costs."""

import functools

import pytest
import torch
from compress_models import block
from torch import Tensor, nn
from torch.nn import functional as F

from pointwise.compression.budget import Budget, count_costs
from pointwise.compression.compress import compress
from pointwise.surgery.replace import replace_named

datasets = pytest.importorskip("sklearn.datasets")


@functools.cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1000 images to learn from and 797 to test on, with their labels."""
    found = datasets.load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(found.images, dtype=torch.float32)[order, None] / 16
    y = torch.tensor(found.target)[order]
    return x[:1000], y[:1000], x[1000:], y[1000:]


@functools.cache
def trained() -> nn.Sequential:
    """A few convolutions with norms, at more than 98 % of the test images."""
    torch.manual_seed(0)
    x, y, _, _ = digits()
    layers = [*block(1, 32), *block(32, 32), *block(32, 64, 2), *block(64, 64)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    learn = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(6):
        for rows in torch.randperm(len(x)).split(50):
            learn.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            learn.step()
    return model.eval()


def accuracy(model: nn.Module) -> float:
    """Percent of the test images."""
    _, _, x, y = digits()
    with torch.no_grad():
        return 100 * (model(x).argmax(1) == y).double().mean().item()


def plain_svd(model: nn.Sequential, budget: float) -> nn.Module:
    """The usual way: truncated SVD of each weight at the same share of its rank."""
    x = digits()[0][:1]
    limit = budget * count_costs(model, x).macs
    for percent in range(99, 0, -1):

        def rule(_: str, layer: nn.Module, percent: int = percent) -> nn.Module | None:
            if not isinstance(layer, nn.Conv2d) or layer.in_channels == 1:
                return None
            u, s, v = torch.linalg.svd(layer.weight.detach().flatten(1), full_matrices=False)
            rank = max(1, len(s) * percent // 100)
            first = nn.Conv2d(
                layer.in_channels, rank, 3, stride=layer.stride, padding=layer.padding, bias=False
            )
            last = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
            first.weight.data = v[:rank].view(first.weight.shape)
            last.weight.data = (u[:, :rank] * s[:rank]).view(last.weight.shape)
            return nn.Sequential(first, last)

        plain, _ = replace_named(model, rule)
        if count_costs(plain, x).macs <= limit:
            return plain.eval()
    raise AssertionError("some rank is small enough")


@pytest.mark.parametrize(
    ("budget", "loses", "plain_loses"),
    [(0.5, 1.0, 4.0), (0.4, 1.5, 10.0), (0.3, 3.0, 25.0)],
    ids=["0.5", "0.4", "0.3"],
)
def test_accuracy_without_labels(budget: float, loses: float, plain_loses: float) -> None:
    model, x = trained(), digits()[0]
    before = accuracy(model)
    assert before > 98
    done = compress(model, Budget(macs=budget), x[:1], data=x.split(100), evaluate=accuracy)
    assert done.report.score_before == before
    assert before - accuracy(done.model) <= loses
    assert before - accuracy(plain_svd(model, budget)) > plain_loses


def test_few_images_keep_the_probabilities() -> None:
    """What no gradient asks for is worth something: without it they differ thrice as much."""
    model, (x, _, new, _) = trained(), digits()
    for budget, most in ((0.5, 4e-3), (0.3, 5e-2)):
        small = compress(model, Budget(macs=budget), x[:1], data=x[:64]).model
        with torch.no_grad():
            known, found = (net(new).log_softmax(1) for net in (model, small))
        nats = F.kl_div(found, known, log_target=True, reduction="batchmean")
        assert nats <= most


def test_the_model_itself_says_where_the_budget_goes() -> None:
    """The layers that cost most and matter least give most."""
    model, x = trained(), digits()[0]
    done = compress(model, Budget(macs=0.4), x[:1], data=x)
    assert len(done.report.changed) >= 3
    for row in done.report.changed:
        assert row.measured_error is not None
        assert row.predicted_error is not None
        assert 0 <= row.measured_error < 0.2  # nats; nothing goes astray
