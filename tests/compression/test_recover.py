"""Compressed models that learn on: from labels or the given model, and never for the worse."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from compress_models import MODELS, made
from test_compress_digits import accuracy, digits, trained
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from pointwise.compression.budget import Budget
from pointwise.compression.compress import Compressed, compress, compress_measured
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.plans.files import load, save
from pointwise.compression.reports.report import CompressionReport
from pointwise.compression.statistics.measure import measure

SMALL = Budget(macs=0.2)


def smaller_outputs(batches: list[Tensor], **options: Any) -> Recovery:
    """Something that any model can learn."""

    def loss(output: Tensor, _: Tensor) -> Tensor:
        return output.square().mean(1)

    return Recovery(
        data=[(batch, torch.zeros(len(batch))) for batch in batches], loss=loss, **options
    )


def states_equal(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def divergence(model: nn.Module, given: nn.Module, x: Tensor) -> float:
    """By torch's own function."""
    with torch.no_grad():
        mine, theirs = model(x).log_softmax(1), given(x).log_softmax(1)
    return F.kl_div(mine, theirs, log_target=True, reduction="batchmean").item()


@pytest.mark.parametrize("labelled", [False, True], ids=["distilled", "labels"])
def test_real_images_are_learnt_on(labelled: bool) -> None:
    model, (x, y, x_test, y_test) = trained(), digits()
    data = [(x[:600], y[:600]), (x[600:], y[600:])] if labelled else None
    known = measure(model, x[:1], data=x)
    before = compress_measured(known, SMALL, evaluate=accuracy)
    how = Recovery(epochs=2, data=data)
    done = compress_measured(known, SMALL, evaluate=accuracy, recover=how)
    assert done.report.score_unrecovered == before.report.score_after
    assert done.report.score_after == accuracy(done.model)
    assert done.report.score_after > 98
    source = "labels" if labelled else "the given model"
    note = done.report.notes[-1]
    assert note.startswith(f"Learnt from {source}: 2 epochs of 900 samples took the ")
    if labelled:
        with torch.no_grad():
            old, new = (F.cross_entropy(m(x_test), y_test) for m in (before.model, done.model))
        assert new < 0.9 * old
    else:
        old, new = (divergence(m, model, x_test) for m in (before.model, done.model))
        assert new < 0.6 * old
    assert [row.measured_error for row in done.report.rows] == [
        row.measured_error for row in before.report.rows
    ]


def test_the_report_tells_the_score_between() -> None:
    model, x = trained(), digits()[0]
    done = compress(
        model, Budget(macs=0.4), x[:1], data=x[:200], evaluate=accuracy, recover=Recovery()
    )
    report = done.report
    assert f"{report.score_unrecovered:.4f} before it learnt on." in str(report)
    assert CompressionReport.from_json(report.to_json()) == report
    page = report.to_html()
    assert "score, before learning on" in page
    assert f"{report.score_unrecovered:.4f}" in page


def test_learning_that_does_harm_is_taken_back() -> None:
    model, x = trained(), digits()[0][:300]
    known = measure(model, x[:1], data=x)
    before = compress_measured(known, SMALL)
    done = compress_measured(known, SMALL, recover=Recovery(learning_rate=1e6))
    assert states_equal(done.model, before.model)
    note = done.report.notes[-1]
    assert note.startswith(
        "Learnt from the given model: 1 epoch of 270 samples did not help on 30 others, so the "
        "weights are those from before: divergence of class probabilities "
    )


def test_steps_become_smaller_where_large_ones_do_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = trained(), digits()[0][:300]
    known = measure(model, x[:1], data=x)
    small = compress_measured(known, SMALL, recover=Recovery(learning_rate=1e-3))
    monkeypatch.setattr("pointwise.compression.fitting.recover.RATES", (1e6, 1e-3))
    done = compress_measured(known, SMALL, recover=Recovery())
    assert states_equal(done.model, small.model)
    assert "with steps of 0.001; measured" in small.report.notes[-1]
    told = "with steps of 0.001, where those of 1e+06 did not help; measured"
    assert told in done.report.notes[-1]
    monkeypatch.setattr("pointwise.compression.fitting.recover.RATES", (1e6, 1e5))
    unhelped = compress_measured(known, SMALL, recover=Recovery())
    assert states_equal(unhelped.model, compress_measured(known, SMALL).model)
    assert re.search(
        r"did not help on 30 others, .*, afterwards \S+ with steps of 1e\+06 and \S+ with steps "
        r"of 100000\.$",
        unhelped.report.notes[-1],
    )


def residual(**options: Any) -> Compressed:
    model, example, batches = made(MODELS["residual"])
    return compress(model, Budget(macs=0.5), example, data=batches, **options)


def test_the_seed_decides_and_nothing_else_changes() -> None:
    model, example, batches = made(MODELS["residual"])
    given = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    model.head.eval()
    random = torch.get_rng_state()
    known = measure(model, example, data=batches)
    with torch.no_grad():
        first, again, other = (
            compress_measured(known, Budget(macs=0.5), recover=smaller_outputs(batches), seed=seed)
            for seed in (1, 1, 2)
        )
    assert torch.equal(torch.get_rng_state(), random)
    assert states_equal(first.model, again.model)
    assert not states_equal(first.model, other.model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, given[name])
    flags = {path: module.training for path, module in first.model.named_modules()}
    assert all(flags[path] == (path.split(".")[0] != "head") for path in flags)
    assert all(parameter.grad is None for parameter in first.model.parameters())
    assert all(parameter.requires_grad for parameter in first.model.parameters())


def test_what_was_learnt_is_saved(tmp_path: Path) -> None:
    model, example, batches = made(MODELS["residual"])
    done = residual(recover=smaller_outputs(batches))
    assert "took the loss" in done.report.notes[-1]
    save(done, tmp_path / "small")
    again = load(tmp_path / "small", model)
    assert_close(again(example), done.model.eval()(example), rtol=0, atol=0)


def test_frozen_parameters_stay() -> None:
    model, example, batches = made(MODELS["residual"])
    for parameter in model.stem.parameters():
        parameter.requires_grad_(False)
    known = measure(model, example, data=batches)
    before = compress_measured(known, Budget(macs=0.5))
    done = compress_measured(known, Budget(macs=0.5), recover=smaller_outputs(batches))
    for name, value in before.model.named_parameters():
        assert torch.equal(done.model.get_parameter(name), value) == name.startswith("stem"), name
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    message = "recover needs parameters that learn: all have requires_grad=False"
    with pytest.raises(ValueError, match=re.escape(message)):
        compress_measured(
            measure(model, example, data=batches), SMALL.__class__(macs=0.5), recover=Recovery()
        )


@pytest.mark.parametrize("name", ["named", "unet", "unet_without_logits", "twice"])
def test_models_of_all_kinds_learn_from_the_given_one(name: str) -> None:
    kind = MODELS[name]
    model, example, batches = made(kind)
    known = measure(model, example, data=batches, logits=kind.logits)
    budget = Budget(macs=max(0.5, kind.least))
    before = compress_measured(known, budget)
    done = compress_measured(
        known, budget, recover=Recovery(epochs=4, batch_size=16, learning_rate=1e-4)
    )
    numbers = [float(n) for n in re.findall(r"from (\S+) to (\S+) with", done.report.notes[-1])[0]]
    assert numbers[1] < numbers[0]
    assert not states_equal(before.model, done.model)
    if name == "named":  # half the squared error of one number, by hand
        held = torch.randperm(128, generator=torch.Generator().manual_seed(0))[:13]
        inputs = {key: torch.cat([batch[key] for batch in batches]) for key in example}
        with torch.no_grad():
            wanted = model(**inputs)
            apart = [(m(**inputs) - wanted)[held] for m in (before.model, done.model)]
        found = [a.square().mean().item() / wanted.var(correction=0).item() for a in apart]
        assert_close(numbers, found, rtol=1e-3, atol=0)


def test_masks_are_labels_of_positions() -> None:
    model, example, batches = made(MODELS["unet"])
    masks = torch.stack([batch[:, 0] > 0 for batch in batches]).to(torch.uint8)
    masks[:, :, :2] = 255  # unknown
    known = measure(model, example, data=batches, logits=lambda y: y["out"])
    data = list(zip(batches, masks, strict=True))
    done = compress_measured(known, Budget(macs=0.6), recover=Recovery(epochs=3, data=data))
    assert (
        "Learnt from labels: 3 epochs of 115 samples took the loss on 13" in (done.report.notes[-1])
    )
    before = compress_measured(known, Budget(macs=0.6))
    x, y = torch.cat(batches), masks.flatten(0, 1)
    held = torch.randperm(128, generator=torch.Generator().manual_seed(0))[:13]
    with torch.no_grad():
        losses = [
            F.cross_entropy(m(x)["out"], y.long(), ignore_index=255, reduction="none")[held, 2:]
            for m in (before.model, done.model)
        ]
    said = re.findall(r"from (\S+) to (\S+) with", done.report.notes[-1])[0]
    assert_close([float(n) for n in said], [n.mean().item() for n in losses], rtol=1e-3, atol=0)


def test_batches_that_are_mappings_and_numbers_to_predict() -> None:
    model, example, batches = made(MODELS["named"])
    with torch.no_grad():
        data = [{**batch, "target": 3 * model(**batch)[:, 0]} for batch in batches]
    done = compress(
        model,
        Budget(macs=0.5),
        example,
        data=data,
        recover=Recovery(epochs=20, data=data, learning_rate=1e-2),
    )
    x = data[0]
    with torch.no_grad():
        apart = F.mse_loss(done.model(**{k: x[k] for k in example})[:, 0], x["target"])
        unlearnt = F.mse_loss(model(**{k: x[k] for k in example})[:, 0], x["target"])
    assert "Learnt from labels" in done.report.notes[-1]
    assert apart < 0.5 * unlearnt


def test_a_loss_of_the_users() -> None:
    seen = []

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        seen.append((tuple(output.shape), labels.dtype))
        return (output[:, 0] - labels).abs().mean()

    _, _, batches = made(MODELS["residual"])
    data = [(batch, batch.mean((1, 2, 3)).double()) for batch in batches]
    done = residual(recover=Recovery(data=data, loss=loss, learning_rate=1e-3))
    assert ((29, 5), torch.float64) in seen
    assert "Learnt from labels: 1 epoch of 115 samples took the loss on 13" in done.report.notes[-1]


def one_score() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))


def test_one_score_is_of_two_classes() -> None:
    torch.manual_seed(0)
    model, x = one_score(), torch.randn(200, 16)
    labels = (x[:, 0] > 0).long()
    options = {"data": x, "logits": lambda y: y}
    done = compress(
        model,
        Budget(macs=0.6),
        x[:1],
        **options,
        recover=Recovery(epochs=40, data=[(x, labels)], learning_rate=1e-2),
    )
    with torch.no_grad():
        losses = [
            F.binary_cross_entropy_with_logits(m(x)[:, 0], labels.float())
            for m in (model, done.model)
        ]
    assert losses[1] < 0.5 * losses[0]
