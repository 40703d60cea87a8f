"""Errors that are measured: candidates tried in the model, the others corrected by them."""

import re

import pytest
import torch
import torch.nn.functional as F
from compress_models import MODELS, Model, made
from torch import Tensor, nn

from pointwise.compression.allocation.candidates import build
from pointwise.compression.allocation.effects import SAMPLES
from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress
from pointwise.compression.statistics.measure import measure


def classifier() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5)).eval()
    with torch.no_grad():
        network[2].weight.mul_(8)
    return network, torch.randn(SAMPLES, 24)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_budgets_are_kept_by_measured_errors_too(model: Model) -> None:
    network, example, batches = made(model)
    done = compress(
        network,
        Budget(macs=model.least),
        example,
        data=batches,
        logits=model.logits,
        errors="measured",
    )
    assert done.report.met
    assert any(note.startswith("Predicted errors are corrected") for note in done.report.notes)


def test_what_is_tried_gets_its_divergence() -> None:
    network, x = classifier()
    known = measure(network, x[:1], data=x, errors="measured")
    layer = known.layers[0]
    same = sorted((c for c in layer.candidates if c.form == "output"), key=lambda c: c.error)
    for one in (same[0], same[-1]):  # the least and the largest error are always tried
        changed = nn.Sequential(build(one, network[0], known.moments["0"], unit="loss"))
        with torch.no_grad():
            wanted = network(x).log_softmax(1)
            given = network[2](network[1](changed(x))).log_softmax(1)
        divergence = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
        assert one.error == pytest.approx(divergence.item(), rel=1e-3)


def test_small_errors_are_predicted_well_and_large_ones_are_not() -> None:
    network, x = classifier()
    errors = {
        kind: {
            (c.path, c.form, c.rank): c.error
            for layer in measure(network, x[:1], data=x, errors=kind).layers
            for c in layer.candidates[1:]
        }
        for kind in ("predicted", "measured")
    }
    predicted, measured = errors["predicted"], errors["measured"]
    assert predicted.keys() == measured.keys()
    ratios = {key: measured[key] / predicted[key] for key in predicted}
    order = sorted((key for key in ratios if key[0] == "0"), key=predicted.__getitem__)
    assert 0.3 < ratios[order[0]] < 1.5  # outputs that no loss asks for are worth something, too
    assert len({round(ratios[key], 6) for key in order}) > 6  # those between are interpolated
    assert abs(ratios[order[-1]] - 1) > 0.05


def test_without_class_scores_it_is_half_the_share_of_the_variance() -> None:
    network, x = nn.Sequential(nn.Linear(16, 12)), torch.randn(SAMPLES, 16)
    known = measure(network, x[:1], data=x, logits=False, errors="measured")
    one = max(known.layers[0].candidates, key=lambda c: c.error)
    changed = build(one, network[0], known.moments["0"], unit="loss")
    with torch.no_grad():
        y, z = network(x), changed(x)
    share = (y - z).square().mean() / y.var(0, correction=0).mean()
    assert one.error == pytest.approx(share.item() / 2, rel=1e-3)


def test_the_given_model_is_left_as_it_is() -> None:
    network, x = classifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    measure(network, x[:1], data=x, errors="measured")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("errors", "data", "message"),
    [
        ("guessed", True, "errors must be one of predicted, measured, got 'guessed'"),
        ("measured", False, "errors='measured' needs data to try candidates on: give data="),
    ],
)
def test_what_cannot_be_measured_is_refused(errors: str, data: bool, message: str) -> None:
    network, x = classifier()
    with pytest.raises(ValueError, match=re.escape(message)):
        compress(
            network,
            Budget(macs=0.5),
            x[:1],
            data=x if data else None,
            errors=errors,  # type: ignore[arg-type]
        )
